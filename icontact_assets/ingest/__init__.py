"""Decides what to ask iContact for, and turns the answers into raw rows."""

"""Generates the parts of the docs that follow from the code."""

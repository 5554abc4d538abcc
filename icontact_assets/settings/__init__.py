"""Typed settings: the ground that every room may import, and how they are loaded."""

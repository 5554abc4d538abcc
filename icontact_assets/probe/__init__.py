"""Finds out, by reading an account, which readings of what iContact's documentation leaves open are true. Only GET."""

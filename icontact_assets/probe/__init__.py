"""Finds out which readings of what the documentation leaves open are true for an account. Only `trial` writes."""

"""Who belongs on a list, and how they get there safely."""

"""Who belongs on a list, and why: audiences, their members, explanations."""

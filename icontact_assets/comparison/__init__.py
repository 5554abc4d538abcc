"""The profiles of another system beside ours, field by field: what differs, and why."""

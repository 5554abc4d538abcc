"""How an audience gets to a list safely: plan, guard, apply, check, report."""

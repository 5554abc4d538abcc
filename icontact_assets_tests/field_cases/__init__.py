"""Cases that users of other products reported, rebuilt; each states the rule that must hold, not the one input."""

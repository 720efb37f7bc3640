"""Benches of the target, one for each precision where that is a choice; and measuring each architecture in its own."""

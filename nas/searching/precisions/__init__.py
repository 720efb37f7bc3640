"""Benches of the targets, one for each precision where that is a choice; and measuring each architecture on them."""

"""Searching for smaller forms of one trained model, the parent."""

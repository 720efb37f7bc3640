"""Tuning of trained weights: what needs to be computed only once."""

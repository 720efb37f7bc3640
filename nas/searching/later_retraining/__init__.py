"""Retraining winners after a run has ended: with other epochs, seeds, settings, a teacher, or further data."""

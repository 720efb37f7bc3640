"""The commands ``nas predictor …``: check a predictor, and extend a table to a new target."""

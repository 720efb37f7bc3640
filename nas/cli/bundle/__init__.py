"""The commands ``nas bundle …``: export a winner in another form, and check a bundle."""

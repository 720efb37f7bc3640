"""What layers cost on a target: by their groups, by their shapes, and by the profiles of whole networks."""

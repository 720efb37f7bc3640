"""Views of an architecture: what devices see of it, what only its training does, and its one-hot columns."""

"""What devices see of an architecture, and what only its training does."""

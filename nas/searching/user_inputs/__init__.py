"""What a user hands to a search: objects in the place of names, and code of their own; and the space of a task."""

"""Further items for a task: other data of the same kind, without those that would make its test unfair."""

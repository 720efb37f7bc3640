"""Training by a user's own function: what it may be, what it is given, and how the process is kept as it was."""

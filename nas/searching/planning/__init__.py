"""The plan of a run: how long its stages should take, and what fits into the search time."""

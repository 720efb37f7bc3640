"""The runs of ``experiments.compare_searchers``.

``study`` holds the settings and what the runs share, ``runs`` lets searchers run, and ``summary`` writes the tables.
"""

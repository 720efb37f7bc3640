"""What a run found: its front, its winners, their bundles, and the cost of the search, as functions of rows.

Nothing here searches; pages and terminal tables belong in ``reports``.
"""

"""What a run found: its front, its winners and what the search cost, as functions of rows.

Nothing here searches or draws.
"""

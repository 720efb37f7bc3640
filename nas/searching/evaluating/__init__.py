"""How a candidate gets its error: by training it, by shared weights, by a score, or from a table.

The training itself belongs in ``training``.
"""

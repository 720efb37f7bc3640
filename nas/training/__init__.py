"""How networks learn: one alone, many with shared weights, or scored untrained.

Which networks are trained belongs in ``searching``.
"""

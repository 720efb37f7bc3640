"""Making winners of chosen architectures: retraining, exporting, measuring and testing, or looking up in a table.

Which architectures are chosen belongs in ``searching.selection``.
"""

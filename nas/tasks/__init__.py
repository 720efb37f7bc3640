"""The data that networks learn: their sources, and their training, validation and test splits.

The training itself belongs in ``training``.
"""

"""The data that networks learn: where they come from, and their training, validation and test splits.

How a network learns them belongs in ``training``.
"""

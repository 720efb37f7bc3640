"""The data that networks learn: their sources, their splits, and the way from a picture to a model's input.

The training itself belongs in ``training``.
"""

"""Training of networks: one alone, many with shared weights, or scores without training.

The choice of the networks to train belongs in ``searching``.
"""

"""Sentences below a front: what is worth knowing about its winners, their precisions and the prior knowledge."""

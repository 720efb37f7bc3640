"""Predictors of measured metrics: what one is, how far it can be trusted, and what to measure next.

Concrete predictors belong in ``predictors``.
"""

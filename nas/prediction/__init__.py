"""Predictors of measured metrics: their protocol, their reports, and advice on what to measure next.

Concrete predictors belong in ``predictors``.
"""

"""Predictors of measured metrics: each is a function that fits and returns a predictor.

Recipes name them by the entry points ``nas.predictors``. ``predictors.samplers`` holds the samplers.
"""

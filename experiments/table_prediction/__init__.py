"""The fits of ``experiments.compare_predictors``.

``study`` holds the settings and what the targets share, ``fits`` fits the predictors, ``figures`` judges their
predictions, and ``results`` writes tables and files.
"""

"""Solving a finished run again: under other limits, or on another target with a few measurements, without training.

``solve`` holds the way from top to bottom; the other modules hold its parts.
"""

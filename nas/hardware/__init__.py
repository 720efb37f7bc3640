"""Measuring models on a device: latency, memory, energy and size.

Nothing here knows of searches; a model comes in, a measurement goes out.
"""

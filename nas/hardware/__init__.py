"""Measuring models on a device: latency, memory, energy and size.

This room takes models and returns measurements. It knows nothing about searches.
"""

"""Runtimes, such as ONNX Runtime: software that deploys, opens and runs models on a target, and the process for it.

Timing a model again and again, and correcting for drift, belongs in ``hardware``.
"""

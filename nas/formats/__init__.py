"""Model files: exporting a torch module, reading ONNX, and checking that both agree.

Running a model for measurement belongs to ``hardware``.
"""

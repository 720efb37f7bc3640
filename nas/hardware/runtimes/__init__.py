"""Runtimes: software that deploys, opens and runs models on a target, such as ONNX Runtime."""

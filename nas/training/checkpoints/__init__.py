"""Checkpoints: the whole state of a training after an epoch, in a safetensors file, from which it goes on."""

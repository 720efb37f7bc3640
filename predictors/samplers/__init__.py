"""Samplers, which propose architectures to an Optuna study; recipes name them by the entry points ``nas.samplers``."""

"""Runtimes: how a model is deployed, opened and run once on a target; one file each."""

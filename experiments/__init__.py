"""Recipes, and the benchmarks that produce the numbers of the README: ``python -m experiments.NAME --help``."""

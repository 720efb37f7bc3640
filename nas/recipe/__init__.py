"""The recipe: a complete description of a run, as TOML on disk and pydantic in memory.

It checks values, but loads nothing that it names.
"""

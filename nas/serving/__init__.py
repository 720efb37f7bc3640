"""Runs in a browser, while they go on: the command ``nas serve``.

A server for this machine alone shows all runs of a folder, with the same pages as ``nas report``.
"""

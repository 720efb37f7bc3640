"""Plots of a run outside of its page: pictures for papers, and drawings in the terminal.

A scene says what is drawn, in the units of its axes; ``results.plots`` has it, and draws it as a picture.
"""

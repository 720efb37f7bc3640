"""Search spaces: choices, architectures, their layers, and the look-up of plug-ins.

Measurements of architectures belong in ``values``; concrete spaces belong in ``search_spaces``.
"""

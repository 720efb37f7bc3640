"""Search spaces: choices, architectures, their layers, and how plug-ins are found.

What is measured of an architecture belongs in ``values``; concrete spaces belong in ``search_spaces``.
"""

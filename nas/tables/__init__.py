"""Tables of measured architectures: reading, looking up, writing, and adding a device.

Learning from a table belongs in ``prediction``.
"""

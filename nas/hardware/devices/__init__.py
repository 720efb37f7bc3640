"""Devices: machines that measure. ``device`` has the protocol, ``local_device`` the machine of this program."""

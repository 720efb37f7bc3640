"""The command ``nas``: one file for each command, their options, and what they print.

No logic: everything that a command does belongs in the room that it calls.
"""

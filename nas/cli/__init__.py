"""The command ``nas``: one file for each command, the options of all, and what they print."""

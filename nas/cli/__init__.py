"""The command ``nas``: one file a command, and no logic."""

"""Winners: chosen from the measured front, then retrained, exported, measured and tested, or looked up in a table."""

"""The commands on what a run has found: show it, write its report, solve it under other limits."""

"""Energy meters: windows of inferences, counters, power logs, and the choice of a meter."""

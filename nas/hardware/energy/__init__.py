"""Energy meters: counters, logs of power, and instruments of the user's own."""

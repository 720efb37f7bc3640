"""Energy meters: windows of inferences, counters, power logs, and the choice of a meter.

Modelled energy belongs in ``hardware.energy_model``: the two are never mixed.
"""

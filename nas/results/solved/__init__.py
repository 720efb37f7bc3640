"""The front of a finished run under other limits or on another target, as ``nas.solve`` gives it."""

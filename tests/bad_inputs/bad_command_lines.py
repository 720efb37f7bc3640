"""Bad command lines: commands, flags and values that make no sense."""

from __future__ import annotations

from bad_inputs.bad_input import BadInput

BAD_INPUTS = {
    "an unknown command": BadInput(("serach",), ("serach",)),
}

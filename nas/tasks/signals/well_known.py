"""The data of the task signals that have a name, in words."""

from collections.abc import Mapping

DATA_SETS: Mapping[str, str] = {
    "tones": "Generated: tones that rise, fall, stay or tremble, under noise; 2,000 windows of 256 samples, 4 classes.",
}
"""The data with a name, and what is in each."""

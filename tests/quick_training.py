"""The data and settings of a training that takes seconds."""

from __future__ import annotations

from nas.tasks.data_source import DataSource
from nas.training.settings import TrainingSettings

DIGITS = DataSource(name="digits")
SETTINGS = TrainingSettings(
    epochs=2,
    subset=1.0,
    batch_size=64,
    learning_rate=1e-2,
    weight_decay=0.05,
    label_smoothing=0.05,
    augment=True,
    device="cpu",
    time_limit_s=600.0,
    threads=1,
)

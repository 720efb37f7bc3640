"""What may spoil a window of a signal without changing its target."""

from __future__ import annotations

import torch

CORRUPTIONS = ("noise", "gain", "dropout", "gap")
GAIN_OF_1 = 4.0
"""A gain of strength 1 makes a signal so many times larger or smaller."""


def corrupted_windows(
    signals: torch.Tensor, mean: torch.Tensor, std: torch.Tensor, name: str, strength: float, generator: torch.Generator
) -> torch.Tensor:
    """Return windows, shape (N, channels, samples), under the corruption called ``name``.

    ``mean`` and ``std``, shape (1, channels, 1), are those of the channels: noise of strength 1 is as strong as the
    signal, and what is lost becomes the mean. Raises ValueError for another name.
    """
    count, _, samples = signals.shape
    if name == "noise":
        return signals + strength * std * torch.randn(signals.shape, generator=generator)
    if name == "gain":
        powers = 2.0 * torch.randint(2, (count, 1, 1), generator=generator) - 1
        return mean + (signals - mean) * GAIN_OF_1 ** (strength * powers)
    if name == "dropout":
        is_lost = torch.rand((count, 1, samples), generator=generator) < strength / 2
    elif name == "gap":
        size = max(1, round(strength / 2 * samples))
        first = torch.randint(samples - size + 1, (count, 1, 1), generator=generator)
        places = torch.arange(samples)
        is_lost = (places >= first) & (places < first + size)
    else:
        raise ValueError(f"a corruption is one of {', '.join(CORRUPTIONS)}, but got {name!r}.")
    return torch.where(is_lost, mean, signals)

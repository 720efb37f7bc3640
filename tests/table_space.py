"""A small space, and a synthetic table of all its architectures whose every value can be computed again."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
from collections.abc import Iterable
from pathlib import Path

from torch import nn

from nas.space.architecture import Architecture, Choice
from nas.space.layer import Layer
from nas.space.search_space import enumerate_space

OPERATIONS = ("skip", "narrow", "wide")
WIDTHS = {"narrow": 4, "wide": 12}
BLOCKS = 5
DEVICE = "toy"


class Chain:
    """A space of five blocks, each skipped, narrow or wide: 243 networks for images of 1×8×8."""

    choices = tuple(Choice(f"block{number}", OPERATIONS) for number in range(BLOCKS))

    def layers(self, architecture: Architecture) -> list[Layer]:
        found = [Layer("conv", (1, 8, 8), (4, 8, 8), 9 * 4 * 64, 9 * 4, kernel=3)]
        for option in architecture.values():
            if option in WIDTHS:
                inner = WIDTHS[str(option)]
                found.append(Layer("conv", (4, 8, 8), (inner, 8, 8), 9 * 4 * inner * 64, 9 * 4 * inner, kernel=3))
                found.append(Layer("conv", (inner, 8, 8), (4, 8, 8), 4 * inner * 64, 4 * inner))
        return [*found, Layer("linear", (256,), (10,), 2560, 2570)]

    def build(self, architecture: Architecture) -> nn.Module:
        raise AssertionError("a search of a table must build nothing")


def latency_ms(architecture: Architecture) -> float:
    """The sum of the blocks' costs, higher for later blocks, with up to 3 % of noise."""
    cost = {"skip": 0.0, "narrow": 0.2, "wide": 0.5}
    work = sum(cost[str(option)] * (1 + 0.1 * n) for n, option in enumerate(architecture.values()))
    return round((0.3 + work) * (1 + 0.03 * _noise(architecture, "latency")), 6)


def accuracy(architecture: Architecture) -> float:
    """The accuracy of one training in per cent: blocks help, each further one less, and there is noise."""
    gain = {"skip": 0.0, "narrow": 1.0, "wide": 1.6}
    depth = sum(gain[str(option)] for option in architecture.values())
    return round(60 + 35 * (1 - 0.7**depth) + 0.6 * _noise(architecture, "accuracy"), 6)


def final_accuracy(architecture: Architecture) -> float:
    """The accuracy in per cent without the noise of a training, and 0.5 lower."""
    return round(accuracy(architecture) - 0.6 * _noise(architecture, "accuracy") - 0.5, 6)


def write_table(
    path: Path,
    *,
    without: Iterable[Architecture] = (),
    empty: Iterable[Architecture] = (),
    untested: Iterable[Architecture] = (),
) -> Path:
    """Write all architectures except ``without``; ``empty`` rows lack latency, ``untested`` ones test accuracy."""
    without, empty, untested = set(without), set(empty), set(untested)
    stream = io.StringIO()
    writer = csv.writer(stream)
    names = [choice.name for choice in Chain.choices]
    writer.writerow([*names, "val_acc", "test_acc", f"latency_ms_{DEVICE}", f"energy_mj_{DEVICE}", "latency_ms_other"])
    for architecture in enumerate_space(Chain()):
        if architecture not in without:
            latency = "" if architecture in empty else latency_ms(architecture)
            costs = [latency, 2 * latency_ms(architecture), 3 * latency_ms(architecture)]
            options = [OPERATIONS.index(str(architecture[name])) for name in names]
            tested = "" if architecture in untested else final_accuracy(architecture)
            writer.writerow([*options, accuracy(architecture), tested, *costs])
    path.write_bytes(gzip.compress(stream.getvalue().encode()))
    return path


def _noise(architecture: Architecture, what: str) -> float:
    """A number between −1 and 1, the same in every process."""
    digest = hashlib.sha256(f"{what} {architecture.id}".encode()).digest()
    return int.from_bytes(digest[:4], "big") / 2**31 - 1

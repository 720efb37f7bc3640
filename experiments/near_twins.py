"""``python -m experiments.near_twins`` measures how well two models that are nearly alike are told apart.

    python -m experiments.near_twins [--target onnxruntime-cpu] [--out experiments/results/near_twins]

Twelve pairs of networks, of which the second has a twentieth more layers, are measured on the idle machine and beside
eight busy processes of each kind. What no clock sees, such as caches that other programs fill, mostly slows both of a
pair alike. The script prints for each load by how much the ratios of pairs differ from the idle ones, how wide their
intervals are, how often both ratios lie within their joint interval, and how many pairs are told apart. ``--out``
receives all measurements. It takes fifteen minutes on two cores, and needs Linux.
"""

from __future__ import annotations

import gzip
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from experiments.busy_desk import Desk, first_rounds, from_json, measured, parser_of_desk, percent, share, to_json
from experiments.command_line import heading, line
from nas.space.signature import image_inputs
from nas.values.paired_comparison import Ratios, paired
from nas.values.target import Target

if TYPE_CHECKING:
    import torch

LAYERS = 19, 20
CONVOLUTIONS = ((32, 32), (64, 32), (64, 64), (128, 32), (256, 16), (256, 32))
"""Channels and pixels of networks of 3×3 convolutions."""
SEPARABLE = ((64, 32), (128, 48), (256, 32))
"""The same of networks of depthwise and pointwise convolutions."""
DENSE = (256, 512, 1024)
"""Widths of networks of linear layers, which read each weight once."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Export the pairs, measure them under each load, and print the table."""
    options = parser_of_desk("near_twins", __doc__, [8]).parse_args(arguments)
    target = Target.parse(options.target)
    path = options.out / f"{target.runtime}.json.gz"
    if not options.read:
        options.out.mkdir(parents=True, exist_ok=True)
        counts = [int(count) for count in options.counts]
        desks = list(measured(target, options.kinds, counts, None, export_twins, is_paired=True))
        path.write_bytes(gzip.compress(json.dumps(to_json(desks)).encode(), mtime=0))
    print("\n".join(table(from_json(json.loads(gzip.decompress(path.read_bytes()))))))
    return 0


def export_twins(folder: Path, model_format: str, batch: int) -> None:
    """Write the pairs with random weights: ``conv-64-32-19.model`` and so on."""
    import torch

    from nas.formats.export import export_model

    torch.manual_seed(0)
    builders: list[tuple[str, Sequence[tuple[int, int]], Callable[[int, int], torch.nn.Module]]] = [
        ("conv", CONVOLUTIONS, _convolutions),
        ("separable", SEPARABLE, _separable),
        ("dense", [(width, 8) for width in DENSE], _dense),
    ]
    for kind, sizes, build in builders:
        for width, pixels in sizes:
            for layers in LAYERS:
                place = folder / f"{kind}-{width}-{pixels}-{layers}.model"
                module = build(width, layers).eval()
                export_model(module, image_inputs((3, pixels, pixels)), batch, place, model_format)  # type: ignore[arg-type]


def _convolutions(width: int, layers: int) -> torch.nn.Module:
    from torch import nn

    found: list[nn.Module] = [nn.Conv2d(3, width, 3, 2, 1), nn.ReLU()]
    for _ in range(layers):
        found += [nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
    return nn.Sequential(*found, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10))


def _separable(width: int, layers: int) -> torch.nn.Module:
    from torch import nn

    found: list[nn.Module] = [nn.Conv2d(3, width, 3, 2, 1), nn.ReLU()]
    for _ in range(layers):
        found += [nn.Conv2d(width, width, 3, padding=1, groups=width), nn.Conv2d(width, width, 1), nn.ReLU()]
    return nn.Sequential(*found, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10))


def _dense(width: int, layers: int) -> torch.nn.Module:
    from torch import nn

    found: list[nn.Module] = [nn.Flatten(), nn.Linear(192, width), nn.ReLU()]
    for _ in range(layers):
        found += [nn.Linear(width, width), nn.ReLU()]
    return nn.Sequential(*found, nn.Linear(width, 10))


def table(desks: Sequence[Desk]) -> list[str]:
    """Return the Markdown table of the figures for each load."""
    idle, *others = desks
    twins = [name.removesuffix(f"-{LAYERS[0]}") for name in idle.found if name.endswith(f"-{LAYERS[0]}")]
    truths = {name: ratios_of(idle, name) for name in twins}
    longer = [math.log(each.median) for each in truths.values()]
    values = [each.median for each in idle.found.values()]
    titles = ["beside", "ratio off: median, most", "half of an interval: median, most", "within the joint interval",
              "told apart", "seconds", "furthest"]  # fmt: skip
    return [
        f"{len(twins)} pairs of {min(values):.2g} to {max(values):.3g} ms, whose second model takes "
        f"{percent(min(longer))} to {percent(max(longer))} longer",
        "",
        *heading(titles),
        *(line(row(desk, truths)) for desk in desks[:1]),
        *(line(row(desk, truths)) for desk in others),
    ]


def row(desk: Desk, truths: Mapping[str, Ratios]) -> list[str]:
    """Return the cells of one load; ``truths`` are the idle ratios by pair, whose intervals count too."""
    found = {name: ratios_of(desk, name) for name in truths if f"{name}-{LAYERS[1]}" in desk.found}
    off = {name: math.log(each.median / truths[name].median) for name, each in found.items()}
    halves = np.array([half_of(each) for each in found.values()])
    held = [abs(off[name]) <= math.hypot(half_of(each), half_of(truths[name])) for name, each in found.items()]
    apart = [each.interval.lower > 1 or each.interval.upper < 1 for each in found.values()]
    sizes = np.abs(list(off.values()))
    furthest = max(off, key=lambda name: abs(off[name]))
    return [
        desk.name,
        f"{percent(float(np.median(sizes)))}, {percent(float(max(sizes)))}",
        f"{percent(float(np.median(halves)))}, {percent(float(max(halves)))}",
        share(np.array(held)),
        f"{sum(apart)} of {len(apart)}",
        f"{desk.seconds:.0f}",
        f"{furthest} {100 * (math.exp(off[furthest]) - 1):+.1f} %",
    ]


def half_of(ratios: Ratios) -> float:
    """Return half of the width of an interval, as a logarithm."""
    return math.log(ratios.interval.upper / ratios.interval.lower) / 2


def ratios_of(desk: Desk, twin: str) -> Ratios:
    """Return the ratios of the second model of a pair by the first one's."""
    one, other = (desk.found[f"{twin}-{layers}"] for layers in LAYERS)
    count = min(len(one.rounds), len(other.rounds))
    return paired(first_rounds(one, count), first_rounds(other, count))


if __name__ == "__main__":
    sys.exit(main())

"""The fronts of all methods: shares of the hypervolume, Markdown tables and a plot."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from experiments.beside_winners import volume_shares
from experiments.command_line import heading, line
from experiments.end_to_end.measuring import MeasuredWinner
from experiments.end_to_end.searching import METHODS, OURS, Chosen
from nas.storage.journal import write_aside
from nas.values.pareto import non_dominated


def shares(measured: Sequence[MeasuredWinner]) -> dict[str, float]:
    """Return the hypervolume of each method's winners, in per cent of that of all winners together."""
    losses = np.array([(each.test_error, each.latency_ms) for each in measured])
    return {method: 100 * share for method, share in volume_shares([m.method for m in measured], losses).items()}


def report(by_seed: Mapping[int, tuple[Sequence[Chosen], Sequence[MeasuredWinner]]]) -> list[str]:
    """Return Markdown lines: the fronts of each seed, then the hypervolumes."""
    lines: list[str] = []
    for seed, (choices, measured) in by_seed.items():
        searched_on = ", ".join(dict.fromkeys(choice.processor for choice in choices))
        lines += [
            f"Seed {seed}, searched on {searched_on}: test error and latency of each winner, its interval in brackets",
            "",
        ]
        lines += heading(("method", "searched", "trained to the end", "winners"))
        for choice in choices:
            winners = sorted((w for w in measured if w.method == choice.method), key=lambda w: w.latency_ms)
            shown = "; ".join(
                f"{100 * w.test_error:.2f} % {w.latency_ms:.4f} ms [{w.lower_ms:.4f}, {w.upper_ms:.4f}]"
                for w in winners
            )
            lines.append(line((choice.method, f"{choice.searched_s:.0f} s", choice.trained, shown)))
        lines.append("")
    found = {seed: shares(measured) for seed, (_, measured) in by_seed.items()}
    methods = list(dict.fromkeys(method for each in found.values() for method in each))
    lines += ["Per cent of the hypervolume of all winners together", ""]
    lines += heading(("method", *(f"seed {seed}" for seed in found), "seeds in which ours is above"))
    for method in methods:
        values = [each.get(method, 0.0) for each in found.values()]
        above = sum(each.get(OURS, 0.0) > value for each, value in zip(found.values(), values, strict=True))
        lines.append(line((method, *(f"{value:.1f}" for value in values), "–" if method == OURS else above)))
    return lines


def plot(by_seed: Mapping[int, tuple[Sequence[Chosen], Sequence[MeasuredWinner]]], path: Path) -> None:
    """Draw test error over measured latency with its interval: a panel for each seed, a line for each front."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5 * len(by_seed), 4), layout="constrained")
    panels = figure.subplots(1, len(by_seed), squeeze=False, sharey=True)[0]
    colours = dict(zip(METHODS, ("#0072b2", "#d55e00", "#009e73", "#cc79a7"), strict=True))
    for axes, (seed, (_, measured)) in zip(panels, by_seed.items(), strict=True):
        for method in dict.fromkeys(each.method for each in measured):
            winners = sorted((w for w in measured if w.method == method), key=lambda w: w.latency_ms)
            points = np.array([(w.test_error, w.latency_ms) for w in winners])
            front = [w for w, kept in zip(winners, non_dominated(points), strict=True) if kept]
            x, y = [w.latency_ms for w in front], [100 * w.test_error for w in front]
            axes.step(x, y, where="post", color=colours[method], label=method)
            below, above = [w.latency_ms - w.lower_ms for w in front], [w.upper_ms - w.latency_ms for w in front]
            axes.errorbar(x, y, xerr=[below, above], fmt="o", color=colours[method])
        axes.set_title(f"seed {seed}")
        axes.set_xlabel("latency, ms, measured")
    panels[0].set_ylabel("test error, %")
    panels[0].legend()
    stream = io.BytesIO()
    with rc_context({"svg.fonttype": "none"}):  # texts stay texts
        figure.savefig(stream, format="svg")
    write_aside(path, stream.getvalue())

"""What a page knows of winners beside their values: standing, notes, bundle, layers, and how they err."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from nas.hardware.roofline import rate_text, share_text
from nas.reports.page.graphs import layers_in
from nas.results.front import Front
from nas.results.winner import Winner, broken_text
from nas.space.architecture import Architecture, printable
from nas.values.metric import readable

MOST_DRAWN = 200
"""The most winners whose layers are read from their bundles; further ones are drawn by their choices.

The page has the latency by layer of these too.
"""


def winners_json(
    front: Front, places: Mapping[Architecture, int], page_folder: Path | None = None
) -> list[dict[str, Any]]:
    """Return plain data about each winner, in the order of the front; ``places`` are those among all architectures."""
    by_id = {winner.architecture.id: places[winner.architecture] for winner in front}
    found = []
    for number, (winner, standing, notes) in enumerate(zip(front.winners, front.standings, front.notes, strict=True)):
        broken = winner.broken(front.limits)
        found.append(
            {
                "at": places[winner.architecture],
                "front": standing.on_front,
                "same": [by_id[other] for other in standing.same_as if other in by_id],
                "ahead": [by_id[other] for other in standing.barely_ahead_of if other in by_id],
                "notes": list(notes),
                "meets": not broken,
                "useless": bool(winner.chance_mark),
                "broken": [broken_text(winner, limit) for limit in broken],
                "folder": winner.folder,
                "link": bundle_link(winner, front.run_folder, page_folder),
                "facts": _facts(winner, front.gco2e_per_kwh),
                "layers": layers_in(winner.bundle) if number < MOST_DRAWN and winner.bundle is not None else None,
                "confusion": winner.confusion,
                "times": _times(winner, is_kept=number < MOST_DRAWN),
            }
        )
    return found


def bundle_link(winner: Winner, run_folder: Path, page_folder: Path | None) -> str | None:
    """Return the address of a winner's bundle from the page's folder; None if no folder of the run holds it.

    It always begins with a dot, so that a folder's name is never taken for a scheme such as ``javascript:``.
    """
    if winner.bundle is None:
        return None
    if page_folder is None:
        return f"./{quote(winner.folder)}"
    try:
        way = os.path.relpath(winner.bundle, page_folder)
    except ValueError:  # another drive of Windows
        return None
    return f"./{quote(way.replace(os.sep, '/'))}"


def _facts(winner: Winner, grams_per_kwh: float | None) -> list[list[str]]:
    """Return further facts as titles and texts."""
    facts = []
    if winner.seeds is not None:
        facts.append([f"Test {winner.words.title} over seeds", winner.seeds.text(winner.words)])
    if winner.executed_precision:
        facts.append(["Executed precision", winner.executed_precision])
    rate = winner.throughput
    if rate is not None:
        share = "" if rate.share_of_peak is None else f", {share_text(rate.share_of_peak)} of the measured peak"
        facts.append(["Throughput", f"{rate_text(rate.items_per_s)} per s{share}"])
    before = winner.exported_test_error
    if before is not None and before != winner.test_error:
        facts.append([f"Test {winner.words.title} in fp32, before deployment", winner.words.text(before)])
    grams = None if grams_per_kwh is None else winner.gco2e(grams_per_kwh)
    if grams is not None:
        facts.append(["CO2e per million inferences", readable(grams * 1e6, "g")])
    if winner.parity is not None:
        facts.append(
            ["Largest difference of outputs between the exported and the trained model", f"{winner.parity:.2g}"]
        )
    return facts


def _times(winner: Winner, *, is_kept: bool) -> dict[str, Any] | None:
    """Return a winner's latency by layer beside its measured latency; None if the run did not record it."""
    times, latency = winner.layer_times, winner.measurements.get("latency_ms")
    if times is None:
        return None
    if times.reason or not is_kept:
        return {"reason": printable(times.reason or f"the report tells it of {MOST_DRAWN} winners only.")}
    return {
        "layers": [[printable(layer.name), printable(layer.kind), layer.ms] for layer in times.layers],
        "others": times.others,
        "others_ms": times.others_ms,
        "total_ms": times.total_ms,
        "latency_ms": None if latency is None else latency.median,
    }

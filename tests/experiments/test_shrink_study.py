"""The study of shrinking: what is made by hand, the sentences of its tables, and the file of results."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from acting_models import QUICK
from coloured_photos import write_photos
from safetensors.torch import save_file

from experiments import shrink_study
from experiments.pretrained import PARENT
from experiments.shrink_study import (
    HEADS,
    IN_BOTH,
    OURS,
    TUNED,
    Photos,
    Point,
    behind,
    by_hand,
    in_int8,
    keep,
    kept_in,
    shares,
    summary,
)

ALONE = "each form tuned alone"


def point(method: str, error: float, latency_ms: float, minutes: float = 10.0) -> Point:
    return Point("stamps", 0, minutes, method, "a", error, 100, latency_ms, 601.0, "supernet" if minutes else "")


OURS_TWO = [point(OURS, 0.10, 10.0), point(OURS, 0.20, 5.0)]


def test_another_is_compared_with_ours_that_take_no_longer() -> None:
    assert behind(OURS_TWO, point(HEADS, 0.25, 6.0)) == pytest.approx(-0.05)
    assert behind(OURS_TWO, point(HEADS, 0.15, 6.0)) == pytest.approx(0.05)
    assert behind(OURS_TWO, point(HEADS, 0.50, 4.0)) == float("inf")
    assert behind(OURS_TWO, point(HEADS, 0.25, 4.9)) == pytest.approx(-0.05), "sessions differ by as much"


def test_a_volume_is_a_share_of_that_of_all_together() -> None:
    found = shares([*OURS_TWO, point(HEADS, 0.3, 10.0), point(TUNED, 0.2, 5.0)])
    reference = (0.33, 11.0)
    whole = (reference[1] - 10) * (reference[0] - 0.1) + (10 - 5) * (reference[0] - 0.2)
    assert found[OURS] == pytest.approx(1.0)
    assert found[HEADS] == pytest.approx((reference[1] - 10) * (reference[0] - 0.3) / whole)
    assert list(found) == [OURS, HEADS, TUNED]


def test_a_table_says_where_ours_is_below() -> None:
    hand = [point(HEADS, 0.15, 6.0, 0.0), point(HEADS, 0.4, 4.0, 0.0), point(TUNED, 0.2, 5.0, 0.0)]
    lines = summary([*OURS_TWO, point(ALONE, 0.09, 10.0), *hand])
    assert lines[0] == "stamps, seed 0, 10 minutes, 100 photos tested:"
    ours, alone, heads, tuned, _, together = lines[-6:]
    assert ours.startswith("| nas shrink in fp32 (supernet) | 601 s | ")
    assert ours.endswith(" | 80.0% 5.00 ms; 90.0% 10.00 ms | – |")
    assert alone.endswith("| by 1.0 ± 2.9 points at 10.00 ms |")
    assert heads.endswith("| none is as fast as 4.00 ms; by 5.0 ± 3.6 points at 6.00 ms |")
    assert heads.startswith("| heads on frozen features | 601 s |")
    assert tuned.endswith("| nowhere |")
    assert together.startswith("All models by hand together: ")


def test_times_are_compared_one_by_one() -> None:
    later = [replace(each, minutes=20.0, error=0.01) for each in OURS_TWO]
    lines = summary([*OURS_TWO, *later, point(HEADS, 0.05, 20.0, 0.0)])
    assert [line for line in lines if line.startswith("stamps")] == [
        "stamps, seed 0, 10 minutes, 100 photos tested:",
        "stamps, seed 0, 20 minutes, 100 photos tested:",
    ]
    below = [line.rsplit("|", 2)[1].strip() for line in lines if line.startswith("| heads")]
    assert below == ["by 5.0 ± 2.2 points at 20.00 ms", "nowhere"]


def test_a_search_in_both_precisions_is_compared_too() -> None:
    both = [point(IN_BOTH, 0.12, 4.0)]
    heading, _, ours, in_both, heads = summary([*OURS_TWO, *both, point(HEADS, 0.15, 5.0, 0.0)])[2:7]
    assert heading.endswith(f" | where {OURS} is below | where {IN_BOTH} is below |")
    assert ours.endswith(" | – | by 2.0 ± 3.0 points at 10.00 ms |")
    assert in_both.endswith(" | none is as fast as 4.00 ms | – |")
    assert heads.endswith(" | by 5.0 ± 3.6 points at 5.00 ms | nowhere |")


def test_models_are_compared_with_those_measured_beside_them() -> None:
    """Sessions of another day may be slower as a whole."""
    later = [replace(each, together="20") for each in (*OURS_TWO, point(HEADS, 0.01, 1.0, 0.0))]
    lines = summary([*OURS_TWO, point(HEADS, 0.5, 9.0, 0.0), *later])
    assert [line.rsplit("|", 2)[1].strip() for line in lines if line.startswith("| heads")] == [
        "nowhere",
        "none is as fast as 1.00 ms",
    ]


def test_a_repeated_study_takes_the_place_of_the_earlier_one(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    others = [replace(OURS_TWO[0], seed=1), replace(OURS_TWO[0], together="10 20")]
    keep(path, [*OURS_TWO, *others])
    keep(path, [OURS_TWO[1]])
    assert kept_in(path) == [*others, OURS_TWO[1]]


def test_models_by_hand_are_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parent with a fitted head and tuned, at two resolutions; those at the photos' side also run in int8."""
    timm = pytest.importorskip("timm")
    weights = tmp_path / "weights.safetensors"
    save_file(timm.create_model(PARENT).state_dict(), weights)
    monkeypatch.setattr(shrink_study, "LOWER", (1.0, 2 / 3))
    monkeypatch.setattr(shrink_study, "MEASURING", QUICK)
    photos = Photos("colours", write_photos(tmp_path / "photos"), 48, 0, weights)
    made, took_s = by_hand(photos, tmp_path / "here")
    assert [(each.method, each.name) for each in made] == [
        (HEADS, "48 px"),
        (TUNED, "48 px"),
        (HEADS, "32 px"),
        (TUNED, "32 px"),
    ]
    assert all(each.model.is_file() for each in made)
    assert all(0 <= each.error <= 1 for each in made)
    assert by_hand(photos, tmp_path / "here") == (made, took_s)
    quantised = list(in_int8(made, photos, tmp_path / "int8"))
    assert [each.name for each in quantised] == ["48 px in int8", "48 px in int8"]
    assert all(b"QuantizeLinear" in each.model.read_bytes() for each in quantised)
    assert not any(b"QuantizeLinear" in each.model.read_bytes() for each in made)

"""The comparison from end to end: what it prints of fronts, what it does not do again, and one small real run."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from experiments import compare_end_to_end
from experiments.compare_end_to_end import METHODS, OURS, Choice, Measured, report, shares
from experiments.end_to_end_rivals import LEVELS, scaled_family
from nas.layer import total_macs
from nas.search_space import load_space
from nas.tracing import layers_of

SHAPE = (1, 28, 28)


def measured(method: str, *points: tuple[float, float]) -> list[Measured]:
    return [Measured(method, {"number": i}, error, ms, ms - 0.01, ms + 0.01) for i, (error, ms) in enumerate(points)]


def test_shares_are_of_the_hypervolume_of_all_together() -> None:
    """Within 1.1 times the worst error and the worst latency: here (0.22, 2.2)."""
    found = shares([*measured("ours", (0.1, 1.0)), *measured("random", (0.2, 0.5), (0.15, 2.0))])
    ours, random, both = 0.12 * 1.2, 0.02 * 1.7 + 0.05 * 0.2, 0.12 * 1.2 + 0.02 * 0.5
    assert found == pytest.approx({"ours": 100 * ours / both, "random": 100 * random / both})


def test_the_report_counts_the_seeds_in_which_ours_is_above() -> None:
    """A front for each seed, in order of latency, then one line for each method."""
    better, worse = (0.1, 1.0), (0.2, 2.0)

    def seed(ours: tuple[float, float], random: tuple[float, float]) -> tuple[list[Choice], list[Measured]]:
        choices = [Choice(method, 7, ({"number": 0},)) for method in (OURS, "random")]
        return choices, [*measured(OURS, ours), *measured("random", random)]

    lines = report({0: seed(better, worse), 1: seed(worse, better), 2: seed(better, worse)})
    assert any(row.startswith("| random | 7 | 20.00 % 2.0000 ms [1.9900, 2.0100]") for row in lines)
    (row,) = [row for row in lines[-2:] if row.startswith("| random")]
    assert row.split("|")[-2].strip() == "2"


def test_the_hand_made_family_scales_width_and_depth() -> None:
    """No member twice, and work grows from the smallest to the largest."""
    space = load_space("mobilenet", {}, input_shape=SHAPE, classes=10)
    family = scaled_family(space)
    assert len(set(family)) == len(family) <= len(LEVELS) ** 2
    macs = sorted(total_macs(layers_of(space, member, SHAPE, 10)) for member in family)
    assert macs[-1] > 20 * macs[0]
    assert {member["stem.width"] for member in family} >= {min(space.choices[0].options), max(space.choices[0].options)}


def test_what_is_found_is_not_done_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From the files of an earlier start come report, JSON and plot."""
    folder = tmp_path / "out" / "seed0"
    folder.mkdir(parents=True)
    for method in METHODS:
        (folder / f"{method}.json").write_text(json.dumps(asdict(Choice(method, 3, ({"number": 0},)))))
    found = [each for n, method in enumerate(METHODS) for each in measured(method, (0.1 + 0.01 * n, 1.0 + n))]
    (folder / "measured.json").write_text(json.dumps([asdict(each) for each in found]))
    out, plot = tmp_path / "out.json", tmp_path / "out.html"
    options = ["--recipe", "experiments/digits.toml", "--seeds", "1", "--out", str(tmp_path / "out")]
    assert compare_end_to_end.main([*options, "--json", str(out), "--plot", str(plot)]) == 0
    printed = capsys.readouterr().out
    assert "| ours | 100.0 | – |" in printed
    kept: dict[str, Any] = json.loads(out.read_text())
    assert len(kept["seeds"]["0"]["measured"]) == len(METHODS)
    assert plot.read_text().count('"name":"nsga2"') == 1


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_small_comparison(tmp_path: Path) -> None:
    """All methods search for some seconds; their winners are retrained and measured together."""
    out = tmp_path / "out.json"
    options = ["--recipe", "experiments/digits.toml", "--time", "8s", "--seeds", "1", "--out", str(tmp_path / "out")]
    assert compare_end_to_end.main([*options, "--search-only"]) == 0
    assert sorted(path.name for path in (tmp_path / "out").rglob("*.json") if path.stem in METHODS) == [
        f"{method}.json" for method in sorted(METHODS)
    ]
    assert not list((tmp_path / "out").rglob("measured.json"))
    assert compare_end_to_end.main([*options, "--json", str(out)]) == 0
    found = json.loads(out.read_text())["seeds"]["0"]
    assert [choice["method"] for choice in found["choices"]] == list(METHODS)
    for choice in found["choices"]:
        winners = [each for each in found["measured"] if each["method"] == choice["method"]]
        assert [each["architecture"] for each in winners] == choice["winners"]
        assert 1 <= len(winners) <= choice["trained"]
        assert all(0 <= each["test_error"] <= 1 for each in winners)
        assert all(0 < each["lower_ms"] <= each["latency_ms"] <= each["upper_ms"] for each in winners)

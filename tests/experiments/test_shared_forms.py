"""The experiment on forms that share one tuning: its tables, and a small run of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments.shared_forms import Found, main, summary


def test_the_tables_compare_times_and_ranks() -> None:
    """Kendall's tau of shared errors is set beside that of two seeds."""
    alone, again, shared = (0.1, 0.2, 0.3, 0.4), (0.1, 0.2, 0.4, 0.3), (0.2, 0.1, 0.3, 0.4)
    points = ((0.5, 10.0), (0.25, 20.0))
    found = Found(
        seed=0,
        shared=shared,
        losses=alone,
        alone=alone,
        again=again,
        tuning_s=200.0,
        scoring_s=50.0,
        alone_s=1000.0,
        tuning_on_s=10.0,
        forms=1000,
        points_alone=points,
        points_shared=points[:1],
    )
    assert found.taus == pytest.approx((2 / 3, 1 / 3, 2 / 3))
    times, ranks, volumes, told = (text for text in "\n".join(summary([found])).split("\n\n"))
    assert "| 0 | 1000 | 200 s | 50 s | 0.25 | 250.0 s |" in times
    assert "| 0 | 4 | 0.67 | 0.33 | 0.67 | 0.83 |" in ranks
    # Up to the reference point (.55, 22), .05 × 12 of the one point beside .05 × 10 + .3 × 2 of both.
    assert "| 0 | 1 | 54.5% | 26% |" in volumes
    assert told == "Shared errors reach 75% of the τ that two seeds have, and losses 125%."


def test_a_parent_has_weights_or_is_trained_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = ["--weights", str(tmp_path / "w.safetensors"), "--parent-epochs", "2"]
    with pytest.raises(SystemExit):
        main(["small_parents:make_digits", "--folder", str(tmp_path), *both])
    assert "--weights gives it some. Leave out one." in capsys.readouterr().err


@pytest.mark.slow
def test_a_small_run_is_kept_and_read_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The second call trains the few forms once more, and neither the parent nor anything else; it finds the same."""
    arguments = [
        "small_parents:make_digits",
        "--parent-epochs",
        "2",
        "--alone",
        "3",
        "--epochs",
        "1",
        "--alone-epochs",
        "1",
        "--forms",
        "8",
        "--seeds",
        "1",
    ]
    arguments += ["--folder", str(tmp_path / "runs"), "--out", str(tmp_path / "found.json")]
    assert main(arguments) == 0
    first = capsys.readouterr().out.split("parent, epoch 2 of 2: ")[1].partition("\n")[2]
    assert (tmp_path / "runs" / "parent-seed0.safetensors").is_file()
    (kept,) = json.loads((tmp_path / "found.json").read_text())
    assert kept["forms"] == 7  # the parent is the eighth
    assert len(kept["shared"]) == len(kept["losses"]) == len(kept["alone"]) == len(kept["again"]) == 3
    assert len(kept["points_alone"]) == 3
    assert kept["points_shared"]
    assert min(kept["tuning_s"], kept["scoring_s"], kept["alone_s"], kept["tuning_on_s"]) > 0
    assert main(arguments) == 0
    again, before = capsys.readouterr().out.splitlines(), first.splitlines()
    timed = next(place for place, row in enumerate(before) if "their time" in row) + 2  # tuning on takes another time
    assert [*again[:timed], *again[timed + 1 :]] == [*before[:timed], *before[timed + 1 :]]

"""``nas retrain`` passes its options on, and refuses what it cannot take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from in_process import printed, refused
from run_record_example import example_record

OLD_RUN = Path(__file__).parents[1] / "old_runs" / "finished-0.6.0"


def test_options_reach_the_function(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the new front is printed."""
    asked: dict[str, Any] = {}

    def retrain(run: Path, **options: Any) -> Any:
        asked.update(options, run=run)
        return example_record().front

    monkeypatch.setattr("nas.searching.later_retraining.retrain.retrain", retrain)
    shown = printed(
        capsys, monkeypatch, "retrain", OLD_RUN, "--id", "abcd", "--id", "ef01", "--data", "folder:more", "--epochs",
        "60", "--seeds", "3", "--teacher", "best", "--start", "winner", "--executor", "inline", "--set",
        "training.ema=0.99", "--set", "training.cutmix=1", "--set", "execution.workers=1",
    )  # fmt: skip
    assert example_record().front[0].architecture.id in shown
    assert asked.pop("progress") is not None
    assert asked == {
        "run": OLD_RUN,
        "top": None,
        "ids": ["abcd", "ef01"],
        "epochs": 60,
        "seeds": 3,
        "training": {"ema": 0.99, "cutmix": 1},
        "teacher": "best",
        "start": "winner",
        "more_data": "folder:more",
        "overrides": ["execution.workers=1", "execution.executor=inline"],
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--set", "trials=3"], "--set takes keys of training or of execution here, such as training.ema=0.99"),
        (["--set", "training.emma=3"], "'emma'"),
        (["--top", "0"], "--top"),
        (["--top", "1", "--id", "abcd"], "by their number or by their ids"),
        (["--start", "anywhere"], "start must be scratch, supernet or winner"),
    ],
    ids=" ".join,
)
def test_wrong_options_are_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, options: list[str], message: str
) -> None:
    assert message in refused(capsys, monkeypatch, "retrain", OLD_RUN, *options)


def test_a_folder_without_a_run_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert "must be the folder of a run" in refused(capsys, monkeypatch, "retrain", tmp_path)

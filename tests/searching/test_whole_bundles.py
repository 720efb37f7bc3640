"""A run that ends while it makes winners leaves no half bundle, and makes whole ones when it goes on."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path

import pytest
from commands import evaluations_of
from quick_runs import OneChoice, Stopping, resume, search

import nas
from nas.errors import JournalError
from nas.results.bundle import ABOUT, WEIGHTS
from nas.results.bundled.card import CARD
from nas.results.bundled.manifest import changes_in
from nas.results.bundled.unfinished import UNFINISHED

pytestmark = pytest.mark.usefixtures("quick_export")


def bundles(run: Path) -> list[Path]:
    return sorted((run / "winners").glob("[!.]*"))


def assert_whole(run: Path) -> None:
    """Every bundle has the hashes of its files, and nothing lies beside them."""
    winners = [row.architecture.id for row in evaluations_of(run, "winner")]
    assert [folder.name for folder in bundles(run)] == sorted(winners)
    assert not (run / "winners" / UNFINISHED).exists()
    for folder in bundles(run):
        found = changes_in(folder)
        assert (found.missing, found.changed, found.added) == ((), {}, ())


@pytest.mark.parametrize("stage", ["exporting winners", "testing winners"])
def test_a_run_that_stops_leaves_no_half_bundle(tmp_path: Path, stage: str) -> None:
    """Weights wait until the bundle is whole; nothing is trained again."""
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, OneChoice(), progress=Stopping(stage))
    run = tmp_path / "run"
    assert bundles(run) == []
    assert len(list((run / "winners" / UNFINISHED).glob(f"*/{WEIGHTS}"))) == 2
    front = resume(run, OneChoice())
    assert len(front) == 2
    assert len(evaluations_of(run, "retrain")) == 2
    assert_whole(run)


def test_a_full_disk_leaves_no_half_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says so, and the run goes on once there is space."""

    def full(folder: Path, version: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("nas.results.bundled.writing.write_manifest", full)
        with pytest.raises(JournalError, match="No space left on device"):
            search(tmp_path, OneChoice())
    assert bundles(tmp_path / "run") == []
    resume(tmp_path / "run", OneChoice())
    assert_whole(tmp_path / "run")


def test_a_run_that_was_stopped_by_an_older_version_goes_on(tmp_path: Path) -> None:
    """It wrote weights to where the bundle lies."""
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, OneChoice(), progress=Stopping("exporting winners"))
    run = tmp_path / "run"
    for waiting in list((run / "winners" / UNFINISHED).iterdir()):
        shutil.move(waiting, run / "winners" / waiting.name)
    (run / "winners" / UNFINISHED).rmdir()
    resume(run, OneChoice())
    assert_whole(run)


def test_the_card_of_a_winner_tells_its_run(tmp_path: Path) -> None:
    """Its data, its error with the interval, its latency, the limit and the cost."""
    front = search(tmp_path, OneChoice(), limits=["latency_ms <= 9ms"])
    winner = front[0]
    assert winner.bundle is not None
    text = (winner.bundle / CARD).read_text(encoding="utf-8")
    for words in (
        "A model for digits",
        f"| accuracy | {winner.words.text(winner.test_error)} | {winner.words.range_text(winner.test_interval)} |",
        "| latency |",
        "latency ≤ 9 ms, met",
        "1 epoch in",
        "The run until its winners were trained",
        "trained from random ones",
        "training images",
        "| width |",
    ):
        assert words in text, words
    about = json.loads((winner.bundle / ABOUT).read_text(encoding="utf-8"))
    assert about["origin"] == {}
    assert about["samples"].endswith("training images")
    assert nas.Bundle.read(winner.bundle).about == about

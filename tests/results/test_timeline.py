"""When things happened in a run: pauses do not count."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import nas
from nas.results.timeline import Timeline, merged, read_timeline, seconds_until
from nas.space.architecture import Architecture
from nas.storage.journal import Journal, JournalReader
from nas.storage.journal_rows import Cost, RoundEnded, TurnedAway
from nas.values.evaluation import Evaluation


def test_intervals_are_merged() -> None:
    assert merged([(5, 6), (0, 2), (1, 3), (3, 4)]) == [(0, 4), (5, 6)]
    assert merged([]) == []


def test_seconds_before_a_time_by_hand() -> None:
    """Work lasted from 10 to 14 and from 100 to 103; what lies between does not count."""
    assert seconds_until([9, 10, 12, 50, 101, 200], [(10, 14), (100, 103)]) == [0, 0, 2, 4, 5, 7]


def evaluation(number: int, seconds: float = 0.0) -> Evaluation:
    details = {"seconds": seconds} if seconds else {}
    return Evaluation("train", Architecture({"n": number}), 1, {"error": 0.1}, details=details)


def cost(wall_s: float) -> Cost:
    return Cost(wall_s, 0.0, None, "no counter")


def written(folder: Path, *rows: tuple[float, object]) -> Timeline:
    clock = iter([at for at, _ in rows])
    with Journal.start(folder, "", clock=lambda: next(clock)) as journal:
        for _, row in rows:
            journal.append(row)  # type: ignore[arg-type]
    with JournalReader(folder) as reader:
        return read_timeline(reader)


def test_a_pause_between_two_processes_does_not_count(tmp_path: Path) -> None:
    """The first process worked from 100 to 110, the second from 500 on, and has noted no cost yet."""
    found = written(
        tmp_path / "run",
        (104, evaluation(1)),
        (110, RoundEnded(1)),
        (110, cost(10.0)),
        (520, evaluation(2, 20.0)),
        (525, cost(25.0)),
        (530, evaluation(3)),
    )
    assert found.seconds == (4, 30, 40)
    assert found.rounds == ((1, 10),)
    assert (found.began_at, found.last_at) == (100, 530)


def test_a_killed_process_left_no_cost_but_its_trainings_count(tmp_path: Path) -> None:
    found = written(tmp_path / "run", (100, evaluation(1, 8.0)), (900, evaluation(2, 5.0)), (901, cost(6.0)))
    assert found.seconds == (8, 13)


def test_what_was_turned_away_is_kept_by_round(tmp_path: Path) -> None:
    found = written(tmp_path / "run", (1, TurnedAway(1, {"latency_ms <= 1": 3})), (2, TurnedAway(1, {"x": 1})))
    assert [each.counts for each in found.turned_away] == [{"latency_ms <= 1": 3}, {"x": 1}]
    assert found.seconds == ()


@pytest.mark.parametrize("name", ["finished", "finished-0.6.0", "interrupted", "interrupted-0.6.0"])
def test_old_runs_have_a_timeline(name: str, tmp_path: Path) -> None:
    """Also those of version 0.5.0, which counted what it turned away in other rows."""
    run = nas.load_run(shutil.copytree(Path(__file__).parents[1] / "old_runs" / name, tmp_path / name))
    assert len(run.timeline.seconds) == len(run.rows)
    assert list(run.timeline.seconds) == sorted(run.timeline.seconds)

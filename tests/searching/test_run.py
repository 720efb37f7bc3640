"""Whole runs in this process: seeds, time, small spaces and names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest
from commands import assert_nothing_twice, evaluations_of, rows_of
from quick_runs import Diary, OneChoice, resume, search, trained

from nas.errors import LimitError, SpaceError
from nas.jobs.choosing import gpu_share
from nas.reports.report import headline
from nas.results.run_folder import load_run
from nas.space.architecture import Choice, Option

pytestmark = pytest.mark.usefixtures("quick_export")


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("tpe", "nsga2", "nsga3", "local")]
"""Golden runs show the same of these in less time."""


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["gp", "random", *SLOW])
def test_a_recipe_and_a_seed_decide_every_row(tmp_path: Path, sampler: str) -> None:
    """Two runs give the same journal, with the times of all rows; another seed gives another journal."""
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        search(tmp_path / folder, seed=seed, sampler=sampler, retraining={"epochs": 1, "winners": 1})
    first, second, other = (rows_of(tmp_path / folder / "run") for folder in ("a", "b", "c"))
    assert first == second
    assert trained(tmp_path / "a" / "run") != trained(tmp_path / "c" / "run")
    assert [row[1] for row in first] == sorted(row[1] for row in first)
    assert len(first) != len(other) or first != other


@pytest.mark.slow
def test_no_training_begins_after_the_search_time(tmp_path: Path) -> None:
    """Each round takes its share of the time, candidates become winners, and a resumed run gets no further time."""
    diary = Diary()
    front = search(tmp_path, search_time_s=0.4, trials=200, progress=diary)  # by a clock that ticks when it is read
    run = tmp_path / "run"
    assert 2 <= len(trained(run)) < 30
    by_round = Counter(row.round for row in evaluations_of(run, "train"))
    assert set(by_round) == {1, 2}
    assert sum("its share of the search time (0.4 s in all) is used up" in news for news in diary.news) == 2
    assert len(front) >= 1
    before = rows_of(run)
    resume(run)
    assert rows_of(run) == before


def test_a_search_trains_something_however_short_its_time(tmp_path: Path) -> None:
    """Without a training there would be no front."""
    assert len(search(tmp_path, search_time_s=0.001, trials=200)) == 1
    assert len(trained(tmp_path / "run")) == 1


def test_a_space_smaller_than_the_budget_is_trained_once_and_says_so(tmp_path: Path) -> None:
    """Six architectures are trained once each, the rest of the budget is not spent, and a message says so."""
    diary = Diary()
    front = search(tmp_path, OneChoice(), trials=20, early_stopping={"enabled": False}, progress=diary)
    assert sorted(int(a["width"]) for a in trained(tmp_path / "run")) == [2, 3, 4, 5, 6, 8]
    assert_nothing_twice(tmp_path / "run")
    assert len(front) >= 1
    assert "every architecture of the space is trained: 6 in all" in diary.news


def test_a_space_with_too_few_networks_for_a_predictor_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A predictor needs five measured architectures. Resuming would not help, so nothing says that it would."""

    class MostlyTheSame(OneChoice):
        choices = (Choice("width", tuple(range(2, 1000))),)

        def canonical(self, values: Mapping[str, Option]) -> Mapping[str, Option]:
            return {"width": min(3, int(values["width"]))}

    monkeypatch.setattr("nas.space.search_space.MOST_ASSIGNMENTS", 100)
    with pytest.raises(SpaceError, match=r"at least 5 measured.*there are [12]\. Give the space more") as caught:
        search(tmp_path, MostlyTheSame())
    assert not hasattr(caught.value, "__notes__")


def test_the_report_says_what_ended_a_run(tmp_path: Path) -> None:
    """Its headline does not promise that the run goes on."""
    with pytest.raises(LimitError) as caught:
        search(tmp_path, limits=["latency_ms <= 1us"])
    record = load_run(tmp_path / "run")
    assert record.ended_by == str(caught.value)
    assert headline(record).startswith("No winners on ")
    assert headline(record).endswith(str(caught.value))


@pytest.mark.slow
def test_runs_without_a_name_get_a_new_folder_each(tmp_path: Path) -> None:
    """Its name is made of the names of the data set and the space, and a number."""
    for _ in range(2):
        search(tmp_path, name="", trials=1, rounds=1, objectives=["error"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["digits-given", "digits-given-2"]


@pytest.mark.parametrize(
    ("gpus", "workers", "share"), [(0, 4, 0.0), (2, 2, 1.0), (4, 2, 1.0), (1, 2, 0.5), (2, 3, 0.5), (2, 5, 1 / 3)]
)
def test_workers_share_the_gpus(gpus: int, workers: int, share: float) -> None:
    """All workers run at once, each on one GPU or a fraction of one, because Ray takes no one and a half."""
    assert gpu_share(gpus, workers) == share
    if share:
        assert gpus * int(1 / share + 1e-9) >= workers

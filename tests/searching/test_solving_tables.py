"""Runs in a table are solved again for other limits and other devices, without a look at another error."""

from __future__ import annotations

import gzip
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from commands import rows_of
from table_space import DEVICE, Chain, latency_ms, write_table

import nas
from nas.errors import JournalError, LimitError, RecipeError
from nas.storage.journal import Journal, JournalReader
from nas.storage.journal_rows import Began, RecipeText
from nas.tables.table_evaluation import SearchedTable

OTHER = "other"
"""The device of the table on which every latency is three times as long."""


@pytest.fixture(name="finished", scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run in the folder ``run``, beside its table."""
    folder = tmp_path_factory.mktemp("runs")
    recipe = {
        "name": "run",
        "evaluate": "table",
        "trials": 24,
        "rounds": 2,
        "sampler": "random",
        "predictor": "quick_predictor:fit_quick",
        "table": {
            "path": str(write_table(folder / "table.csv.gz")),
            "accuracy": "val_acc",
            "test_accuracy": "test_acc",
            "device": DEVICE,
            "input_shape": [1, 8, 8],
        },
        "measuring": {"initial": 8, "per_round": 3},
        "execution": {"executor": "inline"},
    }
    instruments = nas.Instruments(looks_apart=False)
    nas.search(recipe, space=Chain(), runs=folder, progress=None, instruments=instruments)
    return folder / "run"


@pytest.fixture(name="run")
def copied_run(finished: Path, tmp_path: Path) -> Path:
    """A copy of the run that a test may add to."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture(autouse=True)
def _no_errors(monkeypatch: pytest.MonkeyPatch, finished: Path) -> None:
    """After the search, no error is looked up any more: that would be a training."""

    def fail(*arguments: object) -> None:
        raise AssertionError("solving must train nothing")

    monkeypatch.setattr(SearchedTable, "_error", fail)


def solve(run: Path, limits: list[str] | None = None, **options: Any) -> nas.Solved:
    return nas.solve(run, limits, progress=None, **options)


def on_other(run: Path, limits: list[str] | None = None, **options: Any) -> nas.Solved:
    return solve(run, limits, target=OTHER, space=Chain(), trust=True, **options)


def test_other_limits_need_neither_the_space_nor_its_code(run: Path) -> None:
    """The front is that of all candidates within the limit, and the run stays as it was."""
    before = rows_of(run)
    solved = solve(run, ["latency_ms <= 1.5ms"])
    assert len(solved.candidates) == 24
    assert 1 < len(solved) < 24
    assert all(point.value("latency_ms") <= 1.5 for point in solved)
    errors = [point.trained["error"] for point in solved]
    latencies = [point.value("latency_ms") for point in solved]
    assert errors == sorted(errors)
    assert latencies == sorted(latencies, reverse=True)
    assert rows_of(run) == before
    assert not (run / "solved").exists()


def test_counted_limits_work_at_once(run: Path) -> None:
    """The search neither minimised nor limited them."""
    solved = solve(run, ["macs <= 700k", "params <= 4k"])
    assert len(solved)
    for point in solved:
        assert point.counted["macs"] <= 7e5
        assert point.source("macs") == "counted"
        assert point.source("latency_ms") in ("looked up", "predicted")


def test_another_device_is_looked_up_whole(run: Path) -> None:
    """That is free, so nothing is predicted, and the front is the true one."""
    solved = on_other(run)
    assert solved.measured == solved.newly_measured == 24
    for point in solved.candidates:
        assert point.source("latency_ms") == "looked up"
        assert point.value("latency_ms") == pytest.approx(3 * latency_ms(point.architecture))
    assert not any("predict" in note for note in solved.notes)


def test_another_device_takes_as_many_look_ups_as_asked_for(run: Path) -> None:
    """Looked-up values are the table's, and predicted ones have bounds; both are told apart."""
    solved = on_other(run, measure=10)
    assert solved.target == f"table:{OTHER}"
    assert solved.measured == solved.newly_measured == 10
    sources = [point.source("latency_ms") for point in solved.candidates]
    assert sources.count("looked up") == 10
    assert sources.count("predicted") == 14
    for point in solved.candidates:
        true = 3 * latency_ms(point.architecture)
        if point.source("latency_ms") == "looked up":
            assert point.value("latency_ms") == pytest.approx(true)
        else:
            assert point.interval("latency_ms").lower < point.value("latency_ms") < point.interval("latency_ms").upper
    assert any(point.source("latency_ms") == "looked up" for point in solved)


def test_the_same_question_looks_nothing_up_again(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = on_other(run)
    own = rows_of(run)

    def fail(*arguments: object, **options: object) -> None:
        raise AssertionError("everything was looked up before")

    monkeypatch.setattr(SearchedTable, "rows", fail)
    again = on_other(run)
    assert again.newly_measured == 0
    assert again.measured == 24
    assert [point.to_json() for point in again.candidates] == [point.to_json() for point in first.candidates]
    assert rows_of(run) == own


def test_a_larger_number_adds_to_what_is_kept(run: Path) -> None:
    """Five come first, the fewest for a predictor; then all of the front is looked up."""
    first = on_other(run, measure=5)
    assert (first.measured, first.newly_measured) == (5, 5)
    more = on_other(run, measure=24)
    assert more.newly_measured == more.measured - 5
    assert more.points
    assert all(point.source("latency_ms") == "looked up" for point in more)
    kept = {row.architecture for row in nas.load_run(run).rows if row.stage == "measure"}
    assert kept  # the run's own rows, which lie apart from the new ones


def test_limits_hold_on_the_other_device(run: Path) -> None:
    """Those of the front that are looked up truly meet the limit, and look-ups gather where it matters."""
    limit = 3 * 1.2
    solved = on_other(run, [f"latency_ms <= {limit}ms"])
    for point in solved:
        if point.source("latency_ms") == "looked up":
            assert 3 * latency_ms(point.architecture) <= limit
    best = min(
        (point for point in solved.candidates if 3 * latency_ms(point.architecture) <= limit),
        key=lambda point: point.trained["error"],
    )
    assert solved.best.architecture == best.architecture
    assert solved[best.architecture.id[:8]].architecture == best.architecture
    with pytest.raises(LookupError, match="a point is found by its place, its id"):
        solved["none"]


def test_a_metric_that_the_search_did_not_look_up(run: Path) -> None:
    """Energy is looked up of all that are no winners; latencies stay those of the run."""
    solved = solve(run, ["energy_mj <= 3mJ"], space=Chain(), trust=True)
    assert solved.newly_measured == 24 - len(nas.load_run(run).front)
    assert len(solved)
    for point in solved:
        assert point.value("energy_mj") <= 3
        assert point.source("energy_mj") == "looked up"
        assert point.value("energy_mj") == pytest.approx(2 * latency_ms(point.architecture))


def without_the_last_look_ups(run: Path) -> Path:
    """Return a run as versions before 0.9 left it: most costs of its candidates are predicted."""
    found = nas.load_run(run)
    seen = {row.architecture for row in found.rows if row.stage == "measure" and row.round == 0}
    rows = [row for row in found.rows if row.stage == "train" or (row.stage == "measure" and row.round == 0)]
    with JournalReader(run) as source:
        began = source.rows(Began)
    with Journal.start(run.parent / "old", found.recipe_text, clock=time.time) as journal:
        journal.append(RecipeText(found.recipe_text), *began, *rows)
    assert len(seen) < 24
    return run.parent / "old"


def test_an_older_run_is_looked_up_to_its_end(run: Path) -> None:
    """What it predicted lies in the table, so the best model under a limit is the true one."""
    old = without_the_last_look_ups(run)
    solved = solve(old, ["latency_ms <= 1.5ms"], space=Chain(), trust=True)
    assert {point.source("latency_ms") for point in solved.candidates} == {"looked up"}
    fitting = [point for point in solved.candidates if latency_ms(point.architecture) <= 1.5]
    assert solved.best is not None
    assert solved.best.architecture == min(fitting, key=lambda point: point.trained["error"]).architecture


def test_an_older_run_whose_table_or_space_is_missing_is_solved_by_predictions(run: Path) -> None:
    """A note says why; where more was asked for, that is an error as before."""
    old = without_the_last_look_ups(run)
    solved = solve(old, ["latency_ms <= 1.5ms"])
    assert any(point.source("latency_ms") == "predicted" for point in solved.candidates)
    assert any("could not be looked up: the run" in note for note in solved.notes)
    with pytest.raises(RecipeError, match="started with a space object"):
        solve(old, ["latency_ms <= 1.5ms"], measure=24)


def test_a_run_of_few_candidates_is_measured_whole(run: Path) -> None:
    """Of its front, no point stays predicted, though more might be measured than there are candidates."""
    solved = on_other(run, measure=50, limits=["params <= 100M"])
    assert solved.points
    assert all(point.source("latency_ms") == "looked up" for point in solved)
    assert len(solved) <= solved.measured <= 24


def test_what_nothing_meets_is_said_with_the_nearest(run: Path) -> None:
    solved = solve(run, ["latency_ms <= 0.01ms"])
    assert not solved.points
    assert solved.best_or_none is None
    with pytest.raises(LimitError, match="but none does"):
        _ = solved.best
    assert solved.nearest is not None
    lowest = min(solved.candidates, key=lambda point: point.value("latency_ms"))
    told = f"{lowest.value('latency_ms'):.4g} ms, of {lowest.architecture.id}"
    assert solved.unmet[0].startswith(f"No candidate meets latency ≤ 0.01 ms: the lowest is {told}")
    assert f"The nearest candidate is {solved.nearest.architecture.id}" in solved.unmet[-1]
    assert "joins" in solved.improvements[0]


def test_limits_that_nothing_meets_together(run: Path) -> None:
    """Each is met by some candidate alone."""
    solved = solve(run, ["latency_ms <= 1ms", "error <= 10%"])
    assert not solved.points
    assert "No candidate meets all of latency ≤ 1 ms, error ≤ 10 % together." in solved.unmet
    assert "which exceeds" in solved.unmet[-1]


def test_what_a_looser_limit_would_give_is_told(run: Path) -> None:
    """The told limit admits the told candidate, and no smaller one of three digits does."""
    solved = solve(run, ["latency_ms <= 1ms"])
    text = solved.improvements[0]
    amount = float(text.split("≤ ")[1].split(" ms")[0])
    admitted = solve(run, [f"latency_ms <= {amount}ms"])
    assert admitted.best.trained["error"] < solved.best.trained["error"]
    assert admitted.best.architecture.id in text
    tighter = solve(run, [f"latency_ms <= {amount - 0.01:.2f}ms"])
    assert tighter.best.architecture == solved.best.architecture


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "nothing"}, "none for the device 'nothing'"),
        ({"measure": 3, "target": OTHER}, "--measure must be at least 5, but got 3: latency_ms is unknown on "),
        ({"measure": -1}, "0 or more, but got -1"),
        ({"limits": "latency_ms <= 1ms"}, "a list of texts, such as"),
        ({"limits": ["latency_ms <= 1"]}, "needs a unit"),
        ({"limits": ["latency_ms <= 1ms", "latency_ms <= 2ms"]}, "one limit at most"),
        ({"objectives": ["error", "speed"]}, "speed"),
        ({"objectives": ["balanced_error"]}, "has no balanced_error"),
        ({"limits": ["peak_memory_mib <= 3MiB"]}, "no column of peak_memory_mib"),
        ({"target": OTHER, "space": None}, "started with a space object"),
        ({"target": OTHER, "trust": False}, "names code of its own, quick_predictor:fit_quick"),
    ],
)
def test_bad_requests_are_refused(run: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        solve(run, **{"space": Chain(), "trust": True, **options})
    assert not (run / "solved").exists()


def test_a_space_of_other_choices_is_refused(run: Path) -> None:
    class Shorter(Chain):
        choices = Chain.choices[:3]

    with pytest.raises(RecipeError, match="must have the choices that the run"):
        solve(run, target=OTHER, space=Shorter(), trust=True)


def test_a_table_that_has_changed_is_refused(run: Path) -> None:
    table = Path(nas.load_run(run).table or "")
    before = table.read_bytes()
    text = gzip.decompress(before).decode().splitlines()
    try:
        table.write_bytes(gzip.compress("\n".join([text[0], *text[2:]]).encode()))
        with pytest.raises(JournalError, match="has changed since"):
            on_other(run)
    finally:
        table.write_bytes(before)


def test_folders_that_are_no_run(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="must be the folder of a run"):
        solve(tmp_path / "nothing")


def test_a_front_prints_and_gives_data(run: Path) -> None:
    """As a text, a table for notebooks, plain data and a data frame."""
    solved = on_other(run, measure=10)
    text = repr(solved)
    assert f"on table:{OTHER}" in text
    assert "~" in text
    assert "are predicted, with 90 % bounds; the others are from the table" in text
    assert solved._repr_html_().count("<tr>") == min(len(solved), 12) + 1
    data = solved.to_json()
    assert len(data["points"]) == len(solved)
    assert data["points"][0]["id"] == solved[0].architecture.id
    frame = solved.to_dataframe()
    assert set(frame["latency_ms_source"]) <= {"looked up", "predicted"}
    assert len(solved[:2]) == 2
    series = solved.plot().scene.series
    assert len(series) in (1, 2)
    assert all(each.shows_bars for each in series)
    assert any(mark.x_bounds for each in series for mark in each.marks)
    with pytest.raises(ValueError, match="no point has a value of energy_mj"):
        solved.plot("energy_mj")


def test_nothing_is_said_of_models(run: Path) -> None:
    """A table's errors are of no split of data, its seconds are simulated, and nothing of it can be retrained."""
    solved = on_other(run, ["error <= 0.9", "latency_ms <= 3ms"])
    told = " ".join((*solved.notes, *solved.improvements))
    assert not [word for word in ("validation", "No model", "training", "trained", "Retrained") if word in told]
    with pytest.raises(RecipeError, match="there is nothing to measure"):
        nas.measure_run(run, [solved[0].architecture.id], progress=None)

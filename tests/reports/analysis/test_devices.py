"""The same architectures in two runs: ratios, ranks and fronts, by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from made_rows import made_run, measured, trained
from run_record_example import example_record

from nas.reports.analysis.architecture_values import known_of
from nas.reports.analysis.devices import Side, comparison_of, front_moved
from nas.reports.analysis.runs import groups_of, labels_of, runs_of
from nas.results.records import records_of
from nas.results.run import Run
from nas.space.architecture import Architecture
from nas.values.evaluation import Evaluation
from nas.values.metric import METRICS

LATENCY, ERROR = METRICS["latency_ms"], METRICS["error"]
HERE = {1: (0.40, 1.0), 2: (0.30, 2.0), 3: (0.20, 3.0), 4: (0.10, 4.0)}
"""Error and latency of four architectures, all on the front."""
THERE = {1: 2.0, 2: 9.0, 3: 6.0, 4: 8.0}
"""Their latencies on another device: the third beats the second."""


def rows_here() -> list[Evaluation]:
    rows = [trained({"n": n}, error) for n, (error, _) in HERE.items()]
    return rows + [measured({"n": n}, latency_ms=latency) for n, (_, latency) in HERE.items()]


def side(label: str, rows: list[Evaluation]) -> Side:
    return Side(label, known_of(records_of(rows)))


def there(values: dict[int, float]) -> Side:
    return side("board", [measured({"n": n}, latency_ms=value) for n, value in values.items()])


def test_ratios_and_ranks_by_hand() -> None:
    """Ratios are 2, 4.5, 2 and 2; ranks 1, 2, 3, 4 become 1, 4, 2, 3, whose Spearman correlation is 1 − 6·6/60."""
    found = comparison_of(side("laptop", rows_here()), there(THERE), LATENCY, ERROR)
    assert found["common"] == 4
    assert found["ratio"]["median"] == pytest.approx(2)
    assert found["spearman"]["value"] == pytest.approx(0.4)
    assert found["spearman"]["lower"] <= 0.4 <= found["spearman"]["upper"]
    first = found["movers"][0]
    assert (first["id"], first["first_rank"], first["second_rank"]) == (Architecture({"n": 2}).id, 2, 4)
    assert (first["first_text"], first["second_text"]) == ("2 ms", "9 ms")


def test_equal_values_do_not_change_their_ranks() -> None:
    """Where a board has one value for all, nothing has moved; others have their first common rank."""
    laptop = side("laptop", rows_here())
    assert comparison_of(laptop, there(dict.fromkeys(THERE, 5.0)), LATENCY, ERROR)["movers"] == []
    movers = comparison_of(laptop, there({1: 2.0, 2: 2.0, 3: 2.0, 4: 1.0}), LATENCY, ERROR)["movers"]
    assert [(each["id"], each["first_rank"], each["second_rank"]) for each in movers] == [
        (Architecture({"n": 4}).id, 4, 1),
        (Architecture({"n": 1}).id, 1, 2),
    ]


def test_front_models_that_stay_and_leave_by_hand() -> None:
    found = front_moved(
        side("laptop", rows_here()), there(THERE), LATENCY, ERROR, [Architecture({"n": n}) for n in HERE]
    )
    assert found is not None
    fates = {each["id"]: (each["fate"], each["beaten_by"]) for each in found["models"]}
    assert fates[Architecture({"n": 2}).id] == ("leaves", Architecture({"n": 3}).id)
    assert [fates[Architecture({"n": n}).id][0] for n in (1, 3, 4)] == ["stays"] * 3
    assert (found["on_first"], found["stay"], found["kept"]) == (4, 3, 1.0)
    assert "Of 4 front models of laptop, 3 are still on the front with the values of board" in found["sentence"]


def test_a_model_joins_that_was_dominated_here() -> None:
    """The second is better than the first there: the first leaves, and what it had is lost on that device."""
    rows = [trained({"n": 1}, 0.2), trained({"n": 2}, 0.25), measured({"n": 1}, latency_ms=1.0)]
    rows += [measured({"n": 2}, latency_ms=2.0)]
    found = front_moved(
        side("laptop", rows), there({1: 4.0, 2: 1.0}), LATENCY, ERROR, [Architecture({"n": n}) for n in (1, 2)]
    )
    assert found is not None
    assert [(each["fate"]) for each in found["models"]] == ["stays", "joins"]
    assert 0 < found["kept"] < 1


def test_predicted_values_are_not_compared() -> None:
    rows = [trained({"n": n}, 0.1, predicted={"latency_ms": 1.0}) for n in range(5)]
    found = comparison_of(side("laptop", rows), there(dict.fromkeys(range(5), 1.0)), LATENCY, ERROR)
    assert (found["known"], found["common"]) == (False, 0)
    assert "no architectures in common" in found["sentences"][0]
    assert "nas solve" in found["sentences"][0]


def test_equal_values_have_no_ranks_to_compare() -> None:
    found = comparison_of(side("laptop", rows_here()), there(dict.fromkeys(HERE, 1.0)), LATENCY, ERROR)
    assert found["spearman"]["value"] == 0


def board_run(name: str = "board") -> Run:
    rows = [trained({"n": n}, error) for n, (error, _) in HERE.items()]
    rows += [measured({"n": n}, latency_ms=value) for n, value in THERE.items()]
    return made_run(rows, name=name, target="onnxruntime-cpu:int8")


def compared(*runs: Run) -> dict[str, object]:
    return runs_of(runs, labels_of(runs), [known_of(run.records) for run in runs])


class TestRuns:
    def test_two_devices_are_compared(self) -> None:
        found = compared(made_run(rows_here(), name="laptop"), board_run())
        (group,) = found["groups"]  # type: ignore[misc]
        assert group["members"] == ["laptop", "board"]
        assert [each["common"] for each in group["comparisons"]] == [4]
        assert group["growth"] == []
        assert found["sentences"] == []

    def test_two_searches_on_one_target_share_a_picture(self) -> None:
        """The second run has the front of both, and the first has its two ends alone."""
        whole, ends = rows_here(), [row for row in rows_here() if row.architecture["n"] in (1, 4)]
        (group,) = compared(made_run(ends, name="a"), made_run(whole, name="b"))["groups"]  # type: ignore[misc]
        (picture,) = group["growth"]
        shares = {each["run"]: each["share"][-1] for each in picture["curves"]}
        assert shares["b"] == 1.0
        assert 0 < shares["a"] < 1
        assert [each["evaluations"] for each in picture["curves"]] == [2, 4]

    def test_different_tasks_only_stand_side_by_side(self) -> None:
        other = made_run(rows_here(), name="cats", notes={"space": {"name": "s"}, "data set": {"name": "cats"}})
        found = compared(made_run(rows_here(), name="digits"), other)
        assert [each["comparisons"] for each in found["groups"]] == [[], []]  # type: ignore[attr-defined]
        assert "different tasks" in found["sentences"][0]  # type: ignore[index]
        assert [each["task"] for each in found["runs"]] == ["digits", "cats"]  # type: ignore[attr-defined]

    def test_one_task_with_two_spaces_shares_no_architecture(self) -> None:
        run = made_run(rows_here(), name="b")
        other = made_run(rows_here(), name="c", notes={**run.notes, "space": {"name": "other", "choices": "1"}})
        found = compared(run, other)
        assert [each["comparisons"] for each in found["groups"]] == [[], []]  # type: ignore[attr-defined]
        assert "different spaces" in found["sentences"][0]  # type: ignore[index]

    def test_one_task_in_two_sizes_is_one_task(self) -> None:
        """Items of another size have another fingerprint, and so have other items of the same name and size."""

        def sized(name: str, side: int, fingerprint: str, count: int = 100) -> Run:
            inputs = [{"name": "images", "shape": [3, side, side]}]
            data = {"name": "folder:photos", "fingerprint": fingerprint, "signature": {"inputs": inputs}}
            notes = {"space": {"name": "s", "choices": "1"}, "data set": {**data, "training images": count}}
            return made_run(rows_here(), name=name, notes=notes)

        (told,) = compared(sized("a", 64, "1"), sized("b", 96, "2"))["sentences"]  # type: ignore[misc]
        assert "learn the same items in other sizes" in told
        assert "a: 3×64×64; b: 3×96×96" in told
        for other in (sized("b", 64, "2"), sized("b", 96, "2", count=101)):
            (told,) = compared(sized("a", 64, "1"), other)["sentences"]  # type: ignore[misc]
            assert "different tasks" in told

    def test_fronts_of_all_runs_share_a_picture(self) -> None:
        """Candidates have their own cost on each target; predicted ones are marked."""
        rows = [*rows_here(), trained({"n": 9}, 0.5, predicted={"latency_ms": 7.0})]
        (group,) = compared(made_run(rows, name="laptop"), board_run())["groups"]  # type: ignore[misc]
        (front,) = group["fronts"]
        laptop, board = front["runs"]
        assert laptop["candidates"]["x"] == [1.0, 2.0, 3.0, 4.0, 7.0]
        assert laptop["candidates"]["predicted"] == [False, False, False, False, True]
        assert board["candidates"]["x"] == [2.0, 9.0, 6.0, 8.0]
        assert laptop["winners"]["id"] == []

    def test_winners_have_their_intervals(self) -> None:
        run = example_record()
        (group,) = compared(run, replace(run, name="other"))["groups"]  # type: ignore[misc]
        winners = group["fronts"][0]["runs"][0]["winners"]
        assert winners["id"] == [each.architecture.id for each in run.front]
        for low, value, high in zip(winners["xLow"], winners["x"], winners["xHigh"], strict=True):
            assert low < value < high

    def test_fronts_share_no_axis_with_errors_of_another_split(self) -> None:
        """Winners alone where all runs have some, and otherwise candidates alone."""
        run = example_record()
        bare = replace(run, name="bare", rows=tuple(row for row in run.rows if row.stage != "winner"))
        for other, of_winners in ((replace(run, name="other"), True), (bare, False)):
            (group,) = compared(run, other)["groups"]  # type: ignore[misc]
            for each in group["fronts"][0]["runs"]:
                assert bool(each["winners"]["id"]) is of_winners
                assert bool(each["candidates"]["id"]) is not of_winners
            assert group["fronts"][0]["split"] == ("test" if of_winners else "")

    def test_runs_of_one_name_get_numbers(self) -> None:
        runs = [made_run([], name=name) for name in ("a", "b", "a")]
        assert labels_of(runs) == ["a (1)", "b", "a (2)"]
        assert groups_of(runs) == [[0, 1, 2]]

    def test_empty_runs_are_compared_without_words_too_many(self) -> None:
        found = compared(made_run([], name="a"), made_run([], name="b"))
        (group,) = found["groups"]  # type: ignore[misc]
        assert group["growth"][0]["sentences"] == ["No run has an evaluation to compare."]
        assert [each["known"] for each in group["comparisons"]] == [False]

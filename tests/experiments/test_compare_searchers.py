"""The benchmark of searchers on a made-up table: what is evaluated, counted, scored and written."""

from __future__ import annotations

import csv
import itertools
import json
import math
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from torch import nn

from experiments import compare_searchers
from experiments.compare_searchers import MOST_USELESS, Study, main, search, study_of
from experiments.search_tasks import (
    CostLimit,
    KnownCosts,
    Networks,
    Problem,
    Task,
    evaluations_to,
    hypervolumes,
    winners,
)
from experiments.searchers import (
    FIRST,
    FIRST_INFORMED,
    PATIENCE,
    SEARCHERS,
    LocalSearcher,
    OptunaSearcher,
    PymooSearcher,
    neighbours_of,
)
from nas.prediction.predictor import Batch, Prediction
from nas.space.architecture import Architecture, Choice, Option
from nas.space.layer import Layer
from nas.tables.table import Table, read_table
from nas.values.pareto import FloatArray, hypervolume, non_dominated
from search_spaces.blocks import LayerWriter

SLOW = ("optuna-gp", "syne-tune-evolution", "syne-tune-ehvi", "ax")
OTHERS = [name for name in SEARCHERS if name not in ("gp", *SLOW)]
WITHOUT_ENERGY = (3, 60)
ROWS, NETWORKS = 81, 63
TIMES = ("proposing_s",)


class SmallSpace:
    """81 chains of convolutions, of which those without a further layer are twins whatever its kernel."""

    choices = (
        Choice("depth", (0, 1, 2)),
        Choice("kernel", (1, 3, 5)),
        Choice("width", (8, 16, 32)),
        Choice("stride", (4, 2, 1)),
    )

    def __init__(self, input_shape: tuple[int, int, int], classes: int) -> None:
        self._input_shape = input_shape
        self._classes = classes

    def canonical(self, values: Mapping[str, Option]) -> dict[str, Option]:
        return {**values, "kernel": 1} if values["depth"] == 0 else dict(values)

    def build(self, architecture: Architecture) -> nn.Module:
        raise AssertionError("a search on a table builds nothing")

    def layers(self, architecture: Architecture) -> list[Layer]:
        depth, kernel, width, stride = (int(architecture[choice.name]) for choice in self.choices)
        writer = LayerWriter(self._input_shape).conv_norm(width, 3, stride=stride)
        for _ in range(depth):
            writer.conv_norm(width, kernel)
        return writer.head(self._classes).layers


def made_up_rows() -> list[dict[str, Any]]:
    """All chains, in no order, with costs that differ between twins and accuracies that do not."""
    rng = np.random.default_rng(0)
    options = list(itertools.product(range(3), repeat=4))
    rows: list[dict[str, Any]] = []
    for number, index in enumerate(rng.permutation(len(options))):
        depth, kernel, width, stride = options[index]
        live = kernel if depth else 0
        capacity = depth * (1 + live) + 2 * width + 3 * stride
        latency = 1 + 0.3 * capacity + 0.2 * kernel * width + 0.1 * depth * stride
        costs = {"latency_ms_x": latency, "latency_ms_y": 2 * latency + 0.1 * width, "mib": 1.5**width + depth}
        blank = "" if number in WITHOUT_ENERGY else 3 * latency + stride
        written = dict(zip(("depth", "kernel", "width", "stride"), options[index], strict=True))
        accuracies = {"val_acc": 95 - 40 * 0.8**capacity + live, "test_acc": 94 - 41 * 0.8**capacity + live}
        rows.append({**written, **accuracies, **costs, "energy_mj_x": blank, "same": 7, "note": "none"})
    return rows


@pytest.fixture(name="path")
def table_file(tmp_path: Path) -> Path:
    """The made-up table as a file."""
    path = tmp_path / "made-up.csv"
    rows = made_up_rows()
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    study_of.cache_clear()
    return path


SPACE = SmallSpace((3, 8, 8), 10)


@pytest.fixture(name="table")
def made_up_table(path: Path) -> Table:
    return read_table(path, SPACE)


@pytest.fixture(name="task")
def simple_task(table: Table) -> Task:
    return Task.of(table, "val_acc", "test_acc", ["latency_ms_x"])


def problem_of(table: Table, task: Task, known: KnownCosts, *, is_informed: bool, joined: bool = False) -> Problem:
    def describer() -> Any:
        raise AssertionError("only our own describes")

    networks = Networks(table, SPACE, are_twins_joined=joined)
    return Problem(SPACE, networks, task, known, is_informed=is_informed, describer=describer)


def command(path: Path, *arguments: str) -> list[str]:
    space = ["--space", "test_compare_searchers:SmallSpace", "--input-shape", "3x8x8"]
    searching = ["--evaluations", "20", "--seeds", "2"]
    columns = ["--accuracy", "val_acc", "--score", "test_acc", "--cost", "latency_ms_x"]
    return ["--table", str(path), *space, *columns, "--searchers", "random,local", *searching, *arguments]


def run(path: Path, *arguments: str) -> dict[str, Any]:
    """What the JSON file holds after a run with few evaluations and seeds."""
    study_of.cache_clear()
    out = path.with_name("out.json")
    main([*command(path), "--json", str(out), *arguments])
    content: dict[str, Any] = json.loads(out.read_text())
    return content


def without_times(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in run.items() if name not in TIMES} for run in runs]


@dataclass
class Scripted:
    """Proposes what it was given, and keeps what it is told."""

    script: list[Architecture]
    told: list[tuple[float, ...] | None] = field(default_factory=list)

    def propose(self) -> Architecture | None:
        return self.script[len(self.told)] if len(self.told) < len(self.script) else None

    def tell(self, architecture: Architecture, losses: tuple[float, ...] | None) -> None:
        assert architecture == self.script[len(self.told)]
        self.told.append(losses)


class TestScores:
    """Laws of hypervolumes over evaluations, and of what is scored."""

    @pytest.mark.parametrize("objectives", [2, 3, 4])
    def test_the_volume_is_that_of_all_points_so_far(self, objectives: int, rng: np.random.Generator) -> None:
        """Computed bit by bit it equals the obvious one, and it never falls; points at or past the edge add nothing."""
        points = np.vstack([rng.random((40, objectives)).round(1), np.ones((2, objectives))])
        points = points[rng.permutation(len(points))]
        volumes = hypervolumes(points)
        reference = np.ones(objectives)
        obvious = [hypervolume(points[: count + 1], reference) for count in range(len(points))]
        np.testing.assert_allclose(volumes, obvious)
        assert (np.diff(volumes) >= 0).all()

    @pytest.mark.parametrize("costs", [["latency_ms_x"], ["latency_ms_x", "energy_mj_x"], ["mib", "same_not"]])
    def test_the_whole_table_is_all_of_it(self, path: Path, costs: list[str], rng: np.random.Generator) -> None:
        """100 % in whatever order; and as much without the rows off the front."""
        rows = [{**row, "same_not": number % 7} for number, row in enumerate(made_up_rows())]
        with path.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        task = Task.of(read_table(path, SPACE), "val_acc", "test_acc", costs)
        shares = task.shares(rng.permutation(task.usable).tolist())
        assert shares[-1] == pytest.approx(100)
        assert (np.diff(shares) >= 0).all()
        front = task.usable[non_dominated(task.points[task.usable])]
        assert task.shares(front.tolist())[-1] == pytest.approx(100)
        assert task.objectives == len(costs) + 1

    def test_points_are_normalised_over_the_table(self, table: Table, task: Task) -> None:
        """The score by its extremes, costs by percentiles beyond which they are clipped; losses are as they stand."""
        rows = made_up_rows()
        errors = 100 - np.array([row["test_acc"] for row in rows])
        latencies = np.array([row["latency_ms_x"] for row in rows])
        low, high = np.percentile(latencies, [0.05, 99.95])
        np.testing.assert_allclose(task.points[:, 0], (errors - errors.min()) / (errors.max() - errors.min()))
        np.testing.assert_allclose(task.points[:, 1], np.clip((latencies - low) / (high - low), 0, 1))
        np.testing.assert_allclose(task.losses[:, 0], [100 - row["val_acc"] for row in rows])
        np.testing.assert_allclose(task.losses[:, 1], latencies)
        assert (latencies > high).sum() == 1
        energy = Task.of(table, "val_acc", "val_acc", ["energy_mj_x"])
        assert len(energy.usable) == ROWS - len(WITHOUT_ENERGY)
        assert np.isnan(energy.losses[list(WITHOUT_ENERGY)]).all()

    def test_evaluations_are_counted_from_one(self) -> None:
        """By hand; what was never reached is infinite."""
        shares = np.array([10.0, 95.0, 95.0, 99.0, 99.5])
        assert [evaluations_to(share, shares) for share in (5, 95, 99, 100)] == [1, 2, 4, math.inf]

    def test_evaluations_on_a_known_order(self, path: Path) -> None:
        """The front of all comes last, so nothing is reached before it begins, and all when it ends."""
        content = run(path)
        task = study_of(settings_of(content, path)).tasks[0]
        points = task.points
        best = np.flatnonzero(non_dominated(points))
        front = best[np.unique(points[best], axis=0, return_index=True)[1]]
        front = front[(points[front] < 1).all(axis=1)].tolist()
        worst = [row for row in np.argsort(-points.sum(axis=1)).tolist() if row not in best][:15]
        shares = task.shares(worst + front)
        assert len(worst) < evaluations_to(99, shares) <= len(worst + front)
        assert evaluations_to(100, shares) == len(worst + front)

    def test_limits_leave_out_of_the_score(self, table: Table, task: Task) -> None:
        """Rows above a limit count neither in the whole nor when they are found."""
        limited = Task.of(table, "val_acc", "test_acc", ["latency_ms_x"], [CostLimit("latency_ms_x", 3.0)])
        above = np.flatnonzero(limited.losses[:, 1] > 3).tolist()
        within = np.flatnonzero(limited.losses[:, 1] <= 3).tolist()
        assert limited.shares(above)[-1] == 0
        assert limited.shares(within)[-1] == pytest.approx(100)
        assert limited.whole < task.whole
        assert limited.whole == pytest.approx(hypervolume(task.points[within], np.ones(2)))
        assert not limited.meets_limits(above).any()


def settings_of(content: Mapping[str, Any], path: Path) -> compare_searchers.Settings:
    """The settings that a file was made with, whose study is still there."""
    settings = compare_searchers._settings(compare_searchers._parser().parse_args(command(path)))
    kept = {**vars(settings), "evaluations": content["settings"]["evaluations"], "seeds": content["settings"]["seeds"]}
    return compare_searchers.Settings(**kept)


class TestRuns:
    """What counts as an evaluation, and what is known of it."""

    def test_repeats_and_failures_do_not_count(self, table: Table) -> None:
        """They are told what is known, or nothing; a twin is another row and counts."""
        task = Task.of(table, "val_acc", "val_acc", ["energy_mj_x"])
        networks, known = Networks(table, SPACE), KnownCosts.nothing(task)
        bare = [row for row, each in enumerate(table.architectures) if each["depth"] == 0 and row not in WITHOUT_ENERGY]
        twins = [row for row in bare if networks.numbers[row] == networks.numbers[bare[0]]][:2]
        assert len(twins) == 2
        other = next(row for row in task.usable.tolist() if networks.numbers[row] != networks.numbers[twins[0]])
        order = [twins[0], twins[0], WITHOUT_ENERGY[0], other, twins[1], twins[0]]
        script = [table.architectures[row] for row in order]
        searcher = Scripted([*script, Architecture({"depth": 9}), table.architectures[0]])
        evaluated, counts, proposing_s = search(searcher, networks, task, known, evaluations=10)
        assert evaluated[:3] == [twins[0], other, twins[1]]
        assert counts["proposals"] == len(searcher.script)
        assert (counts["failures"], counts["twins"]) == (2, 1)
        assert counts["repeats"] == len(searcher.script) - 2 - len(evaluated)
        assert searcher.told[2] is searcher.told[6] is None
        assert searcher.told[0] == searcher.told[1] == tuple(task.losses[twins[0]])
        assert proposing_s >= 0
        np.testing.assert_array_equal(np.flatnonzero(np.isfinite(known.values[:, 0])), sorted(evaluated))

    def test_joined_twins_are_one_evaluation(self, table: Table) -> None:
        """Of the row in canonical form, whichever is proposed; the others are no part of the task."""
        networks = Networks(table, SPACE, are_twins_joined=True)
        task = Task.of(table, "val_acc", "val_acc", ["latency_ms_x"], searched=networks.searched)
        assert len(task.usable) == NETWORKS
        bare = [
            each for each in table.architectures if each["depth"] == 0 and (each["width"], each["stride"]) == (8, 1)
        ]
        canonical = next(row for row, each in enumerate(table.architectures) if each in bare and each["kernel"] == 1)
        searcher = Scripted(bare)
        evaluated, counts, _ = search(searcher, networks, task, KnownCosts.nothing(task), 3)
        assert evaluated == [canonical]
        assert (counts["repeats"], counts["twins"], counts["failures"]) == (2, 0, 0)
        assert searcher.told[:3] == [tuple(task.losses[canonical])] * 3

    def test_a_run_ends_when_it_has_what_it_wants(self, table: Table, task: Task) -> None:
        """The rest is not asked for."""
        searcher = Scripted(list(table.architectures))
        evaluated, _, _ = search(searcher, Networks(table, SPACE), task, KnownCosts.nothing(task), 5)
        assert evaluated == [0, 1, 2, 3, 4]
        assert len(searcher.told) == 5

    def test_useless_proposals_end_a_run(self, table: Table, task: Task) -> None:
        """So nothing hangs on a searcher that repeats itself for ever."""
        searcher = Scripted([table.architectures[0]] * 2 * MOST_USELESS)
        evaluated, counts, _ = search(searcher, Networks(table, SPACE), task, KnownCosts.nothing(task), 5)
        assert evaluated == [0]
        assert counts["repeats"] == MOST_USELESS

    def test_winners_are_judged_by_what_was_seen(self, table: Table) -> None:
        """By the accuracy that the searcher sees and within the limits; in the order of evaluation."""
        task = Task.of(table, "val_acc", "test_acc", ["latency_ms_x"], [CostLimit("latency_ms_x", 3.0)])
        known = KnownCosts.everything(task)
        rows = list(reversed(range(ROWS)))
        won = winners(task, known, rows)
        within = [row for row in rows if task.losses[row, 1] <= 3]
        mask = non_dominated(task.losses[within])
        assert won == [row for row, is_won in zip(within, mask, strict=True) if is_won]
        known.bounds[won[0]] = 3.1
        assert won[0] not in winners(task, known, rows)
        assert winners(task, known, []) == []

    def test_known_costs_are_those_of_what_is_written(self, table: Table) -> None:
        """What is known of nothing gets the largest cost, and is not acceptable."""
        task = Task.of(table, "val_acc", "val_acc", ["energy_mj_x"], [CostLimit("energy_mj_x", 9.0)])
        problem = problem_of(table, task, KnownCosts.everything(task), is_informed=True)
        costs = problem.known_costs(table.architectures)[:, 0]
        usable = task.usable
        np.testing.assert_array_equal(costs[usable], task.losses[usable, 1])
        assert costs[WITHOUT_ENERGY[0]] == np.nanmax(task.losses[:, 1])
        np.testing.assert_array_equal(problem.acceptable(table.architectures), task.losses[:, 1] <= 9)
        assert not problem.acceptable([Architecture({"depth": 9})]).any()
        assert problem.excesses((5.0, 18.0)) == {"energy_mj_x": 1.0}

    def test_near_a_limit_costs_are_measured(self, table: Table) -> None:
        """Of what meets it by prediction but not by bound, once each, and no more than may be asked."""
        task = Task.of(table, "val_acc", "val_acc", ["latency_ms_x"], [CostLimit("latency_ms_x", 3.0)])
        truths = task.losses[:, 1:]
        networks = Networks(table, SPACE)
        doubtful = np.flatnonzero((0.9 * truths[:, 0] <= 3) & (1.1 * truths[:, 0] > 3))
        assert len(doubtful) > 2
        for asks in (0, 2, 100):
            known = KnownCosts(0.9 * truths, 1.1 * truths)
            problem = Problem(
                SPACE, networks, task, known, is_informed=True, describer=lambda: pytest.fail("not asked"), asks=asks
            )
            mask = problem.acceptable(table.architectures)
            measured = doubtful[:asks]
            assert problem.asked == len(measured)
            np.testing.assert_array_equal(np.flatnonzero(known.bounds[:, 0] == truths[:, 0]), measured)
            sure = 1.1 * truths[:, 0] <= 3
            assert (mask[sure]).all()
            np.testing.assert_array_equal(mask[measured], truths[measured, 0] <= 3)
            assert not mask[doubtful[asks:]].any()
            assert (problem.acceptable(table.architectures) == mask).all()
            assert problem.asked == len(measured)

    def test_without_known_costs_all_is_acceptable_that_was_not_seen_to_be_above(self, table: Table) -> None:
        """What a searcher has seen it may use."""
        task = Task.of(table, "val_acc", "val_acc", ["latency_ms_x"], [CostLimit("latency_ms_x", 3.0)])
        known = KnownCosts.nothing(task)
        problem = problem_of(table, task, known, is_informed=False)
        assert problem.acceptable(table.architectures).all()
        known.see(np.arange(10), task)
        expected = np.concatenate([task.losses[:10, 1] <= 3, np.ones(ROWS - 10, dtype=np.bool_)])
        np.testing.assert_array_equal(problem.acceptable(table.architectures), expected)


class TestCommand:
    """From the command line to the file and the tables."""

    def test_all_searchers(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Each run has its distinct rows, its winners among them, and figures that follow from these."""
        pytest.importorskip("pymoo")
        tasks = ("--cost", "latency_ms_x,mib,energy_mj_x", "--evaluations", "30")
        content = run(path, "--searchers", ",".join(OTHERS), *tasks)
        assert content["complete"]
        assert content["settings"]["table"] == "made-up.csv"
        assert len(content["settings"]["table_sha256"]) == 64
        assert {"optuna", "pymoo", "numpy"} <= set(content["versions"])
        keys = [(run["costs"], run["seed"], run["searcher"]) for run in content["runs"]]
        assert keys == [
            (costs, seed, name)
            for costs in (["latency_ms_x"], ["latency_ms_x", "mib", "energy_mj_x"])
            for seed in (0, 1) for name in OTHERS
        ]  # fmt: skip
        study = Study(settings_of(content, path))
        for each in content["runs"]:
            assert each["accuracy"] == "val_acc"
            evaluated = each["evaluated"]
            assert len(set(evaluated)) == len(evaluated) == 30
            assert set(each["winners"]) <= set(evaluated)
            assert each["proposals"] == 30 + each["repeats"] + each["failures"]
            assert 0 < each["proposing_s"] < 60
            numbers = study.networks.numbers[evaluated]
            assert each["twins"] == 30 - len(set(numbers.tolist()))
            if each["costs"] == ["latency_ms_x"]:
                task = study.tasks[0]
                shares = task.shares(evaluated)
                assert each["hypervolume_percent"] == {"25": pytest.approx(shares[24]), "30": pytest.approx(shares[29])}
                assert each["failures"] == 0
                assert each["hypervolume_lost_percent"] == pytest.approx(100 - task.shares(each["winners"])[-1])
            else:
                assert not set(evaluated) & set(WITHOUT_ENERGY)
        shown = capsys.readouterr()
        assert "val_acc, latency_ms_x, seed 1: random " in shown.err
        assert "val_acc, latency_ms_x, mib, energy_mj_x" in shown.out
        assert "All 2 tasks" in shown.out
        mean = np.mean([e["hypervolume_percent"]["25"] for e in content["runs"] if e["searcher"] == "local"])
        assert re.search(rf"\| local \| {mean:.2f} \|", shown.out)

    def test_optunas_process(self, path: Path) -> None:
        """It is slow, so for a few evaluations more than it starts with."""
        content = run(path, "--searchers", "optuna-gp", "--seeds", "1", "--evaluations", "11")
        assert len(content["runs"][0]["evaluated"]) == 11

    def test_everything_is_found_in_the_end(self, path: Path) -> None:
        """As many evaluations as rows are all of them, which is the whole hypervolume."""
        content = run(path, "--searchers", "local,random", "--evaluations", str(ROWS), "--seeds", "1")
        for each in content["runs"]:
            assert sorted(each["evaluated"]) == list(range(ROWS))
            assert each["hypervolume_percent"][str(ROWS)] == pytest.approx(100)
            assert each["evaluations_to"]["99"] <= ROWS
            assert each["twins"] == ROWS - NETWORKS

    def test_where_twins_are_joined_all_evaluate_networks(self, path: Path) -> None:
        """Those who do not know of twins too, and none of them ends early for proposing the same one again."""
        most = NETWORKS - 8
        others = ",".join(OTHERS if find_spec("pymoo") else sorted({*OTHERS} - {"pymoo-nsga2"}))
        content = run(path, "--twins", "joined", "--searchers", others, "--evaluations", str(most), "--seeds", "2")
        assert content["settings"]["twins"] == "joined"
        assert len(content["runs"]) == 2 * len(others.split(","))
        for each in content["runs"]:
            assert each["twins"] == each["failures"] == 0
            if each["searcher"] != "pymoo-nsga2":  # which ends when all its offspring came before
                assert len(each["evaluated"]) == most, each["searcher"]

    def test_the_seed_decides(self, path: Path) -> None:
        """The same gives the same, but for the times; another gives another; so do other searchers beside it not."""
        names = "random,tpe,tpe-multivariate,nsga2,local"
        first = run(path, "--searchers", names)["runs"]
        assert without_times(run(path, "--searchers", names)["runs"]) == without_times(first)
        alone = run(path, "--searchers", "nsga2")["runs"]
        assert without_times(alone) == without_times([each for each in first if each["searcher"] == "nsga2"])
        for name in names.split(","):
            one, two = (each["evaluated"] for each in first if each["searcher"] == name)
            assert one != two

    @pytest.mark.slow
    def test_two_processes_give_the_same(self, path: Path) -> None:
        """But for the times."""
        one = run(path, "--evaluations", "10")["runs"]
        assert without_times(run(path, "--evaluations", "10", "--workers", "2")["runs"]) == without_times(one)

    def test_without_a_file_the_tables_are_printed_all_the_same(
        self, path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Nothing is written beside the table that was read."""
        main(command(path, "--evaluations", "5", "--seeds", "1"))
        assert "| random |" in capsys.readouterr().out
        assert [each.name for each in path.parent.iterdir()] == [path.name]

    def test_the_default_score_is_the_accuracy(self, path: Path) -> None:
        """A search that is scored on what it sees."""
        arguments = command(path, "--evaluations", "5", "--seeds", "1")
        place = arguments.index("--score")
        parsed = compare_searchers._settings(
            compare_searchers._parser().parse_args(arguments[:place] + arguments[place + 2 :])
        )
        assert parsed.score == "val_acc"

    def test_limits_with_known_costs(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Local search evaluates nothing above, random search does, and neither returns any."""
        content = run(path, "--cost-known", "true", "--limit", "latency_ms_x<=2.5")
        latencies = np.array([row["latency_ms_x"] for row in made_up_rows()])
        for each in content["runs"]:
            above = int((latencies[each["evaluated"]] > 2.5).sum())
            assert each["evaluations_over_limits"] == above
            assert (above > 0) == (each["searcher"] == "random")
            assert each["winners_over_limits"] == 0
            assert (latencies[each["winners"]] <= 2.5).all()
        shown = capsys.readouterr().out
        assert "winners over limits | hypervolume lost |" in shown
        assert "| 0.0 % |" in shown


@dataclass(frozen=True)
class Halved:
    """Says half of what the first latency is, with a bound of twice as much."""

    truths: FloatArray

    def predict_described(self, batch: Batch) -> Prediction:
        half = self.truths / 2
        return Prediction(half, half, half, 4 * half, half > 0)


class TestPredictedCosts:
    """What is known of costs when some rows were measured and the others predicted."""

    def test_the_rest_is_predicted(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Measured rows' costs are true, others' are the predictor's, and its bound is held against limits."""
        latencies = np.array([row["latency_ms_x"] for row in made_up_rows()])
        calls: list[tuple[list[float], list[str], str, int]] = []

        def fit(
            describer: Any, architectures: Any, values: FloatArray, *, target: str, sources: Any, seed: int
        ) -> Halved:
            calls.append((values.tolist(), [source.target for source in sources], target, seed))
            assert all(len(source.values) == ROWS for source in sources)
            return Halved(latencies)

        monkeypatch.setattr("predictors.stacked.fit_stacked", fit)
        arguments = ("--cost-known", "predicted:12", "--sources", "latency_ms_y", "--limit", "latency_ms_x<=3.5")
        content = run(path, *arguments, "--searchers", "local")
        assert [call[1:] for call in calls] == [(["latency_ms_y"], "latency_ms_x", seed) for seed in (0, 1)]
        settings = compare_searchers._settings(compare_searchers._parser().parse_args(command(path, *arguments)))
        study = Study(settings)
        known = study.known_costs(study.tasks[0], 1)
        measured = np.flatnonzero(known.bounds[:, 0] == latencies)
        np.testing.assert_array_equal(known.values[measured, 0], latencies[measured])
        others = np.setdiff1d(np.arange(ROWS), measured)
        assert len(others) == ROWS - 12
        np.testing.assert_allclose(known.values[others, 0], latencies[others] / 2)
        np.testing.assert_allclose(known.bounds[others, 0], latencies[others] * 2)
        assert calls[-1][0] == pytest.approx(latencies[measured])
        assert calls[-1][0] == calls[1][0] != calls[0][0]
        evaluated = np.array(content["runs"][1]["evaluated"])
        let_through = (2 * latencies[evaluated] <= 3.5) | (np.isin(evaluated, measured) & (latencies[evaluated] <= 3.5))
        assert let_through.all()

    def test_the_default_predictor(self, path: Path) -> None:
        """With what is fitted in earnest the made-up costs are known within few per cent."""
        settings = compare_searchers._settings(
            compare_searchers._parser().parse_args(
                command(path, "--cost-known", "predicted:15", "--sources", "latency_ms_y")
            )
        )
        study = Study(settings)
        known = study.known_costs(study.tasks[0], 0)
        truths = study.tasks[0].losses[:, 1]
        assert np.abs(known.values[:, 0] / truths - 1).mean() < 0.1
        assert (known.bounds[:, 0] >= truths).mean() > 0.8


class TestSearchers:
    """Those that are written here."""

    @pytest.mark.parametrize("joined", [False, True])
    def test_neighbours_are_twins_too_unless_these_are_joined(self, table: Table, task: Task, joined: bool) -> None:
        """Two other options for each of four choices."""
        bare = Architecture({"depth": 0, "kernel": 1, "width": 8, "stride": 4})
        known = KnownCosts.nothing(task)
        found = list(neighbours_of(problem_of(table, task, known, is_informed=False, joined=joined), bare))
        assert len(found) == 8
        assert len(set(found)) == (7 if joined else 8)
        assert (Architecture({"depth": 0, "kernel": 5, "width": 8, "stride": 4}) in found) is not joined
        assert (bare in found) is joined

    def test_local_search_evaluates_neighbours_of_what_none_dominates(self, table: Table, task: Task) -> None:
        """Each proposal but the first ones is one choice away from an earlier one that none dominates; none repeats."""
        networks, known = Networks(table, SPACE), KnownCosts.nothing(task)
        searcher = LocalSearcher(problem_of(table, task, known, is_informed=False), seed=3)
        rows: list[int] = []
        for number in range(40):
            architecture = searcher.propose()
            assert architecture is not None
            row = networks.row(architecture)
            assert row is not None
            assert row not in rows
            front = np.array(rows)[non_dominated(task.losses[rows])] if rows else []
            distances = [
                sum(architecture[name] != table.architectures[best][name] for name in architecture) for best in front
            ]
            assert number < FIRST or 1 in distances
            rows.append(row)
            searcher.tell(architecture, tuple(task.losses[row].tolist()))

    def test_local_search_uses_known_costs(self, table: Table, task: Task) -> None:
        """Then no neighbour comes that would be dominated if it were as accurate as all of the front's best parents."""
        networks, known = Networks(table, SPACE), KnownCosts.everything(task)
        searcher = LocalSearcher(problem_of(table, task, known, is_informed=True), seed=0)
        rows: list[int] = []
        for number in range(20):
            architecture = searcher.propose()
            assert architecture is not None
            row = networks.row(architecture)
            assert row is not None
            front = np.array(rows)[non_dominated(task.losses[rows])] if rows else []
            cheaper = [
                best
                for best in front
                if sum(architecture[name] != table.architectures[best][name] for name in architecture) == 1
                and task.losses[row, 1] <= task.losses[best, 1]
            ]
            assert number < FIRST_INFORMED or cheaper
            rows.append(row)
            searcher.tell(architecture, tuple(task.losses[row].tolist()))

    def test_a_sampler_that_is_stuck_is_helped(self, table: Table, task: Task) -> None:
        """Where all that it proposes is of no use, something else comes now and then."""

        class Stuck(optuna.samplers.RandomSampler):
            def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
                return param_distribution.choices[0]

        problem = problem_of(table, task, KnownCosts.nothing(task), is_informed=False)
        searcher = OptunaSearcher(problem, 0, Stuck())
        evaluated, counts, _ = search(searcher, Networks(table, SPACE), task, KnownCosts.nothing(task), 4)
        assert len(evaluated) == 4
        assert counts["repeats"] >= 3 * (PATIENCE - 1)

    def test_a_helped_nsga2_learns_of_the_help(self, table: Table, task: Task) -> None:
        """Its generations are of trials that it gave one."""
        problem = problem_of(table, task, KnownCosts.nothing(task), is_informed=False)
        sampler = optuna.samplers.NSGAIISampler(seed=0, population_size=4)
        searcher = OptunaSearcher(problem, 0, sampler)
        for number in range(2 * PATIENCE):
            proposed = searcher.propose()
            searcher.tell(proposed, None if 4 <= number < 4 + PATIENCE else tuple(task.losses[number % 9].tolist()))
        trials = searcher._study.get_trials()
        helped = [trial for trial in trials if "fixed_params" in trial.system_attrs]
        assert helped
        assert all(any("generation" in key for key in trial.system_attrs) for trial in helped)

    def test_failures_are_left_out_of_pymoos_generations(self, table: Table, task: Task) -> None:
        """It goes on with those that are left, and with none at all it asks anew."""
        pytest.importorskip("pymoo")
        networks, known = Networks(table, SPACE), KnownCosts.nothing(task)
        searcher = PymooSearcher(problem_of(table, task, known, is_informed=False), seed=0)
        for number in range(90):
            architecture = searcher.propose()
            assert architecture is not None
            row = networks.row(architecture)
            assert row is not None
            is_failed = 20 <= number < 40 or number % 3 == 0
            searcher.tell(architecture, None if is_failed else tuple(task.losses[row].tolist()))

    @pytest.mark.parametrize(
        ("name", "package", "extra"),
        [
            ("pymoo-nsga2", "pymoo", "compare"),
            ("ax", "ax", "compare-peers"),
            ("syne-tune-evolution", "syne_tune", "compare-peers"),
            ("syne-tune-ehvi", "syne_tune", "compare-peers"),
        ],
    )
    def test_packages_of_others_are_optional(
        self,
        name: str,
        package: str,
        extra: str,
        path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """Who asks for one without having it is told how to get it."""
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(SystemExit) as exit_:
            main(command(path, "--searchers", name))
        assert exit_.value.code == 2
        error = " ".join(capsys.readouterr().err.split())
        assert f"needs the package {package}, which is not installed" in error
        assert f"pip install --editable '.[{extra}]'" in error

    @pytest.mark.slow
    @pytest.mark.filterwarnings("ignore")  # theirs, of what they are built on
    @pytest.mark.parametrize("name", ["syne-tune-evolution", "syne-tune-ehvi", "ax"])
    def test_ax_and_syne_tune(self, name: str, path: Path) -> None:
        """They evaluate distinct rows, the same ones with the same seed, and bear that some fail."""
        pytest.importorskip("ax" if name == "ax" else "syne_tune")
        arguments = ("--searchers", name, "--cost", "energy_mj_x", "--limit", "latency_ms_x<=3", "--seeds", "1")
        before = np.random.get_state()[1].copy()  # noqa: NPY002
        first = run(path, *arguments, "--evaluations", "6")["runs"]
        assert [len(set(each["evaluated"])) for each in first] == [6, 6]
        assert without_times(run(path, *arguments, "--evaluations", "6")["runs"]) == without_times(first)
        assert (np.random.get_state()[1] == before).all()  # noqa: NPY002

    @pytest.mark.parametrize("known", ["true", "false"])
    def test_ours(self, path: Path, known: str) -> None:
        """It evaluates only rows that stand for their twins, and with known costs nothing above the limit."""
        pytest.importorskip("predictors.samplers.surrogate_sampler")
        arguments = ("--searchers", "gp", "--cost-known", known, "--limit", "latency_ms_x<=3", "--evaluations", "10")
        content = run(path, *arguments, "--cost", "mib,energy_mj_x", "--seeds", "1")
        study = Study(settings_of(content, path))
        assert len(content["runs"]) == 2
        for each in content["runs"]:
            assert len(each["evaluated"]) == 10
            assert study.networks.is_canonical[each["evaluated"]].all()
            assert each["twins"] == each["repeats"] == 0
            if known == "true":
                assert each["evaluations_over_limits"] == each["failures"] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--accuracy", "val"], "it has none named 'val'. Did you mean 'val_acc'"),
        (["--score", "test"], "it has none named 'test'"),
        (["--accuracy", "note"], "'note' of .* must hold numbers, but row 1 holds 'none'"),
        (["--cost", "latency_ms_z"], "it has none named 'latency_ms_z'. Did you mean 'latency_ms"),
        (["--cost", "same"], "a column must vary over the rows that have all values, but 'same' does not"),
        (["--cost", "val_acc"], "an accuracy must not be a cost too, but 'val_acc' is"),
        (["--cost", "latency_ms_x"], "each --cost must be another task"),
        (["--cost", "mib,mib"], "must be different names with commas between them, but got 'mib,mib'"),
        (["--cost", "mib,same,energy_mj_x,latency_ms_y"], "a task must have 2 to 4 objectives, but got 5"),
        (["--searchers", "tpee"], "unknown searcher 'tpee'. Did you mean 'tpe'"),
        (["--cost-known", "perhaps"], "must be true, false or predicted:N with N from 5 on, but got 'perhaps'"),
        (["--cost-known", "predicted:4"], "must be true, false or predicted:N with N from 5 on, but got 'predicted:4'"),
        (["--cost-known", "predicted:82"], "measure at most as many rows as have all values, 81 with .* but got 82"),
        (["--sources", "latency_ms_y"], "--sources are for --cost-known predicted:N, but got 'false'"),
        (["--cost-known", "predicted:9", "--sources", "latency_ms_x"], "must not be one of the sources too"),
        (["--cost-known", "predicted:9", "--sources", "latency"], "it has none named 'latency'"),
        (["--limit", "latency_ms_x<3"], "written as COLUMN<=NUMBER, such as latency_ms_x<=2.5, but got"),
        (["--limit", "mib<=3"], "a limit must be on one of the costs, but 'mib' is none of them"),
        (["--limit", "latency_ms_x<=0.5"], "must meet the limits, but nothing does: latency_ms_x<=0.5"),
        (["--ask", "9"], "--ask 9 needs a --limit and --cost-known predicted:N"),
        (["--evaluations", "82"], "at most the number of rows that have all values, 81 with .* but got 82"),
        (["--evaluations", "64", "--searchers", "gp"], "number of different networks that have all values, 63"),
        (["--evaluations", "0"], "must be a whole number from 1 on, but got '0'"),
        (["--input-shape", "3x8"], "channels, height and width, such as 3x32x32, but got '3x8'"),
        (["--option", "cells"], "--option takes KEY=VALUE, such as channels=8, but got 'cells'"),
        (["--option", "cells=1"], "has no option 'cells'"),
        (["--space", "nasbench_macro"], "it is a table of another space"),
        (["--space", "nasbench_makro"], "unknown search space 'nasbench_makro'. Did you mean 'nasbench_macro'"),
        (["--table", "nowhere.csv"], "but nowhere.csv does not exist"),
        (["--json", "no-such-folder/out.json"], "a folder that exists, but no-such-folder does not"),
    ],
)
def test_a_bad_command_line_is_refused(
    path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With status 2, the rule and the value, before anything is searched."""
    with pytest.raises(SystemExit) as exit_:
        main([*command(path, "--json", str(path.with_name("out.json"))), *arguments])
    assert exit_.value.code == 2
    error = " ".join(capsys.readouterr().err.split())
    assert error.count("error:") == 1
    assert re.search(message, error), error
    assert not path.with_name("out.json").exists()


def test_accuracies_are_per_cent(path: Path) -> None:
    """A column that holds something else is refused by its first such value."""
    table = read_table(path, SPACE)
    table.columns["latency_ms_x"][4] = 101.0  # type: ignore[index]
    with pytest.raises(Exception, match="from 0 to 100, but 'latency_ms_x' of row 5 is 101"):
        Task.of(table, "latency_ms_x", "val_acc", ["mib"])


def test_a_table_has_each_architecture_once(path: Path) -> None:
    """Else it is not said which of the two values was evaluated."""
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, lines[2]]))
    with pytest.raises(Exception, match=r"each architecture once, but rows 2 and 82 of .* are the same: depth="):
        Networks(read_table(path, SPACE), SPACE)

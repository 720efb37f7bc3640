"""Scores of searches on a table: laws of the hypervolume over evaluations, and normalised points."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from chain_table import ROWS, SPACE, WITHOUT_ENERGY, made_up_rows, run, settings_of, write_rows

from experiments.search_tasks import CostLimit, Networks, TableTask, evaluations_to, hypervolumes
from experiments.table_search.study import study_of
from nas.tables.table import Table, read_table
from nas.values.pareto import hypervolume, non_dominated


class TestScores:
    """Hypervolumes over evaluations, and the points that they are computed from."""

    @pytest.mark.parametrize("objectives", [2, 3, 4])
    def test_the_volume_covers_all_points_so_far(self, objectives: int, rng: np.random.Generator) -> None:
        """The incremental hypervolume equals the obvious one and never falls."""
        points = np.vstack([rng.random((40, objectives)).round(1), np.ones((2, objectives))])
        points = points[rng.permutation(len(points))]
        volumes = hypervolumes(points)
        reference = np.ones(objectives)
        obvious = [hypervolume(points[: count + 1], reference) for count in range(len(points))]
        np.testing.assert_allclose(volumes, obvious)
        assert (np.diff(volumes) >= 0).all()

    @pytest.mark.parametrize("costs", [["latency_ms_x"], ["latency_ms_x", "energy_mj_x"], ["mib", "same_not"]])
    def test_all_rows_reach_the_whole_hypervolume(self, path: Path, costs: list[str], rng: np.random.Generator) -> None:
        """All rows in any order reach 100 %, and so do the rows of the front alone."""
        write_rows(path, [{**row, "same_not": number % 7} for number, row in enumerate(made_up_rows())])
        task = TableTask.of(read_table(path, SPACE), "val_acc", "test_acc", costs)
        shares = task.shares(rng.permutation(task.usable).tolist())
        assert shares[-1] == pytest.approx(100)
        assert (np.diff(shares) >= 0).all()
        front = task.usable[non_dominated(task.points[task.usable])]
        assert task.shares(front.tolist())[-1] == pytest.approx(100)
        assert task.objectives == len(costs) + 1

    def test_points_are_normalised_over_the_table(self, table: Table, task: TableTask) -> None:
        """Scores are scaled by their extremes and costs by clipping percentiles, while losses are unchanged."""
        rows = made_up_rows()
        errors = 100 - np.array([row["test_acc"] for row in rows])
        latencies = np.array([row["latency_ms_x"] for row in rows])
        low, high = np.percentile(latencies, [0.05, 99.95])
        np.testing.assert_allclose(task.points[:, 0], (errors - errors.min()) / (errors.max() - errors.min()))
        np.testing.assert_allclose(task.points[:, 1], np.clip((latencies - low) / (high - low), 0, 1))
        np.testing.assert_allclose(task.losses[:, 0], [100 - row["val_acc"] for row in rows])
        np.testing.assert_allclose(task.losses[:, 1], latencies)
        assert (latencies > high).sum() == 1
        energy = TableTask.of(table, "val_acc", "val_acc", ["energy_mj_x"])
        assert len(energy.usable) == ROWS - len(WITHOUT_ENERGY)
        assert np.isnan(energy.losses[list(WITHOUT_ENERGY)]).all()

    def test_evaluations_are_counted_from_one(self) -> None:
        """A share that is never reached takes infinitely many evaluations."""
        shares = np.array([10.0, 95.0, 95.0, 99.0, 99.5])
        assert [evaluations_to(share, shares) for share in (5, 95, 99, 100)] == [1, 2, 4, math.inf]

    def test_evaluations_on_a_known_order(self, path: Path) -> None:
        """If the front is evaluated last, 99 % is reached within the front and 100 % at its end."""
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

    def test_rows_above_a_limit_have_no_score(self, table: Table, task: TableTask) -> None:
        """Rows above a limit add nothing to the whole hypervolume or to the share found."""
        limited = TableTask.of(table, "val_acc", "test_acc", ["latency_ms_x"], [CostLimit("latency_ms_x", 3.0)])
        above = np.flatnonzero(limited.losses[:, 1] > 3).tolist()
        within = np.flatnonzero(limited.losses[:, 1] <= 3).tolist()
        assert limited.shares(above)[-1] == 0
        assert limited.shares(within)[-1] == pytest.approx(100)
        assert limited.whole < task.whole
        assert limited.whole == pytest.approx(hypervolume(task.points[within], np.ones(2)))
        assert not limited.meets_limits(above).any()


def test_accuracies_are_in_per_cent(path: Path) -> None:
    """A column with other values is refused, and the message names the first of them."""
    table = read_table(path, SPACE)
    table.columns["latency_ms_x"][4] = 101.0  # type: ignore[index]
    with pytest.raises(Exception, match="from 0 to 100, but 'latency_ms_x' of row 5 is 101"):
        TableTask.of(table, "latency_ms_x", "val_acc", ["mib"])


def test_a_table_has_each_architecture_once(path: Path) -> None:
    """With two rows it would be unclear which of the two values was evaluated."""
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, lines[2]]))
    with pytest.raises(Exception, match=r"each architecture once, but rows 2 and 82 of .* are the same: depth="):
        Networks(read_table(path, SPACE), SPACE)

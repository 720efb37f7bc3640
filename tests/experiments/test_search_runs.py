"""Runs on a table: what counts as an evaluation, and what is known of costs."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from chain_table import NETWORKS, ROWS, SPACE, WITHOUT_ENERGY, problem_of

from experiments.search_problem import KnownCosts, Problem, winners
from experiments.search_tasks import MOST_USELESS, CostLimit, Networks, TableTask
from experiments.table_search.runs import search
from nas.space.architecture import Architecture
from nas.tables.table import Table
from nas.values.pareto import non_dominated


@dataclass
class Scripted:
    """Proposes a fixed list of architectures and records the losses that it receives."""

    script: list[Architecture]
    told: list[tuple[float, ...] | None] = field(default_factory=list)

    def propose(self) -> Architecture | None:
        return self.script[len(self.told)] if len(self.told) < len(self.script) else None

    def tell(self, architecture: Architecture, losses: tuple[float, ...] | None) -> None:
        assert architecture == self.script[len(self.told)]
        self.told.append(losses)


class TestRuns:
    """Evaluations, repeats, failures and known costs of runs."""

    def test_repeats_and_failures_do_not_count(self, table: Table) -> None:
        """A repeat gets the known losses, a failure gets None, and a twin is another row that counts."""
        task = TableTask.of(table, "val_acc", "val_acc", ["energy_mj_x"])
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
        """Every twin evaluates the row in canonical form, and the other rows are not part of the task."""
        networks = Networks(table, SPACE, are_twins_joined=True)
        task = TableTask.of(table, "val_acc", "val_acc", ["latency_ms_x"], searched=networks.searched)
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

    def test_a_run_ends_after_its_evaluations(self, table: Table, task: TableTask) -> None:
        """The searcher is not asked for more proposals."""
        searcher = Scripted(list(table.architectures))
        evaluated, _, _ = search(searcher, Networks(table, SPACE), task, KnownCosts.nothing(task), 5)
        assert evaluated == [0, 1, 2, 3, 4]
        assert len(searcher.told) == 5

    def test_some_proposals_are_evaluated_at_once(self, table: Table, task: TableTask) -> None:
        """As many as asked are under way until the last ones begin, and they end in an order of their own."""
        script, going, most = list(table.architectures), list[Architecture](), list[int]()

        class Waiting:
            def propose(self) -> Architecture | None:
                going.append(script[len(most)])
                most.append(len(going))
                return going[-1]

            def tell(self, architecture: Architecture, losses: tuple[float, ...] | None) -> None:
                going.remove(architecture)

        networks = Networks(table, SPACE)
        evaluated, _, _ = search(Waiting(), networks, task, KnownCosts.nothing(task), 9, in_flight=3, seed=1)
        assert most == [1, 2, *[3] * 7]
        assert sorted(evaluated) == list(range(9))
        assert evaluated != sorted(evaluated)
        assert not going

    def test_useless_proposals_end_a_run(self, table: Table, task: TableTask) -> None:
        """A searcher that repeats itself for ever does not hang the run."""
        searcher = Scripted([table.architectures[0]] * 2 * MOST_USELESS)
        evaluated, counts, _ = search(searcher, Networks(table, SPACE), task, KnownCosts.nothing(task), 5)
        assert evaluated == [0]
        assert counts["repeats"] == MOST_USELESS

    def test_winners_are_chosen_by_the_losses_seen(self, table: Table) -> None:
        """Winners are non-dominated by the seen accuracy, within the limits, and in the order of evaluation."""
        task = TableTask.of(table, "val_acc", "test_acc", ["latency_ms_x"], [CostLimit("latency_ms_x", 3.0)])
        known = KnownCosts.everything(task)
        rows = list(reversed(range(ROWS)))
        won = winners(task, known, rows)
        within = [row for row in rows if task.losses[row, 1] <= 3]
        mask = non_dominated(task.losses[within])
        assert won == [row for row, is_won in zip(within, mask, strict=True) if is_won]
        known.bounds[won[0]] = 3.1
        assert won[0] not in winners(task, known, rows)
        assert winners(task, known, []) == []

    def test_known_costs_belong_to_rows(self, table: Table) -> None:
        """An architecture without a known cost gets the largest one and is not acceptable."""
        task = TableTask.of(table, "val_acc", "val_acc", ["energy_mj_x"], [CostLimit("energy_mj_x", 9.0)])
        problem = problem_of(table, task, KnownCosts.everything(task), is_informed=True)
        costs = problem.known_costs(table.architectures)[:, 0]
        usable = task.usable
        np.testing.assert_array_equal(costs[usable], task.losses[usable, 1])
        assert costs[WITHOUT_ENERGY[0]] == np.nanmax(task.losses[:, 1])
        np.testing.assert_array_equal(problem.acceptable(table.architectures), task.losses[:, 1] <= 9)
        assert not problem.acceptable([Architecture({"depth": 9})]).any()
        assert problem.excesses((5.0, 18.0)) == {"energy_mj_x": 1.0}

    def test_costs_near_a_limit_are_measured(self, table: Table) -> None:
        """Rows whose mean meets the limit but whose bound does not are measured once each, up to the budget."""
        task = TableTask.of(table, "val_acc", "val_acc", ["latency_ms_x"], [CostLimit("latency_ms_x", 3.0)])
        truths = task.losses[:, 1:]
        networks = Networks(table, SPACE)
        doubtful = np.flatnonzero((0.9 * truths[:, 0] <= 3) & (1.1 * truths[:, 0] > 3))
        assert len(doubtful) > 2
        for asks in (0, 2, 100):
            known = KnownCosts(0.9 * truths, 1.1 * truths)
            problem = Problem(
                SPACE,
                networks,
                task,
                known,
                is_informed=True,
                describer=lambda: pytest.fail("only gp describes"),
                asks=asks,
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

    def test_without_known_costs_only_rows_seen_above_a_limit_are_refused(self, table: Table) -> None:
        """A searcher may use the costs of the rows that it has evaluated."""
        task = TableTask.of(table, "val_acc", "val_acc", ["latency_ms_x"], [CostLimit("latency_ms_x", 3.0)])
        known = KnownCosts.nothing(task)
        problem = problem_of(table, task, known, is_informed=False)
        assert problem.acceptable(table.architectures).all()
        known.see(np.arange(10), task)
        expected = np.concatenate([task.losses[:10, 1] <= 3, np.ones(ROWS - 10, dtype=np.bool_)])
        np.testing.assert_array_equal(problem.acceptable(table.architectures), expected)

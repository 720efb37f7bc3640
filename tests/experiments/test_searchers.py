"""The searchers on the made-up table, and the packages that some of them need."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from chain_table import SPACE, command, problem_of, run, settings_of, without_times
from optuna.trial import TrialState

from experiments.compare_searchers import main
from experiments.search_problem import KnownCosts
from experiments.search_tasks import Networks, TableTask
from experiments.searchers.by_name import PRIMO_PYTHON
from experiments.searchers.local_search import FIRST, FIRST_INFORMED, LocalSearcher, neighbours_of
from experiments.searchers.optuna_searcher import OptunaSearcher
from experiments.searchers.pymoo_searcher import PymooSearcher
from experiments.searchers.searcher import PATIENCE
from experiments.table_search.runs import search
from experiments.table_search.study import SearchStudy
from nas.space.architecture import Architecture
from nas.tables.table import Table
from nas.values.pareto import non_dominated


class Stuck(optuna.samplers.RandomSampler):
    """A sampler that repeats itself."""

    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
        return param_distribution.choices[0]


class TestSearchers:
    """Proposals of the searchers, and their missing packages."""

    @pytest.mark.parametrize("joined", [False, True])
    def test_neighbours_include_twins_unless_they_are_joined(self, table: Table, task: TableTask, joined: bool) -> None:
        """Each of four choices has two other options, so there are eight neighbours."""
        bare = Architecture({"depth": 0, "kernel": 1, "width": 8, "stride": 4})
        known = KnownCosts.nothing(task)
        found = list(neighbours_of(problem_of(table, task, known, is_informed=False, joined=joined), bare))
        assert len(found) == 8
        assert len(set(found)) == (7 if joined else 8)
        assert (Architecture({"depth": 0, "kernel": 5, "width": 8, "stride": 4}) in found) is not joined
        assert (bare in found) is joined

    def test_local_search_evaluates_neighbours_of_the_front(self, table: Table, task: TableTask) -> None:
        """After the random start each proposal is new and one choice away from a non-dominated architecture."""
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

    def test_local_search_uses_known_costs(self, table: Table, task: TableTask) -> None:
        """With known costs each proposal is at most as expensive as a neighbour on the front."""
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

    def test_a_stuck_sampler_gets_random_proposals(self, table: Table, task: TableTask) -> None:
        """A sampler that only repeats itself still evaluates four rows."""

        problem = problem_of(table, task, KnownCosts.nothing(task), is_informed=False)
        searcher = OptunaSearcher(problem, 0, Stuck())
        evaluated, counts, _ = search(searcher, Networks(table, SPACE), task, KnownCosts.nothing(task), 4)
        assert len(evaluated) == 4
        assert counts["repeats"] >= 3 * (PATIENCE - 1)

    def test_the_same_row_may_be_under_way_twice(self, table: Table, task: TableTask) -> None:
        """Each proposal gets its own losses."""

        searcher = OptunaSearcher(problem_of(table, task, KnownCosts.nothing(task), is_informed=False), 0, Stuck())
        first, second = searcher.propose(), searcher.propose()
        assert first == second
        searcher.tell(first, (1.0, 2.0))
        searcher.tell(second, None)
        states = [trial.state for trial in searcher._study.get_trials()]
        assert states == [TrialState.COMPLETE, TrialState.FAIL]

    def test_nsga2_learns_from_random_proposals(self, table: Table, task: TableTask) -> None:
        """A random proposal in place of NSGA-II's own belongs to a generation, so NSGA-II learns from it."""
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

    def test_failures_are_left_out_of_pymoos_generations(self, table: Table, task: TableTask) -> None:
        """pymoo continues with the successful rest of a generation, and with a new one if all failed."""
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
    def test_packages_of_other_searchers_are_optional(
        self,
        name: str,
        package: str,
        extra: str,
        path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """A missing package is refused with the command that installs it."""
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(SystemExit) as exit_:
            main(command(path, "--searchers", name))
        assert exit_.value.code == 2
        error = " ".join(capsys.readouterr().err.split())
        assert f"needs the package {package}, which is not installed" in error
        assert f"pip install --editable '.[{extra}]'" in error

    @pytest.mark.parametrize("value", ["", "no/such/python"])
    def test_primos_environment_is_optional(
        self, value: str, path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Without it, the message says how to make it."""
        monkeypatch.setenv(PRIMO_PYTHON, value)
        with pytest.raises(SystemExit):
            main(command(path, "--searchers", "primo"))
        error = " ".join(capsys.readouterr().err.split())
        assert "primo/bin/pip install neural-pipeline-search" in error
        assert f"it is {value!r}" in error

    @pytest.mark.slow
    @pytest.mark.filterwarnings("ignore")  # warnings of their own dependencies
    @pytest.mark.parametrize("name", ["syne-tune-evolution", "syne-tune-ehvi", "ax", "primo"])
    def test_peers_with_packages_of_their_own(self, name: str, path: Path) -> None:
        """They evaluate distinct rows, the same rows with the same seed, and survive failures."""
        if name == "primo" and PRIMO_PYTHON not in os.environ:
            pytest.skip("NePS has no environment here")
        if name != "primo":
            pytest.importorskip("ax" if name == "ax" else "syne_tune")
        arguments = ("--searchers", name, "--cost", "energy_mj_x", "--limit", "latency_ms_x<=3", "--seeds", "1")
        before = np.random.get_state()[1].copy()  # noqa: NPY002
        first = run(path, *arguments, "--evaluations", "6")["runs"]
        assert [len(set(each["evaluated"])) for each in first] == [6, 6]
        assert without_times(run(path, *arguments, "--evaluations", "6")["runs"]) == without_times(first)
        assert (np.random.get_state()[1] == before).all()  # noqa: NPY002

    @pytest.mark.parametrize("known", ["true", "false"])
    def test_gp(self, path: Path, known: str) -> None:
        """gp evaluates only canonical rows and, with known costs, no row above the limit."""
        pytest.importorskip("predictors.samplers.surrogate_sampler")
        arguments = ("--searchers", "gp", "--cost-known", known, "--limit", "latency_ms_x<=3", "--evaluations", "10")
        content = run(path, *arguments, "--cost", "mib,energy_mj_x", "--seeds", "1")
        study = SearchStudy(settings_of(content, path))
        assert len(content["runs"]) == 2
        for each in content["runs"]:
            assert len(each["evaluated"]) == 10
            assert study.networks.is_canonical[each["evaluated"]].all()
            assert each["twins"] == each["repeats"] == 0
            if known == "true":
                assert each["evaluations_over_limits"] == each["failures"] == 0

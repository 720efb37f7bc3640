"""The comparison of searchers from its command line to its JSON file and its tables."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chain_table import (
    NETWORKS,
    OTHERS,
    ROWS,
    WITHOUT_ENERGY,
    command,
    made_up_rows,
    run,
    settings,
    settings_of,
    without_times,
)

from experiments.compare_searchers import command_parser, main, settings_from
from experiments.table_search.study import SearchStudy
from nas.prediction.predictor import Batch, Prediction
from nas.values.pareto import FloatArray


class TestCommand:
    """Whole comparisons by their command line."""

    def test_all_searchers(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Each run has distinct rows, winners among them, and figures that follow from these rows."""
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
        study = SearchStudy(settings_of(content, path))
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
        assert re.search(rf"\| local \| {mean:.2f} ± [0-9.]+ \|", shown.out)

    def test_optunas_gaussian_process(self, path: Path) -> None:
        """Optuna's Gaussian process is slow, so one evaluation beyond its random start has to do."""
        content = run(path, "--searchers", "optuna-gp", "--seeds", "1", "--evaluations", "11")
        assert len(content["runs"][0]["evaluated"]) == 11

    def test_a_full_budget_finds_everything(self, path: Path) -> None:
        """With as many evaluations as rows, a run evaluates all rows and reaches the whole hypervolume."""
        content = run(path, "--searchers", "local,random", "--evaluations", str(ROWS), "--seeds", "1")
        for each in content["runs"]:
            assert sorted(each["evaluated"]) == list(range(ROWS))
            assert each["hypervolume_percent"][str(ROWS)] == pytest.approx(100)
            assert each["evaluations_to"]["99"] <= ROWS
            assert each["twins"] == ROWS - NETWORKS

    @pytest.mark.slow
    def test_with_joined_twins_all_searchers_evaluate_networks(self, path: Path) -> None:
        """Searchers that know nothing of twins evaluate no network twice and do not end early."""
        most = NETWORKS - 8
        others = ",".join(OTHERS if find_spec("pymoo") else sorted({*OTHERS} - {"pymoo-nsga2"}))
        content = run(path, "--twins", "joined", "--searchers", others, "--evaluations", str(most), "--seeds", "2")
        assert content["settings"]["twins"] == "joined"
        assert len(content["runs"]) == 2 * len(others.split(","))
        for each in content["runs"]:
            assert each["twins"] == each["failures"] == 0
            if each["searcher"] != "pymoo-nsga2":  # it ends when all its offspring are duplicates
                assert len(each["evaluated"]) == most, each["searcher"]

    def test_the_seed_decides(self, path: Path) -> None:
        """A run depends on its seed alone, not on the other searchers of the comparison."""
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
        """Two worker processes give the same runs as one, apart from the times."""
        one = run(path, "--evaluations", "10")["runs"]
        assert without_times(run(path, "--evaluations", "10", "--workers", "2")["runs"]) == without_times(one)

    def test_without_a_json_file_the_tables_are_still_printed(
        self, path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """No file is written beside the table that was read."""
        main(command(path, "--evaluations", "5", "--seeds", "1"))
        assert "| random |" in capsys.readouterr().out
        assert [each.name for each in path.parent.iterdir()] == [path.name]

    def test_the_default_score_is_the_accuracy(self, path: Path) -> None:
        """Without --score, searchers are scored on the accuracy that they see."""
        arguments = command(path, "--evaluations", "5", "--seeds", "1")
        place = arguments.index("--score")
        parsed = settings_from(command_parser().parse_args(arguments[:place] + arguments[place + 2 :]))
        assert parsed.score == "val_acc"

    def test_limits_with_known_costs(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Random search evaluates rows above the limit, local search does not, and neither returns one."""
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
    """Predicts half of the true latency, with twice the true latency as the bound."""

    truths: FloatArray

    def predict_described(self, batch: Batch) -> Prediction:
        half = self.truths / 2
        return Prediction(half, half, half, 4 * half, half > 0)


class TestPredictedCosts:
    """Known costs when some rows are measured and the others predicted."""

    def test_the_rest_is_predicted(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Measured rows have true costs, the others predicted ones whose bounds are compared with limits."""
        latencies = np.array([row["latency_ms_x"] for row in made_up_rows()])
        calls: list[tuple[list[float], list[str], str, int]] = []

        def fit(
            describer: Any, architectures: Any, values: FloatArray, *, target: str, sources: Any, seed: int
        ) -> Halved:
            calls.append((values.tolist(), [source.target for source in sources], target, seed))
            assert all(len(source.values) == ROWS for source in sources)
            return Halved(latencies)

        monkeypatch.setattr("predictors.stacked.fit_stacked", fit)
        arguments = ("--cost-known", "predicted:12", "--sources", "y", "--limit", "latency_ms_x<=3.5")
        content = run(path, *arguments, "--searchers", "local")
        assert [call[1:] for call in calls] == [(["y"], "latency_ms_x", seed) for seed in (0, 1)]
        study = SearchStudy(settings(path, *arguments))
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
        """The real default predictor predicts the made-up costs within 10 %."""
        study = SearchStudy(settings(path, "--cost-known", "predicted:15", "--sources", "y"))
        known = study.known_costs(study.tasks[0], 0)
        truths = study.tasks[0].losses[:, 1]
        assert np.abs(known.values[:, 0] / truths - 1).mean() < 0.1
        assert (known.bounds[:, 0] >= truths).mean() > 0.8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--accuracy", "val"], "it has none named 'val'. Did you mean 'val_acc'"),
        (["--score", "test"], "it has none named 'test'"),
        (["--accuracy", "note"], "'note' of .* must hold numbers, but row 1 holds 'none'"),
        (["--cost", "latency_ms_z"], "it has none named 'latency_ms_z'. Did you mean 'latency_ms"),
        (["--cost", "same"], "a column must vary over the rows that have all values, but 'same' is constant"),
        (["--cost", "val_acc"], "an accuracy must not be a cost too, but 'val_acc' is"),
        (["--cost", "latency_ms_x"], "each --cost must be a different task"),
        (["--cost", "mib,mib"], "must be distinct names, separated by commas, but got 'mib,mib'"),
        (["--cost", "mib,same,energy_mj_x,latency_ms_y"], "a task must have 2 to 4 objectives, but got 5"),
        (["--searchers", "tpee"], "unknown searcher 'tpee'. Did you mean 'tpe'"),
        (["--cost-known", "perhaps"], "must be true, false or predicted:N with N of at least 5, but got 'perhaps'"),
        (
            ["--cost-known", "predicted:4"],
            "predicted:N with N of at least 5, but got 'predicted:4'",
        ),
        (
            ["--cost-known", "predicted:82"],
            "at most the number of rows that have all values, 81 with .* but got 82",
        ),
        (["--sources", "y"], "--sources needs --cost-known predicted:N, but got 'false'"),
        (["--cost-known", "predicted:9", "--sources", "x"], "must not be one of the sources too"),
        (
            ["--cost-known", "predicted:9", "--sources", "latency_ms_y"],
            "write y instead of latency_ms_y",
        ),
        (
            ["--cost-known", "predicted:9", "--sources", "yy"],
            "like 'latency_ms_x', but got 'yy'. Did you mean 'y'",
        ),
        (["--choices", "note"], "--choices names columns of --space table, but the space is"),
        (["--prior", "test_acc"], "has one use, but 'test_acc' is in --prior and in the columns that are searched"),
        (["--prior", "same"], "a prior must tell rows apart, but column 'same'"),
        (["--limit", "latency_ms_x<3"], "written as COLUMN<=NUMBER, such as latency_ms_x<=2.5, but got"),
        (["--limit", "mib<=3"], "a limit must be on one of the costs, but 'mib' is none of them"),
        (["--limit", "latency_ms_x<=0.5"], "must meet the limits, but none does: latency_ms_x<=0.5"),
        (["--ask", "9"], "--ask 9 needs a --limit and --cost-known predicted:N"),
        (["--evaluations", "82"], "at most the number of rows that have all values, 81 with .* but got 82"),
        (["--evaluations", "64", "--searchers", "gp"], "number of different networks that have all values, 63"),
        (
            ["--in-flight", "4", "--searchers", "gp,local"],
            "--in-flight 4 is for gp, random, .*, but got the searcher 'local'",
        ),
        (["--evaluations", "0"], "must be a whole number of at least 1, but got '0'"),
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
    """The command exits with status 2, the rule and the value before any search begins."""
    with pytest.raises(SystemExit) as exit_:
        main([*command(path, "--json", str(path.with_name("out.json"))), *arguments])
    assert exit_.value.code == 2
    error = " ".join(capsys.readouterr().err.split())
    assert error.count("error:") == 1
    assert re.search(message, error), error
    assert not path.with_name("out.json").exists()

"""The benchmark of predictors on a made-up table: what is sampled, predicted, scored and written."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments import compare_predictors
from experiments.compare_predictors import FIGURES, TIMES, judge, main, rows_to_score
from nas.prediction.predictor import Batch, FloatArray, Given, HeldOut, Prediction
from nas.space.architecture import Architecture
from nas.space.description import Describer
from nas.values.held_out import HeldOutError
from nas.values.source import Source
from search_spaces.nasbench201 import EDGES, OPERATIONS

ROWS = 60
WITHOUT_X = (3, 50)
WITHOUT_LATENCY_X = (7, 55)
COSTS = np.array([0.1, 0.2, 1.0, 3.0, 0.7])
GP = "predictors.gp:fit_gp"
OWN = "test_compare_predictors:fit_by_counts"


@dataclass(frozen=True)
class Fitted:
    """A straight line through the logarithms by the number of 3×3 convolutions; ±10 % are its bounds."""

    line: FloatArray
    held_out: HeldOutError
    held_out_predictions: HeldOut

    def predict(self, architectures: Sequence[Architecture]) -> Prediction:
        raise AssertionError("batches are described beforehand")

    def predict_described(self, batch: Batch) -> Prediction:
        mean = np.exp(np.polyval(self.line, (batch.descriptions.options == 3).sum(axis=1)))
        if batch.given.size:
            mean = mean * 0 + np.exp(batch.given[:, 0])
        return Prediction(mean, 0.9 * mean, 1.1 * mean, 1.05 * mean, mean < 2 * mean.min())


@dataclass(frozen=True)
class Call:
    """What a method was given."""

    options: list[list[int]]
    values: list[float]
    target: str
    sources: tuple[Source, ...]
    given: tuple[Given, ...]
    seed: int


CALLS: list[Call] = []


def fit_by_counts(
    space: Describer,
    architectures: Sequence[Architecture],
    values: FloatArray,
    *,
    target: str,
    sources: Sequence[Source] = (),
    given: Sequence[Given] = (),
    seed: int,
) -> Fitted:
    """A method as users write one; it keeps what it was called with."""
    options = space.describe(architectures).options
    CALLS.append(Call(options.tolist(), values.tolist(), target, tuple(sources), tuple(given), seed))
    line = np.polyfit((options == 3).sum(axis=1), np.log(values), 1)
    return Fitted(line, HeldOutError(5, 0.1, 1, 1, 1, 1, 1, 0.2), HeldOut(*np.ones((4, 5))))


def made_up_rows() -> list[dict[str, Any]]:
    """Different cells, with costs of three devices, of which two lack some."""
    rng = np.random.default_rng(0)
    cells = [[1, 2, 3, 0, 4, number % 5] for number in range(5)]
    while len(cells) < ROWS:
        cell = rng.integers(0, 5, 6).tolist()
        if cell not in cells:
            cells.append(cell)
    rows = []
    for number, cell in enumerate(cells):
        latency = 2 + COSTS[cell].sum()
        costs = {"latency_ms_x": latency, "latency_ms_y": 3 * latency + cell[0], "latency_ms_s": latency**1.1}
        costs |= {"energy_mj_x": 1.5 * latency + 0.1 * cell[1]}
        blank = {"energy_mj_x": number in WITHOUT_X, "latency_ms_x": number in WITHOUT_LATENCY_X}
        named = {f"op_e{to}{source}": option for (to, source), option in zip(EDGES, cell, strict=True)}
        rows.append({**named, **{name: "" if blank.get(name) else cost for name, cost in costs.items()}})
    return rows


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """The made-up table as a file."""
    path = tmp_path / "made-up.csv"
    rows = made_up_rows()
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    CALLS.clear()
    return path


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Speed is told by few predictions."""
    monkeypatch.setattr(compare_predictors, "SPEED_S", 0.0)


def run(table: Path, *arguments: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the JSON file and the predictions hold after a run."""
    compare_predictors.study_of.cache_clear()
    out, predictions = table.with_name("out.json"), table.with_name("out.npz")
    main([*command(table), "--json", str(out), "--predictions", str(predictions), *arguments])
    with np.load(predictions, allow_pickle=False) as arrays:
        return json.loads(out.read_text()), dict(arrays)


def command(table: Path) -> list[str]:
    space = ["--space", "nasbench201", "--option", "cells=1", "--input-shape", "3x8x8"]
    sampling = ["--samples", "10", "--seeds", "2", "--choose", "random"]
    return ["--table", str(table), *space, "--metric", "latency_ms", "--targets", "y", "--methods", OWN, *sampling]


def without_times(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name not in TIMES} for row in rows]


def numbers(prefix: str, arrays: dict[str, Any]) -> tuple[list[int], list[int]]:
    return arrays[f"{prefix}/sampled"].tolist(), arrays[f"{prefix}/queried"].tolist()


def test_without_files_the_tables_are_printed_all_the_same(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is written beside the table that was read."""
    compare_predictors.study_of.cache_clear()
    main(command(table))
    assert "| 10 |" in capsys.readouterr().out
    assert [path.name for path in table.parent.iterdir()] == [table.name]


def test_everything_that_was_not_sampled_is_predicted(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each target, number, seed and method has its row and arrays; methods share the samples, seeds do not."""
    content, arrays = run(table, "--targets", "y,s", "--samples", "10,15", "--methods", f"{GP},{OWN}")
    assert content["complete"]
    assert content["settings"]["table"] == "made-up.csv"
    keys = [(row["target"], row["samples"], row["seed"], row["method"]) for row in content["rows"]]
    assert keys == [
        (target, samples, seed, method)
        for target in "ys" for samples in (10, 15) for seed in (0, 1) for method in (GP, OWN)
    ]  # fmt: skip
    fields = ("sampled", "queried", "mean", "lower", "upper", "limit")
    assert set(arrays) == {f"{'/'.join(map(str, key))}/{field}" for key in keys for field in fields}
    for row, (target, samples, seed, method) in zip(content["rows"], keys, strict=True):
        sampled, queried = numbers(f"{target}/{samples}/{seed}/{method}", arrays)
        assert len(sampled) == samples
        assert sorted(sampled + queried) == list(range(ROWS))
        assert arrays[f"{target}/{samples}/{seed}/{method}/limit"].shape == (ROWS - samples,)
        assert sampled == numbers(f"{target}/{samples}/{seed}/{GP}", arrays)[0]
        assert row["queried"] == row["scored"] == ROWS - samples
        assert all(math.isfinite(row[name]) for name in FIGURES)
        assert 0 < row["fit_s"] < 60
        assert row["predictions_per_s"] > 1
    assert numbers(f"y/10/0/{OWN}", arrays) != numbers(f"y/10/1/{OWN}", arrays)
    cells = [list(row.values())[:6] for row in made_up_rows()]
    for call in CALLS:
        assert call.sources == call.given == ()
    call = CALLS[0]
    sampled, _ = numbers(f"y/10/0/{OWN}", arrays)
    assert (call.target, call.seed, call.options) == ("y", 0, [cells[row] for row in sampled])
    assert call.values == [made_up_rows()[row]["latency_ms_y"] for row in sampled]
    shown = capsys.readouterr()
    assert f"y, 10 samples, seed 1, Spearman: {GP} 0." in shown.err
    mean = np.mean([row["spearman"] for row in content["rows"] if row["samples"] == 10 and row["method"] == OWN])
    assert f"| 10 | {OWN} | {mean:.3f} |" in shown.out
    assert "| samples | method | y | s |" in shown.out


def test_queries_are_never_sampled(table: Path) -> None:
    """With --query all its rows are predicted and the samples come from the others; rows without value are neither."""
    _, arrays = run(table, "--query", "40:70", "--samples", "5,30", "--metric", "energy_mj", "--targets", "x")
    for samples in (5, 30):
        for seed in (0, 1):
            sampled, queried = numbers(f"x/{samples}/{seed}/{OWN}", arrays)
            assert queried == [row for row in range(40, ROWS) if row not in WITHOUT_X]
            assert set(sampled) <= set(range(40)) - set(WITHOUT_X)
            assert len(set(sampled)) == samples


def test_the_trim_leaves_out_of_the_score_alone(table: Path) -> None:
    """The predictions are all there, and the figures are of the middle ones."""
    content, arrays = run(table, "--trim", "0.1", "--seeds", "1")
    (row,) = content["rows"]
    assert (row["queried"], row["scored"]) == (50, 40)
    _, queried = numbers(f"y/10/0/{OWN}", arrays)
    truths = np.array([made_up_rows()[number]["latency_ms_y"] for number in queried])
    mean = arrays[f"y/10/0/{OWN}/mean"]
    assert len(mean) == 50
    middle = np.argsort(truths)[5:45]
    errors = np.abs(mean - truths)[middle] / truths[middle]
    assert row["mape"] == pytest.approx(errors.mean())
    assert row["within_10_percent"] == pytest.approx((errors <= 0.1).mean())
    assert row["coverage"] == pytest.approx((np.abs(truths - mean) <= 0.1 * mean)[middle].mean())
    assert row["width"] == pytest.approx(0.2)
    np.testing.assert_array_equal(rows_to_score(np.array([5.0, 1.0, 3.0, 2.0, 4.0]), 0.2), [2, 3, 4])


def test_what_is_given_is_the_logarithm_of_the_targets_own_metric(table: Path) -> None:
    """For each architecture; rows that lack it are neither sampled nor predicted."""
    content, arrays = run(table, "--metric", "energy_mj", "--targets", "x", "--given", "latency_ms")
    sampled, queried = numbers(f"x/10/0/{OWN}", arrays)
    assert set(sampled) | set(queried) == set(range(ROWS)) - set(WITHOUT_X) - set(WITHOUT_LATENCY_X)
    latencies = [made_up_rows()[row]["latency_ms_x"] for row in queried]
    np.testing.assert_allclose(arrays[f"x/10/0/{OWN}/mean"], latencies)
    assert [each.name for each in CALLS[0].given] == ["latency_ms"]
    assert content["rows"][0]["spearman"] > 0.99


def test_sources_are_seen_in_the_first_rows(table: Path) -> None:
    """Those of them with a value, of the same metric."""
    run(table, "--sources", "s,x", "--source-rows", "20", "--seeds", "1")
    first, second = CALLS[0].sources
    assert (first.target, second.target) == ("s", "x")
    assert (len(first.architectures), len(first.values)) == (20, 20)
    assert len(second.architectures) == 19
    rows = [row for number, row in enumerate(made_up_rows()[:20]) if number not in WITHOUT_LATENCY_X]
    np.testing.assert_allclose(second.values, [row["latency_ms_x"] for row in rows])
    assert list(second.architectures[-1].values()) == [OPERATIONS[n] for n in list(rows[-1].values())[:6]]


def test_sources_are_left_out_where_what_is_given_is_unknown(table: Path) -> None:
    """Else a method would meet NaN there."""
    given = ("--metric", "energy_mj", "--targets", "x", "--given", "latency_ms")
    with table.open() as stream:
        rows = list(csv.reader(stream))
    with table.open("w", newline="") as stream:
        csv.writer(stream).writerows(
            [[*rows[0], "energy_mj_t"], *([*row, number] for number, row in enumerate(rows[1:], 1))]
        )
    run(table, *given, "--sources", "t", "--source-rows", "20", "--seeds", "1")
    (source,) = CALLS[0].sources
    assert source.values.tolist() == [number + 1 for number in range(20) if number not in WITHOUT_LATENCY_X]
    assert np.isfinite(CALLS[0].given[0].values(source.architectures)).all()


def test_samples_are_the_medoids_of_the_latent_features(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They spread over the features, which are found once; many samples are drawn at random."""
    asked: list[int] = []

    def latent_features(space: Describer, architectures: Sequence[Architecture], sources: Sequence[Source]) -> Any:
        asked.append(len(sources))
        return space.describe(architectures).options[:, :1].astype(np.float64)

    monkeypatch.setattr("predictors.source_models.latent_features", latent_features)
    chosen = ("--samples", "5,30", "--sources", "s", "--choose", "medoids")
    _, arrays = run(table, *chosen)
    options = np.array([row["op_e10"] for row in made_up_rows()])
    for seed in (0, 1):
        sampled, _ = numbers(f"y/5/{seed}/{OWN}", arrays)
        assert sorted(options[sampled]) == [0, 1, 2, 3, 4]
    assert asked == [1]
    monkeypatch.setattr(compare_predictors, "MOST_MEDOIDS", 4)
    _, again = run(table, *chosen)
    monkeypatch.setattr(compare_predictors, "POOL", 1)
    _, drawn = run(table, *chosen[:-1], "random")
    assert numbers(f"y/5/0/{OWN}", again) == numbers(f"y/5/0/{OWN}", drawn)
    assert asked == [1]


def test_the_pool_bounds_what_may_be_a_medoid(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a pool as large as the samples it is the pool that is sampled: the rows of a random choice."""
    monkeypatch.setattr(compare_predictors, "POOL", 10)
    _, pooled = run(table, "--choose", "medoids")
    _, drawn = run(table, "--choose", "random")
    assert numbers(f"y/10/1/{OWN}", pooled) == numbers(f"y/10/1/{OWN}", drawn)


def test_registered_methods_that_apply_are_the_default(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Transfer has nothing to go by without sources and given values."""
    monkeypatch.setattr(compare_predictors, "plug_in_names", lambda group: ["additive", "transfer"])
    monkeypatch.setattr(compare_predictors, "load_predictor", lambda name: fit_by_counts)
    compare_predictors.study_of.cache_clear()
    out = table.with_name("out.json")
    plain = [part for part in command(table) if part not in ("--methods", OWN)] + ["--json", str(out)]
    found = []
    for more in ([], ["--sources", "s"], ["--targets", "x", "--metric", "energy_mj", "--given", "latency_ms"]):
        main([*plain, "--seeds", "1", *more])
        found.append([row["method"] for row in json.loads(out.read_text())["rows"]])
    assert found == [["additive"], ["additive", "transfer"], ["additive", "transfer"]]


@pytest.mark.slow
def test_two_processes_give_the_same(table: Path) -> None:
    """But for the times."""
    arguments = ("--targets", "y,s,x", "--methods", f"{OWN},{GP}", "--choose", "medoids", "--seeds", "1")
    one, arrays = run(table, *arguments)
    two, others = run(table, *arguments, "--jobs", "2")
    assert without_times(one["rows"]) == without_times(two["rows"])
    assert list(arrays) == list(others)
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, others[name])


def test_broken_limits_are_counted_among_those_let_through() -> None:
    """By hand: limits equal to the truth, but 1 for the slowest; and a predictor that lets none through."""
    truths = np.arange(1.0, 12.0)
    limit = truths.copy()
    limit[10] = 1.0
    prediction = Prediction(truths, truths, truths, limit, np.arange(11) > 1)
    quality, limits = judge(truths, prediction, np.arange(11), 1.0, 2.0)
    assert [each.limit for each in limits] == [2, 3.5, 6, 8.5, 10]
    assert [(each.meeting, each.let_through, each.broken) for each in limits] == [
        (2, 3, 1), (3, 4, 1), (6, 7, 1), (8, 9, 1), (10, 11, 1),
    ]  # fmt: skip
    assert quality.broken_limits == pytest.approx(5 / 34)
    assert quality.most_broken_limits == pytest.approx(1 / 3)
    assert (quality.unknown, quality.coverage, quality.width) == (2 / 11, 1, 0)
    hopeless = Prediction(truths, truths, truths, limit + 20, np.ones(11, dtype=np.bool_))
    quality, limits = judge(truths, hopeless, np.arange(11), 1.0, 2.0)
    assert math.isnan(quality.broken_limits)
    assert math.isnan(quality.most_broken_limits)
    assert not any(each.let_through for each in limits)


def test_a_failed_run_leaves_no_predictions(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the first target gave stands in the JSON file, which says that it is not complete."""

    def failing(*arguments: Any, target: str, **settings: Any) -> Fitted:
        if target == "s":
            raise ValueError("it broke")
        return fit_by_counts(*arguments, target=target, **settings)

    monkeypatch.setattr(compare_predictors, "load_predictor", lambda name: failing)
    with pytest.raises(ValueError, match="it broke"):
        run(table, "--targets", "y,s")
    assert sorted(path.name for path in table.parent.iterdir()) == ["made-up.csv", "out.json"]
    content = json.loads(table.with_name("out.json").read_text())
    assert not content["complete"]
    assert {row["target"] for row in content["rows"]} == {"y"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--targets", "z"], "made-up.csv has a column latency_ms_DEVICE for, but got 'z'"),
        (["--sources", "q"], "--sources must be devices that made-up.csv has .* but got 'q'"),
        (["--sources", "y"], "a target must not be one of its own sources, but 'y' is in both"),
        (["--metric", "energy_mj", "--targets", "x", "--sources", "s"], "energy_mj_DEVICE for, but got 's'"),
        (["--given", "energy_mj"], "--given energy_mj: --targets must be .* but got 'y'"),
        (["--given", "latency_ms"], "another metric than --metric, but both are 'latency_ms'"),
        (["--targets", ""], "must be distinct names, separated by commas, but got ''"),
        (["--targets", "y,y"], "must be distinct names, separated by commas, but got 'y,y'"),
        (["--samples", "4"], "must be different whole numbers from 5 on, such as 10,20, but got '4'"),
        (["--samples", "61"], "--samples must be at most .* 'y' has 60 and 61 were asked for"),
        (["--samples", "40", "--query", "10:40"], "'y' has 30 and 40 were asked for"),
        (["--samples", "59"], "two rows must be left to score, but with 59 samples 'y' has 1"),
        (["--query", "60:70"], "two rows must be left to score, but with 10 samples 'y' has 0"),
        (["--query", "9:9"], "must be two rows in order, such as 900:1900, but got '9:9'"),
        (["--trim", "0.5"], "must be a share from 0 to below 0.5, but got '0.5'"),
        (["--trim", "nan"], "must be a share from 0 to below 0.5, but got 'nan'"),
        (
            ["--source-rows", "4", "--sources", "s"],
            r"at least 5 values in the first 4 rows \(--source-rows\).*'s' has 4",
        ),
        (["--seeds", "0"], "must be a whole number of at least 1, but got '0'"),
        (["--input-shape", "3x8"], "channels, height and width, such as 3x32x32, but got '3x8'"),
        (["--option", "cells"], "--option takes KEY=VALUE, such as channels=8, but got 'cells'"),
        (["--option", "cels=1"], "has no option 'cels'. Did you mean 'cells'"),
        (["--methods", "additiv"], "unknown predictor 'additiv'. Did you mean 'additive'"),
        (["--space", "fbnet"], "it is a table of another space|has no option 'cells'"),
        (["--table", "nowhere.csv"], "but nowhere.csv does not exist"),
        (["--json", "no-such-folder/out.json"], "a folder that exists, but no-such-folder does not"),
    ],
)
def test_a_bad_command_line_is_refused(
    table: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With status 2, the rule and the value, before anything is fitted."""
    compare_predictors.study_of.cache_clear()
    with pytest.raises(SystemExit) as exit_:
        main([*command(table), "--json", str(table.with_name("out.json")), *arguments])
    assert exit_.value.code == 2
    error = " ".join(capsys.readouterr().err.split())
    assert error.count("error:") == 1
    assert re.search(message, error), error
    assert CALLS == []
    assert not table.with_name("out.json").exists()

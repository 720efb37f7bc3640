"""The comparison of predictors on a made-up table: sampling, predicting, scoring and writing."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cell_table import CALLS, GP, OWN, ROWS, WITHOUT_LATENCY_X, WITHOUT_X, Fitted, fit_by_counts, made_up_rows

from experiments import compare_predictors, row_sampling
from experiments.compare_predictors import main
from experiments.table_prediction import fits, study
from experiments.table_prediction.figures import FIGURES, TIMES, judge, rows_to_score
from nas.prediction.predictor import Prediction
from nas.space.architecture import Architecture
from nas.space.description import Describer
from nas.values.other_target import Source
from search_spaces.nasbench201 import OPERATIONS


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
    """Take the speed from a single round of predictions."""
    monkeypatch.setattr(fits, "SPEED_S", 0.0)


def run(table: Path, *arguments: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run the command and return the contents of the JSON file and of the predictions."""
    study.study_of.cache_clear()
    out, predictions = table.with_name("out.json"), table.with_name("out.npz")
    main([*command(table), "--json", str(out), "--predictions", str(predictions), *arguments])
    with np.load(predictions, allow_pickle=False) as arrays:
        return json.loads(out.read_text()), dict(arrays)


def command(table: Path) -> list[str]:
    """Return a command line with few samples and seeds."""
    space = ["--space", "nasbench201", "--option", "cells=1", "--input-shape", "3x8x8"]
    sampling = ["--samples", "10", "--seeds", "2", "--choose", "random"]
    return ["--table", str(table), *space, "--metric", "latency_ms", "--targets", "y", "--methods", OWN, *sampling]


def without_times(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows without their times, which differ each time."""
    return [{name: value for name, value in row.items() if name not in TIMES} for row in rows]


def numbers(prefix: str, arrays: dict[str, Any]) -> tuple[list[int], list[int]]:
    """Return the sampled and the queried rows of an outcome."""
    return arrays[f"{prefix}/sampled"].tolist(), arrays[f"{prefix}/queried"].tolist()


def test_without_files_the_tables_are_still_printed(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No file is written beside the table that was read."""
    study.study_of.cache_clear()
    main(command(table))
    assert "| 10 |" in capsys.readouterr().out
    assert [path.name for path in table.parent.iterdir()] == [table.name]


def test_all_rows_outside_the_sample_are_predicted(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each target, number of samples, seed and method has a row and arrays; only methods share samples."""
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
    """With --query its rows are predicted and the others sampled; rows without a value are left out."""
    _, arrays = run(table, "--query", "40:70", "--samples", "5,30", "--metric", "energy_mj", "--targets", "x")
    for samples in (5, 30):
        for seed in (0, 1):
            sampled, queried = numbers(f"x/{samples}/{seed}/{OWN}", arrays)
            assert queried == [row for row in range(40, ROWS) if row not in WITHOUT_X]
            assert set(sampled) <= set(range(40)) - set(WITHOUT_X)
            assert len(set(sampled)) == samples


def test_trimmed_rows_are_predicted_but_not_scored(table: Path) -> None:
    """All predictions are written, and the figures cover the middle ones."""
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


def test_a_given_metric_is_the_logarithm_of_the_targets_values(table: Path) -> None:
    """Rows that lack the given metric are neither sampled nor predicted."""
    content, arrays = run(table, "--metric", "energy_mj", "--targets", "x", "--given", "latency_ms")
    sampled, queried = numbers(f"x/10/0/{OWN}", arrays)
    assert set(sampled) | set(queried) == set(range(ROWS)) - set(WITHOUT_X) - set(WITHOUT_LATENCY_X)
    latencies = [made_up_rows()[row]["latency_ms_x"] for row in queried]
    np.testing.assert_allclose(arrays[f"x/10/0/{OWN}/mean"], latencies)
    assert [each.name for each in CALLS[0].given] == ["latency_ms"]
    assert content["rows"][0]["spearman"] > 0.99


def test_sources_show_only_the_first_rows(table: Path) -> None:
    """A source holds the values of its metric in the first rows, without the missing ones."""
    run(table, "--sources", "s,x", "--source-rows", "20", "--seeds", "1")
    first, second = CALLS[0].sources
    assert (first.target, second.target) == ("s", "x")
    assert (len(first.architectures), len(first.values)) == (20, 20)
    assert len(second.architectures) == 19
    rows = [row for number, row in enumerate(made_up_rows()[:20]) if number not in WITHOUT_LATENCY_X]
    np.testing.assert_allclose(second.values, [row["latency_ms_x"] for row in rows])
    assert list(second.architectures[-1].values()) == [OPERATIONS[n] for n in list(rows[-1].values())[:6]]


def test_some_sources_mislead_on_purpose(table: Path) -> None:
    """Shuffled values are the device's own, at other architectures; noise differs from source to source."""
    run(table, "--sources", "s,x", "--shuffled", "s", "--noise", "2", "--seeds", "1")
    shuffled, right, noise, other = CALLS[0].sources
    values = [row["latency_ms_s"] for row in made_up_rows()]
    assert (shuffled.target, right.target, noise.target, other.target) == ("s", "x", "noise0", "noise1")
    assert shuffled.values.tolist() != values[: len(shuffled.values)]
    assert sorted(shuffled.values) == sorted(values[: len(shuffled.values)])
    assert len(noise.values) == len(noise.architectures) == len(shuffled.architectures)
    assert abs(np.corrcoef(noise.values, other.values)[0, 1]) < 0.5


def test_one_sample_is_an_outlier_on_request(table: Path) -> None:
    """It is multiplied, the rows to predict are not, and another seed spoils another."""
    run(table, "--seeds", "3")
    right = [np.array(call.values) for call in CALLS]
    CALLS.clear()
    run(table, "--seeds", "3", "--outlier", "100")
    factors = [call.values / values for call, values in zip(CALLS, right, strict=True)]
    assert all(sorted(each) == [1.0] * (len(each) - 1) + [100.0] for each in map(np.ndarray.tolist, factors))
    assert len({int(np.argmax(each)) for each in factors}) > 1
    for wrong in ("0", "-1", "inf", "x"):
        with pytest.raises(SystemExit):
            run(table, "--outlier", wrong)


def test_sources_leave_out_rows_without_the_given_metric(table: Path) -> None:
    """Otherwise a method would meet NaN in such rows."""
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


def test_samples_tell_most_of_all_rows(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is known of the rows is computed once, and decides; large samples are random."""
    asked: list[int] = []
    slope = 1.0

    def logs_elsewhere(space: Describer, architectures: Sequence[Architecture], sources: Sequence[Source]) -> Any:
        asked.append(len(sources))
        return np.arange(1, len(architectures) + 1)[:, None] ** slope

    monkeypatch.setattr("predictors.source_models.logs_elsewhere", logs_elsewhere)
    chosen = ("--samples", "8,30", "--sources", "s", "--choose", "informative")
    _, arrays = run(table, *chosen)
    assert asked == [1]
    expected, _ = numbers(f"y/8/0/{OWN}", arrays)
    slope = -5.0
    _, others = run(table, *chosen)
    assert numbers(f"y/8/0/{OWN}", others)[0] != expected
    monkeypatch.setattr(row_sampling, "MOST_CHOSEN", 4)
    _, again = run(table, *chosen)
    monkeypatch.setattr(row_sampling, "POOL", 1)
    _, drawn = run(table, *chosen[:-1], "random")
    assert numbers(f"y/8/0/{OWN}", again) == numbers(f"y/8/0/{OWN}", drawn)


def test_the_pool_bounds_what_may_be_chosen(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the pool is as large as the sample, the sample is the pool, which is drawn at random."""
    monkeypatch.setattr(row_sampling, "POOL", 10)
    _, pooled = run(table, "--choose", "informative")
    _, drawn = run(table, "--choose", "random")
    assert numbers(f"y/10/1/{OWN}", pooled) == numbers(f"y/10/1/{OWN}", drawn)


def test_registered_methods_that_apply_are_the_default(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """transfer needs sources or a given metric, so it is left out without them."""
    monkeypatch.setattr(compare_predictors, "plug_in_names", lambda group: ["additive", "transfer"])
    monkeypatch.setattr(study, "load_predictor", lambda name: fit_by_counts)
    study.study_of.cache_clear()
    out = table.with_name("out.json")
    plain = [part for part in command(table) if part not in ("--methods", OWN)] + ["--json", str(out)]
    found = []
    for more in ([], ["--sources", "s"], ["--targets", "x", "--metric", "energy_mj", "--given", "latency_ms"]):
        main([*plain, "--seeds", "1", *more])
        found.append([row["method"] for row in json.loads(out.read_text())["rows"]])
    assert found == [["additive"], ["additive", "transfer"], ["additive", "transfer"]]


@pytest.mark.slow
def test_two_processes_give_the_same(table: Path) -> None:
    """Two processes give the same rows and predictions as one, apart from the times."""
    arguments = ("--targets", "y,s,x", "--methods", f"{OWN},{GP}", "--choose", "informative", "--seeds", "1")
    one, arrays = run(table, *arguments)
    two, others = run(table, *arguments, "--jobs", "2")
    assert without_times(one["rows"]) == without_times(two["rows"])
    assert list(arrays) == list(others)
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, others[name])


def test_broken_limits_are_counted_among_those_let_through() -> None:
    """Bounds are the true values, except for the slowest; a second predictor lets no architecture through."""
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


def test_each_limit_is_told_over_all_targets_and_seeds(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The last table of the output pools what is let through, so that a run with few of them counts little."""
    written, _ = run(table)
    cells = capsys.readouterr().out.strip().splitlines()[-1].split(" | ")[2:]
    assert len(cells) == 5
    for index, cell in enumerate(cells):
        limits = [row["limits"][index] for row in written["rows"]]
        through, broken = (sum(limit[name] for limit in limits) for name in ("let_through", "broken"))
        assert cell.removesuffix(" |") == (f"{100 * broken / through:.1f} %" if through else "–")
    assert any(limit["let_through"] for row in written["rows"] for limit in row["limits"])


def test_a_failed_run_leaves_no_predictions(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The JSON file keeps the rows of the first target and is marked as incomplete."""

    def failing(*arguments: Any, target: str, **settings: Any) -> Fitted:
        if target == "s":
            raise ValueError("it broke")
        return fit_by_counts(*arguments, target=target, **settings)

    monkeypatch.setattr(study, "load_predictor", lambda name: failing)
    with pytest.raises(ValueError, match="it broke"):
        run(table, "--targets", "y,s")
    assert sorted(path.name for path in table.parent.iterdir()) == ["made-up.csv", "out.json"]
    content = json.loads(table.with_name("out.json").read_text())
    assert not content["complete"]
    assert {row["target"] for row in content["rows"]} == {"y"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--targets", "z"], "a column latency_ms_DEVICE in made-up.csv, but got 'z'"),
        (["--sources", "q"], "--sources must be devices with a column .* but got 'q'"),
        (["--sources", "latency_ms_s"], "--sources names devices, and not columns: write s instead of latency_ms_s"),
        (["--space", "table"], "--space table needs --choices: the columns that tell rows apart"),
        (["--features", "mib"], "--features names columns of --space table, but the space is"),
        (["--prior", "latency_ms_y"], "'latency_ms_y' is in --prior and in the columns of --targets"),
        (["--sources", "y"], "a target must not be one of its own sources, but 'y' is in both"),
        (["--metric", "energy_mj", "--targets", "x", "--sources", "s"], "energy_mj_DEVICE in made-up.csv, but got 's'"),
        (["--sources", "s", "--shuffled", "x"], "--shuffled must name some of the --sources, but 'x' is none of them"),
        (["--given", "energy_mj"], "--given energy_mj: --targets must be .* but got 'y'"),
        (["--given", "latency_ms"], "a different metric than --metric, but both are 'latency_ms'"),
        (["--targets", ""], "must be distinct names, separated by commas, but got ''"),
        (["--targets", "y,y"], "must be distinct names, separated by commas, but got 'y,y'"),
        (["--samples", "4"], "must be distinct whole numbers of at least 5, such as 10,20, but got '4'"),
        (["--samples", "61"], "--samples must be at most .* 60 for 'y', but got 61"),
        (["--samples", "40", "--query", "10:40"], "30 for 'y', but got 40"),
        (["--samples", "59"], "two rows must be left to score, but with 59 samples 'y' has 1"),
        (["--query", "60:70"], "two rows must be left to score, but with 10 samples 'y' has 0"),
        (["--query", "9:9"], "must be two increasing rows, such as 900:1900, but got '9:9'"),
        (["--trim", "0.5"], "must be a share of at least 0 and below 0.5, but got '0.5'"),
        (["--trim", "nan"], "must be a share of at least 0 and below 0.5, but got 'nan'"),
        (
            ["--source-rows", "4", "--sources", "s"],
            r"at least 5 usable values in the first 4 rows.*'s' has 4",
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
    """The command exits with status 2, the rule and the value before any fit."""
    study.study_of.cache_clear()
    with pytest.raises(SystemExit) as exit_:
        main([*command(table), "--json", str(table.with_name("out.json")), *arguments])
    assert exit_.value.code == 2
    error = " ".join(capsys.readouterr().err.split())
    assert error.count("error:") == 1
    assert re.search(message, error), error
    assert CALLS == []
    assert not table.with_name("out.json").exists()

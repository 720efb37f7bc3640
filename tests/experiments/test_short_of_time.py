"""The comparison of searchers when time is short, on a small table of NAS-Bench-Macro networks."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from experiments import short_of_time
from experiments.short_of_time import TimedRun, summary
from nas.space.layer import total_macs
from nas.space.search_space import load_space, sample
from nas.space.signature import image_signature
from nas.space.tracing import layers_of

SHAPE = (3, 32, 32)
OURS = ("gp, by the second", "gp")


@pytest.fixture(name="table", scope="module")
def table_of_chains(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eighty networks of NAS-Bench-Macro whose accuracy rises with their work."""
    space = load_space("nasbench_macro", {}, input_shape=SHAPE, classes=10)
    rng = np.random.default_rng(0)
    networks = list(dict.fromkeys(sample(space, rng) for _ in range(80)))
    path = tmp_path_factory.mktemp("table") / "table.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*(choice.name for choice in space.choices), "accuracy", "flops"])
        for network in networks:
            macs = total_macs(layers_of(space, network, image_signature(SHAPE, 10)))
            options = [choice.options.index(network[choice.name]) for choice in space.choices]
            writer.writerow([*options, f"{100 - 50 * (1e7 / macs) ** 0.5:.3f}", macs])
    return path


def test_each_searcher_has_the_same_time(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """More time finds more, and gp that weighs time evaluates more rows than gp that does not."""
    monkeypatch.setattr(short_of_time, "SEARCHERS", {name: short_of_time.SEARCHERS[name] for name in OURS})
    options = f"--table {table} --space nasbench_macro --accuracy accuracy --cost flops --seconds flops --seeds 2"
    short_of_time.main([*options.split(), "--rows", "4,10", "--json", str(tmp_path / "out.json")])
    runs = json.loads((tmp_path / "out.json").read_text())
    assert [(run["searcher"], run["seed"]) for run in runs] == [(name, seed) for name in OURS for seed in (0, 1)]
    for run in runs:
        assert 4 <= run["evaluated"]["10"] <= 30
        assert run["evaluated"]["4"] < run["evaluated"]["10"]
        assert 0 < run["hypervolume_percent"]["4"] <= run["hypervolume_percent"]["10"] <= 100
    weighed, not_weighed = (sum(r["evaluated"]["10"] for r in runs if r["searcher"] == name) for name in OURS)
    assert weighed > not_weighed
    assert "| gp, by the second |" in capsys.readouterr().out


def test_figures_are_means_over_seeds_with_their_standard_error() -> None:
    """A cell holds the mean number of evaluations, the mean share and its standard error."""
    runs = [TimedRun("gp", seed, {5: 6 + seed}, {5: 90.0 + 2 * seed}) for seed in range(2)]
    assert summary(runs, [5]).splitlines()[-1] == "| gp | 6.5, 91.0 ± 1.0 % |"


def test_a_missing_column_is_refused(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The message names the column that the table lacks."""
    options = f"--table {table} --space nasbench_macro --accuracy accuracy --cost flops --seconds minutes"
    with pytest.raises(SystemExit):
        short_of_time.main(options.split())
    assert "minutes" in capsys.readouterr().err

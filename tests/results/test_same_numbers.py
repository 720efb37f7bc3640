"""A winner has one value of each metric, wherever it is shown."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from quick_runs import search
from report_page import Page, column, ids
from table_space import DEVICE, Chain, write_table

import nas
from nas.reports.analysis.architecture_values import known_of
from nas.reports.report import render_report
from nas.results.exports.tidy import table_of
from nas.results.front_views import front_text
from nas.values.metric import METRICS

OLD = Path(__file__).parents[1] / "old_runs" / "finished-0.6.0"


@pytest.fixture(name="run", params=["old", "trained", "table"])
def finished_run(request: pytest.FixtureRequest, tmp_path: Path, quick_export: None) -> Path:
    """Runs whose winners were measured again at the end, by a bench whose readings vary; and one of a table."""
    if request.param == "old":
        return Path(shutil.copytree(OLD, tmp_path / "run"))
    if request.param == "trained":
        search(tmp_path, limits=["latency_ms <= 1.2ms"])
    else:
        table = {"path": str(write_table(tmp_path / "t.csv.gz")), "accuracy": "val_acc", "device": DEVICE}
        recipe = {
            "name": "run",
            "evaluate": "table",
            "trials": 12,
            "limits": ["latency_ms <= 1.2ms"],
            "predictor": "quick_predictor:fit_quick",
            "measuring": {"initial": 6},
            "execution": {"executor": "inline"},
            "table": {**table, "input_shape": [1, 8, 8]},
        }
        instruments = nas.Instruments(looks_apart=False)
        nas.search(recipe, space=Chain(), runs=tmp_path, progress=None, instruments=instruments)
    return tmp_path / "run"


@pytest.mark.slow
def test_terminal_page_csv_analyses_solving_and_python_agree(run: Path) -> None:
    record = nas.load_run(run)
    document = Page(render_report(record)).document
    rows = {row["id"]: row for row in table_of(record, record.records)[1]}
    known = {architecture.id: each for architecture, each in known_of(record.records).items()}
    points = {point.architecture.id: point for point in nas.solve(run, progress=None).candidates}
    shown = front_text(record.front)
    assert record.front.winners
    for winner in record.front:
        name = winner.architecture.id
        for metric in winner.measurements:
            value = winner.value(metric)
            assert rows[name][metric] == known[name].values[metric] == points[name].value(metric) == value
            if metric in document["columns"]:
                place = ids(document).index(name)
                assert column(document, document["columns"][metric]["found"])[place] == pytest.approx(value, rel=1e-6)
        assert METRICS["latency_ms"].format(winner.value("latency_ms")) in shown
        assert points[name].meets(record.limits) == winner.meets(record.limits)
        assert points[name].judged(record.limits[0]) == winner.upper(record.limits[0].metric.name)

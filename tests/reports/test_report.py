"""The report: one inert, self-contained page for every outcome of a run."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest
from plotly.offline import get_plotlyjs
from run_record_example import NOT_GOOD_ENOUGH, architecture_at, energy_record, example_record

from nas.reports.candidates import OUTSIDE
from nas.reports.report import headline, render_report, write_report
from nas.reports.summary import trust_sentences
from nas.reports.tables import row_table, winner_table
from nas.results.run import Run
from nas.storage.notes import Fit
from nas.values.evaluation import Failure, PredictedValue
from nas.values.held_out import HeldOutError
from nas.values.objective import Limit

HOSTILE = "</script><script>window.hit=1</script><img src=x onerror=window.hit=1>\"'&{{7*7}}%{x}<a href='javascript:1'>"
FOUR = ("error", "latency_ms", "params", "modelled_energy_mj")


class Page(HTMLParser):
    """The tags of a page with their attributes, its visible text and its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.scripts: list[str] = []
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._inside = tag
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == self._inside:
            self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.scripts[-1] += data
        else:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    @property
    def figures(self) -> dict[str, Any]:
        index = [tag for tag in self.tags if tag[0] in ("script", "style")].index(
            ("script", {"type": "application/json", "id": "figures"})
        )
        figures: dict[str, Any] = json.loads(self.scripts[index])
        return figures

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


def without_plotly(text: str) -> str:
    assert text.count(get_plotlyjs()) == 1
    return text.replace(get_plotlyjs(), "")


@cache
def example_text() -> str:
    return render_report(example_record())


@cache
def example_page() -> Page:
    return Page(without_plotly(example_text()))


def hostile_record() -> Run:
    """Every text that a run records is hostile."""
    record = example_record(name=HOSTILE)
    rows = []
    for number, row in enumerate(record.rows):
        changed = replace(row, architecture=architecture_at(number % 16, **{HOSTILE: HOSTILE, "n": number}))
        if row.failure is not None:
            changed = replace(changed, failure=Failure(HOSTILE, HOSTILE))
        measurements = {
            name: replace(m, conditions={HOSTILE: HOSTILE}, flags=(HOSTILE,), target=HOSTILE)
            for name, m in row.measurements.items()
        }
        details = {**row.details, "folder": HOSTILE} if "folder" in row.details else row.details
        rows.append(replace(changed, measurements=measurements, details=details))
    return replace(
        record,
        rows=tuple(rows),
        target=HOSTILE,
        recipe_text=HOSTILE,
        run_folder=Path(HOSTILE),
        notes={"data set": HOSTILE, HOSTILE: {HOSTILE: HOSTILE}},
    )


def failed_record() -> Run:
    record = example_record()
    bare = {"values": {}, "predicted": {}, "measurements": {}, "details": {}}
    rows = tuple(replace(row, **bare, failure=Failure("nan", "loss is NaN")) for row in record.rows)
    return replace(record, rows=rows, fits=())


def with_failed_winners() -> Run:
    record = example_record()
    failure = Failure("parity", "outputs differ")
    rows = tuple(
        replace(row, values={}, measurements={}, details={}, failure=failure) if row.stage == "winner" else row
        for row in record.rows
    )
    return replace(record, rows=rows)


def unmeasured_record() -> Run:
    record = example_record()
    return replace(record, rows=tuple(replace(row, measurements={}) for row in record.rows if row.stage != "measure"))


OUTCOMES = {
    "example": example_record,
    "no rows": lambda: replace(example_record(), rows=(), fits=(), notes={}),
    "no winners": lambda: example_record(with_winners=False),
    "over without winners": lambda: replace(with_failed_winners(), is_over=True),
    "all failed": failed_record,
    "no measurements": unmeasured_record,
    "only error": lambda: example_record(("error",), ()),
    "only error, limited": lambda: example_record(("error",), ("accuracy >= 96%",)),
    "no limits": lambda: example_record(limits=()),
    "limits met by none": lambda: example_record(limits=("latency_ms <= 0.01ms",)),
    "limit far off": lambda: example_record(limits=("latency_ms <= 9s",)),
    "four objectives": lambda: example_record(FOUR, ("latency_ms <= 0.5ms", "accuracy >= 95%")),
    "no objectives": lambda: example_record((), ()),
    "energy": energy_record,
    "hostile": hostile_record,
}


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_every_outcome_renders_with_valid_figures(outcome: str) -> None:
    """Plotly takes every figure, and every figure with data has its place on the page."""
    page = Page(without_plotly(render_report(OUTCOMES[outcome]())))
    places = {attributes.get("id") for tag, attributes in page.tags if tag == "div"}
    for name, figure in page.figures.items():
        go.Figure(figure)
        assert (name in places) == bool(figure["data"])


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (
            "example",
            "4 winners on onnxruntime-cpu:fp32:batch=1:threads=1; best 97.55 % test accuracy at 0.4054 ms, within",
        ),
        ("no rows", "Nothing has been recorded yet"),
        (
            "no winners",
            "No winners yet on onnxruntime-cpu:fp32:batch=1:threads=1: 32 trained (3 failed) and 23 measured so far.",
        ),
        ("over without winners", ": 32 trained (3 failed), 23 measured and 4 chosen for winners failed."),
        ("all failed", "all 68 evaluations failed"),
        (
            "limits met by none",
            "but none meets latency ≤ 0.01 ms. The nearest is d2b5ceeea440: latency 0.1571 ms > 0.01 ms.",
        ),
        ("no measurements", "latency unknown"),
        ("only error", "best 98.05 % test accuracy."),
    ],
)
def test_the_headline_says_the_result(outcome: str, words: str) -> None:
    """Also where there is none."""
    assert words in headline(OUTCOMES[outcome]())


@pytest.mark.parametrize("outcome", ["example", "four objectives", "hostile"])
def test_the_page_loads_nothing(outcome: str) -> None:
    """No address of another place outside plotly's own script, and a policy that allows none."""
    text = without_plotly(render_report(OUTCOMES[outcome]()))
    assert not re.search(r"https?://", text)
    assert not re.search(r"@import|url\(", text)
    page = Page(text)
    for tag, attributes in page.tags:
        assert tag not in ("img", "iframe", "object", "embed", "a", "base", "form")
        assert "src" not in attributes
        assert attributes.get("href", "data:,") == "data:,"
        assert not any(name.startswith("on") for name in attributes)
    (policy,) = [a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-inline" not in policy.split("style-src")[0]


def test_recorded_text_is_inert() -> None:
    """Hostile names, options, reasons, folders and notes make no element, and stand on the page as text."""
    text = without_plotly(render_report(hostile_record()))
    page = Page(text)
    assert page.count("script") == example_page().count("script") == 3
    assert page.count("img") == 0
    assert "<script>window" not in text
    assert HOSTILE in " ".join(page.words)
    raw = text[text.index('id="figures">') + len('id="figures">') :]
    assert not set("<>&") & set(raw[: raw.index("</script>")])
    for figure in page.figures.values():
        for trace in figure["data"]:
            for hover in trace.get("hovertext", []):
                assert not re.sub(r"</?b>|<br>", "", hover).count("<")


def test_error_bars_are_on_both_axes() -> None:
    """Winners by their measured and test intervals; predicted candidates by their bounds, hollow and named so."""
    traces = {trace["name"]: trace for trace in example_page().figures["front-latency_ms"]["data"]}
    winners = traces["winners, measured (4)"]
    assert all(length > 0 for axis in ("error_x", "error_y") for length in winners[axis]["array"])
    assert all(length > 0 for axis in ("error_x", "error_y") for length in winners[axis]["arrayminus"])
    assert any(length > 0 for length in traces["candidates, measured (15)"]["error_x"]["array"])
    predicted = traces["candidates, predicted (8)"]
    assert predicted["marker"]["symbol"] == "circle-open"
    assert all(length > 0 for length in predicted["error_x"]["array"])
    assert "stopped early (9)" in traces
    assert traces["front"]["line"]["shape"] == "hv"


def test_predictions_are_shown_against_measurements() -> None:
    """Candidates and winners both, each once, with how many were right; those that prove nothing stand apart."""
    record = example_record()
    rows = [row for row in record.rows if row.stage != "measure"]
    winners = [row for row in rows if row.stage == "winner"]
    measured = [row for row in record.rows if row.stage == "measure" and not row.failed]
    guess = {"latency_ms": PredictedValue(0.3, 0.1, 1.0, 0.9)}
    rows = [*(replace(row, predicted=guess if row.round else {}) for row in measured), *rows]
    rows[:0] = [replace(row, stage="measure", predicted={}) for row in winners[:1]]
    rows[:0] = [replace(row, stage="measure") for row in winners[1:]]
    page = Page(without_plotly(render_report(replace(record, rows=tuple(rows)))))
    names = [trace["name"] for trace in page.figures["check-latency_ms"]["data"]]
    later = sum(row.round > 0 for row in measured)
    assert names[1:] == [f"candidates ({later})", "winners, seen by the predictor (1)", "winners (3)"]
    in_bounds = 3 + sum(row.round > 0 and row.measurements["latency_ms"].median >= 0.1 for row in measured)
    near = sum(row.round > 0 and abs(0.3 / row.measurements["latency_ms"].median - 1) <= 0.1 for row in measured)
    assert (
        f"Of {later + 3} points predicted before measuring, {in_bounds} lie within the 90 % bounds and {near + 3} "
        "within ±10 % of what was measured. Not counted: 1 hollow point, a winner whose measurement"
    ) in page.text
    assert "Of 4 points predicted before measuring, 4 lie" in example_page().text


def test_limits_are_labelled_lines() -> None:
    """One line and one label for each limit; a label that would lie outside becomes a sentence."""
    page = Page(without_plotly(render_report(OUTCOMES["four objectives"]())))
    layout = page.figures["front-latency_ms"]["layout"]
    assert [label["text"].strip() for label in layout["annotations"]] == ["latency ≤ 0.5 ms", "accuracy ≥ 95 %"]
    assert len(layout["shapes"]) == 2
    far = Page(without_plotly(render_report(OUTCOMES["limit far off"]())))
    assert far.figures["front-latency_ms"]["layout"]["annotations"] == []
    assert "lies to the right of what is shown" in far.text


def test_measured_and_modelled_never_share_an_axis() -> None:
    """Energy has a plot of its own that says modelled, without intervals of measuring."""
    figures = Page(without_plotly(render_report(OUTCOMES["four objectives"]()))).figures
    assert {"front-latency_ms", "front-params", "front-modelled_energy_mj"} <= set(figures)
    energy = figures["front-modelled_energy_mj"]
    assert energy["layout"]["xaxis"]["title"]["text"] == "Energy (modelled), mJ"
    names = [trace["name"] for trace in energy["data"]]
    assert not any("measured" in name or "predicted" in name for name in names)
    assert not any("error_x" in trace for trace in energy["data"])


def test_measured_and_modelled_energy_share_neither_a_plot_nor_a_column() -> None:
    """Both minimised, each has an axis and a column that say which it is."""
    record = energy_record()
    figures = Page(without_plotly(render_report(record))).figures
    titles = {name: figures[f"front-{name}"]["layout"]["xaxis"]["title"]["text"] for name in COSTS_OF_ENERGY}
    assert titles == {"energy_mj": "Energy, mJ", "modelled_energy_mj": "Energy (modelled), mJ"}
    names = {name: [trace["name"] for trace in figures[f"front-{name}"]["data"]] for name in COSTS_OF_ENERGY}
    assert any("measured" in name for name in names["energy_mj"])
    assert not any("measured" in name for name in names["modelled_energy_mj"])
    for table in (winner_table(record.front, record.front.costs), row_table(record.rows, record.front.costs)):
        measured, modelled = (table.headers.index(h) for h in ("Energy, measured", "Energy (modelled)"))
        for row in table.rows:
            assert row[measured].sort is None or row[measured].sort != row[modelled].sort
        assert any(row[measured].detail for row in table.rows)
        assert not any(row[modelled].detail for row in table.rows)


COSTS_OF_ENERGY = ("energy_mj", "modelled_energy_mj")


def test_an_int8_winner_shows_what_ran_and_its_accuracy_before_deploying() -> None:
    """Beside its throughput with the share of the peak, and its carbon, which was computed from measured energy."""
    record = energy_record()
    table = winner_table(record.front, record.front.costs)
    winner, cells = record.front.winners[0], dict(zip(table.headers, table.rows[0], strict=True))
    assert winner.exported_test_error is not None
    assert cells["Executed"].text == "int8"
    assert cells["Executed"].detail == f"{100 * (1 - winner.exported_test_error):.2f} % before, in fp32"
    assert cells["Executed"].detail[:7] != cells["Test accuracy"].text[:7]
    latency, energy = winner.measurements["latency_ms"], winner.measurements["energy_mj"]
    assert cells["Throughput"].sort == pytest.approx(1000 / latency.median)
    assert cells["Throughput"].detail.endswith(" % of the measured peak")
    assert cells["CO2e per million"].sort == pytest.approx(energy.median / 1000 / 3.6e6 * 390)
    assert "CO2e per million" not in winner_table(example_record().front, record.front.costs).headers


def test_kept_measurements_say_so() -> None:
    """Rows from an earlier run are told from those of this one."""
    record = energy_record()
    table = row_table(record.rows, record.front.costs)
    outcome = table.headers.index("Outcome")
    kept = [row[outcome] for row in table.rows if "measured in an earlier run" in row[outcome].detail]
    assert len(kept) == sum(bool(row.details.get("kept")) for row in record.rows) > 0
    assert {cell.text for cell in kept} == {"done"}
    assert "measured in an earlier run" not in example_page().text


def test_the_cost_of_the_search_stands_in_the_report() -> None:
    """With times for people, and why its energy is not known."""
    text = Page(without_plotly(render_report(energy_record()))).text
    assert "Cost of the search time 15 min 24 s time of the device 1 min 01 s energy not measured" in text
    assert "only root may read it" in text
    for words in ("RAPL package-0", "idle 5.1 W", "window 2.02 s", "peak 800 GMAC/s", "bandwidth 6 GB/s"):
        assert words in text


def test_winners_stand_in_a_sortable_table() -> None:
    """Headings are buttons with aria-sort, cells carry what to sort by, and limits are told in words."""
    page = example_page()
    headings = [attributes for tag, attributes in page.tags if tag == "th"]
    assert headings
    assert all(attributes["aria-sort"] == "none" for attributes in headings)
    assert page.count("button") == len(headings)
    assert all("data-sort" in attributes for tag, attributes in page.tags if tag == "td")
    assert 'setAttribute("aria-sort"' in example_text()
    for words in ("Latency, predicted", "Latency, measured", "not met: latency 0.4965 ms", "on the front"):
        assert words in page.text
    assert "stage1.op" in page.words


def test_doubts_conditions_and_failures_are_shown() -> None:
    """Flags, conditions with ranges, held-out errors, the funnel and each failure's reason."""
    text = example_page().text
    for words in (
        "the machine stayed busy: pressure 0.31",
        "Example CPU @ 2.60 GHz",
        "onnxruntime 1.32.0",
        "0.01 to 0.195",
        "executed operators Conv, Gemm",
        "and its 90 % bounds reached 10 % to each side (24 architectures)",
        "4 of 4 winners were measured within the latency bounds",
        "failed: nan",
        "the loss became NaN in epoch 2",
        "23 finished, 9 stopped early, 3 failed (nan 3)",
        "10 min 11 s",
        'name = "digits"',
    ):
        assert words in text


def test_predictors_are_judged_fit_by_fit() -> None:
    """By every figure; why one was not good enough stands beside it, and of the last one among what to trust."""
    record = example_record()
    text = example_page().text
    for words in ("Kendall", "0.840", "Within 5 %", "50.0 %", "Width of 90 % bounds", "30.0 %", "not good enough"):
        assert words in text
    assert text.count(NOT_GOOD_ENOUGH) == 1
    assert NOT_GOOD_ENOUGH not in trust_sentences(record.front, record.fits)
    assert NOT_GOOD_ENOUGH in trust_sentences(record.front, record.fits[:1])


def test_a_prediction_outside_what_the_predictor_knows_is_marked() -> None:
    """In the table of candidates and where the pointer is over the point; others are not."""
    record = example_record()
    unknown = sum(not p.known for row in record.rows for p in row.predicted.values())
    assert 0 < unknown < len(record.rows) / 2
    cells = [cell for row in row_table(record.rows, record.front.costs).rows for cell in row]
    assert sum(OUTSIDE in cell.detail for cell in cells) == unknown
    hovers = [
        line for trace in example_page().figures["front-latency_ms"]["data"] for line in trace.get("hovertext", ())
    ]
    assert 0 < sum(OUTSIDE in line for line in hovers) < len(hovers)


def test_values_that_are_not_finite_are_survived() -> None:
    """Unbounded predictions and an undefined rank correlation are shown as far as they go."""
    record = example_record(limits=())
    rows = tuple(
        replace(row, predicted={"latency_ms": PredictedValue(0.3, -math.inf, math.inf, math.inf)})
        if row.predicted
        else row
        for row in record.rows
    )
    fits = (Fit(0, "latency_ms", HeldOutError(5, 0.1, math.nan, math.nan, 0.2, 0.5, 1.0, math.inf), 5),)
    page = Page(without_plotly(render_report(replace(record, rows=rows, fits=fits))))
    assert "inf ms" in page.text
    assert page.figures["front-latency_ms"]["data"]


def test_a_report_is_a_function_of_its_record() -> None:
    """The same record gives the same bytes."""
    assert render_report(example_record()) == example_text()


def test_writing_replaces_the_report_at_once(tmp_path: Path) -> None:
    """Folders are made, the old report is replaced, and nothing is left aside, not even after a failure."""
    path = tmp_path / "run" / "report.html"
    record = replace(example_record(with_winners=False), name="lone surrogate \udc80")
    write_report(path, record)
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    before = path.read_bytes()
    broken = replace(record, limits=(Limit.parse("latency_ms <= 1ms"),), rows=(None,))  # type: ignore[arg-type]
    with pytest.raises(AttributeError):
        write_report(path, broken)
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == ["report.html"]


PROBE = """<script>
window.addEventListener("load", () => setTimeout(() => {
  const ids = () => Array.from(document.querySelectorAll("#winners tbody tr"), (row) => row.cells[0].dataset.sort);
  const button = document.querySelectorAll("#winners th button")[2];
  button.click();
  const up = ids();
  const sort = button.parentElement.getAttribute("aria-sort");
  button.click();
  const found = {
    up, down: ids(), sort, hit: window.hit ?? 0, errors: window.errors,
    plots: document.querySelectorAll(".chart .main-svg").length,
    wide: document.documentElement.scrollWidth > document.documentElement.clientWidth,
  };
  document.body.innerHTML = "<pre id=found></pre>";
  document.getElementById("found").textContent = JSON.stringify(found);
}, 500));
</script>"""
CATCH = "<script>window.errors=[];window.addEventListener('error',(event)=>window.errors.push(event.message))</script>"


@pytest.mark.parametrize("outcome", ["example", "hostile", "four objectives", "energy"])
def test_a_browser_draws_and_sorts_without_an_error(outcome: str, tmp_path: Path) -> None:
    """Plots are drawn, headings sort both ways, nothing hostile runs, and the page does not scroll sideways."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no chromium here")
    record = OUTCOMES[outcome]()
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', CATCH, render_report(record), count=1)
    page = tmp_path / "report.html"
    page.write_text(text.replace("</body>\n</html>", f"{PROBE}</body></html>"), encoding="utf-8")
    found = json.loads(dumped(chromium, page, tmp_path))
    assert found["errors"] == []
    assert found["hit"] == 0
    assert found["plots"] >= 2
    assert not found["wide"]
    by_error = [w.architecture.id for w in sorted(record.front, key=lambda winner: winner.test_error)]
    assert (found["up"], found["down"], found["sort"]) == (by_error[::-1], by_error, "ascending")


def dumped(chromium: str, page: Path, folder: Path) -> str:
    """What the page wrote into its element ``found``; skips where the browser does not work."""
    arguments = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
    quiet = ("--disable-component-update", "--disable-sync", f"--user-data-dir={folder / 'profile'}")
    command = [chromium, *arguments, *quiet, "--virtual-time-budget=8000", "--dump-dom", page.as_uri()]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("chromium did not answer in 90 s")
    if done.returncode != 0 or not done.stdout:
        pytest.skip(f"chromium does not work here: {done.stderr[-200:]}")
    match = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert match is not None
    return match[1].replace("&gt;", ">").replace("&lt;", "<").replace("&amp;", "&")


def test_errors_that_were_not_found_by_training_are_never_called_trained() -> None:
    """Tile, funnel, table, caption and trust say how they were found, and how far that can be relied on."""
    record = example_record()
    rows = tuple(
        replace(row, details={**row.details, "by": "supernet"}) if row.stage == "train" and not row.failed else row
        for row in record.rows
    )
    found = {"Spearman": 0.3, "Kendall": 0.2, "Spearman of multiply-accumulates alone": 0.6}
    note = {"evaluated": "by shared weights", "architectures": 6, "verdict": "poor: below 0.5", **found}
    page = render_report(replace(record, rows=rows, notes={**record.notes, "agreement with training": note}))
    text = " ".join(Page(page).words)
    assert "candidates evaluated" in text
    assert "candidates trained" not in text
    assert "Candidates were not trained, but evaluated by shared weights." in text
    assert "Spearman correlation of 0.30" in text
    assert "which is poor: below 0.5. The search has probably missed good candidates" in text
    assert "validation, by shared weights" in text
    assert "Candidates were not trained: their errors are by shared weights." in text
    assert "Evaluated" in text
    unfinished = replace(record, rows=tuple(row for row in rows if row.stage in ("measure", "train")))
    assert "evaluated (3 failed) and" in headline(unfinished)
    unchecked = {"evaluated": "by zero-cost scores", "architectures": 0, "verdict": "nobody knows."}
    assert "but evaluated by zero-cost scores. Nobody knows." in " ".join(
        Page(render_report(replace(record, notes={"agreement with training": unchecked}))).words
    )

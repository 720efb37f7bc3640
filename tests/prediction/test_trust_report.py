"""Trust reports: figures, worst cases, and a page that escapes everything recorded."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_bench import latency_ms
from quick_predictor import fit_quick
from tiny_space import TinySpace

from nas.errors import RecipeError
from nas.prediction.predictor import given_by
from nas.prediction.samples import MeasuredDevice, Samples, fit_to, samples_of
from nas.prediction.trust_report import (
    CURVE_SIZES,
    WORST,
    Case,
    TrustReport,
    learning_curve,
    trust_reports,
)
from nas.progress import NullProgress
from nas.reports.predictor_page import render_predictor_page, write_predictor_page
from nas.reports.predictor_text import print_predictor_report, sentences_of
from nas.reports.web_page import DRAWING
from nas.space.architecture import Architecture, Choice
from nas.space.description import Describer
from nas.space.layer import Layer
from nas.space.search_space import enumerate_space
from nas.space.signature import image_signature
from nas.space.tracing import layers_of
from nas.values.metric import METRICS
from nas.values.objective import Limit

LATENCY = METRICS["latency_ms"]
SPACE = TinySpace()
ALL = list(enumerate_space(SPACE))
HOSTILE = "</script><img src=x onerror=alert(1)>"


def layers(architecture: Architecture) -> Sequence[Layer]:
    """Return the traced layers of an architecture of ``TinySpace``."""
    return layers_of(SPACE, architecture, image_signature((1, 8, 8), 10))


@pytest.fixture(name="space", scope="module")
def tiny_describer() -> Describer:
    """Return a describer of ``TinySpace`` whose traces are cached."""
    return Describer(SPACE, layers)


def reported(space: Describer, *limits: str, values: dict[Architecture, float] | None = None) -> TrustReport:
    """Return a report on twelve of fifteen architectures, or on ``values``; the rest can be measured next."""
    known = values or {a: latency_ms(a) for a in ALL[:12]}
    pool = [a for a in ALL if a not in known]
    data = MeasuredDevice(space, "board", {"latency_ms": known}, pool={"latency_ms": pool})
    parsed = [Limit.parse(text) for text in limits]
    ((report, _),) = trust_reports(data, fit_quick, "quick", limits=parsed, most=300, seed=0, progress=NullProgress())
    return report


# Figures


def test_the_worst_come_first_and_nothing_is_left_out(space: Describer) -> None:
    """Each sample occurs once, with its measured value and its held-out prediction."""
    report = reported(space)
    errors = [abs(case.relative_error) for case in report.cases]
    assert errors == sorted(errors, reverse=True)
    assert {case.architecture: case.measured for case in report.cases} == {a: latency_ms(a) for a in ALL[:12]}
    assert report.held_out.mape == pytest.approx(np.mean(errors))
    assert all(case.lower < case.mean < case.upper for case in report.cases)


def test_a_learning_curve_grows_over_nested_samples(space: Describer) -> None:
    """The last point is the predictor itself, and each smaller sample is part of the next."""
    seen: list[set[Architecture]] = []

    def noted(describer: Describer, architectures: Sequence[Architecture], values: Any, **options: Any) -> Any:
        seen.append(set(architectures))
        return fit_quick(describer, architectures, values, **options)

    samples = samples_of(LATENCY, "board", {a: latency_ms(a) for a in ALL}, most=300, seed=0)
    predictor = fit_to(samples, space, fit_quick, 0)
    steps: list[None] = []
    curve = learning_curve(predictor, samples, space, noted, 0, lambda: steps.append(None))
    sizes = [each.samples for each in curve]
    assert sizes == [5, 7, 9, 11, 15]
    assert curve[-1] is predictor.held_out
    assert [len(each) for each in seen] == sizes[:-1]
    assert all(few < many for few, many in zip(seen, [*seen[1:], set(ALL)], strict=True))
    assert len(steps) == CURVE_SIZES


def test_five_samples_have_a_curve_of_one_point(space: Describer) -> None:
    """No smaller sample could be fitted."""
    report = reported(space, values={a: latency_ms(a) for a in ALL[:5]})
    assert [each.samples for each in report.curve] == [5]


def test_more_measurements_than_asked_for_are_drawn_from() -> None:
    """Samples are drawn at random by the seed, and the report gives the total number."""
    values = {a: latency_ms(a) for a in ALL}
    first, again, other = (samples_of(LATENCY, "board", values, most=8, seed=seed) for seed in (0, 0, 1))
    assert first.measured == 15
    assert list(first.architectures) == list(again.architectures) != list(other.architectures)
    assert first.values.tolist() == [latency_ms(a) for a in first.architectures]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (dict.fromkeys(ALL[:4], 1.0), "a predictor needs 5 measured architectures, but latency_ms on board has 4"),
        (dict.fromkeys(ALL[:5], 0.0), "fitted to positive values, but latency_ms on board has 0"),
        (dict.fromkeys(ALL[:5], math.inf), "has inf"),
    ],
)
def test_what_cannot_be_fitted_is_refused(values: dict[Architecture, float], message: str) -> None:
    """Too few values and non-positive values are refused."""
    with pytest.raises(RecipeError, match=re.escape(message)):
        samples_of(LATENCY, "board", values, most=300, seed=0)


# Limits


def test_a_limit_is_judged_and_others_are_passed_over(space: Describer) -> None:
    """Twelve samples suffice at a limit with narrow bounds; a limit on energy does not affect latency."""
    wide = reported(space, "latency_ms <= 1ms", "energy_mj <= 1mJ")
    assert [str(limit) for limit in wide.limits] == ["latency_ms <= 1ms"]
    assert wide.half_width > 0.15
    assert wide.doubts
    assert wide.advice
    assert sentences_of(wide) == [*wide.doubts, wide.advice]
    narrow = reported(space, "latency_ms <= 1ms", values={a: 1 + 0.01 * int(a["width"]) for a in ALL[:12]})
    assert narrow.half_width < 0.15
    assert (narrow.doubts, narrow.advice) == ((), "")
    assert sentences_of(narrow)[0].startswith("Good enough for latency ≤ 1 ms: ")
    assert sentences_of(reported(space))[0].startswith("No limit was asked for. ")


def test_held_out_latencies_are_a_feature_of_energy(space: Describer) -> None:
    """The feature is the logarithm of held-out predictions for samples, and of predictions for others."""
    samples = Samples(LATENCY, "board", ALL[:12], np.array([latency_ms(a) for a in ALL[:12]]), 12)
    predictor = fit_to(samples, space, fit_quick, 0)
    given = given_by("latency_ms", predictor, samples.architectures)
    said = predictor.held_out_predictions.mean[3], predictor.predict([ALL[13]]).mean[0]
    assert given.values([ALL[3], ALL[13]]).tolist() == pytest.approx(np.log(said).tolist())


def test_energy_is_fitted_with_latency_given(space: Describer) -> None:
    """Latency is a feature of energy, and energy is no feature of latency."""
    seen: dict[str, list[str]] = {}

    def noted(describer: Describer, architectures: Sequence[Architecture], values: Any, **options: Any) -> Any:
        seen.setdefault(f"{values[0]:.3f}", [each.name for each in options["given"]])
        return fit_quick(describer, architectures, values, **options)

    latencies = {a: latency_ms(a) for a in ALL}
    energies = dict.fromkeys(ALL[:8], 100.0)
    data = MeasuredDevice(space, "board", {"energy_mj": energies}, latencies=latencies)
    trust_reports(data, noted, "noted", limits=[], most=300, seed=0, progress=NullProgress())
    assert seen == {"100.000": ["latency_ms"], f"{latencies[ALL[0]]:.3f}": []}


# What is shown


def test_the_json_form_is_strict_json(space: Describer) -> None:
    """A correlation that does not exist is null, and JSON contains neither NaN nor infinity."""
    report = reported(space, values=dict.fromkeys(ALL[:12], 2.0))
    text = json.dumps(report.to_json(), allow_nan=False)
    shown = json.loads(text)
    assert shown["held_out"]["spearman"] is None
    assert shown["held_out"]["samples"] == 12
    assert len(shown["worst"]) == WORST
    assert {Architecture(each["architecture"]).id for each in shown["measure_next"]} == {a.id for a in ALL[12:]}


def test_nothing_recorded_can_break_the_page(tmp_path: Path) -> None:
    """Hostile names of options, devices, subjects and facts appear as text in tables and plots."""

    class Hostile(TinySpace):
        choices = (*TinySpace.choices, Choice("name", (HOSTILE, "plain")))

    hostile = list(enumerate_space(Hostile()))
    space = Describer(Hostile(), layers)
    known = {a: latency_ms(a) for a in hostile[:20]}
    data = MeasuredDevice(space, HOSTILE, {"latency_ms": known}, pool={"latency_ms": hostile[20:]})
    ((report, _),) = trust_reports(
        data, fit_quick, HOSTILE, limits=[Limit.parse("latency_ms<=1ms")], most=300, seed=0, progress=NullProgress()
    )
    path = tmp_path / "new" / "page.html"
    write_predictor_page(path, [report], HOSTILE, {HOSTILE: HOSTILE})
    text = path.read_text(encoding="utf-8")
    assert HOSTILE not in text
    assert "<img" not in text
    assert text.count("&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;") > 5
    scripts = len(DRAWING) + 2  # the data, and tables with plots
    assert text.count("<script") == scripts == text.count("</script>")
    assert list(path.parent.iterdir()) == [path]


def test_a_page_loads_nothing_and_names_its_scripts_by_hash(space: Describer) -> None:
    """Each plot is on the page, and figures are plain JSON."""
    text = render_predictor_page([reported(space, "latency_ms <= 1ms")], "run", {})
    assert "default-src 'none'; script-src 'sha256-" in text
    assert not re.search(r"<(?:script|link|img)[^>]+(?:src|href)=[\"']?http", text)
    plots = json.loads(re.search(r'id="document">(.*?)</script>', text, re.DOTALL)[1])["plots"]  # type: ignore[index]
    assert list(plots) == ["check-latency_ms", "check-error-latency_ms", "check-rank-latency_ms"]
    for name, spec in plots.items():
        assert f'<div class="chart" id="{name}"' in text
        assert spec["marks"]
        assert all(len(mark["x"]) == len(mark.get("y", mark.get("low"))) for mark in spec["marks"])
    check = plots["check-latency_ms"]
    assert check["x"]["log"]
    assert check["y"]["log"]
    assert "<dt>sources" not in text
    assert {mark["name"] for mark in check["marks"]} == {"±10 %", "predicted = measured", "held out (12)"}


def test_sources_and_what_was_left_out_are_told(space: Describer, capsys: pytest.CaptureFixture[str]) -> None:
    """The page and the terminal both show sources and the number of unused measurements."""
    from rich.console import Console

    report = TrustReport(**{**vars(reported(space)), "sources": ("phone", "desk"), "measured": 99})
    print_predictor_report([report], Console(width=80))
    page = render_predictor_page([report], "run", {})
    assert "<dt>sources of latency</dt><dd>phone, desk</dd>" in page
    assert "<dt>measured latency</dt><dd>99 architectures; 12 of them, drawn at random, were used</dd>" in page
    told = " ".join(capsys.readouterr().out.split())
    assert "sources phone, desk" in told
    assert "measured 99 architectures; the samples are a random part of them" in told


def test_open_bounds_are_not_drawn(space: Describer) -> None:
    """The page is complete even if a method gives no bounds for few samples."""
    report = reported(space)
    cases = tuple(type(case)(case.architecture, case.measured, case.mean, 0.0, math.inf) for case in report.cases)
    opened = TrustReport(**{**vars(report), "cases": cases})
    text = render_predictor_page([opened], "run", {})
    assert "Infinity" not in text.partition('id="document">')[2].partition("</script>")[0]
    assert "none" in text
    assert json.dumps(opened.to_json(), allow_nan=False)


def test_a_terminal_of_80_columns_holds_it(space: Describer, capsys: pytest.CaptureFixture[str]) -> None:
    """Figures, curve, worst cases and the verdict fit without cutting a word."""
    from rich.console import Console

    report = reported(space, "latency_ms <= 1ms")
    print_predictor_report([report], Console(width=80))
    text = capsys.readouterr().out
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "…" not in text
    for words in ("Latency on board", "Spearman", "Kendall", "within ±5 %", "coverage", "What to measure next"):
        assert words in text
    assert " ".join(report.doubts[0].split()) in " ".join(text.split())


def test_a_long_architecture_is_cut_at_a_terminal_and_whole_on_the_page(
    space: Describer, capsys: pytest.CaptureFixture[str]
) -> None:
    """The terminal shows one line and the id; the page shows everything."""
    from rich.console import Console

    report = reported(space)
    long = Architecture({f"block{number}.kernel": number for number in range(60)})
    report = TrustReport(**{**vars(report), "cases": (Case(long, 1.0, 2.0, 1.5, 3.0),)})
    print_predictor_report([report], Console(width=80))
    text = capsys.readouterr().out
    lines = text[text.index(long.id) : text.index("What to measure next")].splitlines()
    assert lines[1].startswith("    block0(kernel=0) block1(kernel=1)")
    assert lines[1].endswith(" and 57 more")
    assert lines[2] == ""
    assert "block59(kernel=59)" not in text
    assert "block59(kernel=59)" in render_predictor_page([report], "run", {})

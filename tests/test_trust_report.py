"""The predictor report: its figures, its worst cases, its advice, and a page that nothing recorded can break."""

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

from nas.architecture import Architecture, Choice
from nas.description import Describer
from nas.errors import CandidateError, RecipeError
from nas.layer import Layer
from nas.metric import METRICS
from nas.objective import Limit
from nas.predictor import HeldOutError, Prediction, given_by
from nas.progress import NullProgress
from nas.search_space import enumerate_space
from nas.tracing import layers_of
from nas.trust_page import render_trust_page, write_trust_page
from nas.trust_report import (
    CURVE_SIZES,
    SUGGESTED,
    Case,
    MeasuredDevice,
    Samples,
    TrustReport,
    advice,
    fit_ones,
    fit_to,
    learning_curve,
    pool_of,
    samples_of,
    suggestions,
    trust_reports,
)
from nas.trust_text import print_trust, sentences_of

LATENCY = METRICS["latency_ms"]
SPACE = TinySpace()
ALL = list(enumerate_space(SPACE))
HOSTILE = "</script><img src=x onerror=alert(1)>"


def layers(architecture: Architecture) -> Sequence[Layer]:
    return layers_of(SPACE, architecture, (1, 8, 8), 10)


@pytest.fixture(name="space", scope="module")
def tiny_describer() -> Describer:
    """Of ``TinySpace``; what it traced is kept."""
    return Describer(SPACE, layers)


def reported(space: Describer, *limits: str, values: dict[Architecture, float] | None = None) -> TrustReport:
    """On twelve of the fifteen architectures, unless ``values`` are given; the rest can be measured next."""
    known = values or {a: latency_ms(a) for a in ALL[:12]}
    pool = [a for a in ALL if a not in known]
    data = MeasuredDevice(space, "board", {"latency_ms": known}, pool={"latency_ms": pool})
    parsed = [Limit.parse(text) for text in limits]
    ((report, _),) = trust_reports(data, fit_quick, "quick", limits=parsed, most=300, seed=0, progress=NullProgress())
    return report


def held_out(samples: int, width: float) -> HeldOutError:
    return HeldOutError(samples, 0.1, 0.9, 0.8, 0.4, 0.6, 0.9, width)


class Foretold:
    """Predicts what it was told: 1 with the given widths, and which are known."""

    def __init__(self, widths: Sequence[float], known: Sequence[bool]) -> None:
        self._widths, self._known = np.array(widths), np.array(known)

    def predict(self, architectures: Sequence[Architecture]) -> Prediction:
        mean = np.ones(len(architectures))
        upper = mean + self._widths / 2
        return Prediction(mean, mean - self._widths / 2, upper, upper, self._known)


# Figures


def test_the_worst_come_first_and_nothing_is_left_out(space: Describer) -> None:
    """Each sample once, with what was measured and the prediction of a predictor that had not seen it."""
    report = reported(space)
    errors = [abs(case.relative_error) for case in report.cases]
    assert errors == sorted(errors, reverse=True)
    assert {case.architecture: case.measured for case in report.cases} == {a: latency_ms(a) for a in ALL[:12]}
    assert report.held_out.mape == pytest.approx(np.mean(errors))
    assert all(case.lower < case.mean < case.upper for case in report.cases)


def test_a_learning_curve_grows_over_nested_samples(space: Describer) -> None:
    """Its last point is the predictor itself; each smaller one saw a part of what the next one saw."""
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
    """There is nothing smaller that could be fitted."""
    report = reported(space, values={a: latency_ms(a) for a in ALL[:5]})
    assert [each.samples for each in report.curve] == [5]


def test_more_measurements_than_asked_for_are_drawn_from() -> None:
    """At random, the same with the same seed, and their number is told."""
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
    """Too few values, and those that are not positive."""
    with pytest.raises(RecipeError, match=re.escape(message)):
        samples_of(LATENCY, "board", values, most=300, seed=0)


# What to measure next


def test_the_unknown_come_first_then_those_at_a_limit_then_the_widest(space: Describer) -> None:
    """Bounds of 1 ± 0.2 hold 1.15 between them, those of 1 ± 0.1 do not."""
    widths = [0.2] * 12 + [0.4] * 2 + [0.01]
    known = [True] * 14 + [False]
    limit = Limit.parse("latency_ms <= 1.15ms")
    found = suggestions(Foretold(widths, known), space, [limit], ALL)  # type: ignore[arg-type]
    assert len(found) == SUGGESTED
    assert found[0].architecture == ALL[14]
    assert {each.architecture for each in found[1:3]} == set(ALL[12:14])
    assert [each.reason for each in found[:4]] == [
        "unlike all that was measured",
        *["near latency_ms <= 1.15"] * 2,
        "widest bounds",
    ]
    assert len({each.architecture for each in found}) == SUGGESTED


def test_of_those_alike_the_ones_that_differ_most_are_taken(space: Describer) -> None:
    """The second differs from the first in every choice that it can."""
    found = suggestions(Foretold([0.2] * 15, [True] * 15), space, [], ALL)  # type: ignore[arg-type]
    first, second = (each.architecture for each in found[:2])
    assert first["width"] != second["width"]
    assert first["depth"] != second["depth"]


def test_nothing_to_choose_from_is_no_suggestion(space: Describer) -> None:
    """A small space may be measured as a whole."""
    assert suggestions(Foretold([], []), space, [], []) == ()  # type: ignore[arg-type]
    assert pool_of(space, dict.fromkeys(ALL), 0) == []
    assert set(pool_of(space, dict.fromkeys(ALL[3:]), 0)) == set(ALL[:3])


def test_what_cannot_be_built_is_not_suggested() -> None:
    """Its CandidateError goes no further."""

    def failing(architecture: Architecture) -> Sequence[Layer]:
        if architecture["width"] == 4:
            raise CandidateError("build", "too narrow")
        return layers(architecture)

    assert {a["width"] for a in fit_ones(Describer(SPACE, failing), ALL)} == {8, 16}


# Advice


def test_advice_follows_the_learning_curve() -> None:
    """Widths that fall with the root of the samples: from ±30 % to ±15 % takes four times as many."""
    curve = [held_out(n, 0.6 * (20 / n) ** 0.5) for n in (5, 10, 20)]
    said = advice(curve, 0.3, unused=0, suggested=True)
    assert said.startswith("Measure about 60 more, those named here first; ")
    assert advice(curve, 0.3, unused=100, suggested=True).startswith("Use about 60 more of the 100 measurements")
    assert advice(curve, 0.3, unused=59, suggested=False).startswith("Measure about 60 more; ")


@pytest.mark.parametrize("curve", [[held_out(n, 0.6) for n in (5, 10, 20)], [held_out(20, 0.6)]])
def test_a_flat_curve_promises_nothing(curve: list[HeldOutError]) -> None:
    """Nor does a single point."""
    assert advice(curve, 0.3, unused=0, suggested=True).startswith("More measurements alone may not narrow the bounds")


def test_where_bounds_are_narrow_enough_more_of_the_same_is_asked_for() -> None:
    """A poor rank correlation of 20 samples."""
    said = advice([held_out(20, 0.2)], 0.1, unused=0, suggested=False)
    assert said.startswith("Measure about 20 more; then look again: the bounds are narrow enough")


def test_a_limit_is_judged_and_others_are_passed_over(space: Describer) -> None:
    """Twelve architectures do for a limit that their bounds are narrow at; energy has no say in latency."""
    wide = reported(space, "latency_ms <= 1ms", "energy_mj <= 1mJ")
    assert [str(limit) for limit in wide.limits] == ["latency_ms <= 1"]
    assert wide.half_width > 0.15
    assert wide.doubts
    assert wide.advice
    assert sentences_of(wide) == [*wide.doubts, wide.advice]
    narrow = reported(space, "latency_ms <= 1ms", values={a: 1 + 0.01 * int(a["width"]) for a in ALL[:12]})
    assert narrow.half_width < 0.15
    assert (narrow.doubts, narrow.advice) == ((), "")
    assert sentences_of(narrow)[0].startswith("Good enough for latency_ms <= 1: ")
    assert sentences_of(reported(space))[0].startswith("No limit was asked for. ")


def test_energy_knows_of_latencies_what_was_said_without_having_seen_them(space: Describer) -> None:
    """In logs; of others what is predicted."""
    samples = Samples(LATENCY, "board", ALL[:12], np.array([latency_ms(a) for a in ALL[:12]]), 12)
    predictor = fit_to(samples, space, fit_quick, 0)
    given = given_by("latency_ms", predictor, samples.architectures)
    said = predictor.held_out_predictions.mean[3], predictor.predict([ALL[13]]).mean[0]
    assert given.values([ALL[3], ALL[13]]).tolist() == pytest.approx(np.log(said).tolist())


def test_energy_is_fitted_with_latency_given(space: Describer) -> None:
    """And latency without it."""
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
    """A correlation that does not exist is null, and no NaN or infinity is written."""
    report = reported(space, values=dict.fromkeys(ALL[:12], 2.0))
    text = json.dumps(report.to_json(), allow_nan=False)
    shown = json.loads(text)
    assert shown["held_out"]["spearman"] is None
    assert shown["held_out"]["samples"] == 12
    assert len(shown["worst"]) == SUGGESTED
    assert {Architecture(each["architecture"]).id for each in shown["measure_next"]} == {a.id for a in ALL[12:]}


def test_nothing_recorded_can_break_the_page(tmp_path: Path) -> None:
    """A hostile option, device, subject and fact are text, in tables as in plots."""

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
    write_trust_page(path, [report], HOSTILE, {HOSTILE: HOSTILE})
    text = path.read_text(encoding="utf-8")
    assert HOSTILE not in text
    assert "<img" not in text
    assert text.count("&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;") > 5
    assert text.count("<script") == 3 == text.count("</script>")
    assert list(path.parent.iterdir()) == [path]


def test_a_page_loads_nothing_and_names_its_scripts_by_hash(space: Describer) -> None:
    """Each plot has its place, and figures are plain JSON."""
    text = render_trust_page([reported(space, "latency_ms <= 1ms")], "run", {})
    assert "default-src 'none'; script-src 'sha256-" in text
    assert not re.search(r"<(?:script|link|img)[^>]+(?:src|href)=[\"']?http", text)
    figures = json.loads(re.search(r'id="figures">(.*?)</script>', text, re.DOTALL)[1])  # type: ignore[index]
    assert list(figures) == ["check-latency_ms", "check-error-latency_ms", "check-rank-latency_ms"]
    for name, figure in figures.items():
        assert f'<div class="chart" id="{name}"' in text
        assert figure["data"]
        assert all(len(trace["x"]) == len(trace["y"]) for trace in figure["data"])
    axes = figures["check-latency_ms"]["layout"]
    assert axes["xaxis"]["type"] == axes["yaxis"]["type"] == "log"
    assert "<dt>sources" not in text
    band = {trace["name"] for trace in figures["check-latency_ms"]["data"]}
    assert band == {"", "±10 %", "predicted = measured", "held out (12)"}


def test_sources_and_what_was_left_out_are_told(space: Describer, capsys: pytest.CaptureFixture[str]) -> None:
    """On the page as at a terminal."""
    from rich.console import Console

    report = TrustReport(**{**vars(reported(space)), "sources": ("phone", "desk"), "measured": 99})
    print_trust([report], Console(width=80))
    page = render_trust_page([report], "run", {})
    assert "<dt>sources of latency</dt><dd>phone, desk</dd>" in page
    assert "<dt>measured latency</dt><dd>99, of which 12 were drawn at random</dd>" in page
    told = " ".join(capsys.readouterr().out.split())
    assert "sources phone, desk" in told
    assert "measured 99, of which the samples were drawn at random" in told


def test_open_bounds_are_not_drawn(space: Describer) -> None:
    """A method may give none for few samples: the page stands all the same."""
    report = reported(space)
    cases = tuple(type(case)(case.architecture, case.measured, case.mean, 0.0, math.inf) for case in report.cases)
    opened = TrustReport(**{**vars(report), "cases": cases})
    text = render_trust_page([opened], "run", {})
    assert "Infinity" not in text.partition('id="figures">')[2].partition("</script>")[0]
    assert "none" in text
    assert json.dumps(opened.to_json(), allow_nan=False)


def test_a_terminal_of_80_columns_holds_it(space: Describer, capsys: pytest.CaptureFixture[str]) -> None:
    """Figures, curve, worst cases and the verdict, without a word cut."""
    from rich.console import Console

    report = reported(space, "latency_ms <= 1ms")
    print_trust([report], Console(width=80))
    text = capsys.readouterr().out
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "…" not in text
    for words in ("Latency on board", "Spearman", "Kendall", "within ±5 %", "coverage", "What to measure next"):
        assert words in text
    assert " ".join(report.doubts[0].split()) in " ".join(text.split())


def test_a_long_architecture_is_cut_at_a_terminal_and_whole_on_the_page(
    space: Describer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three lines tell enough of it where there is its id."""
    from rich.console import Console

    report = reported(space)
    long = Architecture({f"block{number}.kernel": number for number in range(60)})
    report = TrustReport(**{**vars(report), "cases": (Case(long, 1.0, 2.0, 1.5, 3.0),)})
    print_trust([report], Console(width=80))
    text = capsys.readouterr().out
    lines = text[text.index(long.id) : text.index("What to measure next")].splitlines()
    assert all(line.startswith("    block") for line in lines[1:4])
    assert lines[3].endswith(" …")
    assert lines[4] == ""
    assert "block59(kernel=59)" not in text
    assert "block59(kernel=59)" in render_trust_page([report], "run", {})

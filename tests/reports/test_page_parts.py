"""The parts of a report's page: packed columns, checks of predictions, layers, answers about trust, and next steps."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from awkward_fronts import AWKWARD_FRONTS
from report_page import OUTCOMES, Page, column, counts, example_page, ids
from run_record_example import LAYERS, architecture_at, energy_record, example_record

from nas.reports.candidates import PredictionCheck
from nas.reports.page import models
from nas.reports.page.document import document_of
from nas.reports.page.graphs import layers_in
from nas.reports.page.models import bundle_link, winners_json
from nas.reports.page.next_steps import next_steps, shipped_of
from nas.reports.page.packing import packed_counts, packed_floats
from nas.reports.page.trust import trust_answers
from nas.reports.report import render_report
from nas.reports.web_page import command_words
from nas.results.run import Run
from nas.values.evaluation import Evaluation, PredictedValue
from nas.values.measurement import Measurement


@pytest.mark.parametrize("values", [[1.0, None, 2.5, 1e-300], [None] * 9 + [math.inf], [0.1, -0.0, 5e-324, 1 / 3]])
def test_packed_floats_are_exact(values: list[float | None]) -> None:
    """Whether most are present or few, all bits come back, and absent ones are NaN."""
    found = column({"count": len(values)}, packed_floats(values))
    assert [math.nan if value is None else value for value in values] == pytest.approx(found, rel=0, abs=0, nan_ok=True)


def test_packed_columns_are_small() -> None:
    """Whole numbers take as few bytes as the largest needs, and a column without a value takes none."""
    assert packed_floats([None, math.nan]) is None
    for largest, kind in ((255, "u1"), (256, "u2"), (65536, "u4")):
        packed = packed_counts([0, largest])
        assert list(packed) == [kind]
        assert counts(packed) == [0, largest]
    assert counts(packed_counts([])) == []


def test_predictions_are_shown_against_measurements() -> None:
    """Each candidate and winner appears once, correct predictions are counted, and known winners stand apart."""
    record = example_record()
    rows = [row for row in record.rows if row.stage != "measure"]
    winners = [row for row in rows if row.stage == "winner"]
    measured = [row for row in record.rows if row.stage == "measure" and not row.failed]
    guess = {"latency_ms": PredictedValue(0.3, 0.1, 1.0, 0.9)}
    rows = [*(replace(row, predicted=guess if row.round else {}) for row in measured), *rows]
    rows[:0] = [replace(row, stage="measure", predicted={}) for row in winners[:1]]
    rows[:0] = [replace(row, stage="measure") for row in winners[1:]]
    page = Page(render_report(replace(record, rows=tuple(rows))))
    (check,) = page.document["checks"]
    later = sum(row.round > 0 for row in measured)
    assert {group["name"]: len(group["points"]["of"]) for group in check["groups"]} == {
        "candidates": later,
        "winners the predictor was fitted to": 1,
        "winners": 3,
    }
    in_bounds = 3 + sum(row.round > 0 and row.measurements["latency_ms"].median >= 0.1 for row in measured)
    near = sum(row.round > 0 and abs(0.3 / row.measurements["latency_ms"].median - 1) <= 0.1 for row in measured)
    assert (
        f"Of {later + 3} points predicted before measuring, {in_bounds} lie within the 90 % bounds and {near + 3} "
        "within ±10 % of the measured value. Not counted: 1 hollow point, a winner that the predictor had been fitted "
        "to."
    ) in page.text
    assert "Of 4 points predicted before measuring, 4 lie" in example_page().text


def test_measured_and_modelled_values_never_share_a_column() -> None:
    """Measured and modelled energy are metrics of their own, and name their sources."""
    document = Page(render_report(energy_record())).document
    metrics = {metric["name"]: metric for metric in document["metrics"]}
    assert metrics["energy_mj"]["source"] == "measured"
    assert metrics["modelled_energy_mj"]["source"] == "modelled"
    assert metrics["modelled_energy_mj"]["title"] == "Energy (modelled)"
    energy, modelled = (column(document, document["columns"][name]["found"]) for name in metrics if "energy" in name)
    assert not any(one == other for one, other in zip(energy, modelled, strict=True))
    assert "low" not in document["columns"]["modelled_energy_mj"]
    assert set(document["run"]["costs"]) == {"energy_mj", "modelled_energy_mj"}


def test_what_a_stopwatch_showed_is_a_column_where_it_differs() -> None:
    """One measurement was taken beside a busy neighbour; a report without such a one has no such column."""
    record = example_record()
    assert "raw" not in Page(render_report(record)).document["columns"]["latency_ms"]
    place, row = next((n, each) for n, each in enumerate(record.rows) if each.stage == "measure" and each.measurements)
    latency = row.measurements["latency_ms"]
    busy = replace(latency, walls=tuple((100.0,) for _ in latency.rounds))
    rows = list(record.rows)
    rows[place] = replace(row, measurements={**row.measurements, "latency_ms": busy})
    document = Page(render_report(replace(record, rows=tuple(rows)))).document
    assert 100.0 in column(document, document["columns"]["latency_ms"]["raw"])


def test_winners_that_cannot_be_told_apart_know_each_other() -> None:
    """So that the front can join them."""
    document = Page(render_report(AWKWARD_FRONTS["equal winners"].record)).document
    one, other = document["winners"]
    assert (one["same"], other["same"]) == ([other["at"]], [one["at"]])
    assert document["run"]["best"] in ids(document)


def test_a_link_to_a_bundle_starts_at_the_page(tmp_path: Path) -> None:
    """It is relative, quoted, and never a scheme; a folder outside the run has none."""
    record = replace(example_record(), run_folder=tmp_path / "run")
    winner = record.front[0]
    assert bundle_link(winner, tmp_path / "run", None) == f"./winners/{winner.architecture.id}"
    assert bundle_link(winner, tmp_path / "run", tmp_path / "else where") == (
        f"./../run/winners/{winner.architecture.id}"
    )
    strange = replace(winner, folder="javascript:alert(1)", bundle=tmp_path / "run" / "javascript:alert(1)")
    assert bundle_link(strange, tmp_path / "run", None) == "./javascript%3Aalert%281%29"
    assert bundle_link(replace(winner, bundle=None), tmp_path / "run", None) is None


def test_layers_are_read_from_the_exported_model(tmp_path: Path) -> None:
    """Layers with weights are listed with their shapes; the operators between them are named."""
    assert layers_in(tmp_path) is None
    (tmp_path / "model.onnx").write_bytes(b"no model")
    assert layers_in(tmp_path) is None
    tensor = onnx.helper.make_tensor_value_info
    weights = [
        onnx.numpy_helper.from_array(np.zeros(shape, dtype=np.float32), name)
        for name, shape in (("w", (8, 1, 3, 3)), ("d", (8, 1, 3, 3)), ("g", (5, 8)))
    ]
    nodes = [
        onnx.helper.make_node("Conv", ["x", "w"], ["a"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        onnx.helper.make_node("Relu", ["a"], ["b"]),
        onnx.helper.make_node("Conv", ["b", "d"], ["c"], kernel_shape=[3, 3], group=8, pads=[1, 1, 1, 1]),
        onnx.helper.make_node("GlobalAveragePool", ["c"], ["p"]),
        onnx.helper.make_node("Flatten", ["p"], ["f"]),
        onnx.helper.make_node("Gemm", ["f", "g"], ["y"], transB=1),
    ]
    graph = onnx.helper.make_graph(
        nodes, "net", [tensor("x", 1, [1, 1, 8, 8])], [tensor("y", 1, [1, 5])], initializer=weights
    )
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)]), tmp_path / "model.onnx")
    first, second, third = layers_in(tmp_path) or []
    assert first == {
        "op": "Conv", "weights": 72, "shape": [8, 4, 4], "kernel": [3, 3], "stride": 2, "groups": 1, "then": ["Relu"]
    }  # fmt: skip
    assert (second["groups"], second["then"]) == (8, ["GlobalAveragePool", "Flatten"])
    assert third == {"op": "Gemm", "weights": 40, "shape": [5], "then": []}


def answers(record: Run) -> dict[str, str]:
    return {
        each.question: f"{each.verdict}. {each.sentence}"
        for each in trust_answers(record.front, record.fits, record.rows)
    }


def test_the_latency_by_layer_is_the_journals(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it is there beside the measured latency, or the reason; a page of many winners has it of the first."""
    front = example_record().front
    places = {winner.architecture: place for place, winner in enumerate(front)}
    known = {w.architecture.id: each["times"] for w, each in zip(front, winners_json(front, places), strict=True)}
    (many,) = (winner for winner in front if winner.layer_times == LAYERS)
    assert known[many.architecture.id] == {
        "layers": [[layer.name, layer.kind, layer.ms] for layer in LAYERS.layers],
        "others": 5,
        "others_ms": LAYERS.others_ms,
        "total_ms": LAYERS.total_ms,
        "latency_ms": many.value("latency_ms"),
    }
    assert {"reason": "torch-cpu does not tell how long each operator takes."} in known.values()
    assert None in known.values()
    monkeypatch.setattr(models, "MOST_DRAWN", 0)
    texts = [each["times"] for each in winners_json(front, places)]
    assert texts.count({"reason": "the report tells it of 0 winners only."}) == 2


def test_trust_is_told_plainly() -> None:
    """Each question has a verdict and a reason."""
    found = answers(example_record())
    assert found["Were the winners measured?"].startswith("Yes. The latency of each was measured on the target")
    assert found["Can I trust predictions of latency?"] == (
        "Yes. On 24 held-out measured architectures, the last latency predictor was off by 5.0 % on average. "
        "Its 90 % bounds reach 10 % to each side."
    )
    assert found["Do exported models answer like the trained ones?"].startswith("Yes. ")
    assert found["Was the machine quiet?"].startswith("Partly. 1 of 27 measurements was flagged")
    record = example_record()
    poor = answers(replace(record, fits=record.fits[:1]))["Can I trust predictions of latency?"]
    assert poor.startswith("Not for this limit. ")
    assert poor.endswith("its bounds are wide.")
    equal = answers(AWKWARD_FRONTS["equal winners"].record)["Is the best model surely the best?"]
    assert equal == "No. The test cannot tell the best accuracy, 98.89 %, from that of another winner."
    assert answers(AWKWARD_FRONTS["all near chance"].record)["Is the best model surely the best?"].startswith("No. ")


def test_a_better_winner_beyond_the_limits_is_no_doubt_about_the_best() -> None:
    """It is told from the best one beyond doubt, so the test can tell the best from all others."""
    record = example_record()
    within = [winner.architecture for winner in record.front if winner.meets(record.limits)]
    errors = {architecture: 0.2 + 0.2 * place for place, architecture in enumerate(within)}
    rows = []
    for row in record.rows:
        if row.stage == "winner":
            error = errors.get(row.architecture, 0.01)
            details = {**row.details, "test_error": error, "test_interval": [0.97 * error, 1.03 * error]}
            row = replace(row, details=details)
        rows.append(row)
    record = replace(record, rows=tuple(rows))
    assert 0 < len(within) < len(record.front)
    assert answers(record)["Is the best model surely the best?"] == (
        "Yes. Its test accuracy differs from all others by more than chance."
    )


def test_a_measured_nothing_is_near_a_prediction_of_nothing() -> None:
    """A model may have no weights, and no difference can be divided by that."""
    measured = Measurement("weight_bytes", "board", ((0.0,),))
    guess = PredictedValue(0.0, 0.0, 0.0, 0.0)
    assert PredictionCheck(architecture_at(1), guess, measured, False, True).is_within_10_percent
    assert not PredictionCheck(architecture_at(1), replace(guess, mean=1.0), measured, False, True).is_within_10_percent


def test_a_winner_without_a_score_on_the_test_split_has_no_value() -> None:
    """What it had in the search is told as that, and never as a result of the test."""
    record = example_record(("balanced_error", "latency_ms"))
    winner = record.front[0].architecture
    row = Evaluation("train", winner, 1, {"error": 0.2, "balanced_error": 0.25})
    document = Page(render_report(replace(record, rows=(row, *record.rows)))).document
    found = document["columns"]["balanced_error"]
    place = ids(document).index(winner.id)
    assert math.isnan(column(document, found.get("found"))[place])
    assert column(document, found["search"])[place] == 0.25


def test_what_a_table_gives_is_not_called_trained() -> None:
    document = Page(render_report(replace(example_record(), table="accuracies.csv"))).document
    assert document["run"]["shown_outcomes"] == ["winner", "looked up", *document["run"]["outcomes"][2:]]


def steps(record: Run) -> list[tuple[str, str]]:
    found = next_steps(record)
    return [(step.sentence, step.command) for step in found]


def test_next_steps_follow_from_the_run() -> None:
    """An unfinished run is resumed, equal winners are decided by cost, better candidates are retrained."""
    record = replace(example_record(), is_over=True)
    (unfinished, *_) = steps(replace(record, is_over=False))
    go_on = "The run is not finished. Unless it is still running, go on with it."
    assert unfinished == (go_on, "nas search --resume runs/digits")
    given = replace(record, is_over=False, recipe_text='[space]\nname = "given"\n')
    assert steps(given)[0] == (go_on, "nas.resume('runs/digits', space=…)")
    good = Evaluation("train", architecture_at(1, head=77), 1, {"error": 0.001}, {
        "latency_ms": PredictedValue(0.1, 0.09, 0.11, 0.11)})  # fmt: skip
    before = [
        Evaluation("train", winner.architecture, 1, {"error": winner.test_error}) for winner in record.front.winners
    ]
    found = steps(replace(record, rows=(*record.rows, *before, good)))
    assert (
        "A candidate was better in the search than every winner, but never retrained.",
        f"nas retrain runs/digits --id {good.architecture.id}",
    ) in found
    named = replace(record, rows=(*record.rows, *before, good), recipe_text='[data]\nname = "given"\n')
    assert f"nas.retrain('runs/digits', ids=['{good.architecture.id}'], data=…)" in dict(steps(named)).values()
    far = replace(good, predicted={"latency_ms": PredictedValue(9, 8, 10, 9.9)})
    assert not any("retrain" in command for _, command in steps(replace(record, rows=(*record.rows, *before, far))))
    assert steps(AWKWARD_FRONTS["only misses"].record)[1][0].startswith("No winner meets the limits.")
    for outcome in ("all failed", "over without winners"):
        ended = replace(OUTCOMES[outcome](), is_over=True)
        (only,) = steps(ended)
        assert only[0].startswith("The run ended without a winner.")
        assert "No winners yet" not in Page(render_report(ended)).text


def test_int8_is_advised_where_nothing_ran_in_it() -> None:
    """Of networks in fp32 on a runtime that has it; where the winners lie on a board, a search alone tells."""
    record = example_record()
    *_, (sentence, command) = steps(record)
    assert "--precision fp32 --precision int8" in sentence
    assert command == f"nas bundle export {record.front.best.bundle} --format onnx --precision int8"
    for target, told in (
        ("pi/onnxruntime-cpu", [""]),
        ("onnxruntime-cpu:int8", []),
        ("torch-cpu", []),
        ("a and b", []),
        ("no_such_module:Runtime", []),
    ):
        found = [step for step in steps(replace(record, target=target)) if "int8" in step[0]]
        assert [command for _, command in found] == told


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_every_run_is_told_what_to_do_next(outcome: str) -> None:
    assert steps(OUTCOMES[outcome]())


def test_the_first_screen_says_what_to_ship() -> None:
    """The best model's bundle, and the commands that run and check it; none where no model meets the limits."""
    record = example_record()
    best = record.front.best
    assert best is not None
    page = example_page()
    found = shipped_of(record)
    assert found is not None
    assert found.id == best.architecture.id
    assert found.run == f"python {best.bundle}/predict.py FILE"
    assert found.check == f"nas bundle verify {best.bundle}"
    assert page.text.index("Ship this") < page.text.index("The front")
    assert found.run in page.text
    assert {"href": found.link} in [attributes for tag, attributes in page.tags if tag == "a"]
    misses = AWKWARD_FRONTS["only misses"].record
    assert shipped_of(misses) is None
    assert "Ship this" not in Page(render_report(misses)).text
    spaced = shipped_of(replace(record, run_folder=Path("my runs/digits")))
    assert spaced is None or "'my runs/digits" in spaced.check


def test_models_that_meet_nothing_are_no_winners() -> None:
    text = Page(render_report(AWKWARD_FRONTS["only misses"].record)).text
    assert "tested on" in text[: text.index("but none meets")]
    assert "models tested" in text


def test_traffic_that_is_nothing_is_not_shown() -> None:
    """It is modelled from the caches of this machine: 0 where models fit, and of no use for the device of a table."""
    record = example_record()
    for traffic, is_shown in ((0.0, False), (5000.0, True)):
        rows = tuple(
            replace(row, values={**row.values, "dram_traffic_bytes": traffic}) if row.values else row
            for row in record.rows
        )
        known = [each["name"] for each in document_of(replace(record, rows=rows))["metrics"]]
        assert ("dram_traffic_bytes" in known) is is_shown
        known = [each["name"] for each in document_of(replace(record, rows=rows, table="t.csv"))["metrics"]]
        assert "dram_traffic_bytes" not in known


def test_options_of_commands_are_not_broken_and_nothing_in_them_is_markup() -> None:
    """A browser may break a line at a hyphen. The words are those of the command."""
    shown = command_words("nas show --id <b> -v")
    assert shown == 'nas show <span class="option">--id</span> &lt;b&gt; <span class="option">-v</span>'

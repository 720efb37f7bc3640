"""The model card says what a model is, how good, and what is doubtful; names in it are text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx_models import model_of, tensor_info

from nas.results.bundle import Bundle
from nas.results.bundled.card import CARD, card_text
from nas.results.bundled.writing import write_about
from nas.tasks.deployed.predict import FILLS_BYTES
from nas.values.measurement import Measurement

ABOUT: dict[str, Any] = {
    "id": "0123456789ab",
    "data": "digits",
    "target": "onnxruntime-cpu:fp32:batch=1:threads=1",
    "deployed": "model.onnx",
    "batch": 1,
    "answers": {"kind": "classification", "names": ["cat", "dog"]},
    "packages": ["pillow"],
    "preparation": {"in_words": ["Scale to 8×8 pixels.", "Divide by 255."]},
    "params": 1234,
    "macs": 56789,
    "test_error": 0.05,
    "test_interval_95": [0.03, 0.08],
    "exported_test_error": 0.04,
    "test_scores_95": {"balanced_error": [0.06, 0.04, 0.09]},
    "chance_error": 0.5,
    "facts": {"name": "digits", "training images": 1000, "test images": 400},
    "warnings": ["classes are unequal: cat has 90 % of the training images"],
    "limits": ["latency_ms <= 2ms", "accuracy >= 99%"],
    "training": {"epochs": 16, "seconds": 95.0},
    "search_cost": {"time": "12 min 05 s", "energy": "not measured"},
    "origin": {},
    "space": {"name": "mobilenet"},
    "choices": {"depth": 3},
    "samples": "400 test images with torch's outputs",
}
MEASURED = {
    "latency_ms": Measurement(
        "latency_ms",
        ABOUT["target"],
        ((1.0,), (1.01,), (0.99,), (1.0,), (1.02,)),
        {"processor": "A1", "runtime": "onnxruntime 1.32", "executed_precision": "fp32"},
        ("the machine was busy",),
    )
}


def test_a_card_shows_what_a_stopwatch_showed() -> None:
    """Where other programs had the core, the raw value stands beside the corrected one."""
    (latency,) = MEASURED.values()
    busy = Measurement("latency_ms", latency.target, latency.rounds, latency.conditions, walls=((4.2,),) * 5)
    assert "| latency | 1 ms | 0.9899 ms–1.018 ms; 4.2 ms by a stopwatch | 5 |" in card_text(
        ABOUT, {"latency_ms": busy}
    )
    assert "stopwatch" not in card_text(ABOUT, MEASURED)


def test_a_card_tells_each_target_apart() -> None:
    """Each has its file, its test error, and a table with its own conditions; its limits are checked."""
    there = {
        "target": "pi/onnxruntime-cpu:int8",
        "deployed": "deployed-on/pi/model.onnx",
        "test_error": [0.2, 0.1, 0.3],
    }
    conditions = {"processor": "Cortex", "threads": 4}
    on_pi = Measurement("latency_ms", there["target"], ((7.0,), (7.0,)), conditions, ("it throttled",))
    limits = ["pi/error <= 10%", "pi/latency_ms <= 9ms"]
    text = card_text({**ABOUT, "elsewhere": {"pi": there}, "limits": limits}, {**MEASURED, "pi/latency_ms": on_pi})
    assert "| accuracy on pi | 80.00 % | 70.00–90.00 % |" in text
    first, second = text.split("On `pi/onnxruntime-cpu:int8`:")
    assert "On `onnxruntime-cpu:fp32:batch=1:threads=1`:" in first
    assert "- processor: A1" in first
    assert "throttled" not in first
    for line in ("| latency | 7 ms", "- processor: Cortex", "- threads: 4", "- Doubt: It throttled."):
        assert line in second
    assert "pi ≤ 10 %, **not met**" in second
    assert "latency on pi ≤ 9 ms, met" in second


@pytest.mark.parametrize("largest", [64, 127])
def test_a_bundle_says_where_8_bit_weights_overflow(tmp_path: Path, largest: int) -> None:
    """The deployed file tells, and the card names what to run on such processors."""
    node = helper.make_node("Cast", ["x"], ["y"], to=1)
    weights = {"w": np.array([[largest, -3]], np.int8)}
    model = model_of([node], [tensor_info("x", (1,))], [tensor_info("y", (1,))], weights)
    onnx.save(model, tmp_path / "model.onnx")
    write_about(tmp_path, {**ABOUT, FILLS_BYTES: True}, MEASURED)
    assert (FILLS_BYTES in Bundle.read(tmp_path).about) is (largest > 64)
    says = "`model.onnx` have 8 bits. On x86 processors without VNNI their products may overflow"
    assert (says in (tmp_path / CARD).read_text(encoding="utf-8")) is (largest > 64)


def test_a_card_answers_what_people_ask() -> None:
    """What it is, how good with intervals, where measured, which limits hold, and what it cost."""
    text = card_text(ABOUT, MEASURED)
    for words in (
        "# Model 0123456789ab",
        "`python predict.py FILE`, with numpy, onnxruntime and pillow.",
        "| accuracy | 95.00 % | 92.00–97.00 % |",
        "| balanced error | 6.00 % | 4.00 %–9.00 % |",
        "always answering the most frequent class gives 50.00 %",
        "Before it was deployed, the model had 96.00 %",
        "| latency | 1 ms |",
        "- processor: A1",
        "- Doubt: The machine was busy.",
        "latency ≤ 2 ms, met",
        "accuracy ≥ 99 %, **not met**",
        "Classes are unequal",
        "1. Scale to 8×8 pixels.",
        "16 epochs in 1 min 35 s",
        "The run until its winners were trained, time: 12 min 05 s.",
        "trained from random ones",
        "| depth | 3 |",
        "| training images | 1000 |",
        "nas bundle export --no-samples",
    ):
        assert words in text, words
    assert "learned nothing" not in text


def test_a_parent_that_was_not_trained_is_not_said_to_be() -> None:
    """It stands among the winners as it came."""
    assert "trained on the training and validation items together" in card_text(ABOUT, MEASURED)
    training = {"epochs": 0, "seconds": 0.4}
    text = card_text({**ABOUT, "training": {**training, "tuned_parent": False}}, MEASURED)
    assert "The model is the parent of the search as it came: nothing was trained for it." in text
    tuned = card_text({**ABOUT, "training": {**training, "tuned_parent": True}}, MEASURED)
    assert "It was tuned on the training items before the search began." in tuned
    assert "nothing was trained" not in tuned
    older = card_text({**ABOUT, "training": training}, MEASURED)
    assert "nothing was trained" not in older, "nobody noted it"
    assert "trained on the training and validation items" not in text
    assert "0 epochs" not in text


def test_a_form_does_not_pass_for_the_winner_that_was_tested() -> None:
    """The test items scored the winner; of the form, the kept items tell something."""
    form = {"format": "onnx", "agreement": "98.00 % (95.0 to 99.5) of the decisions equal those of torch"}
    target = "onnxruntime-cpu:int8:batch=1:threads=1"
    text = card_text({**ABOUT, "form": form, "target": target, "tested_on": ABOUT["target"]}, MEASURED)
    assert "## Results of the winner on 400 test images" in text
    assert f"They are of the winner, on `{ABOUT['target']}`. This form was not scored by the test items." in text
    assert "Instead, 98.00 % (95.0 to 99.5) of the decisions equal those of torch." in text
    assert "accuracy ≥ 99 %, not checked" in text
    assert "latency ≤ 2 ms, met" in text
    assert "Before it was deployed" not in text


def test_a_form_does_not_meet_a_limit_of_a_device_on_another_one() -> None:
    """Its own measurement is told beside that; the size of a file is the same everywhere."""
    form = {"format": "onnx", "winner_test_error": 0.05}
    size = Measurement("model_bytes", ABOUT["target"], ((1000.0,),), {})
    about = {**ABOUT, "form": form, "limits": ["latency_ms <= 2ms", "model_bytes <= 2kB", "accuracy >= 90%"]}
    text = card_text({**about, "tested_on": "pi/onnxruntime-cpu"}, {**MEASURED, "model_bytes": size})
    assert "latency ≤ 2 ms, not checked on pi; on the device of this form it is up to 1.018 ms." in text
    assert "model size ≤ 2 kB, met" in text
    assert "accuracy ≥ 90 %, met" in text
    here = card_text({**about, "tested_on": "onnxruntime-cpu:int8", "target": "pi/onnxruntime-cpu"}, MEASURED)
    assert "not checked on the machine of the search; on" in here
    assert "latency ≤ 2 ms, met" in card_text({**about, "tested_on": "openvino-cpu"}, MEASURED)


def test_further_data_of_a_retraining_are_told() -> None:
    """Their name and number stand where the card says what the model was trained on."""
    further = {"name": "folder:more", "items": 1200}
    text = card_text({**ABOUT, "training": {"epochs": 3, "seconds": 4.0, "further": further}}, MEASURED)
    assert "nothing was chosen by them. It was also trained on 1,200 further items of folder:more." in text
    assert "further items" not in card_text(ABOUT, MEASURED)


def test_modelled_traffic_is_checked() -> None:
    """A description calls it modelled, which its limit does not."""
    limits = ["dram_traffic_bytes <= 2MB"]
    assert ", not checked." in card_text({**ABOUT, "limits": limits}, MEASURED)
    assert "≤ 2 MB, met." in card_text({**ABOUT, "limits": limits, "modelled_dram_traffic_bytes": 1e6}, MEASURED)


def test_the_cost_on_a_card_is_that_until_then() -> None:
    """The run went on after the card was written."""
    assert "- The run until its winners were trained, time: 12 min 05 s." in card_text(ABOUT, MEASURED)


def test_what_was_not_recorded_is_no_number() -> None:
    """Neither 0 parameters, nor an interval of nothing."""
    kept = {key: value for key, value in ABOUT.items() if key not in ("params", "macs", "test_interval_95")}
    text = card_text(kept, MEASURED)
    assert "Parameters were not recorded." in text
    assert "| accuracy | 95.00 % | unknown |" in text
    assert "- Parameters: 1,234; multiply-accumulates: 56,789." in card_text(ABOUT, MEASURED)


def test_a_model_near_chance_is_marked() -> None:
    assert "**This model cannot be told from that" in card_text({**ABOUT, "chance_error": 0.07}, MEASURED)


def test_a_model_that_is_worse_than_a_constant_answer_is_marked() -> None:
    text = card_text({**ABOUT, "chance_error": ABOUT["test_error"] - 0.01}, MEASURED)
    assert "**This model is worse than that: it learned nothing.**" in text


def test_the_interval_over_seeds_is_told() -> None:
    """With the number of seeds, and which of them the model is."""
    error = ABOUT["test_error"]
    text = card_text({**ABOUT, "seed_errors": [error, error + 0.01, error + 0.02], "failed_seeds": 1}, MEASURED)
    mean = f"{100 * (1 - error - 0.01):.2f} % over 3 seeds"
    assert f"Trained by several seeds: accuracy {mean} (" in text
    assert "1 more failed. This model is the first of them." in text


@pytest.mark.parametrize(
    ("origin", "says"),
    [
        ({"model": "resnet18", "licence": "apache-2.0"}, "licence: apache-2.0"),
        ({"model": "unknown"}, "Their licence is not known: ask who made them."),
        (None, "was not recorded"),
    ],
)
def test_the_licence_of_pretrained_weights_is_told(origin: Any, says: str) -> None:
    assert says in card_text({**ABOUT, "origin": origin}, MEASURED)


def test_hostile_names_are_text() -> None:
    """Neither HTML, nor Markdown, nor a new line or column of a table."""
    name = "<script>alert(1)</script>|\n# [x](javascript:y) `a` **b**"
    about = {**ABOUT, "answers": {"kind": "classification", "names": [name]}, "choices": {name: name}, "data": name}
    text = card_text({**about, "warnings": [name], "facts": {name: name}, "origin": {name: name}}, MEASURED)
    assert "<script" not in text
    assert "[x](javascript" not in text
    assert "\n# [" not in text
    assert "**b**" not in text
    for line in text.splitlines():
        if line.startswith("|"):
            assert line.replace("\\|", "").count("|") in (3, 4, 5)


def test_what_an_older_bundle_lacks_is_left_out() -> None:
    """Its card still has every section."""
    old = {key: ABOUT[key] for key in ("id", "target", "deployed", "batch")}
    text = card_text(old, {})
    assert text.count("\n## ") == 10
    assert "Nothing was tested." in text
    assert "Nothing was measured." in text

"""A target is read from one line, and its text is read as the same target."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from nas.errors import RecipeError
from nas.values.target import PRECISIONS, Target, name_among, named_targets

runtimes = st.from_regex(r"[a-z0-9][a-z0-9_.-]{0,20}", fullmatch=True) | st.from_regex(
    r"[a-z_][a-z0-9_]{0,9}(\.[a-z_][a-z0-9_]{0,9}){0,2}:[A-Z][A-Za-z0-9_]{0,9}", fullmatch=True
)
numbers, names = st.integers(1, 10**6 - 1), st.just("") | st.from_regex(r"[a-z][a-z0-9_-]{0,9}", fullmatch=True)
targets = st.builds(Target, runtimes, st.sampled_from(PRECISIONS), numbers, numbers, device=names)


@given(targets)
def test_a_target_is_written_exactly(target: Target) -> None:
    """Its text names everything that a latency depends on."""
    assert Target.parse(str(target)) == target
    assert Target.parse(target.short) == target


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("onnxruntime-cpu", Target("onnxruntime-cpu", "fp32", 1, 1)),
        (" onnxruntime-cpu:int8 ", Target("onnxruntime-cpu", "int8")),
        ("onnxruntime-cpu:threads=4:batch=8:bf16", Target("onnxruntime-cpu", "bf16", 8, 4)),
        ("my.runtimes:Board", Target("my.runtimes:Board")),
        ("my.runtimes:Board:fp16:threads=2", Target("my.runtimes:Board", "fp16", 1, 2)),
        ("pi/onnxruntime-cpu:int8", Target("onnxruntime-cpu", "int8", device="pi")),
        ("pi-5_b/my.runtimes:Board", Target("my.runtimes:Board", device="pi-5_b")),
    ],
)
def test_parts_come_in_any_order(text: str, target: Target) -> None:
    """A missing part has a default, and a user's own runtime is a class in a module."""
    assert Target.parse(text) == target


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a target starts with the name of a runtime, such as onnxruntime-cpu, or of .* but got ''"),
        (":fp32", "a target starts with the name of a runtime"),
        ("ONNX runtime", "a target starts with the name of a runtime"),
        ("onnxruntime-cpu:fp23", "but got 'fp23' in 'onnxruntime-cpu:fp23'. Did you mean 'fp32'"),
        ("onnxruntime-cpu:FP32", "but got 'FP32'"),
        ("onnxruntime-cpu:batch=0", "but got 'batch=0'"),
        ("onnxruntime-cpu:threads=-1", "but got 'threads=-1'"),
        ("onnxruntime-cpu:thread 2", "but got 'thread 2' .*Did you mean 'threads=1'"),
        ("onnxruntime-cpu:", "but got ''"),
        ("Pi/onnxruntime-cpu", "the name of a device begins with a small letter, .* but got 'Pi'"),
        ("/onnxruntime-cpu", "the name of a device begins with a small letter, .* but got ''"),
        ("a/b/onnxruntime-cpu", "the name of a device .* but got 'a/b'"),
        ("pi/", "or of a device before it, such as pi/onnxruntime-cpu, but got 'pi/'"),
        ("onnxruntime-cpu:fp32:int8", "a target has one precision, but 'onnxruntime-cpu:fp32:int8' has two"),
        ("onnxruntime-cpu:batch=1:batch=1", "has one batch"),
        ("my.runtimes:Board:Other", "but got 'Other'"),
        ("onnxruntime-cpu:batch=999999999999", "batch must have at most 6 digits, but got 'batch=999999999999'"),
        ("onnxruntime-cpu:threads=" + "9" * 5000, "threads must have at most 6 digits"),
    ],
)
def test_refuses_other_texts(text: str, message: str) -> None:
    """The error says the rule, the value and the nearest known part."""
    with pytest.raises(RecipeError, match=message):
        Target.parse(text)


def test_further_parts_are_options_of_the_runtime() -> None:
    """They are part of the target's text, in one order, so that measurements with other options never mix."""
    target = Target.parse("my_module:MyRuntime:int8:streams=2:threads=2:arena=on")
    assert target.options == (("arena", "on"), ("streams", "2"))
    assert str(target) == "my_module:MyRuntime:int8:batch=1:threads=2:arena=on:streams=2"
    assert Target.parse(str(target)) == target
    with pytest.raises(RecipeError, match="parts of a target"):
        Target.parse("torch-cpu:streams=2:streams=3")


def named(*texts: str) -> dict[str, Target]:
    return named_targets([Target.parse(text) for text in texts])


def test_a_further_target_has_the_name_of_its_device_or_its_text() -> None:
    """The text stands where no device, or none alone, tells it from the others."""
    assert list(named("onnxruntime-cpu")) == [""]
    assert list(named("onnxruntime-cpu", "pi/onnxruntime-cpu:int8")) == ["", "pi"]
    assert list(named("onnxruntime-cpu", "openvino-cpu:threads=2")) == ["", "openvino-cpu:threads=2"]
    assert list(named("pi/onnxruntime-cpu", "pi/onnxruntime-cpu:int8")) == ["", "pi/onnxruntime-cpu:int8"]


def test_a_target_is_meant_by_its_device_where_that_is_clear() -> None:
    """Two that share a device are told apart by their texts alone."""
    targets = named("onnxruntime-cpu", "pi/onnxruntime-cpu:int8", "nano/onnxruntime-cpu", "nano/litert-cpu")
    for written, name in (("pi", "pi"), ("pi/onnxruntime-cpu:int8", "pi"), ("onnxruntime-cpu", "")):
        assert name_among(written, targets) == name
    assert name_among("nano/litert-cpu", targets) == "nano/litert-cpu"
    assert name_among("pi", named("pi/onnxruntime-cpu")) == ""
    with pytest.raises(RecipeError, match=r"got 'nano', which 2 of them share"):
        name_among("nano", targets)
    with pytest.raises(RecipeError, match=r"one of the targets \(onnxruntime-cpu, pi/onnxruntime-cpu:int8, .*'pie'"):
        name_among("pie", targets)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (("onnxruntime-cpu", "onnxruntime-cpu:fp32"), "must differ, but onnxruntime-cpu comes twice"),
        (("torch-cpu", "pi/torch-cpu:batch=2"), "batches of one size, but got batch=1 and pi/torch-cpu:batch=2"),
    ],
)
def test_targets_that_do_not_stand_beside_each_other(texts: tuple[str, ...], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        named(*texts)

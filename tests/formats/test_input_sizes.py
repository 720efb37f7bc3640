"""Sizes for inputs that an ONNX file leaves open: for any input, by the name of one, or by the name of a size."""

from __future__ import annotations

import onnx
import pytest
from onnx import TensorProto, helper
from onnx_models import model_of, tensor_info

from nas.errors import RecipeError
from nas.formats.input_sizes import InputSizes
from nas.formats.onnx_file import inputs_of


def images() -> onnx.ModelProto:
    """Return a model of one input with open sizes."""
    return model_of(
        [helper.make_node("Relu", ["images"], ["c"])],
        [tensor_info("images", ("N", 3, "H", 32))],
        [tensor_info("c", ("N", 3, "H", 32))],
    )


def tokens() -> onnx.ModelProto:
    """Return a model of two inputs of one open length, as language models have, and one of another form."""
    inputs = [
        tensor_info("ids", ("batch", "sequence"), TensorProto.INT64),
        tensor_info("mask", ("batch", "sequence"), TensorProto.INT64),
        tensor_info("image", ("batch", 3, "height", "width")),
    ]
    return model_of([helper.make_node("Add", ["ids", "mask"], ["c"])], inputs, [])


def shapes(model: onnx.ModelProto, batch: int = 2) -> dict[str, tuple[int | None, ...]]:
    return {each.name: each.shape for each in inputs_of(model, batch)}


def test_sizes_of_any_input_fill_what_is_open() -> None:
    """A symbolic batch stays as it is, and nothing changes where nothing is open any more."""
    model, sizes = images(), InputSizes.parse(["3x48x32"])
    assert sizes.fix(model, 1)
    assert shapes(model) == {"images": (2, 3, 48, 32)}
    assert not sizes.fix(model, 1)


def test_a_name_is_that_of_an_input_or_of_a_size() -> None:
    model = tokens()
    assert InputSizes.parse(["sequence=128", "image=3x64x48"]).fix(model, 1)
    assert shapes(model) == {"ids": (2, 128), "mask": (2, 128), "image": (2, 3, 64, 48)}
    model = tokens()
    assert InputSizes.of({"height": 8, "width": 9, "ids": (16,), "mask": [16]}).fix(model, 1)
    assert shapes(model) == {"ids": (2, 16), "mask": (2, 16), "image": (2, 3, 8, 9)}


@pytest.mark.parametrize("sizes", ["1x32x32", "3x32", "3x32x32x32", "3x64x64"])
def test_sizes_that_do_not_fit_are_refused(sizes: str) -> None:
    """The message has what was given and what the model has."""
    with pytest.raises(ValueError, match=r"--input-shape must fit an input of the model, .* images 1×3×\?×32"):
        InputSizes.parse([sizes]).fix(images(), 1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("image=4x8x8", r"must fit the input image, but got 4×8×8 for 3×\?×\?"),
        ("length=8", "names an input or an open size of the model, but got 'length' for ids, mask, image, sequence"),
        ("sequence=8x8", "gives one number to the open size sequence, but got 8×8"),
    ],
)
def test_names_that_do_not_fit_are_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        InputSizes.parse([text]).fix(tokens(), 1)


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["3×32"], "is the sizes of one input"),
        (["=3x32"], "is the sizes of one input"),
        (["tokens="], "is the sizes of one input"),
        (["0x8"], "is the sizes of one input"),
        (["8", "9"], "gives the sizes of an input once, but got those of any twice"),
        (["a=8", "a=9"], "but got those of a twice"),
    ],
)
def test_other_texts_are_refused(texts: list[str], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        InputSizes.parse(texts)


def test_an_input_that_is_no_tensor_takes_no_sizes() -> None:
    sequence = helper.make_tensor_sequence_value_info("images", TensorProto.FLOAT, (1, 8))
    model = model_of([helper.make_node("SequenceLength", ["images"], ["n"])], [sequence], [])
    with pytest.raises(ValueError, match="is for inputs of numbers"):
        InputSizes.parse(["8"]).fix(model, 1)

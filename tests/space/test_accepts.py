"""A space refuses inputs that it does not accept, and names the installed ones that accept them."""

from __future__ import annotations

import pytest
from space_signatures import building_spaces, options_for, signatures_for

from nas.errors import RecipeError
from nas.space.plug_ins import load_plug_in
from nas.space.search_space import load_space
from nas.space.signature import Accepts, Signature, TensorType, image_signature

SIGNALS = Signature((TensorType("signals", (1, 128)),), (10,))
IMAGES = image_signature((3, 32, 32), 10)
FITTING = [name for name in building_spaces() if not options_for(name)]
"""The spaces whose classes alone decide what fits, and not something that they are given."""


def test_each_installed_space_says_what_it_accepts() -> None:
    for name in FITTING:
        accepts = getattr(load_plug_in("nas.search_spaces", name, "search space"), "accepts", None)
        assert isinstance(accepts, Accepts)
        assert all(map(accepts.fits, signatures_for(name)))


def test_images_get_no_space_of_signals() -> None:
    with pytest.raises(RecipeError) as error:
        load_space("conv1d", {}, IMAGES)
    assert str(error.value) == (
        "search space conv1d takes signals, float32 of shape (channels, samples), but the data have images, float32 "
        "of shape (3, 32, 32). Spaces that take them: fbnet, mobilenet, nasbench201, nasbench_macro, timm, timm-vit."
    )


@pytest.mark.parametrize("name", ["fbnet", "mobilenet", "nasbench201", "nasbench_macro", "timm", "timm-vit"])
def test_signals_get_no_space_of_images(name: str) -> None:
    with pytest.raises(RecipeError) as error:
        load_space(name, {}, SIGNALS)
    assert str(error.value) == (
        f"search space {name} takes images, float32 of shape (channels, height, width), but the data have signals, "
        "float32 of shape (1, 128). Spaces that take them: conv1d, rocket."
    )


@pytest.mark.parametrize("name", FITTING)
def test_no_installed_space_takes_everything(name: str) -> None:
    """Inputs of four sizes are none of any space; the class itself refuses them too."""
    strange = Signature((TensorType("videos", (3, 8, 16, 16)),), (10,))
    with pytest.raises(RecipeError, match=r"but the data have videos.*No installed space takes them\."):
        load_space(name, {}, strange)


@pytest.mark.parametrize(
    "name", ["conv1d", "fbnet", "mobilenet", "nasbench201", "nasbench_macro", "rocket", "timm", "timm-vit"]
)
def test_the_class_itself_refuses_other_shapes(name: str) -> None:
    kind = load_plug_in("nas.search_spaces", name, "search space")
    assert isinstance(kind, type)
    with pytest.raises(ValueError, match=rf"{kind.__name__} takes .*, but the data have values, .*\(7,\)\."):
        kind(input_shape=(7,), classes=2)


@pytest.mark.parametrize(
    ("signature", "fits"),
    [
        (Signature((TensorType("numbers", (4,)),), (2,)), True),
        (Signature((TensorType("numbers", (4,)), TensorType("categories", (2,), "int64", (3, 5))), (2,)), True),
        (Signature((TensorType("numbers", (4,)),), (4, 2)), False),
        (SIGNALS, False),
    ],
)
def test_several_inputs_of_any_type(signature: Signature, fits: bool) -> None:
    accepts = Accepts("columns", ("columns",), dtype=None, several=True)
    assert accepts.fits(signature) is fits
    assert str(accepts) == "columns, of shape (columns,)"

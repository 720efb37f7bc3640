"""Plots as SVG, PNG and PDF, from Python and from the command line."""

from __future__ import annotations

import importlib
import io
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from exported_runs import HOSTILE, awkward_runs, whole
from PIL import Image

import nas
from nas.errors import RecipeError
from nas.reports.drawing.scenes import KINDS, PlotRequest, scene_of
from nas.results.plots.pictures import PictureSettings, picture_of
from nas.results.plots.scene import Axis, Band, Mark, Scene, Series

pytest.importorskip("matplotlib")

SVG = "{http://www.w3.org/2000/svg}"


def texts_of(svg: bytes) -> list[str]:
    return ["".join(each.itertext()).strip() for each in ElementTree.fromstring(svg).iter(f"{SVG}text")]


@pytest.mark.parametrize("kind", KINDS)
def test_an_svg_has_its_axes_as_text(kind: str, tmp_path: Path) -> None:
    """Text stays text, so that a paper's tools find and replace it; the same run gives the same file."""
    run = whole(tmp_path)
    place = nas.draw(run, tmp_path / "plot.svg", kind=kind, title="A title")
    scene = scene_of(run, PlotRequest(kind=kind))
    texts = texts_of(place.read_bytes())
    assert {scene.x.label, scene.y.label, "A title"} <= set(texts)
    before = place.read_bytes()
    assert nas.draw(run, place, kind=kind, title="A title").read_bytes() == before


def test_a_logarithmic_axis_has_plain_numbers(tmp_path: Path) -> None:
    """Matplotlib writes formulas there, which are not parsed; what is left out stands in the legend."""
    scene = scene_of(whole(tmp_path), PlotRequest(log=("x", "y")))
    texts = texts_of(picture_of(replace(scene, left_out=("Not drawn: a model.",)), ".svg"))
    assert not any("mathdefault" in text for text in texts)
    assert {"100", "200"} & set(texts)
    assert "Not drawn: a model." in texts


def test_a_png_has_the_size_that_is_asked_for(tmp_path: Path) -> None:
    place = nas.draw(whole(tmp_path), tmp_path / "plot.png", width_cm=10.16, height_cm=5.08, dpi=100)
    with Image.open(place) as image:
        assert image.size == (400, 200)
        colours = image.convert("RGB").getcolors(maxcolors=100_000)
        assert colours is not None
        assert len(colours) > 20
    pdf = nas.draw(whole(tmp_path), tmp_path / "plot.pdf")
    assert pdf.read_bytes().startswith(b"%PDF")


def test_hostile_names_are_text(tmp_path: Path) -> None:
    """Neither markup nor mathematics is made of a name."""
    run = awkward_runs(tmp_path)["hostile names"]
    svg = nas.draw(run, tmp_path / "plot.svg", title=HOSTILE).read_bytes()
    root = ElementTree.fromstring(svg)
    assert not list(root.iter(f"{SVG}script"))
    assert any("$x^2$" in text for text in texts_of(svg))


def test_bars_and_bands_are_drawn() -> None:
    bars = Series("", "bar", (Mark(0.6, 0, (0.5, 0.7), None, "width"), Mark(0.1, 1, (0.0, 0.2), None, "depth")))
    scene = Scene("", Axis("Importance"), Axis(""), (bars,), bars=True)
    assert {"width", "depth", "Importance"} <= set(texts_of(picture_of(scene, ".svg")))
    line = Series("a line", "line", (Mark(1, 1), Mark(2, 2)), "straight")
    band = Band("a band", "random", (1.0, 2.0), (0.5, 1.0), (1.5, 2.5))
    texts = texts_of(picture_of(Scene("", Axis("x"), Axis("y"), (line,), (band,)), ".svg", PictureSettings(width_cm=6)))
    assert {"a line", "a band"} <= set(texts)


def test_a_thousand_winners_fit_into_a_small_file(tmp_path: Path) -> None:
    run = awkward_runs(tmp_path)["a thousand winners"]
    stream = io.BytesIO(nas.draw(run, tmp_path / "plot.svg").read_bytes())
    assert len(stream.getvalue()) < 2_000_000
    assert re.search(rb"winners on the front \(\d+\)", stream.getvalue())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("plot.gif", "a picture ends in .svg, .png, .pdf, but got 'plot.gif'"),
        ("plot", "a picture ends in"),
        ("winners/plot.svg", "must not take the place of a file of the run itself"),
        ("file/plot.svg", "must be a file that can be written"),
    ],
)
def test_a_wrong_place_is_one_sentence(name: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RecipeError) as refusal:
        nas.draw(whole(tmp_path), tmp_path / name)
    assert words in str(refusal.value)


def test_without_matplotlib_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without(name: str, *rest: Any) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}", name="matplotlib")

    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(RecipeError, match=r"pip install 'nas\[plots\]'"):
        picture_of(scene_of(whole(tmp_path), PlotRequest()), ".svg")

"""The picture of a front is drawn from a run, and the pictures of the pages are small."""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from pages import DOCS
from run_record_example import example_record

sys.path.insert(0, str(DOCS))

import draw_front


def test_the_front_of_a_run_is_drawn() -> None:
    """Every winner has its mark and both intervals, and the limit has its line."""
    run = example_record()
    root = ElementTree.fromstring("\n".join(draw_front.drawing(run)))
    texts = [text for element in root.iter() for text in (element.text or "",)]
    assert any(re.match(r"limit: [\d.]+ µs", text) for text in texts)
    thick = [each for each in root.iter() if each.get("stroke-width") == "2" and each.get("stroke") == draw_front.BLUE]
    lines = [each for each in thick if each.tag.endswith("line")]
    assert len(lines) == 2 * len(run.front)


@pytest.mark.parametrize("picture", sorted((DOCS / "images").iterdir()), ids=lambda path: path.name)
def test_pictures_are_small_and_well_formed(picture: Path) -> None:
    """A clone stays quick."""
    assert picture.stat().st_size <= 100_000
    assert ElementTree.parse(picture).getroot().tag.endswith("svg")

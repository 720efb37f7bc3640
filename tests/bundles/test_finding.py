"""A bundle is found by its path, by an id, or by the beginning of one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from nas.bundles.finding import bundles_in, find_bundle
from nas.errors import JournalError, RecipeError
from nas.results.bundle import ABOUT


def test_a_bundle_has_a_path_and_an_id(run: Path, bundle: Path) -> None:
    """Its first digits are enough where no other winner has them."""
    assert find_bundle(bundle).folder == bundle
    for what in (bundle.name, bundle.name[:6]):
        assert find_bundle(what, runs=run.parent).folder == bundle
        assert find_bundle(what, run=run).folder == bundle


def test_exported_forms_are_no_winners(run: Path, bundle: Path) -> None:
    """They lie beside them, and are found by their path."""
    shutil.copytree(bundle, bundle.with_name(f"{bundle.name}-openvino-fp32"))
    assert len(bundles_in(run)) == 2
    assert find_bundle(bundle.name, runs=run.parent).folder == bundle
    assert find_bundle(bundle.with_name(f"{bundle.name}-openvino-fp32")).folder.name.endswith("openvino-fp32")


def test_a_winner_that_was_retrained_later_has_its_last_bundle(run: Path, bundle: Path) -> None:
    for number in ("2", "10"):
        shutil.copytree(bundle, run / "retrained" / number / bundle.name)
    assert find_bundle(bundle.name, runs=run.parent).folder == run / "retrained" / "10" / bundle.name
    assert len(bundles_in(run)) == 2


def test_an_id_of_several_winners_names_them(run: Path, bundle: Path) -> None:
    shutil.copytree(run, run.with_name("copy"))
    with pytest.raises(RecipeError, match=rf"{bundle.name} names 2: .*copy.*Name the path"):
        find_bundle(bundle.name, runs=run.parent)


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("000000000000", "have no winner 000000000000. Known: "),
        ("0", "have no winner 0"),
        ("runs/none/winners/1", "does not exist"),
    ],
)
def test_what_is_no_bundle_is_refused(
    run: Path, what: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(JournalError, match=says):
        find_bundle(what)


def test_a_folder_without_a_description_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match=r"has no architecture\.json"):
        find_bundle(tmp_path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"id": "../../elsewhere"}, "in it id must be present and sound"),
        ({"batch": 0}, "in it batch must be present and sound"),
        ({"target": None}, "in it target must be present and sound"),
        ({"space": None}, "in it space must be present and sound"),
        ({"space": {}}, "in it space must be present and sound"),
        ({"choices": []}, "in it choices must be present and sound"),
        ({"deployed": "a\0b"}, "in it deployed must be present and sound"),
        ({"signature": {"inputs": 3}}, "must describe a winner"),
        ({"answers": {"kinds": 3}}, "must describe a winner"),
    ],
)
def test_a_description_that_is_none_is_refused(bundle: Path, change: dict[str, object], says: str) -> None:
    """Its id names new folders, so it is no path."""
    about = json.loads((bundle / ABOUT).read_text())
    (bundle / ABOUT).write_text(json.dumps({**about, **change}))
    with pytest.raises(JournalError, match=says):
        find_bundle(bundle)
    (bundle / ABOUT).write_text("[]")
    with pytest.raises(JournalError, match="must describe a winner"):
        find_bundle(bundle)

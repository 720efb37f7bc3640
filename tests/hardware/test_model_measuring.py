"""Measuring and comparing models from Python: sizes that are open, verdicts, and models that fail."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from fake_bench import FakeBench, latency_ms
from onnx import helper
from onnx_models import model_of, tensor_info
from tiny_space import TinySpace

import nas
from nas.errors import CandidateError, RecipeError
from nas.space.search_space import enumerate_space

SPACE = TinySpace()
ALL = sorted(enumerate_space(SPACE), key=latency_ms)
SLOW, FAST = ALL[-1], ALL[0]


@pytest.fixture(name="files")
def model_files(tmp_path: Path) -> tuple[Path, Path]:
    """The slowest and the fastest model, whose widths and heights are open."""
    paths = []
    for architecture in (SLOW, FAST):
        path = tmp_path / f"{architecture.id}.onnx"
        sizes = ("N", 3, "H", "W")
        onnx.save(
            model_of([helper.make_node("Relu", ["images"], ["c"])], [tensor_info("images", sizes)],
                     [tensor_info("c", sizes)]),
            path,
        )  # fmt: skip
        paths.append(path)
    return paths[0], paths[1]


def test_models_with_open_sizes_are_measured(files: tuple[Path, Path]) -> None:
    for shape in ((3, 8, 8), {"H": 8, "W": 8}, {"images": (3, 8, 8)}):
        found = nas.measure([*files], input_shape=shape, bench=FakeBench(SPACE))  # type: ignore[arg-type]
        assert [type(each.outcome) for each in found] == [dict, dict]
    (found_one, _) = nas.measure([*files], bench=FakeBench(SPACE))
    assert isinstance(found_one.outcome, CandidateError)
    assert "1×3×?×?; name them with --input-shape" in found_one.outcome.reason


def test_two_models_get_a_verdict(files: tuple[Path, Path]) -> None:
    verdict = nas.compare(*files, input_shape=(3, 8, 8), bench=FakeBench(SPACE))
    assert verdict.verdict == "lower"
    assert verdict.ratio == pytest.approx(latency_ms(FAST) / latency_ms(SLOW), rel=0.05)
    assert verdict.rounds == FakeBench.rounds
    assert str(verdict).startswith(f"{FAST.id}.onnx is ")
    assert "as fast as" in str(verdict)


def test_a_bundle_stands_for_its_exported_model(files: tuple[Path, Path], tmp_path: Path) -> None:
    folder = tmp_path / SLOW.id
    folder.mkdir()
    sizes = (1, 3, 8, 8)
    nodes = [helper.make_node("Relu", ["images"], ["c"])]
    onnx.save(model_of(nodes, [tensor_info("images", sizes)], [tensor_info("c", sizes)]), folder / "model.onnx")
    verdict = nas.compare(folder, files[1], input_shape=(3, 8, 8), bench=FakeBench(SPACE))
    assert verdict.first == SLOW.id


def test_a_model_that_cannot_be_measured_is_an_error(files: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(CandidateError, match="does not exist"):
        nas.compare(files[0], tmp_path / "none.onnx", input_shape=(3, 8, 8), bench=FakeBench(SPACE))
    with pytest.raises(RecipeError, match="models are a list of files"):
        nas.measure("model.onnx")  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match="but params is counted"):
        nas.measure([*files], metrics=["params"], bench=FakeBench(SPACE))

"""What every registered runtime does with a model file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_space import TinySpace

from nas.discovery import plug_in_names
from nas.export import export_onnx
from nas.runtimes import Runtime, load_runtime
from nas.search_space import architecture_from
from nas.target import PRECISIONS, Target


@pytest.fixture(name="model", scope="module", params=[1, 3], ids=["batch 1", "batch 3"])
def exported_model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A small exported model and its batch size."""
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    space = TinySpace()
    module = space.build(architecture_from(space, {"width": 4, "depth": 1, "kernel": 3}))
    export_onnx(module, (1, 8, 8), request.param, path)
    return path, request.param


@pytest.mark.parametrize("name", plug_in_names("nas.runtimes"))
class TestEvery:
    @pytest.fixture(name="runtime")
    def loaded(self, name: str) -> Runtime:
        runtime = load_runtime(name)
        unavailable = runtime.why_unavailable(Target(name))
        if unavailable is not None:
            pytest.skip(unavailable)
        return runtime

    def test_says_what_it_is(self, name: str, runtime: Runtime) -> None:
        """Its version begins with a name and holds a number."""
        product, number, *_ = runtime.version().split()
        assert product
        assert number[0].isdigit()

    @pytest.mark.parametrize("precision", PRECISIONS)
    def test_knows_what_it_cannot_run(self, name: str, runtime: Runtime, precision: str) -> None:
        """A target that is refused is named in the reason."""
        target = Target(name, precision)
        reason = runtime.why_unavailable(target)
        assert reason is None or (str(target) in reason and precision in reason)

    def test_runs_a_model_again_and_again(self, name: str, runtime: Runtime, model: tuple[Path, int]) -> None:
        """And says what really ran, as plain JSON data."""
        path, batch = model
        session = runtime.open(path, Target(name, batch=batch))
        for _ in range(3):
            session.run()
        conditions = json.loads(json.dumps(dict(session.conditions()), allow_nan=False))
        assert conditions["executed_precision"] in PRECISIONS
        assert conditions["input_shape"] == [batch, 1, 8, 8]

    def test_refuses_another_batch_size(self, name: str, runtime: Runtime, model: tuple[Path, int]) -> None:
        """A file is measured as it is, never as something else."""
        path, batch = model
        with pytest.raises(Exception, match=f"batch size {batch + 1} "):
            runtime.open(path, Target(name, batch=batch + 1))

    @pytest.mark.parametrize("content", [b"", b"garbage" * 1000, None], ids=["empty", "garbage", "no file"])
    def test_refuses_what_is_no_model(self, name: str, runtime: Runtime, tmp_path: Path, content: bytes | None) -> None:
        """With any exception, whose text is not empty."""
        path = tmp_path / "model.onnx"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(Exception, match=r"."):
            runtime.open(path, Target(name))

"""Torch programs survive writing and reading, and files that could run code are refused."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from nas.formats.torch_program import (
    program_input_shape,
    program_weight_bytes,
    read_torch_program,
    save_torch_program,
    write_torch_program,
)
from nas.space.signature import image_inputs

SHAPE = (3, 8, 8)


class Shared(torch.nn.Module):
    """A small network whose last two layers share weights, with a buffer outside its state."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = torch.nn.Conv2d(3, 4, 3)
        self.norm = torch.nn.BatchNorm2d(4)
        self.layer = torch.nn.Linear(4, 4)
        self.again = self.layer
        self.register_buffer("offset", torch.arange(4.0), persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.norm(self.convolution(images)).relu().mean((2, 3))
        return self.again(self.layer(features)) + self.offset


class Branching(torch.nn.Module):
    """A module that cannot be exported, because its control flow depends on its input."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images if images.sum() > 0 else -images


@pytest.fixture(name="module")
def shared_module() -> Shared:
    torch.manual_seed(0)
    return Shared().eval()


@pytest.fixture(name="path")
def written(module: Shared, tmp_path: Path) -> Path:
    path = tmp_path / "model.pt2"
    write_torch_program(module, image_inputs(SHAPE), 2, path)
    return path


class TestRoundTrip:
    def test_gives_the_module_s_outputs(self, module: Shared, path: Path) -> None:
        """Outputs are equal to the last bit, because the operations are the same."""
        images = torch.randn(2, *SHAPE)
        program = read_torch_program(path)
        assert torch.equal(program.module()(images), module(images))
        assert program_input_shape(program) == (2, *SHAPE)

    def test_is_the_same_after_another_round(self, path: Path, tmp_path: Path) -> None:
        """A program that was read can be written and read again."""
        again = tmp_path / "again.pt2"
        save_torch_program(read_torch_program(path), again)
        images = torch.randn(2, *SHAPE)
        assert torch.equal(read_torch_program(again).module()(images), read_torch_program(path).module()(images))

    def test_leaves_training_mode_as_it_was(self, module: Shared, tmp_path: Path) -> None:
        """The file holds the module in eval mode, and the module keeps its mode."""
        module.train()
        write_torch_program(module, image_inputs(SHAPE), 1, tmp_path / "model.pt2")
        assert module.training
        images = torch.randn(1, *SHAPE)
        outputs = read_torch_program(tmp_path / "model.pt2").module()(images)
        assert torch.equal(outputs, module.eval()(images))

    def test_counts_shared_weights_once(self, path: Path) -> None:
        """Shared layers count once, and the buffer outside the state counts too."""
        floats = (4 * 3 * 9 + 4) + 4 * 4 + (4 * 4 + 4) + 4
        assert program_weight_bytes(read_torch_program(path)) == floats * 4 + 8

    def test_holds_no_pickle_and_no_path(self, path: Path) -> None:
        """The file holds neither pickles nor paths or lines of source code."""
        with zipfile.ZipFile(path) as archive:
            contents = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
        assert contents["data/sample_inputs/model.pt"] == b""
        assert b"test_torch_program" not in contents["models/model.json"]

    def test_refuses_two_inputs(self) -> None:
        """A program with two inputs has no single input shape."""

        class Adding(torch.nn.Module):
            def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
                return first + second

        program = torch.export.export(Adding(), (torch.zeros(1), torch.zeros(1)))
        with pytest.raises(ValueError, match="one input"):
            program_input_shape(program)

    def test_refuses_sizes_that_vary(self) -> None:
        """A program with a varying batch has no fixed input shape and is not written."""
        batch = torch.export.Dim("batch", min=2, max=8)
        program = torch.export.export(torch.nn.ReLU(), (torch.zeros(2, 3),), dynamic_shapes=({0: batch},))
        with pytest.raises(ValueError, match="fixed shape"):
            program_input_shape(program)


class TestFailedWriting:
    def test_leaves_nothing_when_torch_cannot_export(self, tmp_path: Path) -> None:
        """Torch's exception is passed on, and the module stays in training mode."""
        module = Branching().train()
        with pytest.raises(Exception, match="data-dependent"):
            write_torch_program(module, image_inputs(SHAPE), 1, tmp_path / "model.pt2")
        assert list(tmp_path.iterdir()) == []
        assert module.training

    def test_leaves_nothing_when_the_file_cannot_be_put_in_place(self, module: Shared, tmp_path: Path) -> None:
        """An existing folder of that name stays, and no other file is left."""
        (tmp_path / "model.pt2").mkdir()
        with pytest.raises(OSError, match=r"model\.pt2"):
            write_torch_program(module, image_inputs(SHAPE), 1, tmp_path / "model.pt2")
        assert [entry.name for entry in tmp_path.iterdir()] == ["model.pt2"]

    def test_refuses_what_could_not_be_read(self, tmp_path: Path) -> None:
        """A custom operator is refused, because it would be missing where the file is opened."""

        @torch.library.custom_op("nas_test::twice", mutates_args=())
        def twice(images: torch.Tensor) -> torch.Tensor:
            return images * 2

        twice.register_fake(torch.empty_like)

        class Doubling(torch.nn.Module):
            def forward(self, images: torch.Tensor) -> torch.Tensor:
                return twice(images)

        with pytest.raises(ValueError, match=r"torch's own operators only, .*nas_test\.twice"):
            write_torch_program(Doubling(), image_inputs(SHAPE), 1, tmp_path / "model.pt2")
        assert list(tmp_path.iterdir()) == []


class TestWrongFiles:
    @pytest.mark.parametrize("content", [b"", b"garbage" * 1000, b"PK\x05\x06" + bytes(18)], ids=str)
    def test_are_refused(self, tmp_path: Path, content: bytes) -> None:
        """An empty file, garbage and an empty archive are refused."""
        path = tmp_path / "model.pt2"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"model\.pt2"):
            read_torch_program(path)

    @pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
    def test_are_refused_when_cut_short(self, path: Path, share: float) -> None:
        """A truncated file, as after a full disk, is refused."""
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(ValueError, match=r"model\.pt2"):
            read_torch_program(path)

    def test_are_refused_when_a_part_is_missing(self, path: Path) -> None:
        """An incomplete archive is refused with torch's exception as the cause."""
        _rewrite(path, lambda name, content: None if name.endswith("weight_0") else content)
        with pytest.raises(ValueError, match="must be whole"):
            read_torch_program(path)

    def test_are_passed_on_when_not_there(self, tmp_path: Path) -> None:
        """A missing file raises OSError."""
        with pytest.raises(FileNotFoundError):
            read_torch_program(tmp_path / "model.pt2")


class Touching:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Path.touch, (self.path,)


class TestHarmfulFiles:
    @pytest.fixture(name="canary")
    def untouched(self, tmp_path: Path) -> Path:
        """A file that must not appear."""
        return tmp_path / "canary"

    def test_with_pickled_inputs_are_refused(self, path: Path, canary: Path) -> None:
        """Pickled sample inputs are refused, because torch would run them."""
        _rewrite(path, lambda name, content: _pickled(canary) if name.endswith("inputs/model.pt") else content)
        with pytest.raises(ValueError, match="no pickle"):
            read_torch_program(path)
        assert not canary.exists()
        with pytest.raises(Exception, match=r"."):
            torch.export.load(path)
        assert canary.exists(), "the file was harmless, so that refusing it shows nothing"

    def test_with_code_for_a_size_are_refused(self, path: Path, canary: Path) -> None:
        """Code for a size is refused, because torch would evaluate it."""
        code = f"__import__('pathlib').Path({str(canary)!r}).touch()"

        def corrupt(model: dict[str, Any]) -> None:
            values = model["graph_module"]["graph"]["tensor_values"]
            next(iter(values.values()))["sizes"][0] = {"as_expr": {"expr_str": code, "hint": None}}

        _edit(path, "models/model.json", corrupt)
        with pytest.raises(ValueError, match="fixed sizes"):
            read_torch_program(path)
        assert not canary.exists()
        with pytest.raises(Exception, match=r"."):
            torch.export.load(path)
        assert canary.exists(), "the file was harmless, so that refusing it shows nothing"

    @pytest.mark.parametrize(
        "name", ["data/constants/custom_obj_0", "data/weights/model.pt", "data/aotinductor/model/a.so", "models/b.json"]
    )
    def test_with_other_parts_are_refused(self, path: Path, canary: Path, name: str) -> None:
        """Objects, pickled states, machine code and further models are refused."""
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(f"archive/{name}", _pickled(canary))
        with pytest.raises(ValueError, match=name):
            read_torch_program(path)
        assert not canary.exists()

    def test_that_hold_a_part_twice_are_refused(self, path: Path) -> None:
        """Duplicate parts are refused, because readers differ in which one they take."""
        with (
            zipfile.ZipFile(path, "a") as archive,
            pytest.warns(UserWarning, match="Duplicate name"),
        ):
            archive.writestr(next(name for name in archive.namelist() if name.endswith("model.json")), "{}")
        with pytest.raises(ValueError, match="once"):
            read_torch_program(path)

    @pytest.mark.parametrize(
        "entry", [{"use_pickle": True}, {"path_name": "custom_obj_0"}, {"path_name": "../weight_0"}]
    )
    def test_with_pickled_weights_are_refused(self, path: Path, entry: dict[str, Any]) -> None:
        """Pickled weights are refused, whatever path the configuration names."""
        _edit(
            path,
            "data/weights/model_weights_config.json",
            lambda config: config["config"]["layer.weight"].update(entry),
        )
        with pytest.raises(ValueError, match=r"pickles its tensor layer\.weight"):
            read_torch_program(path)

    @pytest.mark.parametrize(
        ("what", "corrupt"),
        [
            ("target", lambda graph: graph["nodes"][0].update(target="torch.os.system")),
            ("target", lambda graph: graph["nodes"][0].update(target="torch.ops.load_library")),
            ("target", lambda graph: graph["nodes"][0].update(target="_operator.call")),
            ("name", lambda graph: graph["nodes"][0].update(name="x=print(1)")),
            (
                "source_fn_stack",
                lambda graph: graph["nodes"][0]["metadata"].update(source_fn_stack="a,torch.os.system"),
            ),
            ("metadata", lambda graph: graph["nodes"][0]["metadata"].update(torch_fn="conv2d")),
            ("as_string", lambda graph: graph["nodes"][0]["inputs"][0].update(arg={"as_string": "'+str(1)+'"})),
        ],
    )
    def test_with_more_than_a_graph_are_refused(self, path: Path, what: str, corrupt: Callable[[Any], None]) -> None:
        """Functions that are no operators and names that are code are refused."""
        _edit(path, "models/model.json", lambda model: corrupt(model["graph_module"]["graph"]))
        with pytest.raises(ValueError, match=what):
            read_torch_program(path)

    def test_with_guards_are_refused(self, path: Path) -> None:
        """Guards are refused, because they are source code."""
        _edit(path, "models/model.json", lambda model: model.update(guards_code=["print(1)"]))
        with pytest.raises(ValueError, match="guards_code"):
            read_torch_program(path)

    def test_with_other_structures_are_refused(self, path: Path) -> None:
        """A defaultdict is refused, because reading it imports the module of its default."""
        structure = '[1, {"type": "collections.defaultdict", "context": "{}", "children_spec": []}]'
        _edit(
            path,
            "models/model.json",
            lambda model: model["graph_module"]["module_call_graph"][0]["signature"].update(out_spec=structure),
        )
        with pytest.raises(ValueError, match="defaultdict"):
            read_torch_program(path)


def _pickled(canary: Path) -> bytes:
    return pickle.dumps(Touching(canary))


def _rewrite(path: Path, change: Callable[[str, bytes], bytes | None]) -> None:
    """Replace or remove each part of an archive."""
    whole = io.BytesIO()
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(whole, "w") as sink:
        for name in source.namelist():
            content = change(name, source.read(name))
            if content is not None:
                sink.writestr(name, content)
    path.write_bytes(whole.getvalue())


def _edit(path: Path, part: str, corrupt: Callable[[Any], Any]) -> None:
    """Change the JSON of one part of an archive."""

    def change(name: str, content: bytes) -> bytes:
        if not name.endswith(part):
            return content
        values = json.loads(content)
        corrupt(values)
        return json.dumps(values).encode()

    _rewrite(path, change)

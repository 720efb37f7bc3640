"""Reading an ONNX file: its inputs, weights and work, without following it outside its folder."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import timm
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx_models import linear, model_of, outside, tensor_info, with_external_data
from tiny_space import TinySpace
from torch import nn

from nas.formats.export import export_onnx
from nas.formats.model_inputs import random_inputs
from nas.formats.onnx_file import (
    executed_precisions,
    external_files,
    inputs_of,
    multiply_accumulates,
    read_onnx,
    weight_bytes,
)
from nas.space.search_space import architecture_from
from nas.space.signature import image_inputs, image_signature
from nas.space.tracing import trace_layers


class TestReading:
    @pytest.mark.parametrize("content", [b"\xff garbage" * 100, b"{}", b"\x00" * 64], ids=["garbage", "JSON", "zeros"])
    def test_refuses_what_is_not_onnx(self, tmp_path: Path, content: bytes) -> None:
        """The error names the file, not protobuf's problem with it."""
        path = tmp_path / "model.onnx"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"a model must be an ONNX file.*, but model\.onnx "):
            read_onnx(path)

    def test_refuses_half_of_a_file(self, tmp_path: Path) -> None:
        """An interrupted copy is refused."""
        path = tmp_path / "model.onnx"
        path.write_bytes(linear(np.ones((8, 4), np.float32)).SerializeToString()[:-20])
        with pytest.raises(ValueError, match=r"a model must be an ONNX file, but model\.onnx is not"):
            read_onnx(path)

    def test_refuses_an_empty_graph(self, tmp_path: Path) -> None:
        """A missing file, an empty file and a graph without nodes are refused."""
        path = tmp_path / "model.onnx"
        with pytest.raises(ValueError, match=r"a model must be an ONNX file, but .*model\.onnx does not exist"):
            read_onnx(path)
        for content in (b"", model_of([], [], []).SerializeToString()):
            path.write_bytes(content)
            with pytest.raises(ValueError, match=r"must be an ONNX file with a graph, but model\.onnx has none"):
                read_onnx(path)

    def test_refuses_a_folder(self, tmp_path: Path) -> None:
        """A folder is refused, and so are a named pipe, which nobody writes to, a device and a link to itself."""
        (tmp_path / "loop.onnx").symlink_to("loop.onnx")
        os.mkfifo(tmp_path / "pipe.onnx")
        for path in (tmp_path, tmp_path / "loop.onnx", tmp_path / "pipe.onnx", Path("/dev/zero"), Path("a\0b")):
            with pytest.raises(ValueError, match=r"a model must be an ONNX file, but .* (is|cannot be)"):
                read_onnx(path)

    @pytest.mark.parametrize("location", ["weights.bin", "./weights.bin", "inner/../weights.bin"])
    def test_takes_external_data_in_its_own_folder(self, tmp_path: Path, location: str) -> None:
        """External weights in the same folder count, and ONNX Runtime finds them."""
        path = with_external_data(tmp_path / "model", location)
        (path.parent / "inner").mkdir()
        assert weight_bytes(read_onnx(path)) == 32 * 4
        assert external_files(read_onnx(path), path) == {path.parent.resolve() / "weights.bin"}
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        (logits,) = session.run(None, {"images": np.ones((1, 8), np.float32)})
        np.testing.assert_allclose(logits[0], np.arange(32).reshape(8, 4).sum(0))

    @pytest.mark.parametrize("location", ["../weights.bin", "inner/../../weights.bin", "", ".", "..", "/etc/passwd"])
    def test_refuses_external_data_outside(self, tmp_path: Path, location: str) -> None:
        """External data outside the folder is refused, whether it exists or not."""
        path = with_external_data(tmp_path / "model", location)
        (path.parent / "inner").mkdir()
        with pytest.raises(
            ValueError, match=r"external data of model\.onnx must lie in its own folder, but 'w' points to "
        ):
            read_onnx(path)

    def test_refuses_an_absolute_path_to_its_neighbour(self, tmp_path: Path) -> None:
        """An absolute path is refused although the file exists."""
        path = with_external_data(tmp_path / "model", str(tmp_path / "weights.bin"))
        with pytest.raises(ValueError, match="must lie in its own folder"):
            read_onnx(path)

    @pytest.mark.parametrize("linked", ["file", "folder"])
    def test_refuses_links_that_lead_outside(self, tmp_path: Path, linked: str) -> None:
        """Links to outside files or folders are refused."""
        path = with_external_data(tmp_path / "model", "link" if linked == "file" else "link/weights.bin")
        (path.parent / "link").symlink_to(tmp_path / "weights.bin" if linked == "file" else tmp_path)
        with pytest.raises(ValueError, match="must lie in its own folder"):
            read_onnx(path)

    def test_takes_links_that_lead_inside(self, tmp_path: Path) -> None:
        """A link inside the folder is accepted, and so is a folder that is a link itself."""
        path = with_external_data(tmp_path / "model", "link")
        (path.parent / "link").symlink_to("weights.bin")
        (tmp_path / "way").symlink_to(path.parent)
        assert weight_bytes(read_onnx(tmp_path / "way" / "model.onnx")) == 32 * 4

    def test_refuses_external_data_that_is_not_there(self, tmp_path: Path) -> None:
        """Missing external data is refused, and so is what is no file."""
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / "loop").symlink_to("loop")
        os.mkfifo(tmp_path / "model" / "pipe")
        for location in ("none.bin", "loop", "pipe", "a\0b"):
            path = with_external_data(tmp_path / "model", location)
            with pytest.raises(
                ValueError, match=r"external data of model\.onnx must (exist|be a file), but 'w' points"
            ):
                read_onnx(path)

    @pytest.mark.parametrize("place", ["branch", "constant", "sparse", "function"])
    def test_looks_into_every_corner(self, tmp_path: Path, place: str) -> None:
        """Weights in branches of an If, constants, sparse tensors and functions are checked too."""
        path = tmp_path / "model.onnx"
        path.write_bytes(hidden(place, "../elsewhere.bin").SerializeToString())
        with pytest.raises(ValueError, match="must lie in its own folder, but 'hidden' points to"):
            read_onnx(path)


def hidden(place: str, location: str | None) -> onnx.ModelProto:
    """Return a model with 8 numbers at an unusual place, in an external file if ``location`` is given."""
    weight = numpy_helper.from_array(np.ones(8, np.float32), "hidden")
    if location is not None:
        outside(weight, location)
    constant = helper.make_node("Constant", [], ["chosen"], value=weight)
    answer = tensor_info("chosen", (8,))
    if place == "sparse":
        model = model_of(
            [helper.make_node("Identity", ["images"], ["chosen"])], [tensor_info("images", (8,))], [answer]
        )
        places = numpy_helper.from_array(np.arange(8), "places")
        model.graph.sparse_initializer.append(onnx.SparseTensorProto(values=weight, indices=places, dims=[16]))
        return model
    if place == "branch":
        first, second = (helper.make_graph([constant], name, [], [answer]) for name in ("then", "else"))
        node = helper.make_node("If", ["yes"], ["chosen"], then_branch=first, else_branch=second)
        return model_of([node], [tensor_info("yes", (), TensorProto.BOOL)], [answer])
    if place == "function":
        model = model_of([helper.make_node("Made", [], ["chosen"], domain="own")], [], [answer])
        opset = [helper.make_opsetid("", 18)]
        model.functions.append(helper.make_function("own", "Made", [], ["chosen"], [constant], opset))
        model.opset_import.append(helper.make_opsetid("own", 1))
        return model
    return model_of([constant], [], [answer])


@pytest.mark.parametrize("inputs", [("images", "w"), ("w", "images")])
def test_work_on_a_tensor_of_unknown_rank_is_unknown(inputs: tuple[str, str]) -> None:
    """A tensor of unknown rank gives None instead of a wrong count."""
    nameless = helper.make_tensor_value_info("images", TensorProto.FLOAT, None)
    model = model_of(
        [helper.make_node("MatMul", inputs, ["logits"])], [nameless], [tensor_info("logits", (8, 4))],
        {"w": np.ones((8, 4), np.float32)},
    )  # fmt: skip
    assert multiply_accumulates(model) is None


@pytest.mark.parametrize("kind", ["MatMul", "Conv", "QLinearConv", "Gemm", "ConvTranspose"])
@pytest.mark.parametrize("inputs", [[], ["images"], ["images", ""], ["images", "scalar"]])
def test_work_of_a_malformed_node_is_unknown(kind: str, inputs: list[str]) -> None:
    """A product without its factors, or whose weights have no sizes, is no reason for a traceback."""
    model = model_of(
        [helper.make_node(kind, inputs, ["logits"])], [tensor_info("images", (1, 8))], [tensor_info("logits", (1, 4))],
        {"scalar": np.float32(1) * np.ones((), np.float32)},
    )  # fmt: skip
    assert multiply_accumulates(model) is None
    del model.graph.node[0].output[:]
    assert multiply_accumulates(model) is None


class TestWeights:
    def test_are_counted_by_their_bytes(self) -> None:
        """Weights of every type count, wherever they are, and half bytes are rounded up."""
        assert weight_bytes(linear(np.ones((8, 4), np.float32))) == 128
        assert weight_bytes(linear(np.ones((8, 4), np.float16))) == 64
        assert weight_bytes(linear(np.ones((8, 4), np.int8))) == 32
        packed = linear(np.ones((8, 4), np.int8))
        packed.graph.initializer[0].CopyFrom(helper.make_tensor("w", TensorProto.INT4, (3, 3), bytes(5), raw=True))
        assert weight_bytes(packed) == 5
        assert weight_bytes(hidden("constant", None)) == 32
        assert weight_bytes(hidden("branch", None)) == 64
        assert weight_bytes(hidden("function", None)) == 32
        assert weight_bytes(hidden("sparse", None)) == 32 + 8 * 8

    def test_of_an_exported_model_are_its_parameters(self, tmp_path: Path) -> None:
        """Weights take four bytes each, apart from a few that folding batch norms removes or adds."""
        module = nn.Sequential(nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32 * 36, 100))
        export_onnx(module, image_inputs((3, 8, 8)), 1, tmp_path / "model.onnx")
        exact = 4 * sum(parameter.numel() for parameter in module.parameters())
        assert exact <= weight_bytes(read_onnx(tmp_path / "model.onnx")) < exact + 100


class TestInputs:
    def test_have_names_types_and_sizes(self, tmp_path: Path) -> None:
        """A symbolic first size becomes the batch, and other symbolic sizes stay None."""
        model = model_of(
            [helper.make_node("Add", ["a", "w"], ["c"])],
            [
                tensor_info("a", ("N", 3)),
                tensor_info("b", (4, "T"), TensorProto.INT64),
                tensor_info("w", (3,)),
                tensor_info("s", ()),
            ],
            [tensor_info("c", ("N", 3))],
            {"w": np.ones(3, np.float32)},
        )
        first, second, scalar = inputs_of(model, 5)
        assert (first.name, first.dtype, first.shape) == ("a", np.float32, (5, 3))
        assert (second.name, second.dtype, second.shape) == ("b", np.int64, (4, None))
        assert (scalar.name, scalar.shape) == ("s", ())
        with pytest.raises(
            ValueError, match=r"input sizes must be fixed to be measured, but b has 4×\?; name them with --input-shape"
        ):
            random_inputs((first, second))

    def test_are_filled_with_what_is_always_the_same(self) -> None:
        """Floats are standard normal, and integers are zeros and ones, which index any table of two rows."""
        model = model_of(
            [helper.make_node("Gather", ["table", "index"], ["row"])],
            [
                tensor_info("table", (64, 32)),
                tensor_info("index", ("N", 100), TensorProto.INT64),
                tensor_info("mask", (1, 50), TensorProto.BOOL),
                tensor_info("half", (1, 50), TensorProto.FLOAT16),
            ],
            [tensor_info("row", ("N", 100, 32))],
        )
        values, again = (random_inputs(inputs_of(model, 1)) for _ in range(2))
        for name, value in values.items():
            np.testing.assert_array_equal(value, again[name])
        assert values["table"].dtype == np.float32
        assert abs(values["table"].mean()) < 0.1
        assert values["table"].std() == pytest.approx(1, abs=0.1)
        assert set(values["index"].ravel().tolist()) == {0, 1}
        assert values["mask"].dtype == np.bool_
        assert 0 < values["mask"].sum() < 50
        assert values["half"].dtype == np.float16


class Everything(nn.Module):
    """Convolutions of all kinds and both matrix products."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.depthwise = nn.Conv2d(8, 8, 5, padding=2, groups=8)
        self.grouped = nn.Conv2d(8, 16, 3, groups=4)
        self.up = nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.head = nn.Linear(8, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.up(self.grouped(self.depthwise(self.stem(images)).relu()))
        tokens = features.flatten(2)
        return self.head((tokens @ tokens.transpose(1, 2)).mean(2))


class TestMultiplyAccumulates:
    @pytest.mark.slow
    @pytest.mark.parametrize("batch", [1, 3])
    def test_are_those_of_the_traced_layers(self, tmp_path: Path, batch: int) -> None:
        """The count equals that of the traced layers for each image of the batch."""
        space = TinySpace()
        modules: list[tuple[nn.Module, tuple[int, int, int]]] = [
            (space.build(architecture_from(space, {"width": 8, "depth": 2, "kernel": 3})), (1, 8, 8)),
            (Everything(), (3, 16, 16)),
        ]
        for module, shape in modules:
            export_onnx(module.eval(), image_inputs(shape), batch, tmp_path / "model.onnx")
            traced = sum(layer.macs for layer in trace_layers(module, image_signature(shape, 10)))
            assert multiply_accumulates(read_onnx(tmp_path / "model.onnx")) == batch * traced

    @pytest.mark.slow
    def test_of_a_transformer_too(self, tmp_path: Path) -> None:
        """The two matrix products of attention are counted."""
        module = timm.create_model(
            "vit_tiny_patch16_224", img_size=32, patch_size=8, depth=2, embed_dim=48, num_heads=3, num_classes=10
        ).eval()
        export_onnx(module, image_inputs((3, 32, 32)), 1, tmp_path / "model.onnx")
        traced = sum(layer.macs for layer in trace_layers(module, image_signature((3, 32, 32), 10)))
        assert multiply_accumulates(read_onnx(tmp_path / "model.onnx")) == traced

    def test_of_transposed_factors(self) -> None:
        """Gemm may transpose either factor, and the inner size is counted."""
        for transposed, shape in ((0, (2, 7)), (1, (7, 2))):
            model = model_of(
                [helper.make_node("Gemm", ["a", "w"], ["c"], transA=transposed)],
                [tensor_info("a", shape)],
                [tensor_info("c", (2, 5))],
                {"w": np.ones((7, 5), np.float32)},
            )
            assert multiply_accumulates(model) == 2 * 7 * 5

    def test_of_a_vector(self) -> None:
        """A product of a matrix and a vector is counted."""
        model = model_of(
            [helper.make_node("MatMul", ["a", "w"], ["c"])],
            [tensor_info("a", (3, 7))],
            [tensor_info("c", (3,))],
            {"w": np.ones(7, np.float32)},
        )
        assert multiply_accumulates(model) == 3 * 7

    def test_are_unknown_where_a_shape_is(self) -> None:
        """A symbolic size gives None, and a model without products gives 0."""
        assert multiply_accumulates(linear(np.ones((8, 4), np.float32), "N")) is None
        assert multiply_accumulates(hidden("constant", None)) == 0


def test_precisions_are_read_off_the_products() -> None:
    """A product's precision comes from its weights or its operator, and other nodes do not count."""
    half = model_of(
        [helper.make_node("MatMul", ["a", "w"], ["b"]), helper.make_node("Relu", ["b"], ["c"])],
        [tensor_info("a", (1, 8), TensorProto.FLOAT16)],
        [tensor_info("c", (1, 4), TensorProto.FLOAT16)],
        {"w": np.ones((8, 4), np.float16)},
    )
    assert executed_precisions(half) == {"fp16": 1}
    mixed = model_of(
        [
            helper.make_node("QLinearConv", ["a"] * 8, ["b"]),
            helper.make_node("ConvInteger", ["a", "a"], ["c"]),
            helper.make_node("MatMul", ["x", "y"], ["z"]),
        ],
        [tensor_info("a", (1,))],
        [tensor_info("z", (1,))],
    )
    assert executed_precisions(mixed) == {"int8": 2, "fp32": 1}

"""Traced layers have the kinds, multiply-accumulates and parameters that a count by hand gives."""

from __future__ import annotations

import inspect
import pickle
import sys

import pytest
import torch
from torch import nn

from nas.errors import CandidateError
from nas.space.architecture import Architecture, Choice
from nas.space.layer import Layer, total_macs, total_params
from nas.space.search_space import SearchSpace, architecture_from, load_space
from nas.space.signature import image_signature
from nas.space.tracing import build_checked, describer_of, layers_of, trace_layers

IMAGE = (1, 8, 8)


def kinds(module: nn.Module, input_shape: tuple[int, int, int] = IMAGE) -> list[str]:
    """Return the kinds of layers in order."""
    return [layer.kind for layer in trace_layers(module, image_signature(input_shape, 10))]


class Forward(nn.Module):
    """A module around one function of the flattened image, for operators without a torch layer."""

    def __init__(self, function: object) -> None:
        super().__init__()
        self.function = function
        self.weight = nn.Parameter(torch.ones(10, 64))

    def forward(self, images: torch.Tensor) -> object:
        return self.function(self, images.flatten(1))  # type: ignore[operator]


class OneSpace:
    """A space with a given build function."""

    choices = (Choice("depth", (1, 2)),)

    def __init__(self, build: object) -> None:
        self._build = build

    def build(self, architecture: Architecture) -> nn.Module:
        return self._build(architecture)  # type: ignore[operator, no-any-return]


ARCHITECTURE = Architecture({"depth": 1})


def one_block_vit(pool: str) -> nn.Module:
    """Return a vision transformer of one block."""
    space = load_space("timm-vit", {}, input_shape=IMAGE, classes=10)
    values = {"patch_size": 2, "depth": 1, "width": 32, "head_width": 16, "mlp_ratio": 2.0, "pool": pool}
    return build_checked(space, architecture_from(space, values), image_signature(IMAGE, 10))


class TestCounts:
    """Kinds, multiply-accumulates and parameters of traced layers."""

    @pytest.mark.parametrize(("pool", "tokens"), [("avg", 16), ("token", 17)])
    def test_attention_is_counted(self, pool: str, tokens: int) -> None:
        """A vision transformer of one block does the work of six products, two of them in fused attention."""
        module = one_block_vit(pool)
        layers = trace_layers(module, image_signature(IMAGE, 10))
        patches = 16 * 32 * 2 * 2
        qkv, scores, mixing, projection = tokens * 32 * 96, tokens * tokens * 32, tokens * tokens * 32, tokens * 32 * 32
        mlp, head = 2 * tokens * 32 * 64, 32 * 10
        assert total_macs(layers) == patches + qkv + scores + mixing + projection + mlp + head
        attention = [layer for layer in layers if layer.kind == "attention"]
        assert [(layer.macs, layer.output_shape) for layer in attention] == [(scores + mixing, (2, tokens, 16))]
        assert total_params(layers) == sum(parameter.numel() for parameter in module.parameters())

    @pytest.mark.parametrize("device", ["meta", "cpu"])
    def test_torch_transformer_is_counted(self, device: str) -> None:
        """Torch's own transformer layer is traced in full on either device, despite its fast path."""

        class Encoder(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
                self.head = nn.Linear(8, 10)

            def forward(self, images: torch.Tensor) -> torch.Tensor:
                if device == "cpu":
                    assert float(images.sum()) == 0  # has no value on meta
                output: torch.Tensor = self.head(self.block(images[:, 0]).mean(1))
                return output

        layers = trace_layers(Encoder(), image_signature(IMAGE, 10))
        products = 8 * 8 * 24 + 2 * 8 * 8 * 8 + 8 * 8 * 8 + 2 * 8 * 8 * 16
        assert total_macs(layers) == products + 80
        assert sum(layer.kind == "attention" for layer in layers) == 1

    def test_batch_norm_is_folded(self) -> None:
        """A batch norm after a convolution adds its weights there; elsewhere it is a layer."""
        module = nn.Sequential(
            nn.Conv2d(1, 4, 3, bias=False),
            nn.BatchNorm2d(4),
            nn.ReLU(inplace=True),
            nn.BatchNorm2d(4),
            nn.Conv2d(4, 8, 3, stride=2, groups=2),
            nn.ReLU(inplace=True),
            nn.BatchNorm2d(8),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8, 10),
        )
        assert trace_layers(module, image_signature(IMAGE, 10)) == (
            Layer("conv", (1, 8, 8), (4, 6, 6), macs=36 * 36, params=36 + 8, kernel=3),
            Layer("activation", (4, 6, 6), (4, 6, 6)),
            Layer("norm", (4, 6, 6), (4, 6, 6), params=8),
            Layer("conv", (4, 6, 6), (8, 2, 2), macs=4 * 8 * 18, params=8 * 18 + 8, kernel=3, stride=2, groups=2),
            Layer("activation", (8, 2, 2), (8, 2, 2)),
            Layer("norm", (8, 2, 2), (8, 2, 2), params=16),
            Layer("pool", (8, 2, 2), (8, 1, 1)),
            Layer("linear", (8,), (10,), macs=80, params=90),
        )

    def test_depthwise_pool_and_transposed(self) -> None:
        """Depthwise convolutions have their own kind, pools keep their window, transposed ones count input elements."""
        module = nn.Sequential(
            nn.Conv2d(2, 2, 3, padding=1, groups=2, bias=False),
            nn.MaxPool2d(3, stride=2, padding=1),
            nn.ConvTranspose2d(2, 3, 2, stride=2, bias=False),
            nn.Flatten(),
            nn.Linear(192, 10, bias=False),
            nn.Softmax(1),
        )
        depthwise, pool, transposed, linear, softmax = trace_layers(module, image_signature((2, 8, 8), 10))
        assert (depthwise.kind, depthwise.macs, depthwise.groups) == ("depthwise_conv", 2 * 64 * 9, 2)
        assert (pool.kind, pool.kernel, pool.stride, pool.output_shape) == ("pool", 3, 2, (2, 4, 4))
        assert (transposed.kind, transposed.macs, transposed.params) == ("conv", 2 * 16 * 3 * 4, 24)
        assert (linear.macs, softmax.kind) == (1920, "softmax")

    def test_shared_frozen_and_unused_parameters(self) -> None:
        """A shared weight counts once; frozen and unused weights do not count."""
        module = nn.Sequential(nn.Flatten(), shared := nn.Linear(64, 64, bias=False), shared, nn.Linear(64, 10))
        module[3].bias.requires_grad_(False)
        module.register_parameter("unused", nn.Parameter(torch.ones(5)))
        layers = trace_layers(module, image_signature(IMAGE, 10))
        assert [layer.params for layer in layers] == [64 * 64, 0, 640]
        assert [layer.macs for layer in layers] == [64 * 64, 64 * 64, 640]

    def test_weight_that_is_computed(self) -> None:
        """Operations on weights alone are not layers; the weights count for the layer that uses the result."""
        module = Forward(lambda self, x: x @ torch.nn.functional.normalize(self.weight, dim=1).t())
        (layer,) = trace_layers(module, image_signature(IMAGE, 10))
        assert (layer.kind, layer.macs, layer.params) == ("linear", 640, 640)

    def test_what_is_written_into_a_new_tensor_is_not_lost(self) -> None:
        """Layers are found even if a recurrence writes its results into a new tensor part by part."""

        def by_parts(self: Forward, x: torch.Tensor) -> torch.Tensor:
            out = torch.zeros(1, 2, 32, device=x.device)
            for part in range(2):
                out[:, part] = x[:, 32 * part : 32 * (part + 1)].relu()
            return torch.nn.functional.linear(out.flatten(1), self.weight)

        *_, layer = trace_layers(Forward(by_parts), image_signature(IMAGE, 10))
        assert (layer.kind, layer.macs, layer.params) == ("linear", 640, 640)

    def test_products_and_joins(self) -> None:
        """A product of two images is a matmul; concatenation, sums and elementwise products have their kinds."""
        module = Forward(lambda self, x: (torch.cat([x, x * 2 + x], 1)[:, :64] @ (x.t() @ x))[:, :10])
        assert kinds(module) == ["elementwise", "elementwise", "concat", "matmul", "matmul"]


class TestRuns:
    """Side effects of tracing."""

    def test_leaves_module_and_random_state(self) -> None:
        """Tracing does not change weights, running statistics, mode, device or the random state."""
        module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.Flatten(), nn.Linear(144, 10))
        module.train()
        before, state = pickle.dumps(module.state_dict()), torch.get_rng_state()
        trace_layers(module, image_signature(IMAGE, 10))
        assert pickle.dumps(module.state_dict()) == before
        assert module.training
        assert torch.equal(torch.get_rng_state(), state)

    def test_forward_that_needs_values(self) -> None:
        """If meta tensors cannot run, the CPU does, and the random state stays unchanged."""

        def function(self: Forward, x: torch.Tensor) -> torch.Tensor:
            torch.rand(1)
            return nn.functional.linear(x, self.weight) if float(x[0, 0]) == 0 else x

        state = torch.get_rng_state()
        assert kinds(Forward(function)) == ["linear"]
        assert torch.equal(torch.get_rng_state(), state)

    def test_layers_of_does_not_disturb_the_random_state(self) -> None:
        """Building for a trace draws weights from a separate random state."""
        space = OneSpace(lambda _: nn.Sequential(nn.Flatten(), nn.Linear(64, 10)))
        state = torch.get_rng_state()
        assert [layer.kind for layer in layers_of(space, ARCHITECTURE, image_signature(IMAGE, 10))] == ["linear"]
        assert torch.equal(torch.get_rng_state(), state)

    def test_build_that_needs_values(self) -> None:
        """A build that reads tensors cannot run on meta, and runs on the CPU instead."""

        def build(_: Architecture) -> nn.Module:
            return nn.Sequential(nn.Flatten(), nn.Linear(int(torch.tensor(64)), 10))

        assert [layer.macs for layer in layers_of(OneSpace(build), ARCHITECTURE, image_signature(IMAGE, 10))] == [640]


class TestFailures:
    """Errors of modules that cannot be traced."""

    def test_wrong_output_shape(self) -> None:
        """The message gives the rule and then the value."""
        with pytest.raises(CandidateError) as failure:
            trace_layers(nn.Sequential(nn.Flatten(), nn.Linear(64, 7)), image_signature(IMAGE, 10))
        assert failure.value.kind == "build"
        assert failure.value.reason == (
            "build must return a module that maps (1, 1, 8, 8) to (1, 10), but it gave (1, 7)."
        )

    def test_output_that_is_no_tensor(self) -> None:
        """A tuple of outputs is not accepted as logits."""
        with pytest.raises(CandidateError, match="but it gave a tuple"):
            trace_layers(Forward(lambda self, x: (x, x)), image_signature(IMAGE, 10))

    def test_forward_raises(self) -> None:
        """The error has the message of the CPU run, and its cause."""
        with pytest.raises(
            CandidateError, match=r"forward raised RuntimeError: .*shapes cannot be multiplied"
        ) as failure:
            trace_layers(nn.Sequential(nn.Flatten(), nn.Linear(63, 10)), image_signature(IMAGE, 10))
        assert isinstance(failure.value.__cause__, RuntimeError)

    @pytest.mark.parametrize("call", [build_checked, layers_of])
    def test_build_raises(self, call: object) -> None:
        """Any exception of ``build`` becomes a failure of this one candidate."""

        def build(architecture: Architecture) -> nn.Module:
            raise KeyError("width")

        with pytest.raises(CandidateError, match="build raised KeyError: 'width'") as failure:
            call(OneSpace(build), ARCHITECTURE, image_signature(IMAGE, 10))  # type: ignore[operator]
        assert failure.value.kind == "build"
        assert isinstance(failure.value.__cause__, KeyError)

    def test_build_returns_no_module(self) -> None:
        """A function that happens to work is not accepted as a module."""
        space: SearchSpace = OneSpace(lambda _: 3)
        with pytest.raises(CandidateError, match=r"must return a torch.nn.Module .* but it gave a int\."):
            build_checked(space, ARCHITECTURE, image_signature(IMAGE, 10))


def test_an_exception_of_build_names_the_file_and_the_line_of_the_user_s_code() -> None:
    """Also where the exception comes from inside torch: the last line of the space itself is named."""

    class Wrong:
        choices = (Choice("width", (0, 8)),)

        def build(self, architecture: Architecture) -> nn.Module:
            return nn.Conv2d(1, int(architecture["width"]), 3, groups=3)

    with pytest.raises(CandidateError) as failure:
        build_checked(Wrong(), Architecture({"width": 8}), image_signature((1, 8, 8), 10))
    line = inspect.getsourcelines(Wrong.build)[1] + 1
    assert failure.value.reason.startswith("build raised ValueError: ")
    assert failure.value.reason.endswith(f"({__file__}, line {line})")


class GivenLayers(OneSpace):
    """A space whose own ``layers`` returns what it is told to."""

    def __init__(self, given: object) -> None:
        super().__init__(lambda _: nn.Flatten())
        self._given = given

    def layers(self, architecture: Architecture) -> list[Layer]:
        return self._given() if callable(self._given) else self._given  # type: ignore[return-value]


PLAIN = Layer("linear", (64,), (10,))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (lambda: sys.exit(3), "layers raised SystemExit: 3"),
        (lambda: {}["depth"], r"layers raised KeyError: 'depth' \(.*test_tracing.py, line \d+\)"),
        (None, "layers raised TypeError: 'NoneType' object is not iterable"),
        ([], "layers must return at least one layer, each a nas.Layer, but got none"),
        ([PLAIN, "linear"], "each a nas.Layer, but got 'linear'"),
        (
            [Layer("linear", [64], (10,))],
            r"the input_shape of a layer must be a tuple of whole numbers, but got \[64\]",
        ),
        ([Layer("linear", (64.0,), (10,))], r"but got \(64\.0,\)"),
        ([Layer("linear", (64,), (-10,))], r"the output_shape of a layer .* but got \(-10,\)"),
        ([Layer("linear", (64,), (10,), macs=-1)], "macs of a layer must be a whole number of at least 0, but got -1"),
        ([Layer("linear", (64,), (10,), params=0.5)], "params of a layer must be a whole number"),
        ([Layer("conv", (1, 8, 8), (4, 8, 8), kernel=0)], "kernel of a layer must be a whole number of at least 1"),
        ([PLAIN, Layer("linear", (64,), (10,), macs=None)], "macs of a layer must be .* but got None"),
    ],
)
def test_layers_of_another_kind_are_one_failed_row(given: object, says: str) -> None:
    """Whatever a space's own method returns, describing an architecture fails with one sentence."""
    with pytest.raises(CandidateError, match=says) as failure:
        describer_of(GivenLayers(given), image_signature(IMAGE, 10)).describe([ARCHITECTURE])
    assert failure.value.kind == "build"


def test_a_scalar_may_be_a_layer_s_output() -> None:
    """A trace of a sum has a layer without a shape."""
    layers = [PLAIN, Layer("pool", (10,), ()), Layer("linear", (), (10,))]
    assert describer_of(GivenLayers(layers), image_signature(IMAGE, 10)).describe([ARCHITECTURE]).layer_sums.sum() > 0


@pytest.mark.parametrize("call", [build_checked, layers_of])
def test_a_build_that_calls_exit_is_a_failed_row(call: object, capsys: pytest.CaptureFixture[str]) -> None:
    """What it prints before goes to standard error, because standard output belongs to results."""

    def build(architecture: Architecture) -> nn.Module:
        print("building")
        sys.exit(0)

    with pytest.raises(CandidateError, match=r"build raised SystemExit: 0 \(.*, line \d+\)") as failure:
        call(OneSpace(build), ARCHITECTURE, image_signature(IMAGE, 10))  # type: ignore[operator]
    assert failure.value.kind == "build"
    assert capsys.readouterr().out == ""

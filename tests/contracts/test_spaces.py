"""Contract of search spaces, checked for every registered space with some signatures that it accepts."""

from __future__ import annotations

import doctest
import itertools
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save
from space_signatures import SMALL, building_spaces, options_for, signatures_for
from torch.func import functional_call

import nas
from nas.formats.export import export_onnx
from nas.formats.onnx_session import outputs_of
from nas.space.architecture import Architecture
from nas.space.layer import total_macs, total_params
from nas.space.parts.own_inputs import signature_of
from nas.space.plug_ins import load_plug_in
from nas.space.rules import check_space
from nas.space.search_space import (
    HasCanonical,
    HasLayers,
    HasSupernet,
    SearchSpace,
    architecture_from,
    count,
    enumerate_space,
    load_space,
    sample,
)
from nas.space.signature import Signature, image_signature
from nas.space.tracing import build_checked, layers_of, random_inputs, trace_layers
from nas.training.supernet import SharedWeights, make_supernet, weights_for
from search_spaces.fbnet import BLOCK_KINDS, Block

NAMES = building_spaces()
CASES = [
    (name, signature)
    for name in NAMES
    for signature in (signatures_for(name)[-1:] if name in SMALL else signatures_for(name))
]
SAMPLES = 4
LEAST_SPAN = 10
# Published with fixed widths: on images of 8×8 the head alone is 80 % of FBNet's smallest network.
LEAST_SPANS = {"fbnet": 4, "timm": 3}
LEAST_COUNT = 100
# What trees need no choice for is chosen while they are fitted.
LEAST_COUNTS = {"boosted": 20}


def samples(space: SearchSpace, number: int = SAMPLES) -> list[Architecture]:
    """Return random architectures, and those of all first and all last options."""
    rng = np.random.default_rng(0)
    ends = [architecture_from(space, {c.name: c.options[place] for c in space.choices}) for place in (0, -1)]
    return ends + [sample(space, rng) for _ in range(number)]


def build(space: SearchSpace, architecture: Architecture, signature: Signature) -> torch.nn.Module:
    """Build a module with weights from seed 0."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_checked(space, architecture, signature)


def seeded_inputs(signature: Signature, count: int) -> tuple[torch.Tensor, ...]:
    """Return random inputs from seed 0."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return random_inputs(signature.inputs, count)


def drawn_supernet(space: SearchSpace) -> Any:
    """Return the supernet of a space with weights from seed 0."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make_supernet(space)


@pytest.mark.parametrize("name", NAMES)
def test_docstring_example_runs(name: str) -> None:
    """The docstring of each space cites its source and shows an example of two lines."""
    space = load_plug_in("nas.search_spaces", name, "search space")
    assert space.__doc__ is not None
    example = doctest.DocTestParser().get_doctest(
        space.__doc__, {space.__name__: space, "nas": nas, "np": np}, name, None, None
    )
    assert len(example.examples) == 2
    assert doctest.DocTestRunner().run(example).failed == 0


@pytest.mark.parametrize(("name", "signature"), CASES, ids=[f"{name}-{signature}" for name, signature in CASES])
class TestSpace:
    """Promises of every space."""

    @pytest.fixture(name="space")
    def made_space(self, name: str, signature: Signature) -> SearchSpace:
        return load_space(name, {**options_for(name), **SMALL.get(name, {})}, signature)

    def test_keeps_the_rules(self, space: SearchSpace, name: str) -> None:
        """Choices follow the rules, and there is something to search."""
        check_space(space)
        assert count(space) >= LEAST_COUNTS.get(name, LEAST_COUNT)

    def test_gives_finite_logits(self, space: SearchSpace, signature: Signature) -> None:
        """A batch of inputs becomes a batch of logits."""
        for architecture in samples(space):
            module = build(space, architecture, signature).eval()
            with torch.no_grad():
                logits = module(*random_inputs(signature_of(space, architecture, signature).inputs, 2))
            assert logits.shape == (2, *signature.output)
            assert torch.isfinite(logits).all()

    def test_every_parameter_learns(self, space: SearchSpace, signature: Signature) -> None:
        """Each parameter gets a finite gradient, and most tensors a gradient that is not zero.

        Modules that fit themselves may have some without one, such as thresholds.
        """
        for architecture in samples(space):
            module = build(space, architecture, signature).train()
            logits = module(*seeded_inputs(signature_of(space, architecture, signature), 4)).flatten(0, -2)
            torch.nn.functional.cross_entropy(logits, torch.arange(len(logits)) % logits.shape[-1]).backward()
            gradients = [parameter.grad for parameter in module.parameters()]
            there = [gradient for gradient in gradients if gradient is not None]
            fits_itself = isinstance(module, nas.FitsItself)
            assert fits_itself or len(there) == len(gradients)
            assert all(torch.isfinite(gradient).all() for gradient in there)
            moving = sum(bool(gradient.any()) for gradient in there)
            disconnected = set(architecture.values()) == {"none"}
            assert moving >= (1 if disconnected or fits_itself else 0.7 * len(gradients))

    def test_layers_hold_all_parameters(self, space: SearchSpace, signature: Signature) -> None:
        """The layers' weights add up to the module's trainable parameters. Each model multiplies, or looks up."""
        for architecture in samples(space):
            parameters = build(space, architecture, signature).parameters()
            layers = layers_of(space, architecture, signature)
            assert total_params(layers) == sum(parameter.numel() for parameter in parameters)
            assert total_macs(layers) > 0 or any(layer.kind == "embedding" for layer in layers)

    def test_written_layers_equal_traced_ones(self, space: SearchSpace, signature: Signature) -> None:
        """Layers that a space gives equal those of a trace; other spaces are traced without building weights."""
        for architecture in samples(space):
            module = build(space, architecture, signature)
            traced = trace_layers(module, signature_of(space, architecture, signature))
            assert layers_of(space, architecture, signature) == traced

    def test_layers_are_quick(self, space: SearchSpace) -> None:
        """Screening needs thousands of architectures: 0.1 ms each is usual, and 5 ms allows for a busy machine."""
        if not isinstance(space, HasLayers):
            pytest.skip("its layers are traced")
        seconds = []
        for architecture in samples(space, 20):
            start = time.perf_counter()
            space.layers(architecture)
            seconds.append(time.perf_counter() - start)
        assert np.median(seconds) < 5e-3

    def test_same_seed_same_weights(self, space: SearchSpace, signature: Signature) -> None:
        """Weights depend only on the architecture and torch's seed."""
        architecture = samples(space)[-1]
        first, second = (build(space, architecture, signature).state_dict() for _ in range(2))
        assert first.keys() == second.keys()
        assert all(torch.equal(first[key], second[key]) for key in first)

    def test_spans_a_trade_off(self, space: SearchSpace, name: str, signature: Signature) -> None:
        """The largest of a dozen does at least ten times the work of the smallest, unless the space is published."""
        macs = [total_macs(layers_of(space, a, signature)) for a in samples(space, 10)]
        assert max(macs) >= LEAST_SPANS.get(name, LEAST_SPAN) * min(macs)

    def test_shared_weights_make_the_same_network(self, space: SearchSpace, signature: Signature) -> None:
        """Running a module with shared weights equals copying them into it."""
        if not isinstance(space, HasSupernet):
            pytest.skip("its architectures share no weights")
        supernet, inputs = drawn_supernet(space), random_inputs(signature.inputs, 4)
        shared = SharedWeights(space, save({name: p.detach() for name, p in supernet.named_parameters()}))
        for architecture in samples(space):
            module = build(space, architecture, signature).train()
            with torch.no_grad():
                used = functional_call(module, weights_for(supernet, architecture, module), inputs)
                shared(architecture, module)
                assert torch.equal(used, module(*inputs))

    def test_all_shared_weights_are_somebodys(self, space: SearchSpace) -> None:
        """Each tensor of the supernet gets a gradient from some architecture."""
        if not isinstance(space, HasSupernet):
            pytest.skip("its architectures share no weights")
        supernet = drawn_supernet(space)
        for architecture in samples(space, 60):
            sum(weight.sum() for weight in supernet.weights(architecture).values()).backward()
        idle = [name for name, parameter in supernet.named_parameters() if parameter.grad is None]
        assert not idle

    def test_canonical_is_idempotent(self, space: SearchSpace) -> None:
        """The canonical form of a canonical form is itself."""
        if not isinstance(space, HasCanonical):
            pytest.skip("no twins")
        for architecture in samples(space):
            assert dict(space.canonical(architecture)) == dict(architecture)

    @pytest.mark.slow
    def test_exported_model_agrees(self, space: SearchSpace, name: str, signature: Signature, tmp_path: Path) -> None:
        """ONNX Runtime and torch give the same logits. Of a space with several inputs, each gets another network."""
        own = [signature for each, signature in CASES if each == name]
        chosen = samples(space)[-2:] if len(own) == 1 else [samples(space)[-1 - own.index(signature)]]
        for architecture in chosen:
            module = build(space, architecture, signature).eval()
            taken = signature_of(space, architecture, signature)
            inputs, path = seeded_inputs(taken, 1), tmp_path / "model.onnx"
            export_onnx(module, taken.inputs, 1, path)
            logits = outputs_of(path, [values.numpy() for values in inputs])
            with torch.no_grad():
                np.testing.assert_allclose(logits, module(*inputs).numpy(), rtol=1e-3, atol=1e-4)


class TestNasBench201:
    """Facts about this space that follow from its definition."""

    def test_number_of_cells(self) -> None:
        """15,625 assignments are 9,445 cells.

        Live edges are a union of the paths 0→3 (one edge), 0→1→3 and 0→2→3 (two) and 0→1→2→3 (three). Unions without
        the first have 0, 2, 2, 3, 4, 4, 4 and 5 edges of four operations each; the first is there or not. Cells that
        compute the same for deeper reasons, such as by chains of skips, are not joined.
        """
        paths = [{"30"}, {"10", "31"}, {"20", "32"}, {"10", "21", "32"}]
        unions = {
            frozenset(itertools.chain.from_iterable(chosen))
            for size in range(5)
            for chosen in itertools.combinations(paths, size)
        }
        space = load_space("nasbench201", {}, input_shape=(3, 32, 32), classes=10)
        assert count(space) == 15625
        assert len(list(enumerate_space(space))) == sum(4 ** len(union) for union in unions) == 9445

    def test_published_size(self) -> None:
        """The cell of 3×3 convolutions has the published 1.53 M parameters and 220 M multiply-accumulates."""
        space = load_space("nasbench201", {}, input_shape=(3, 32, 32), classes=10)
        architecture = architecture_from(space, {choice.name: "nor_conv_3x3" for choice in space.choices})
        layers = layers_of(space, architecture, image_signature((3, 32, 32), 10))
        assert total_params(layers) / 1e6 == pytest.approx(1.531, abs=0.001)
        assert total_macs(layers) / 1e6 == pytest.approx(220, rel=0.01)

    def test_disconnected_cell_is_constant(self) -> None:
        """Without a path from input to output, all images get the same logits."""
        space = load_space("nasbench201", {}, input_shape=(1, 8, 8), classes=10)
        dead = architecture_from(
            space,
            {**{choice.name: "none" for choice in space.choices}, "op_e10": "nor_conv_3x3", "op_e32": "skip_connect"},
        )
        assert set(dead.values()) == {"none"}
        with torch.no_grad():
            logits = build(space, dead, image_signature((1, 8, 8), 10)).eval()(torch.rand(3, 1, 8, 8))
        assert torch.equal(logits[0], logits[1])


class TestFbNet:
    """Facts about this space from its publications."""

    OPERATIONS = ("k3_e1", "k3_e1_g2", "k3_e3", "k3_e6", "k5_e1", "k5_e1_g2", "k5_e3", "k5_e6", "skip")
    FBNET_C = (
        "k3_e1",
        *("k3_e6", "skip", "k3_e1", "k3_e1"),
        *("k5_e6", "k5_e3", "k5_e6", "k3_e6"),
        *("k5_e6", "k5_e3", "k5_e6", "k5_e6"),
        *("k5_e6", "k5_e6", "k5_e6", "k5_e3"),
        *("k5_e6", "k5_e6", "k5_e6", "k5_e6"),
        "k3_e6",
    )

    def test_options_are_numbered_as_in_the_tables(self) -> None:
        """Each of 22 layers has nine options, in the order of published tables."""
        space = load_space("fbnet", {}, input_shape=(3, 32, 32), classes=100)
        assert [(choice.name, choice.options) for choice in space.choices] == [
            (f"op{number}", self.OPERATIONS) for number in range(22)
        ]

    def test_published_network(self) -> None:
        """FBNet-C has the layers of timm's model, up to the head, and the published 375 M multiply-accumulates."""
        input_shape = (3, 224, 224)
        space = load_space("fbnet", {}, input_shape=input_shape, classes=1000)
        architecture = architecture_from(space, {f"op{number}": name for number, name in enumerate(self.FBNET_C)})
        layers = layers_of(space, architecture, image_signature(input_shape, 1000))
        with torch.device("meta"):
            known = trace_layers(timm.create_model("fbnetc_100"), image_signature(input_shape, 1000))
        head = 4  # convolution, activation, mean and classifier, of 1504 channels here and 1984 there
        assert layers[:-head] == known[:-head]
        assert [layer.kind for layer in layers[-head:]] == [layer.kind for layer in known[-head:]]
        assert total_macs(layers) / 1e6 == pytest.approx(375, rel=0.01)

    def test_everything_skipped(self) -> None:
        """The stem and the head remain, with a 1×1 convolution for each change of shape."""
        space = load_space("fbnet", {}, input_shape=(3, 64, 64), classes=10)
        architecture = architecture_from(space, {choice.name: "skip" for choice in space.choices})
        layers = layers_of(space, architecture, image_signature((3, 64, 64), 10))
        convolutions = [(layer.output_shape[:2], layer.kernel) for layer in layers if layer.kind == "conv"]
        assert convolutions == [
            ((16, 64), 3),
            ((24, 32), 1),
            ((32, 16), 1),
            ((64, 8), 1),
            ((112, 8), 1),
            ((184, 4), 1),
            ((352, 4), 1),
            ((1504, 4), 1),
        ]

    @pytest.mark.parametrize("kernel", [3, 5])
    def test_groups_see_all_channels(self, kernel: int) -> None:
        """With the shuffle, each output of a grouped block depends on every input, at half the 1×1 weights."""
        name = f"k{kernel}_e1_g2"
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            block = Block(8, 12, BLOCK_KINDS[name], stride=1).eval()
            for part in block.modules():
                if isinstance(part, torch.nn.Conv2d):
                    torch.nn.init.uniform_(part.weight, 0.1, 1.0)  # positive, so that no ReLU hides a dependence
        image = torch.ones(1, 8, 1, 1)
        gradients = torch.autograd.functional.jacobian(block, image).reshape(12, 8)
        assert (gradients > 0).all()
        weights = sum(part.weight.numel() for part in block.modules() if isinstance(part, torch.nn.Conv2d))
        assert weights == 8 * 8 / 2 + 8 * kernel**2 + 8 * 12 / 2


class TestNasBenchMacro:
    """Facts about this space from its published table."""

    # Numbers of the options, parameters, and multiply-accumulates without those of norms.
    PUBLISHED = (
        ("00000000", 387882, 7713280),
        ("00000001", 791594, 14115328),
        ("00000002", 1219370, 20910592),
        ("00210000", 568106, 23753216),
        ("12012012", 2014602, 67092992),
        ("11111111", 1588874, 53246464),
        ("22222222", 2932586, 105660928),
    )

    @pytest.mark.parametrize(("numbers", "params", "macs"), PUBLISHED)
    def test_published_sizes(self, numbers: str, params: int, macs: int) -> None:
        """Layers add up exactly to the sizes in the table, as for all of its 6,561 rows."""
        space = load_space("nasbench_macro", {}, input_shape=(3, 32, 32), classes=10)
        architecture = architecture_from(
            space, {c.name: c.options[int(number)] for c, number in zip(space.choices, numbers, strict=True)}
        )
        layers = layers_of(space, architecture, image_signature((3, 32, 32), 10))
        assert (total_params(layers), total_macs(layers)) == (params, macs)

    def test_number_of_networks(self) -> None:
        """6,561 chains are 3,969 networks: of the nine pairs of free layers in a stage of three, seven differ."""
        space = load_space("nasbench_macro", {}, input_shape=(3, 32, 32), classes=10)
        assert count(space) == 6561
        assert len(list(enumerate_space(space))) == (3 * 3) * (3 * 7) * (3 * 7) == 3969

    def test_identities_move_to_the_end_of_their_stage(self) -> None:
        """Layers that stride stay in place, and blocks keep their order."""
        space = load_space("nasbench_macro", {}, input_shape=(3, 32, 32), classes=10)
        written = ("identity", "mb6_k5_e6", "identity", "identity", "mb3_k3_e3", "mb3_k3_e3", "mb6_k5_e6", "mb3_k3_e3")
        architecture = architecture_from(space, {c.name: o for c, o in zip(space.choices, written, strict=True)})
        assert tuple(architecture.values()) == (*written[:3], written[4], written[3], *written[5:])

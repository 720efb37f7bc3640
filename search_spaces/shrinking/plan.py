"""What can be removed from a parent: groups of channels that hang together, and blocks that a shortcut goes around.

torch-pruning finds the groups (Fang et al., "DepGraph: towards any structural pruning", CVPR 2023, arXiv:2301.12900).
It traces the parent once. After that, removing channels is slicing, which takes some hundredths of a second.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from operator import attrgetter
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from nas.errors import raised_text
from nas.space.own_code import own_code
from search_spaces.shrinking.interchangeable import changes_outputs

IntArray = npt.NDArray[np.int64]
PRODUCER, CONSUMER = "prune_out_channels", "prune_in_channels"
WEIGHTED = (nn.Conv1d, nn.Conv2d, nn.Linear)
SLICED = (*WEIGHTED, nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.PReLU, nn.Parameter)
"""What can be sliced one channel at a time. Heads of attention and groups of a convolution cannot."""
UNEQUAL_TRIALS = 3
FIXED = "the answers change with the order of its channels, as where attention divides them into heads"
PARTS = 4
"""Layers without a map, such as those of a transformer, are divided into so many parts by their place."""


@dataclass(frozen=True)
class Cut:
    """One layer or parameter that a group slices. ``indices`` and ``channels``, both of shape (N,), say which of its
    rows or columns go with which channel of the group.
    """

    name: str
    action: str
    kind: str
    dim: int
    indices: IntArray
    channels: IntArray

    @property
    def is_producer(self) -> bool:
        """True for weights that make the channels."""
        return self.kind in ("CONV", "LINEAR") and self.action == PRODUCER

    @property
    def is_consumer(self) -> bool:
        """True for weights that take the channels."""
        return self.kind in ("CONV", "LINEAR") and self.action == CONSUMER


@dataclass(frozen=True)
class Group:
    """Channels that can only be removed together, from all layers that have them; called after the first one."""

    name: str
    channels: int
    cuts: tuple[Cut, ...]
    stage: str = ""
    is_trunk: bool = False
    """True if a shortcut carries the channels past blocks, so that all blocks of a stage share them."""

    def count(self, share: float) -> int:
        """Return how many channels a share keeps: all, or a multiple of 8, or of 4 or 1 where there are few."""
        if share >= 1:
            return self.channels
        unit = next(unit for unit in (8, 4, 1) if self.channels >= 4 * unit or unit == 1)
        return min(self.channels, max(unit, unit * math.floor(share * self.channels / unit + 0.5)))


@dataclass(frozen=True)
class Block:
    """A block with a shortcut around it. Without the block, the shortcut remains."""

    name: str
    stage: str


@dataclass(frozen=True)
class Plan:
    """What can be removed. ``refused`` names each layer whose channels must stay, with the reason."""

    groups: tuple[Group, ...]
    blocks: tuple[Block, ...]
    refused: tuple[tuple[str, str], ...] = ()

    @property
    def stages(self) -> tuple[str, ...]:
        """The names of the stages, from input to output."""
        return tuple(dict.fromkeys([*(group.stage for group in self.groups), *(block.stage for block in self.blocks)]))


def plan_of(module: nn.Module, inputs: Sequence[torch.Tensor]) -> Plan:
    """Return what can be removed from a module that takes ``inputs``, which are random, each removal tried once.

    Raises:
        Exception: the module cannot be traced; any that its own code raises.
    """
    module = copy.deepcopy(module).requires_grad_(True).eval()
    seen = _Seen(module, inputs)
    found, refused = _groups(module, inputs, seen)
    blocks = _blocks(module, found, seen)
    trunks = {group.name for group in found for block in blocks if _goes_around(group, block.name)}
    groups = [replace(group, is_trunk=group.name in trunks) for group in found]

    def why_not(kept: Sequence[Group], shares: Mapping[str, float], dropped: Sequence[Block] = ()) -> str:
        """Return why a network with shares of these channels, and without these blocks, fails; empty if it works."""
        first = {group.name: np.arange(group.count(shares[group.name])) for group in kept}
        try:
            made = pruned(module, kept, first, [block.name for block in dropped])
            with own_code(), torch.no_grad():
                output = made(*inputs)
        except Exception as error:
            return raised_text(error)
        return "" if output.shape == seen.output_shape else f"its output would have the shape {tuple(output.shape)}"

    def why_fixed(some: Sequence[Group]) -> str:
        try:
            return FIXED if changes_outputs(module, some, inputs) else ""
        except Exception as error:
            return raised_text(error)

    halves = {group.name: 0.5 for group in groups}
    sound, broken = groups, []
    tests: list[Callable[[list[Group]], str]] = [
        *(partial(why_not, shares=shares) for shares in (halves, *_unequal_shares(groups))),
        why_fixed,
    ]
    for test in tests:
        sound, more = _those_that_work(sound, test)
        broken += more
    passable, _ = _those_that_work(blocks, lambda some: why_not(sound, halves, some))
    order = {name: place for place, name in enumerate(seen.sides)}
    groups = sorted(sound, key=lambda group: order.get(group.name, 0))
    return Plan(tuple(groups), tuple(passable), (*refused, *((group.name, why) for group, why in broken)))


def _unequal_shares(groups: Sequence[Group]) -> list[dict[str, float]]:
    """Return different shares of each: channels that are divided by the number of others need equal ones to work."""
    rng = np.random.default_rng(0)
    return [{group.name: float(rng.choice((0.25, 0.5, 0.75, 1.0))) for group in groups} for _ in range(UNEQUAL_TRIALS)]


def pruned(
    module: nn.Module, groups: Sequence[Group], kept: Mapping[str, IntArray], dropped: Collection[str] = ()
) -> nn.Module:
    """Return a copy of a module with only the ``kept`` channels of each group, and without the ``dropped`` blocks.

    All parameters of the copy are its own, sliced from those of ``module``.
    """
    from torch_pruning.pruner.function import PrunerBox

    made = copy.deepcopy(module)
    for name in dropped:
        _put(made, name, nn.Identity())
    removed: dict[tuple[str, str], tuple[Cut, list[IntArray]]] = {}
    for group in groups:
        gone = np.ones(group.channels, dtype=bool)
        gone[kept[group.name]] = False
        if not gone.any():
            continue
        for cut in group.cuts:
            if not any(cut.name == name or cut.name.startswith(f"{name}.") for name in dropped):
                removed.setdefault((cut.name, cut.action), (cut, []))[1].append(cut.indices[gone[cut.channels]])
    pruners = {kind.name: pruner for kind, pruner in PrunerBox.items()}
    for cut, parts in removed.values():
        target = attrgetter(cut.name)(made)
        pruner = pruners[cut.kind]
        pruner.pruning_dim = cut.dim
        with torch.device("cpu"):  # for torch-pruning's indices, where a check builds on the meta device
            result = getattr(pruner, cut.action)(target, np.unique(np.concatenate(parts)).tolist())
        if isinstance(target, nn.Parameter):
            _put(made, cut.name, result)
    return made


class _Seen:
    """What one run of a module shows: the shapes of its layers' outputs, and which layers take and give one tensor."""

    def __init__(self, module: nn.Module, inputs: Sequence[torch.Tensor]) -> None:
        self.sides: dict[str, float] = {}
        self.alike: dict[str, tuple[int, ...]] = {}
        self._odd: set[str] = set()
        hooks = [
            layer.register_forward_hook(self._hook(name), with_kwargs=True) for name, layer in module.named_modules()
        ]
        with own_code(), torch.no_grad():
            output = module(*inputs)
        for hook in hooks:
            hook.remove()
        self.output_shape = tuple(output.shape)
        self.input_side = _side(inputs[0])

    def _hook(self, name: str) -> Callable[..., None]:
        def seen(layer: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            if isinstance(layer, WEIGHTED):
                self.sides.setdefault(name, _side(output) if not isinstance(layer, nn.Linear) else 0.0)
            single = len(args) == 1 and not kwargs and isinstance(args[0], torch.Tensor) and name not in self.alike
            if not single or not isinstance(output, torch.Tensor) or output.shape != args[0].shape:
                self._odd.add(name)
            else:
                self.alike[name] = tuple(output.shape)

        return seen

    def passes_alike(self, name: str) -> bool:
        """Return True for a layer that runs once, with one tensor in and one of the same shape out."""
        return name in self.alike and name not in self._odd

    def stage(self, name: str) -> str:
        """Return the stage of a layer: how often the side of the map was halved, or else its part of the network."""
        side = self.sides.get(name, 0.0)
        if side and self.input_side:
            return f"stage{max(0, round(math.log2(self.input_side / side)))}"
        flat = [each for each, its in self.sides.items() if not its]
        place = flat.index(name) if name in flat else len(flat) - 1
        return f"part{1 + place * PARTS // max(PARTS, len(flat))}"


def _side(tensor: torch.Tensor) -> float:
    """Return the side of a map, the length of a signal, or 0 for other tensors."""
    sizes = tensor.shape[2:]
    return math.prod(sizes) ** (1 / len(sizes)) if len(sizes) else 0.0


def _groups(
    module: nn.Module, inputs: Sequence[torch.Tensor], seen: _Seen
) -> tuple[list[Group], list[tuple[str, str]]]:
    """Return the groups of channels, and the layers whose channels cannot be sliced with the reason."""
    import torch_pruning

    with warnings.catch_warnings(), torch.enable_grad(), own_code():
        warnings.simplefilter("ignore")
        graph = torch_pruning.DependencyGraph()
        example = tuple(inputs) if len(inputs) > 1 else inputs[0]
        graph.build_dependency(module, example, verbose=False)
        found = list(graph.get_all_groups())
    names = {layer: name for name, layer in module.named_modules()}
    parameters = {id(each): name for name, each in module.named_parameters()}
    counts = Counter(id(each) for _, each in module.named_parameters(remove_duplicate=False))
    tied = {each for each, count in counts.items() if count > 1}
    outputs = _last_layers(graph, names)
    groups, refused = [], []
    for group in found:
        root = names[group[0].dep.target.module]
        members = [item.dep.target.module for item in group.items]
        if any(names.get(each) in outputs for each in _made_by(group)):
            continue  # the outputs themselves
        why = _why_whole(members, names, tied)
        if why:
            refused.append((root, why))
            continue
        cuts = tuple(_cuts(group, names, parameters))
        channels = len(group[0].idxs)
        if channels > 1 and any(cut.is_consumer for cut in cuts):
            groups.append(Group(root, channels, cuts, seen.stage(root)))
    return groups, refused


def _made_by(group: Any) -> Iterator[nn.Module]:
    for item in group.items:
        if isinstance(item.dep.target.module, WEIGHTED) and item.dep.handler.__name__ == PRODUCER:
            yield item.dep.target.module


def _last_layers(graph: Any, names: Mapping[nn.Module, str]) -> set[str]:
    """Return the layers with weights whose channels reach the outputs without passing others."""
    found: set[str] = set()
    ends = [node for node in graph.module2node.values() if not node.outputs]
    waiting, known = list(ends), set()
    while waiting:
        node = waiting.pop()
        if node in known:
            continue
        known.add(node)
        if isinstance(node.module, WEIGHTED):
            found.add(names[node.module])
        else:
            waiting += node.inputs
    return found


def _why_whole(members: Sequence[Any], names: Mapping[nn.Module, str], tied: Collection[int]) -> str:
    for each in members:
        name = names.get(each, "a parameter")
        if isinstance(each, nn.Module) and is_parametrized(each):
            return f"{name} has parametrizations; torch.nn.utils.parametrize.remove_parametrizations removes them"
        if isinstance(each, nn.Module) and any(id(tensor) in tied for tensor in each.parameters(recurse=False)):
            return f"{name} has weights that another layer has too"
        if isinstance(each, nn.Conv1d | nn.Conv2d | nn.Conv3d) and 1 < each.groups < each.out_channels:
            return f"{name} is a convolution in {each.groups} groups"
        if isinstance(each, nn.Module) and any(True for _ in each.parameters()) and not isinstance(each, SLICED):
            return f"{name} is a {type(each).__name__}, which cannot be sliced by channels"
    return ""


def _cuts(group: Any, names: Mapping[nn.Module, str], parameters: Mapping[int, str]) -> Iterator[Cut]:
    for item in group.items:
        target = item.dep.target
        if not isinstance(target.module, SLICED):
            continue
        is_parameter = isinstance(target.module, nn.Parameter)
        name = parameters[id(target.module)] if is_parameter else names[item.dep.target.module]
        action = item.dep.handler.__name__
        places = np.asarray(item.idxs, dtype=np.int64), np.asarray(item.root_idxs, dtype=np.int64)
        yield Cut(name, action, target.type.name, target.pruning_dim, *places)


def _blocks(module: nn.Module, groups: Sequence[Group], seen: _Seen) -> list[Block]:
    """Return the innermost elements of sequences that a shortcut goes around."""
    found = [
        f"{path}.{name}" if path else name
        for path, layer in module.named_modules()
        if isinstance(layer, nn.Sequential | nn.ModuleList)
        for name, _ in layer.named_children()
    ]
    around = [
        name
        for name in found
        if seen.passes_alike(name)
        and any(_goes_around(group, name) for group in groups)
        and _has_shortcut(module, name, groups, seen.alike[name])
    ]
    inner = [name for name in around if not any(other.startswith(f"{name}.") for other in around)]
    return [Block(name, seen.stage(_last_weighted(name, seen))) for name in inner]


def _goes_around(group: Group, block: str) -> bool:
    """Return True if the block takes a group's channels and adds to them, as others outside of it do."""
    inside = [cut.name.startswith(f"{block}.") for cut in group.cuts]
    pairs = list(zip(group.cuts, inside, strict=True))
    return (
        any(cut.is_consumer and within for cut, within in pairs)
        and any(cut.is_producer and within for cut, within in pairs)
        and any((cut.is_producer or cut.kind == "DEPTHWISE_CONV") and not within for cut, within in pairs)
    )


def _has_shortcut(module: nn.Module, block: str, groups: Sequence[Group], shape: Sequence[int]) -> bool:
    """Return True if a block's input reaches its output beside what the block adds to it.

    Else the shortcut is outside, as in ``x = x + block(x)``: without the block, ``x`` would be added to itself.
    """
    added = {cut.name for group in groups if _goes_around(group, block) for cut in group.cuts if cut.is_producer}
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randn(tuple(shape), generator=generator) for _ in range(2))
    try:
        layer = copy.deepcopy(module.get_submodule(block))
        with own_code(), torch.no_grad():
            for name in (each.removeprefix(f"{block}.") for each in added if each.startswith(f"{block}.")):
                for tensor in layer.get_submodule(name).parameters():
                    tensor.zero_()
            return not torch.allclose(layer(first), layer(second))
    except Exception:  # it cannot be copied, or not run alone: then it stays
        return False


def _last_weighted(block: str, seen: _Seen) -> str:
    return [name for name in seen.sides if name.startswith(f"{block}.")][-1]


def _those_that_work(parts: Sequence[Any], why_not: Callable[[list[Any]], str]) -> tuple[list[Any], list[Any]]:
    """Return the parts that work together, and each of the others with its reason. Most often all work at once."""
    good: list[Any] = []
    bad: list[Any] = []

    def add(some: list[Any]) -> None:
        if not some:
            return
        why = why_not([*good, *some])
        if not why:
            good.extend(some)
        elif len(some) == 1:
            bad.append((some[0], why))
        else:
            add(some[: len(some) // 2])
            add(some[len(some) // 2 :])

    add(list(parts))
    return good, bad


def _put(module: nn.Module, name: str, value: Any) -> None:
    owner, _, last = name.rpartition(".")
    setattr(module.get_submodule(owner), last, value)

"""Running many parts of an elastic parent on the same inputs: what they begin with alike is computed once."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, final

import torch
from torch import nn
from torch.func import functional_call
from torch.nn.functional import batch_norm
from torch.nn.modules.batchnorm import _BatchNorm

from search_spaces.shrinking.plan import Plan
from search_spaces.timm_stages import WithStages

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
MOST_PARAMETERS = 0.5
"""A module with more than this share of all parameters is looked into for units, if it holds several."""
MOST_BYTES = 2**29
"""The most memory that kept outputs take. Those that come later are computed again."""
ALIKE = 1e-3
"""Outputs that differ by this share of the largest are still those of the same network."""
Key = tuple[Any, ...]
Slice = Callable[[Collection[str]], Mapping[str, torch.Tensor]]
"""Returns the parameters of some names, as the part that runs now takes them."""


@final
class SharedRuns:
    """Runs parts of a module on some inputs. Each unit keeps its last output, for the next part that begins alike.

    Units are the layers and blocks of which the module is a sequence. So parts should come in the order of their
    options, from input to output: then most units have just been run.

    Batch normalisations take their statistics from the first ``calibrating`` inputs of the first batch.
    """

    def __init__(self, module: nn.Module, plan: Plan) -> None:
        self._plain = module
        self._whole = {group.name: group.channels for group in plan.groups}
        self._is_exact: bool | None = None
        self._module = copy.deepcopy(module).requires_grad_(False).eval()
        blocks = {block.name for block in plan.blocks}
        self._names = list(units_of(self._module, blocks))
        self._depthwise = {id(layer) for layer in self._module.modules() if _is_depthwise(layer)}
        names = [name for name, _ in self._module.named_parameters()]
        self._parameters = {unit: [name for name in names if _is_under(name, unit)] for unit in self._names}
        self._others = set(names).difference(*self._parameters.values())
        self._groups = {
            name: tuple(group.name for group in plan.groups if any(_is_under(cut.name, name) for cut in group.cuts))
            for name in self._names
        }
        self._blocks = {name: [b.name for b in plan.blocks if _is_under(b.name, name)] for name in self._names}
        self._kept: dict[tuple[int, str], _Kept] = {}
        self._kept_bytes = 0
        self._keys: dict[int, _Kept] = {}
        self._calibrating, self._batch, self._is_inside = 0, 0, False
        self._counts: Mapping[str, int] = {}
        self._dropped: Collection[str] = ()
        self._slice: Slice = lambda names: {}
        # Convolutions take two thirds of the time with channels last: 0.33 instead of 0.50 s for a part of an
        # EfficientNet-Lite0 and 226 pictures of 96 pixels.
        self._is_channels_last = True
        for name in self._names:
            unit = self._module.get_submodule(name)
            unit.forward = self._running(name, unit, unit.forward)
        for layer in self._module.modules():
            if getattr(layer, "inplace", False) is True:
                layer.inplace = False  # type: ignore[assignment]  # it would overwrite what is kept
            if isinstance(layer, _BatchNorm) and layer.running_mean is not None:
                layer.register_forward_pre_hook(self._calibrate)

    @torch.no_grad()
    def outputs(
        self,
        counts: Mapping[str, int],
        dropped: Collection[str],
        slice_of: Slice,
        inputs: tuple[torch.Tensor, ...],
        batch: int,
        calibrating: int,
    ) -> torch.Tensor:
        """Return the outputs of the part that keeps ``counts`` channels of each group, without ``dropped`` blocks.

        ``batch`` is the number of the batch. Of the first one, the first ``calibrating`` inputs set the statistics.

        Raises:
            RuntimeError: units give something else than the module does, or a unit cannot be run with fewer channels.
        """
        if self._is_exact is None:
            self._is_exact = self._gives_what_the_module_gives(tuple(each[:1] for each in inputs))
        if not self._is_exact:
            raise RuntimeError("a layer of this module writes to what other layers take, so it cannot be run by units")
        self._counts, self._dropped, self._slice = counts, dropped, slice_of
        self._batch, self._calibrating = batch, calibrating if not batch else 0
        return self._run_in_layout(inputs)

    def _gives_what_the_module_gives(self, inputs: tuple[torch.Tensor, ...]) -> bool:
        """Return True if units without in-place operations give what the module gives with them."""
        parameters = dict(self._plain.named_parameters())
        self._counts, self._dropped, self._batch, self._calibrating = self._whole, (), 0, 0
        self._slice = lambda names: {name: parameters[name] for name in names}
        training = self._plain.training
        wanted = self._plain.eval()(*(each.clone() for each in inputs))
        self._plain.train(training)
        found = self._run_in_layout(tuple(each.clone() for each in inputs))
        self.forget()
        return bool(torch.allclose(found, wanted, rtol=ALIKE, atol=ALIKE * float(wanted.abs().max())))

    def _run_in_layout(self, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
        if self._is_channels_last:
            try:
                return self._run(inputs)
            except RuntimeError:  # such as a view of channels that lie apart
                self._is_channels_last = False
                self.forget()
        return self._run(inputs)

    def _run(self, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
        batch = self._batch
        self._keys = {id(kept.tensor): kept for (of, _), kept in self._kept.items() if of == batch}
        if self._is_channels_last:
            inputs = tuple(each.to(memory_format=torch.channels_last) if each.dim() == 4 else each for each in inputs)
        for place, each in enumerate(inputs):
            self._know(_Kept(("input", batch, place, tuple(each.shape)), each))
        try:
            found: torch.Tensor = functional_call(self._module, dict(self._slice(self._others)), inputs)
        finally:
            self._keys = {}
        return found

    def forget(self) -> None:
        """Drop all outputs, because the inputs or the weights are others now."""
        self._kept.clear()
        self._kept_bytes = 0

    def _know(self, kept: _Kept) -> None:
        """Remember what a tensor is as long as this run lasts. It stays alive, so that no other gets its identity."""
        self._keys[id(kept.tensor)] = kept

    def _keep(self, place: tuple[int, str], kept: _Kept) -> None:
        """Keep an output for the next part, if there is room."""
        before = self._kept.pop(place, None)
        self._kept_bytes -= 0 if before is None else before.tensor.nbytes
        if self._kept_bytes + kept.tensor.nbytes <= MOST_BYTES:
            self._kept[place] = kept
            self._kept_bytes += kept.tensor.nbytes

    def _running(self, name: str, unit: nn.Module, forward: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            if self._is_inside:
                return forward(*args, **kwargs)
            if name in self._dropped:
                return args[0]
            given = None if kwargs else self._key_of(args)
            if given is None:
                return self._computed(name, unit, args, kwargs)
            dropped = tuple(block for block in self._blocks[name] if block in self._dropped)
            key = (name, tuple(self._counts[group] for group in self._groups[name]), dropped, given)
            place = self._batch, name
            kept = self._kept.get(place)
            if kept is not None and kept.key == key and kept.is_unchanged:
                return kept.tensor
            output = self._computed(name, unit, args, kwargs)
            if isinstance(output, torch.Tensor):
                output = output.view_as(output) if any(output is each for each in args) else output
                made = _Kept(key, output)
                self._know(made)
                self._keep(place, made)
            return output

        return run

    def _computed(self, name: str, unit: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        sliced = self._slice(self._parameters[name])
        weights = {each.removeprefix(f"{name}."): tensor for each, tensor in sliced.items()}
        _fit(unit, weights, self._depthwise)
        inner = [_put_identity(unit, block.removeprefix(f"{name}.")) for block in self._blocks[name]
                 if block in self._dropped and block != name]  # fmt: skip
        self._is_inside = True
        try:
            return functional_call(unit, weights, args, dict(kwargs))
        finally:
            self._is_inside = False
            for undo in inner:
                undo()

    def _key_of(self, args: tuple[Any, ...]) -> Key | None:
        """Return what tells these inputs from others; None where something else than tensors is among them."""
        if not all(isinstance(each, torch.Tensor) for each in args):
            return None
        known = [self._keys.get(id(each)) for each in args]
        pairs = zip(known, args, strict=True)
        return tuple(kept.key if kept is not None and kept.is_unchanged else _content(each) for kept, each in pairs)

    def _calibrate(self, layer: _BatchNorm, inputs: tuple[torch.Tensor, ...]) -> None:
        """Let a layer have the statistics of the first inputs."""
        if not (self._calibrating and self._is_inside):
            return
        seen = inputs[0][: self._calibrating]
        mean, variance = seen.new_zeros(seen.shape[1]), seen.new_ones(seen.shape[1])
        batch_norm(seen, mean, variance, training=True, momentum=1.0)  # five times as fast as torch.var_mean
        layer.running_mean, layer.running_var = mean, variance


@final
class _Kept:
    """An output, what it is of, and if nothing has written to it since."""

    def __init__(self, key: Key, tensor: torch.Tensor) -> None:
        self.key = key
        self.tensor = tensor
        self._version = tensor._version

    @property
    def is_unchanged(self) -> bool:
        """True if no operation has written to the tensor."""
        return self.tensor._version == self._version


def units_of(
    module: nn.Module, blocks: Collection[str] = (), prefix: str = "", most: int | None = None
) -> Iterator[str]:
    """Yield the names of the layers and blocks that a module is made of: what containers hold, and what they do not.

    Those in ``blocks`` are units whatever they hold. The body below a head that sees all stages is never one, because
    it is not called as a whole.
    """
    total = sum(parameter.numel() for parameter in module.parameters()) if most is None else most
    for name, child in module.named_children():
        path = f"{prefix}{name}"
        size = sum(parameter.numel() for parameter in child.parameters())
        is_large = size > MOST_PARAMETERS * total and any(isinstance(each, CONTAINERS) for each in child.children())
        is_body = isinstance(module, WithStages) and child is module.body
        if path not in blocks and (isinstance(child, CONTAINERS) or is_large or is_body):
            yield from units_of(child, blocks, f"{path}.", total)
        else:
            yield path


def _is_depthwise(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d) and 1 < layer.groups == layer.out_channels


def _fit(unit: nn.Module, weights: Mapping[str, torch.Tensor], depthwise: Collection[int]) -> None:
    """Let layers know the sizes of the weights that they get."""
    for name, layer in unit.named_modules():
        weight = weights.get(f"{name}.weight" if name else "weight")
        if weight is None:
            continue
        if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d):
            layer.out_channels = len(weight)
            layer.groups = len(weight) if id(layer) in depthwise else layer.groups
            layer.in_channels = weight.shape[1] * layer.groups
        elif isinstance(layer, nn.Linear):
            layer.out_features, layer.in_features = weight.shape
        elif isinstance(layer, _BatchNorm):
            layer.num_features = len(weight)
        elif isinstance(layer, nn.LayerNorm):
            layer.normalized_shape = tuple(weight.shape)
        elif isinstance(layer, nn.PReLU):
            layer.num_parameters = len(weight)


def _put_identity(unit: nn.Module, name: str) -> Callable[[], None]:
    """Let a block within a unit pass its input on, and return what undoes that."""
    block = unit.get_submodule(name)
    forward = block.forward
    block.forward = lambda *args, **kwargs: args[0]

    def undo() -> None:
        block.forward = forward

    return undo


def _content(tensor: torch.Tensor) -> Key:
    """Return what tells the values of a tensor from others."""
    plain = tensor.detach().cpu().contiguous()
    return "values", tuple(plain.shape), hashlib.blake2b(plain.numpy().tobytes(), digest_size=16).digest()


def _is_under(inner: str, outer: str) -> bool:
    return inner == outer or inner.startswith(f"{outer}.")

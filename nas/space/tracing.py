"""Tracing: find the layers of any torch module by running it once on tensors without data."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from nas.errors import CandidateError, SpaceError, raised_text
from nas.space.architecture import Architecture
from nas.space.description import Describer
from nas.space.layer import Layer
from nas.space.listing import HasNumbers
from nas.space.own_code import own_code
from nas.space.parts.own_inputs import signature_of
from nas.space.search_space import HasLayers, SearchSpace, ends
from nas.space.signature import Signature, TensorType
from nas.space.torch_settings import in_turn

_OPERATORS_BY_KIND = {
    "linear": "linear mm mv addmm",
    "matmul": "bmm baddbmm",
    "norm": "native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training cudnn_batch_norm "
    "native_layer_norm native_group_norm _fused_rms_norm",
    "activation": "relu relu6 hardtanh clamp clamp_min clamp_max gelu silu mish hardswish hardsigmoid sigmoid "
    "log_sigmoid_forward tanh elu celu selu leaky_relu rrelu_with_noise softplus softshrink hardshrink threshold "
    "glu _prelu_kernel exp erf",
    "elementwise": "add sub rsub mul div pow addcmul addcdiv maximum minimum lerp neg abs sqrt rsqrt square "
    "reciprocal where",
    "pool": "mean sum amax amin avg_pool2d max_pool2d_with_indices _adaptive_avg_pool2d adaptive_max_pool2d",
    "concat": "cat stack",
    "softmax": "_softmax _log_softmax _safe_softmax",
    "embedding": "embedding gather",
    # These move or convert data, and runtimes mostly remove them.
    "none": "clone _to_copy copy _unsafe_view _reshape_copy _reshape_alias lift_fresh detach alias fill zero new_zeros "
    "new_ones new_full new_empty new_empty_strided zeros_like ones_like full_like empty_like empty_strided",
}
_KINDS = {operator: kind for kind, operators in _OPERATORS_BY_KIND.items() for operator in operators.split()}
_LEFT_FACTOR = {"linear": 0, "mm": 0, "mv": 0, "bmm": 0, "addmm": 1, "baddbmm": 1}  # index among the arguments
_RETURNED: WeakValueDictionary[int, torch.Tensor] = WeakValueDictionary()
"""The parameters of all modules that were built in this process and are still alive, by identity."""
_WHOLE = frozenset({torch.ops.aten.linear.default, torch.ops.aten.scaled_dot_product_attention.default})


def trace_layers(module: torch.nn.Module, signature: Signature) -> tuple[Layer, ...]:
    """Return the layers of ``module`` in the order in which it runs them on one item.

    A copy runs once, in eval mode, on meta tensors, which hold no data. ``module`` and the random state stay unchanged.
    A ``forward`` that needs data runs on the CPU instead.

    Fused attention is one layer with the multiply-accumulates of both products. A batch norm directly after a
    convolution is folded into it. A parameter counts once, in the first layer that uses it, and only if it is trained.

    Raises:
        CandidateError: of kind build; ``forward`` raises, or does not return one tensor of the output's shape.
    """
    return trace(module, signature)[0]


def trace(module: torch.nn.Module, signature: Signature) -> tuple[tuple[Layer, ...], tuple[str, ...]]:
    """Return the layers, as ``trace_layers`` does, and all operators with the settings that layers leave out.

    Raises:
        CandidateError: as for ``trace_layers``.
    """
    try:
        with own_code():
            output, recorder = _run(module, signature, "meta")
    except Exception:
        try:
            with own_code():
                output, recorder = _run(module, signature, "cpu")
        except Exception as error:
            raise CandidateError("build", f"forward raised {raised_text(error)}") from error
    got = tuple(output.shape) if isinstance(output, torch.Tensor) else f"a {type(output).__name__}"
    if got != (1, *signature.output):
        raise CandidateError("build", f"build must return a module that maps {signature.wanted()}, but it gave {got}.")
    return tuple(recorder.layers), tuple(recorder.operators)


def zero_inputs(inputs: Sequence[TensorType], batch: int, device: str = "cpu") -> tuple[torch.Tensor, ...]:
    """Return inputs of zeros for ``batch`` items, one tensor for each of ``inputs``."""
    return tuple(torch.zeros((batch, *each.shape), dtype=getattr(torch, each.dtype), device=device) for each in inputs)


def random_inputs(inputs: Sequence[TensorType], batch: int) -> tuple[torch.Tensor, ...]:
    """Return random inputs for ``batch`` items: normal numbers, or whole numbers below their counts.

    They are drawn from torch's global random state.
    """
    return tuple(
        (torch.rand((batch, *each.shape)) * torch.tensor(each.counts)).long()
        if each.counts
        else torch.randn((batch, *each.shape))
        for each in inputs
    )


def layers_of(space: SearchSpace, architecture: Architecture, signature: Signature) -> tuple[Layer, ...]:
    """Return the layers that the space gives; without its ``layers`` method, trace the module that it builds.

    ``signature`` is that of the data; an architecture may have inputs of its own.

    Raises:
        CandidateError: of kind build; as for ``build_checked``, ``trace_layers`` and ``signature_of``.
    """
    if isinstance(space, HasLayers):
        return _given_layers(space, architecture)
    signature = signature_of(space, architecture, signature)
    with in_turn(), torch.random.fork_rng(devices=[]):
        try:  # on meta no weights are drawn: a ViT of 15 M parameters takes 0.1 s instead of 0.5 s
            with torch.device("meta"):
                module = build_checked(space, architecture, signature)
            return trace_layers(module, signature)
        except CandidateError:
            return trace_layers(build_checked(space, architecture, signature), signature)


def describer_of(space: SearchSpace, signature: Signature) -> Describer:
    """Return the describer that turns architectures of this space into arrays for predictors."""
    return Describer(space, lambda architecture: layers_of(space, architecture, signature))


def build_checked(
    space: SearchSpace, architecture: Architecture, signature: Signature, *, fresh: bool = True
) -> torch.nn.Module:
    """Return the module that ``space`` builds; ``trace_layers`` checks its shapes.

    With ``fresh``, no parameter of it may be one that an earlier build returned.

    Raises:
        CandidateError: of kind build; ``build`` raises, or does not return a new torch module.
    """
    try:
        with own_code():
            module: object = space.build(architecture)
    except Exception as error:
        raise CandidateError("build", f"build raised {raised_text(error)}") from error
    if not isinstance(module, torch.nn.Module):
        raise CandidateError(
            "build",
            f"build must return a torch.nn.Module that maps {signature.wanted()}, but it gave "
            f"a {type(module).__name__}.",
        )
    if fresh:
        _note_returned(module)
    return module


def check_fits(space: SearchSpace, name: str, signature: Signature) -> None:
    """Check that the smallest architecture of a space that comes with the project is a model of ``signature``.

    Raises:
        SpaceError: it is none. The message names the inputs with their shapes.
    """
    smallest = ends(space)[0]
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            module = build_checked(space, smallest, signature)
        trace_layers(module, signature_of(space, smallest, signature))
    except CandidateError as error:
        raise SpaceError(
            f"the search space {name!r} must build models of {signature}, as the data need, but its smallest one "
            f"fails: {error.reason}."
        ) from error


def _note_returned(module: torch.nn.Module) -> None:
    """Take note of the parameters of a module that ``build`` returned.

    Raises:
        CandidateError: of kind build; an earlier build returned one of them, so that it may be trained already.
    """
    parameters = dict(module.named_parameters())
    for name, parameter in parameters.items():
        if _RETURNED.get(id(parameter)) is parameter:
            raise CandidateError(
                "build",
                f"build must return a new module each time, but an earlier build returned {name!r} already. "
                "Make every layer inside build.",
            )
    for parameter in parameters.values():
        _RETURNED[id(parameter)] = parameter


def load_weights(module: torch.nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    """Load weights into a module that was built anew.

    Raises:
        CandidateError: of kind build; they belong to another network.
    """
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        text = " ".join(str(error).split())
        raise CandidateError(
            "build", f"build must return the same network each time, but trained weights do not fit it: {text:.300}"
        ) from error


def _given_layers(space: HasLayers, architecture: Architecture) -> tuple[Layer, ...]:
    """Return what the space's own ``layers`` gives, checked. A space that knows numbers instead may have none."""
    try:
        with own_code():
            layers = tuple(space.layers(architecture))
    except Exception as error:
        raise CandidateError("build", f"layers raised {raised_text(error)}") from error
    strange = [layer for layer in layers if not isinstance(layer, Layer)]
    if strange or not (layers or isinstance(space, HasNumbers)):
        got = f"{strange[0]!r:.80}" if strange else "none"
        raise CandidateError("build", f"layers must return at least one layer, each a nas.Layer, but got {got}.")
    return layers


def _run(module: torch.nn.Module, signature: Signature, device: str) -> tuple[object, _Recorder]:
    with in_turn(), torch.random.fork_rng(devices=[]):
        copied = copy.deepcopy(module).to(device).eval()
        # In inference mode composite operators reach the recorder whole, as in torch.utils.flop_counter.
        with torch.inference_mode():
            inputs = zero_inputs(signature.inputs, 1, device)
            recorder = _Recorder(copied, inputs)
            fast_path = torch.backends.mha.get_fastpath_enabled()
            torch.backends.mha.set_fastpath_enabled(False)  # the fast path runs a transformer block as one operator
            try:
                with recorder:
                    output: object = copied(*inputs)
            finally:
                torch.backends.mha.set_fastpath_enabled(fast_path)
    return output, recorder


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records a layer for each operator whose inputs depend on those of the module.

    Tensors are distinguished by identity, so all of them are kept alive until the end of the run. A tensor computed
    from parameters alone, such as a transposed weight, stands for those parameters.
    """

    def __init__(self, module: torch.nn.Module, inputs: Sequence[torch.Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.layers: list[Layer] = []
        self.operators: list[str] = []
        self._input_side = {id(each) for each in inputs}
        self._written: set[int] = set()  # memory into which data from the inputs was written, perhaps through a view
        self._parameters = {id(p): {id(p): p.numel()} for p in module.parameters() if p.requires_grad}
        self._counted: set[int] = set()
        self._convolution_of: dict[int, int] = {}  # a convolution's output -> index in layers
        self._alive: list[Any] = [*inputs, module]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func not in _WHOLE and func._can_decompose():
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        result = func(*args, **kwargs)
        self.operators.append(f"{func} {_settings(args)} {_settings(kwargs)}")
        inputs = list(_tensors((args, kwargs)))
        outputs = list(_tensors(result))
        self._alive += [inputs, outputs]
        if any(map(self._is_input_side, inputs)):
            self._input_side.update(id(tensor) for tensor in outputs)
            if func._schema.is_mutable:
                self._written.update(memory for tensor in outputs if (memory := _memory(tensor)) is not None)
            self._record(func, args, inputs, outputs)
        else:
            sources = self._sources(inputs)
            for tensor in outputs:
                self._parameters[id(tensor)] = sources
        return result

    def _record(self, func: Any, args: Any, inputs: list[torch.Tensor], outputs: list[torch.Tensor]) -> None:
        name = func._schema.name.removeprefix("aten::").removesuffix("_")
        kind = _KINDS.get(name, "other")
        if func.is_view or kind == "none" or not outputs:
            return
        images = [tensor for tensor in inputs if self._is_input_side(tensor)]
        image, output = max(images, key=lambda tensor: tensor.numel()), outputs[0]
        sources = self._sources(inputs)
        params = sum(size for key, size in sources.items() if key not in self._counted)
        self._counted.update(sources)
        place = self._convolution_of.get(id(image))
        self._convolution_of.pop(id(output), None)  # once changed in place, it is no longer a convolution's output
        if "batch_norm" in name and place is not None:
            layer = self.layers[place]
            self.layers[place] = dataclasses.replace(layer, params=layer.params + params)
            return
        details: dict[str, Any] = {}
        if name == "convolution":
            kind, details = _convolution(args, output)
            self._convolution_of[id(output)] = len(self.layers)
        elif name in _LEFT_FACTOR:
            details = {"macs": output.numel() * args[_LEFT_FACTOR[name]].shape[-1]}
            if name != "linear":
                kind = "linear" if sources else "matmul"
        elif "scaled_dot_product" in name:
            kind, details = "attention", {"macs": _attention_macs(args[0], args[1], args[2])}
        elif name in ("avg_pool2d", "max_pool2d_with_indices"):
            details = _window(args)
        self.layers.append(Layer(kind, _shape(image), _shape(output), params=params, **details))

    def _is_input_side(self, tensor: torch.Tensor) -> bool:
        return id(tensor) in self._input_side or (bool(self._written) and _memory(tensor) in self._written)

    def _sources(self, tensors: list[torch.Tensor]) -> dict[int, int]:
        return {key: size for tensor in tensors for key, size in self._parameters.get(id(tensor), {}).items()}


def _memory(tensor: torch.Tensor) -> int | None:
    """Return an identifier of the memory that a tensor shares with its views, or None if it is not strided."""
    return int(tensor.untyped_storage()._cdata) if tensor.layout is torch.strided else None


def _convolution(args: Any, output: torch.Tensor) -> tuple[str, dict[str, Any]]:
    image, weight, _, stride, _, _, transposed, _, groups = args
    depthwise = groups > 1 and groups == image.shape[1]
    macs = (image if transposed else output).numel() * math.prod(weight.shape[1:])
    details = {"macs": macs, "kernel": max(weight.shape[2:]), "stride": max(stride), "groups": groups}
    return "depthwise_conv" if depthwise else "conv", details


def _attention_macs(queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> int:
    """Return those of queries × keys and of the result × values; shapes (…, heads, tokens, width)."""
    rows = queries.shape[:-1].numel()
    return int(rows * keys.shape[-2] * (queries.shape[-1] + values.shape[-1]))


def _window(args: Any) -> dict[str, Any]:
    kernel = args[1]
    stride = args[2] if len(args) > 2 and args[2] else kernel
    return {"kernel": max(kernel), "stride": max(stride)}


def _shape(tensor: torch.Tensor) -> tuple[int, ...]:
    """Return the shape without the batch dimension, which has size 1."""
    shape = tuple(tensor.shape)
    return shape[1:] if shape and shape[0] == 1 else shape


def _settings(value: object) -> object:
    """Return an argument of an operator as its numbers, words and types, with a tensor as its shape."""
    if isinstance(value, torch.Tensor):
        return tuple(value.shape)
    if isinstance(value, list | tuple):
        return [_settings(each) for each in value]
    if isinstance(value, dict):
        return {key: _settings(each) for key, each in value.items()}
    return value if isinstance(value, bool | int | float | str | torch.dtype) else None


def _tensors(value: object) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        yield from _tensors(tuple(value.values()))

"""The parent: a trained model that a name or an object stands for, made to take the data's inputs and classes."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from nas.errors import RecipeError, did_you_mean, raised_text
from nas.space.own_code import own_code
from nas.space.plug_ins import load_plug_in, parameters_of
from nas.space.signature import Signature, image_signature
from nas.space.tracing import zero_inputs
from search_spaces.shrinking.weight_files import class_count, load_checked, named_alike, read_weights, run_that_left
from search_spaces.timm_descriptions import LAST, STAGES, scaling_of
from search_spaces.timm_stages import WithStages, with_stages
from search_spaces.weight_matching import flaw_of, mismatches

TIMM = "timm:"
PRETRAINED = "pretrained"
"""In the place of a file: the weights that timm offers for its model, from its hub."""
PICTURES = "images"
"""The name of the input of models of pictures, which a task can prepare in several ways."""
OF_WINNER = "stages of a winner"
"""What the head of a winner sees, which is built without the weights that tell if the search made a new one."""
MAY_HAVE_SEEN = (
    "the parent knows the classes of the data already: if it has learned any of their test items, all test errors look "
    "better than they are. Then keep items for the test that it has not seen, as in a folder named test."
)
MAY_HAVE_LEARNED = (
    "an earlier run tuned the parent on {data}: if it has learned any items that test now, all test errors look better "
    "than they are."
)
CLASS_WORDS = ("num_classes", "classes")
UNTRAINED = ("timm", "torchvision")
"""Libraries whose functions draw weights at random unless they are asked for others."""


@dataclass(frozen=True)
class Parent:
    """A trained model.

    Attributes:
        name: what it is called.
        module: the model, on the CPU.
        untuned: in words, why it must first be tuned on the data; empty if it need not.
        scaling: the mean and the standard deviation of pictures that it was trained with, or all of the preparation
            that an earlier run gave it; empty if they are unknown.
        tuned_on: the fingerprint of the data on which an earlier run tuned it; empty if it comes from elsewhere.
        is_of_run: True if an earlier run left it, which also tells its preparation.
        notes: sentences on how its weights were loaded.
    """

    name: str
    module: nn.Module
    untuned: tuple[str, ...] = ()
    scaling: Mapping[str, Any] = field(default_factory=dict)
    tuned_on: str = ""
    notes: tuple[str, ...] = ()
    is_of_run: bool = False

    @property
    def features(self) -> str:
        """What the head sees: the ``last`` features, or also the means of all ``stages``."""
        return STAGES if isinstance(self.module, WithStages) else LAST


def parent_of(given: str | nn.Module, weights: str | None, signature: Signature, features: str = LAST) -> Parent:
    """Return the parent that ``given`` stands for, on the CPU, as a model of ``signature``.

    ``given`` is a module, ``module:function`` that returns one, or ``timm:NAME``. Another number of classes gets a new
    head, and another number of input channels the sum of the first layer's weights, or copies of them. Where
    ``features`` are ``stages``, the new head of a model of timm's sees the means of all stages too.

    Raises:
        RecipeError: it cannot be found or made, the weights are not its own, or it takes other inputs.
    """
    reasons: list[str] = []
    notes: tuple[str, ...] = ()
    name = given if isinstance(given, str) else type(given).__qualname__
    run = None if weights in (None, PRETRAINED) else run_that_left(str(weights))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # new weights are the same in every process
        module = None if run is None else _as_in_its_run(given, name, str(weights), signature)
        if module is not None:
            assert run is not None
            notes = (f"the parent is the one that an earlier run used on {run.data}: {weights}.",)
            return replace(_parent(name, module, [], run.preparation, notes, run.fingerprint), is_of_run=True)
        if isinstance(given, nn.Module):
            module = _on_cpu(_copied(given, name), name)
            if weights is not None:
                module, notes = _loaded(module, given, weights, signature)
        else:
            module, notes = _named(given, weights, signature)
            if weights is None and (given.startswith(TIMM) or given.partition(".")[0].partition(":")[0] in UNTRAINED):
                reasons.append(f"{given} comes without weights")
        reasons += _fit_channels(module, signature)
        new_head = _fit_classes(module, name, signature)
        reasons += new_head
        if features == OF_WINNER or (new_head and features == STAGES):
            module = with_stages(module, signature.inputs[0].shape, signature.classes) or module
    if run is not None:
        notes = (*notes, MAY_HAVE_LEARNED.format(data=run.data))
        return replace(_parent(name, module, reasons, run.preparation, notes), is_of_run=True)
    notes = notes if reasons else (*notes, MAY_HAVE_SEEN)
    is_timm_s = isinstance(given, str) and given.startswith(TIMM) and weights is not None
    body = module.body if isinstance(module, WithStages) else module
    return _parent(name, module, reasons, _scaling(body, signature) if is_timm_s else {}, notes)


def _parent(
    name: str,
    module: nn.Module,
    reasons: Sequence[str],
    scaling: Mapping[str, Any],
    notes: tuple[str, ...],
    tuned_on: str = "",
) -> Parent:
    """Return the parent. Raises RecipeError for weights that no trained model has, such as NaN."""
    flaws = ((key, flaw) for key, tensor in module.state_dict().items() if (flaw := flaw_of(key, tensor)))
    for key, flaw in flaws:
        raise RecipeError(f"a parent must be a model that was trained well, but of {name}, {key} {flaw}. Load others.")
    # Layers that were frozen when the parent was trained must adapt to what is removed.
    for parameter in module.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    return Parent(name, module.eval(), tuple(reasons), scaling, tuned_on, notes)


def _as_in_its_run(given: str | nn.Module, name: str, weights: str, signature: Signature) -> nn.Module | None:
    """Return the parent that an earlier run left, fitted to the data as there; None if these have other shapes."""
    module = _on_cpu(_copied(given, name), name) if isinstance(given, nn.Module) else _made(given, {})
    held = read_weights(weights, module.state_dict())
    _fit_channels(module, signature)
    _fit_classes(module, name, signature)
    if mismatches(module.state_dict(), held):
        module = with_stages(module, signature.inputs[0].shape, signature.classes) or module
    if mismatches(module.state_dict(), held):
        return None
    load_checked(module, held, name, weights)
    return module


def _scaling(module: nn.Module, signature: Signature) -> dict[str, Any]:
    """Return the scaling that timm's configuration of a model tells."""
    config: Any = getattr(module, "pretrained_cfg", None) or {}
    return scaling_of(config, signature.inputs[0].shape[0]) if config.get("mean") and config.get("std") else {}


def _copied(module: nn.Module, name: str) -> nn.Module:
    try:
        return copy.deepcopy(module)
    except Exception as error:  # torch's older weight_norm, for example, leaves tensors that cannot be copied
        raise RecipeError(
            f"a parent must be a module that can be copied, but {name} raised {raised_text(error)}. Remove what cannot "
            "be copied, such as by torch.nn.utils.remove_weight_norm, or name a function that makes the module."
        ) from error


def _named(given: str, weights: str | None, signature: Signature) -> tuple[nn.Module, tuple[str, ...]]:
    """Return the module that a name stands for, with the weights of a file if there is one, and notes on these."""
    wants_hub = weights == PRETRAINED
    if wants_hub and not given.startswith(TIMM):
        raise RecipeError(
            f"weights={PRETRAINED!r} are those that timm offers, for a parent such as timm:resnet18, but got {given!r}."
            " Give a file, or a function that loads its own weights."
        )
    if weights is None or wants_hub:
        return _made(given, {"pretrained": True} if wants_hub else {}), ()
    return _loaded(_made(given, {}), given, weights, signature)


def _loaded(
    module: nn.Module, given: str | nn.Module, weights: str, signature: Signature
) -> tuple[nn.Module, tuple[str, ...]]:
    """Return a module with the weights of a file, and notes on these.

    It is made anew if they have another number of classes and its name takes one, or if their head sees all stages.
    """
    name = given if isinstance(given, str) else type(given).__qualname__
    held = read_weights(weights, module.state_dict())
    notes: tuple[str, ...] = ()
    staged = _with_stages_of(module, held, signature)
    if staged is None:
        held, notes = named_alike(module, held, name, weights)
        count = class_count(module, held)
        words = _words(given) if isinstance(given, str) else {}
        word = next((word for word in CLASS_WORDS if word in words), None)
        if isinstance(given, str) and count is not None and word is not None:
            module = _made(given, {word: count})
    module = module if staged is None else staged
    load_checked(module, held, name, weights)
    return module, notes


def _with_stages_of(module: nn.Module, held: Mapping[str, torch.Tensor], signature: Signature) -> WithStages | None:
    """Return a model of timm as an earlier run left it, with a head that sees all stages; None if it left no such one.

    That run may have had other classes and other channels.
    """
    first = next((f"body.{name}.weight" for name, each in module.named_modules() if isinstance(each, nn.Conv2d)), "")
    shape = signature.inputs[0].shape
    if not {first, "head.weight"} <= held.keys() or len(shape) != 3:
        return None
    theirs = image_signature((held[first].shape[1], *shape[1:]), len(held["head.weight"]))
    changed = copy.deepcopy(module)
    _fit_channels(changed, theirs)
    staged = with_stages(changed, theirs.inputs[0].shape, theirs.classes)
    return None if staged is None or mismatches(staged.state_dict(), held) else staged


def _words(given: str) -> Mapping[str, inspect.Parameter]:
    """Return what the parent's function takes; timm's models and torchvision's take more than they name."""
    if given.startswith(TIMM):
        return {"num_classes": inspect.Parameter("num_classes", inspect.Parameter.KEYWORD_ONLY)}
    found = parameters_of(_function(given)) or {}
    if given.startswith("torchvision"):
        return {**found, "num_classes": inspect.Parameter("num_classes", inspect.Parameter.KEYWORD_ONLY)}
    return found


def _function(given: str) -> Any:
    function: Any = load_plug_in("nas.parents", given, "parent") if ":" in given else None
    if function is None or not callable(function):
        raise RecipeError(
            f"a parent is a function that returns a torch module, named my_module:make_model, or a model of timm's, "
            f"named timm:resnet18, but got {given!r}."
        )
    return function


def _made(given: str, arguments: Mapping[str, Any]) -> nn.Module:
    if given.startswith(TIMM):
        return _of_timm(given.removeprefix(TIMM), arguments)
    function = _function(given)
    try:
        with own_code():
            module = function(**arguments)
    except Exception as error:
        raise RecipeError(f"the parent {given} cannot be made: {raised_text(error)}.{_about_gpus(error)}") from error
    if not isinstance(module, nn.Module):
        raise RecipeError(f"a parent must be a torch module, but {given} returned a {type(module).__name__}.")
    return _on_cpu(module, given)


def _of_timm(name: str, arguments: Mapping[str, Any]) -> nn.Module:
    import timm

    if not timm.is_model(name.partition(".")[0]):
        raise RecipeError(f"timm has no model {name!r}. {did_you_mean(name, timm.list_models())}")
    try:
        module: nn.Module = timm.create_model(name, **arguments)
    except Exception as error:  # the hub cannot be reached, or has no weights
        raise RecipeError(
            f"timm's model {name!r} cannot be made: {raised_text(error):.300}. Without a network, give its weights as "
            "a file of safetensors."
        ) from error
    return module


def _on_cpu(module: nn.Module, name: str) -> nn.Module:
    try:
        return module.to("cpu")
    except RuntimeError as error:  # also its subclass that torch raises for a module whose weights are on "meta"
        raise RecipeError(
            f"a parent must run on the CPU, but {name} cannot move there: {raised_text(error)}."
        ) from error


def _about_gpus(error: BaseException) -> str:
    is_gpu = "cuda" in str(error).lower() or "nvidia" in str(error).lower()
    return " A parent must also work on the CPU: leave calls such as .cuda() out." if is_gpu else ""


def _fit_channels(module: nn.Module, signature: Signature) -> list[str]:
    """Let the first convolution take the data's channels, unless the model does as it is. Return in words what changed.

    One that divides pictures into patches first has a convolution of more channels, but takes the data.
    """
    shape = signature.inputs[0].shape
    first = next((m for m in module.modules() if isinstance(m, nn.Conv1d | nn.Conv2d | nn.Conv3d)), None)
    if len(signature.inputs) > 1 or len(shape) < 2 or first is None or first.groups > 1:
        return []
    wanted, has = shape[0], first.in_channels
    if wanted == has or _takes(module, signature):
        return []
    weight = first.weight.detach()
    total = weight.sum(dim=1, keepdim=True)
    # A grey picture in each of three channels gives the same as the sum of their weights.
    fitted = total if wanted == 1 else total.expand(-1, wanted, *weight.shape[2:]) / wanted
    first.in_channels = wanted
    first.weight = nn.Parameter(fitted.clone())
    return [f"its first layer takes {has} channels and the data have {wanted}, so its weights are summed up"]


def _takes(module: nn.Module, signature: Signature) -> bool:
    try:
        with own_code(), torch.no_grad():
            module.eval()(*zero_inputs(signature.inputs, 1))
    except Exception:  # whatever a user's code raises, it does not take them
        return False
    return True


def _fit_classes(module: nn.Module, name: str, signature: Signature) -> list[str]:
    """Give the model the data's number of outputs. Return in words what was changed."""
    try:
        with own_code(), torch.no_grad():
            output: object = module.eval()(*zero_inputs(signature.inputs, 1))
    except Exception as error:
        sized = " Of pictures, --set data.image_size sets another size." if signature.inputs[0].name == PICTURES else ""
        raise RecipeError(
            f"a parent must take {', '.join(map(str, signature.inputs))}, as the data have, but {name} raised "
            f"{raised_text(error)}.{_about_gpus(error) or sized}"
        ) from error
    if not isinstance(output, torch.Tensor) or output.ndim != len(signature.output) + 1:
        got = tuple(output.shape) if isinstance(output, torch.Tensor) else f"a {type(output).__name__}"
        raise RecipeError(f"a parent must map {signature.wanted()}, but {name} gave {got}.")
    has, wanted = int(output.shape[-1]), signature.classes
    if has == wanted:
        return []
    _replace_head(module, name, has, wanted)
    return [f"it has {has:,} outputs and the data have {wanted:,} classes, so its head is new"]


def _replace_head(module: nn.Module, name: str, has: int, wanted: int) -> None:
    heads = [
        (path, layer)
        for path, layer in module.named_modules()
        if (isinstance(layer, nn.Linear) and layer.out_features == has)
        or (isinstance(layer, nn.Conv2d) and layer.out_channels == has and layer.groups == 1)
    ]
    if not heads:
        raise RecipeError(
            f"a parent must have as many outputs as the data have classes, {wanted}, but {name} has {has}, and no last "
            "layer that could be replaced. Give it the right number of outputs."
        )
    path, layer = heads[-1]
    fresh = copy.deepcopy(layer)
    setattr(fresh, "out_features" if isinstance(layer, nn.Linear) else "out_channels", wanted)
    fresh.weight = nn.Parameter(layer.weight.new_empty(wanted, *layer.weight.shape[1:]))
    if layer.bias is not None:
        fresh.bias = nn.Parameter(layer.bias.new_empty(wanted))
    fresh.reset_parameters()
    owner, _, last = path.rpartition(".")
    setattr(module.get_submodule(owner), last, fresh)
    if hasattr(module, "num_classes"):
        setattr(module, "num_classes", wanted)  # noqa: B010 an attribute of which torch's stubs know nothing

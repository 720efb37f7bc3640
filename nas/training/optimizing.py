"""The optimizer and its schedule: torch's fused AdamW with a cosine, or any of timm's; and which weights they tune.

timm takes five seconds and 120 MB to import, which a search of small models would notice in every worker. So it is
imported only where a recipe asks for more than the defaults.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, final

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from nas.errors import RecipeError, did_you_mean
from nas.space.eager_adamw import EagerAdamW
from nas.training.settings import TrainingSettings

MOST_DECAYED = 12
"""The learning rate falls over at most this number of groups of layers, as in timm for models without groups."""
SCHEDULES = ("cosine", "linear", "constant")
ALL, LAST, HEAD, NORMS = "all", "last", "head", "norms"
LAST_SHARE = 4
"""Of stages, or of layers where there are none, the last one in this number makes the last stage."""


def check_optimizer(name: str) -> None:
    """Check that timm or torch has an optimizer of this name. Raises RecipeError if not."""
    if name == "adamw":
        return
    from timm.optim import list_optimizers  # type: ignore[attr-defined]

    # AdaHessian needs second derivatives; the others need packages or GPUs of their own.
    known = [str(each) for each in list_optimizers(exclude_filters=["bnb*", "fused*", "adahessian"])]
    if name not in known:
        raise RecipeError(
            f"training.optimizer must be one of timm's, but got {name!r}. {did_you_mean(name, known)} "
            "Usual ones are adamw, sgd, nadamw, lion, lamb and rmsprop."
        )


def make_optimizer(module: torch.nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    """Return the optimizer of the weights that require gradients. Only weights decay: vectors, such as biases, do not.

    AdamW is torch's fused one: on a small ``mobilenet`` its step takes 0.5 ms instead of 4.4 ms.
    """
    groups = (
        parameter_groups(module, settings.weight_decay)
        if settings.layer_decay == 1
        else decayed_groups(module, settings.weight_decay, settings.layer_decay)
    )
    groups = [group for group in groups if group["params"]]
    if settings.optimizer == "adamw":
        single = all(p.dtype in (torch.float32, torch.float64) for group in groups for p in group["params"])
        optimizer: torch.optim.Optimizer = EagerAdamW(groups, lr=settings.learning_rate, fused=single or None)
    else:
        from timm.optim import create_optimizer_v2  # type: ignore[attr-defined]

        optimizer = create_optimizer_v2(groups, opt=settings.optimizer, lr=settings.learning_rate, weight_decay=0.0)
    for group in optimizer.param_groups:
        group["peak"] = settings.learning_rate * group.get("lr_scale", 1.0)
    return optimizer


def restore_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load the state of an optimizer that was kept. Raises ValueError if it belongs to another one.

    Tensors in the shape of their parameter get its layout: fused steps pair elements by their place in memory, and a
    file has lost the channels-last layout.
    """
    optimizer.load_state_dict(state)
    for parameter, held in optimizer.state.items():
        for name, value in held.items():
            if isinstance(value, torch.Tensor) and value.shape == parameter.shape:
                held[name] = torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)


def parameter_groups(module: torch.nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Return the optimizer's groups: weights decay; vectors, such as biases and normalisation scales, do not."""
    return _by_decay((p for p in module.parameters() if p.requires_grad), weight_decay)


def decayed_groups(module: torch.nn.Module, weight_decay: float, layer_decay: float) -> list[dict[str, Any]]:
    """Return the same by groups of layers: the learning rate of each is ``layer_decay`` times that of the next one.

    timm's models say which layers belong together. In others, the layers in the order of their definition make at most
    ``MOST_DECAYED`` groups of similar size. Following Clark et al., "ELECTRA" (2020), and Bao et al., "BEiT" (2022).
    """
    if hasattr(module, "group_matcher"):
        from timm.optim import param_groups_layer_decay  # type: ignore[attr-defined]

        found: list[dict[str, Any]] = param_groups_layer_decay(module, weight_decay, layer_decay=layer_decay)
        return found
    layers = layers_with_weights(module)
    count = min(MOST_DECAYED, len(layers))
    numbers = {
        id(p): place * count // len(layers)
        for place, layer in enumerate(layers)
        for p in layer.parameters(recurse=False)
    }
    groups: list[dict[str, Any]] = []
    for number in range(count):
        mine = [p for p in module.parameters() if p.requires_grad and numbers[id(p)] == number]
        scale = layer_decay ** (count - 1 - number)
        groups += [{**group, "lr_scale": scale} for group in _by_decay(mine, weight_decay)]
    return groups


def _by_decay(parameters: Iterable[torch.nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    known = list(parameters)
    matrices = [p for p in known if p.ndim > 1]
    vectors = [p for p in known if p.ndim <= 1]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]


def layers_with_weights(module: torch.nn.Module) -> list[torch.nn.Module]:
    """Return the parts of a module that hold parameters themselves, in the order of their definition."""
    return [part for part in module.modules() if next(part.parameters(recurse=False), None) is not None]


# Which weights are tuned


def head_layer_of(module: torch.nn.Module) -> torch.nn.Module:
    """Return the last layer with weights; of timm's models, their classifier; the module itself if there is none."""
    if callable(getattr(module, "get_classifier", None)):
        classifier = module.get_classifier()  # type: ignore[operator]
        if isinstance(classifier, torch.nn.Module) and next(classifier.parameters(), None) is not None:
            return classifier
    matrices = [
        layer for layer in layers_with_weights(module) if any(p.ndim > 1 for p in layer.parameters(recurse=False))
    ]
    return matrices[-1] if matrices else module


def head_of(module: torch.nn.Module) -> list[torch.nn.Parameter]:
    """Return the parameters of the last layer with weights; of timm's models, those of their classifier."""
    head = head_layer_of(module)
    is_timm_s = callable(getattr(module, "get_classifier", None))
    return list(head.parameters()) if is_timm_s or head is module else list(head.parameters(recurse=False))


def last_of(module: torch.nn.Module) -> list[torch.nn.Parameter]:
    """Return the parameters of the last stage, and of the head; without stages, those of the last layers.

    timm's models say which layers make a stage. Where stages are single blocks, several of them make the last one.
    Norms behind a stage belong to it.
    """
    head = head_of(module)
    heads = {id(p) for p in head}
    known = dict(module.named_parameters())
    if hasattr(module, "group_matcher"):
        from timm.models import group_parameters

        grouped = group_parameters(module, module.group_matcher(coarse=True))  # type: ignore[operator]
        stages = [[known[name] for name in grouped[key]] for key in sorted(grouped)]
    else:
        stages = [list(layer.parameters(recurse=False)) for layer in layers_with_weights(module)]
    stages = [rest for stage in stages if (rest := [p for p in stage if id(p) not in heads])]
    for place in range(len(stages) - 1, 0, -1):
        if all(p.ndim <= 1 for p in stages[place]):
            stages[place - 1] += stages.pop(place)
    last = stages[len(stages) - max(1, len(stages) // LAST_SHARE) :]
    return [*(p for stage in last for p in stage), *head]


def tuned(module: torch.nn.Module, tune: str) -> list[torch.nn.Parameter]:
    """Return the parameters that ``tune`` names: all, the last stage, the head, norms with the head, or by names.

    Names are those of ``named_parameters``, or their beginnings up to a dot, with commas between them.

    Raises:
        RecipeError: the module has no such parameter.
    """
    if tune == ALL:
        return list(module.parameters())
    head = head_of(module)
    if tune == HEAD:
        return head
    if tune == LAST:
        return last_of(module)
    if tune == NORMS:
        return list(dict.fromkeys([*(p for p in module.parameters() if p.ndim <= 1), *head]))
    names = [name.strip() for name in tune.split(",") if name.strip()]
    known = dict(module.named_parameters())
    found: dict[torch.nn.Parameter, None] = {}
    for name in names:
        named = [p for full, p in known.items() if full == name or full.startswith(f"{name}.")]
        if not named:
            first = sorted({full.partition(".")[0] for full in known})
            raise RecipeError(
                f"training.tune is {ALL}, {LAST}, {HEAD}, {NORMS}, or names of layers, but this network has no "
                f"{name!r}. Its parts are {', '.join(first)}."
            )
        found |= dict.fromkeys(named)
    return list(found)


@final
class Tuning:
    """Which of a module's parameters change: those that ``tune`` names, and in the first epochs only the head.

    Layers of which no parameter changes keep their statistics, as if they were deployed already. Where
    ``keeps_statistics`` is true, all batch normalisations do: a head that was fitted relies on them.

    Raises:
        RecipeError: the module has no parameters of the names in ``tune``, or only the head is trained at first, and
            ``tune`` leaves it out.
    """

    def __init__(self, module: torch.nn.Module, tune: str, head_epochs: int) -> None:
        self._module = module
        self.keeps_statistics = False
        self._head_epochs = head_epochs
        before = [p for p in module.parameters() if p.requires_grad]
        wanted = {id(p) for p in tuned(module, tune)}
        self.parameters = [p for p in before if id(p) in wanted]
        self._head = {id(p) for p in head_of(module)}
        if head_epochs and self.parameters and not self._head & wanted:
            raise RecipeError(
                f"training.head_epochs trains the head alone at first, but training.tune {tune!r} leaves it out. Name "
                "the head there too, or set head_epochs to 0."
            )
        self._is_partial = head_epochs > 0 or len(self.parameters) < len(before)
        for parameter in before:
            parameter.requires_grad_(id(parameter) in wanted)

    def begin(self, epoch: int) -> None:
        """Make the module ready for an epoch, counted from 1."""
        self._module.train()
        if self.keeps_statistics:
            for layer in self._module.modules():
                if isinstance(layer, _BatchNorm):
                    layer.training = False
        if not self._is_partial:
            return
        only_head = epoch <= self._head_epochs
        for parameter in self.parameters:
            parameter.requires_grad_(not only_head or id(parameter) in self._head)
        for layer in self._module.modules():
            own = list(layer.parameters(recurse=False))
            if own and not any(p.requires_grad for p in own):
                layer.training = False  # of this layer alone: those within it decide for themselves


# The schedule


def factor_of(name: str, warm_up: float) -> Callable[[int, int], float]:
    """Return the function from a step and the number of steps to the factor of the learning rate."""
    shapes: Mapping[str, Callable[[float], float]] = {
        "cosine": lambda done: 0.5 * (1 + math.cos(math.pi * done)),
        "linear": lambda done: 1 - done,
        "constant": lambda done: 1.0,
    }
    shape = shapes[name]

    def factor(step: int, steps: int) -> float:
        warming = max(1, round(warm_up * steps))
        if step < warming:
            return (step + 1) / warming
        return shape((step - warming) / max(1, steps - warming))

    return factor


def set_rates(groups: Sequence[dict[str, Any]], factor: float) -> None:
    """Set the learning rate of each group to this factor of its peak."""
    for group in groups:
        group["lr"] = group["peak"] * factor

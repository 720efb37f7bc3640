"""A trained model made smaller: fewer channels for each stage, and fewer blocks, with weights that are inherited."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from nas.errors import CandidateError, RecipeError, raised_text
from nas.space.architecture import Architecture, Choice, Option
from nas.space.layer import Layer
from nas.space.search_space import settle
from nas.space.signature import Signature
from nas.space.tracing import random_inputs, trace_layers
from search_spaces.shrinking.elastic import ElasticParent
from search_spaces.shrinking.importance import importance_by_data, importance_by_weights, most_important
from search_spaces.shrinking.layer_table import LayerTable, layer_table
from search_spaces.shrinking.parents import OF_WINNER, PICTURES, TIMM, Parent, parent_of
from search_spaces.shrinking.plan import IntArray, Plan, plan_of, pruned
from search_spaces.shrinking.weight_files import SCORE, WEIGHT
from search_spaces.timm_descriptions import LAST, STAGES

WIDTHS = (0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)
TRUNKS = (0.5, 0.625, 0.75, 0.875, 1.0)
"""Shares of channels that shortcuts carry. All blocks of a stage need them, so that fewer can go."""
MOST_BLOCK_OPTIONS = 6
FIRST_SHARES = (0.75, 0.5)
"""The same share everywhere: what people try first, and what the sampler learns from."""
FIRST_SIZES = 2
"""The parent itself at so many lower sizes is tried before anything else is: it costs no channel."""
LOWER = "lower"
"""What ``sizes`` may be in the place of sides: some lower ones, at which the parent runs."""
LOWER_SHARES, SIDE_STEP, LEAST_SIDE, LEAST_OWN = (1 / 2, 2 / 3, 5 / 6), 16, 32, 64
"""The lower sides are about these shares of the pictures' own side, in whole steps. Smaller pictures have none."""
MOST_REFUSED = 5
SIZE, FEATURES = "image_size", "features"
SCALED = {"crop", "interpolation"}
PREPARATION = ("mean", "std", *sorted(SCALED))


class Shrunk:
    """A trained model of yours with fewer channels and blocks, which inherits its weights and learns from it.

    ``parent`` is ``module:function`` that returns the model, ``timm:NAME``, or a torch module. ``weights`` is a file of
    its weights. Each stage, at one side of the map, has a share of channels (``width``), a share of those that its
    shortcuts carry (``trunk``), and a number of blocks that have a shortcut (``blocks``). ``sizes`` are lower sides of
    the pictures, in pixels, or "lower" for some of them. With ``features="stages"``, the new head of a model of timm's
    also sees the means of all stages. ``preparation`` tells how pictures were prepared when the parent was trained:
    ``mean`` and ``std`` of each channel on a scale from 0 to 1, ``crop`` and ``interpolation``. Without it, models of
    timm's with weights have timm's mean and deviation, and others those of the data; ``{}`` stands for those of the
    data.

    >>> space = Shrunk(nas.image_signature((3, 32, 32), 10), parent="timm:resnet10t")
    >>> network = space.build(nas.sample(space, np.random.default_rng(0)))

    Raises:
        RecipeError: the parent cannot be made or traced, or nothing of it can be removed.
    """

    @staticmethod
    def code_named(options: Mapping[str, Any]) -> list[str]:
        """Return the names of code that these options let run: a function that returns the parent."""
        parent = options.get("parent")
        return [parent] if isinstance(parent, str) and not parent.startswith(TIMM) else []

    def __init__(
        self,
        signature: Signature,
        parent: str | nn.Module | None = None,
        weights: str | None = None,
        widths: Sequence[float] = WIDTHS,
        trunks: Sequence[float] = TRUNKS,
        sizes: Sequence[int] | str = (),
        preparation: Mapping[str, Any] | None = None,
        features: str = LAST,
    ) -> None:
        if parent is None:
            raise RecipeError(
                "the space shrunk is made of a trained model, but got none. Name one: nas shrink my_module:make_model, "
                "or space.parent in a recipe."
            )
        self._signature = signature
        if features not in (LAST, STAGES, OF_WINNER):
            raise ValueError(f"features must be {LAST!r} or {STAGES!r}, but got {features!r:.80}.")
        found, self._plan = self._planned(parent, weights, features)
        self._module, self._name, self.untuned, self._told = found.module, found.name, found.untuned, found.notes
        self.tuned_on = found.tuned_on
        is_picture = signature.inputs[0].name == PICTURES
        is_known = bool(found.scaling or found.untuned or found.tuned_on)
        self._is_unknown = is_picture and preparation is None and not is_known
        self.preparation_is_guessed = is_picture and preparation is None and not (found.untuned or found.is_of_run)
        usual = found.scaling if is_picture else {}
        self._preparation = self._checked_preparation(usual if preparation is None else preparation)
        if self.tuned_on and not _are_alike(self._preparation, found.scaling):
            self.untuned = (*self.untuned, "it was tuned with another preparation")
        self._sizes, self._left_out = self._usable_sizes(sizes)
        self._tables: dict[int, LayerTable | None] = {}
        if self._table(self._own_size) is not None:
            self.layers = self._layers  # as an attribute, so that a space without it is traced
        self.choices = _choices(self._plan, _shares("widths", widths), _shares("trunks", trunks))
        if len(self._sizes) > 1:
            self.choices = (Choice(SIZE, self._sizes), *self.choices)
        if found.features == STAGES:  # a winner's space is made by it, without the weights that may have a head
            self.choices = (*self.choices, Choice(FEATURES, (STAGES,)))
        if len(self._sizes) > 1 or self._preparation:
            self.inputs = self._inputs

    @staticmethod
    def options_of_winner(options: Mapping[str, Any], choices: Mapping[str, Option]) -> dict[str, Any]:
        """Return the options with which a winner is built: without the parent's weights, for it has its own."""
        kept = {key: value for key, value in options.items() if key not in ("weights", FEATURES)}
        return kept | ({FEATURES: OF_WINNER} if choices.get(FEATURES) == STAGES else {})

    def _planned(self, parent: str | nn.Module, weights: str | None, features: str) -> tuple[Parent, Plan]:
        """Return the parent, and what can be removed. A new head sees no stages if less could be removed then."""
        found = parent_of(parent, weights, self._signature, features)
        is_settled = features != STAGES or found.features != STAGES or bool(found.tuned_on)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            inputs = random_inputs(self._signature.inputs, 1)
        try:
            plan = plan_of(found.module, inputs)
        except Exception as error:
            if not is_settled:
                return self._planned(parent, weights, LAST)
            raise RecipeError(
                "a parent must be a model whose channels torch-pruning can follow from input to output, but "
                f"{found.name} raised {raised_text(error)}."
            ) from error
        if plan.refused and not is_settled:
            plain, other = self._planned(parent, weights, LAST)
            if len(other.groups) + len(other.blocks) > len(plan.groups) + len(plan.blocks):
                return plain, other
        if not plan.groups and not plan.blocks:
            whole = "; ".join(f"{name}, because {why}" for name, why in plan.refused[:MOST_REFUSED])
            raise RecipeError(
                f"a parent must have channels or blocks that can be removed, but {found.name} has none"
                f"{': ' + whole if whole else ''}. Pick another parent, or the space of the task."
            )
        return found, plan

    def build(self, architecture: Architecture) -> nn.Module:
        """Return the structure, with weights that are yet to be inherited."""
        # Which channels are kept changes no shape, so the first ones stand for them.
        kept = {name: np.arange(count) for name, count in self._counts(architecture).items()}
        return pruned(self._module, self._plan.groups, kept, self._dropped(architecture)).train()

    def _layers(self, architecture: Architecture) -> tuple[Layer, ...]:
        size = int(architecture.get(SIZE, self._own_size))
        table = self._table(size)
        if table is None:
            return trace_layers(self.build(architecture), self._at(size))
        return table.layers(self._counts(architecture), self._dropped(architecture))

    def _table(self, size: int) -> LayerTable | None:
        """Return the table of layers at a side, made when it is first asked for: workers need none of lower sides."""
        if size not in self._tables:
            self._tables[size] = layer_table(self._module, self._plan, self._at(size))
        return self._tables[size]

    # The preparation of pictures, and lower resolutions

    def _inputs(self, architecture: Architecture) -> dict[str, Any]:
        """Return the parent's preparation, and the side of the pictures unless they stay as they are."""
        size = int(architecture.get(SIZE, self._own_size))
        is_as_it_is = size == self._own_size and not set(self._preparation) & SCALED
        return {**self._preparation, **({} if is_as_it_is else {SIZE: size})}

    def _checked_preparation(self, given: object) -> dict[str, Any]:
        """Return how pictures are prepared. The task checks the values. Raises ValueError for other keys."""
        if not isinstance(given, Mapping) or not all(key in PREPARATION for key in given):
            known = ", ".join(PREPARATION)
            raise ValueError(f"preparation must be a table with keys among {known}, but got {given!r:.80}.")
        if set(given) & SCALED and not self._are_square:
            raise ValueError(f"crop and interpolation are for square pictures, but the data have {self._signature}.")
        return dict(given)

    @property
    def _are_square(self) -> bool:
        shape = self._signature.inputs[0].shape
        return len(self._signature.inputs) == 1 and len(shape) == 3 and shape[1] == shape[2]

    def _at(self, size: int) -> Signature:
        """Return the signature of models of pictures of this side."""
        (only, *others) = self._signature.inputs
        if size == self._own_size or others:
            return self._signature
        return replace(self._signature, inputs=(replace(only, shape=(only.shape[0], size, size)),))

    @property
    def _own_size(self) -> int:
        return int(self._signature.inputs[0].shape[-1])

    def _usable_sizes(self, sizes: Sequence[int] | str) -> tuple[tuple[int, ...], list[str]]:
        """Return the sides at which the parent runs, its own last, and in words why others are left out.

        Nobody named those that ``LOWER`` stands for, so nothing is said of them.
        """
        if sizes == LOWER:
            usable, _ = self._usable_sizes(self._lower_sizes)
            return usable, []
        own, left_out, found = self._own_size, [], []
        if not isinstance(sizes, list | tuple):
            raise ValueError(f"sizes must be a list, such as [64, 80], but got {sizes!r:.80}.")
        if sizes and not self._are_square:
            raise ValueError(f"sizes are for square pictures, but the data have {self._signature}.")
        for size in sizes:
            if not isinstance(size, int) or not 1 <= size <= own:
                raise ValueError(f"sizes must be smaller than that of the pictures, {own}, but got {size!r:.80}.")
        for size in sorted(set(sizes) - {own}):
            try:
                trace_layers(self._module, self._at(size))
                found.append(size)
            except CandidateError as error:
                left_out.append(f"pictures of {size} pixels are left out, because {error.reason}")
        return (*found, own), left_out

    @property
    def _lower_sizes(self) -> tuple[int, ...]:
        """The lower sides that ``LOWER`` stands for; none for small pictures, and for what is no square picture."""
        own = self._own_size
        if self._signature.inputs[0].name != PICTURES or not self._are_square or own < LEAST_OWN:
            return ()
        sides = {SIDE_STEP * round(share * own / SIDE_STEP) for share in LOWER_SHARES}
        return tuple(sorted(side for side in sides if LEAST_SIDE <= side < own))

    def canonical(self, values: Mapping[str, Option]) -> Mapping[str, Option]:
        """Map architectures that differ only in the widths of blocks that they lack to one of them."""
        found = dict(values)
        dropped = self._dropped(values)
        last = {choice.name: choice.options[-1] for choice in self.choices}
        for stage in self._plan.stages:
            name = f"{stage}.width"
            inner = [group for group in self._plan.groups if group.stage == stage and not group.is_trunk]
            if name in found and all(any(g.name.startswith(f"{block}.") for block in dropped) for g in inner):
                found[name] = last[name]
        return found

    # The parent

    @property
    def parent(self) -> Architecture:
        """The architecture of all channels and blocks."""
        return settle(self, lambda choice: choice.options[-1])

    @property
    def first(self) -> tuple[Architecture, ...]:
        """The parent, the same at the two largest of the lower sizes, and narrower ones with one share everywhere."""

        def narrower(share: float) -> Architecture:
            def pick(choice: Choice) -> Option:
                if choice.name.endswith(".blocks") or choice.name in (SIZE, FEATURES):
                    return choice.options[-1]
                return min(choice.options, key=lambda option: abs(float(option) - share))

            return settle(self, pick)

        def smaller(size: int) -> Architecture:
            return settle(self, lambda choice: size if choice.name == SIZE else choice.options[-1])

        lower = self._sizes[:-1][-FIRST_SIZES:]
        return tuple(dict.fromkeys((self.parent, *map(smaller, reversed(lower)), *map(narrower, FIRST_SHARES))))

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about the parent's weights, layers whose channels must stay, and sizes at which it does not run."""
        refused, unknown = self._plan.refused, [*self._told, *([self._own_scaling()] if self._is_unknown else [])]
        if not refused:
            return (*unknown, *self._left_out)
        shown = "; ".join(f"{name}, because {why}" for name, why in refused[:MOST_REFUSED])
        more = f"; and {len(refused) - MOST_REFUSED} more" if len(refused) > MOST_REFUSED else ""
        return (*unknown, f"layers of {self._name} that keep all their channels: {shown}{more}.", *self._left_out)

    def _own_scaling(self) -> str:
        return (
            f"pictures are scaled by the mean and the standard deviation of the training pictures. If {self._name} was "
            "trained with others, give them: space.preparation={mean = [0.5], std = [0.5]}, a number for each channel."
        )

    def parent_module(self) -> nn.Module:
        """Return the parent with the weights that it came with."""
        return pruned(self._module, (), {})

    def supernet(self) -> ElasticParent:
        """Return the parent, whose weights all architectures share."""
        return ElasticParent(self._module, self._plan, lambda each: (self._counts(each), self._dropped(each)))

    def inheritance(
        self, parent: nn.Module, losses: Iterable[Callable[[nn.Module], torch.Tensor]]
    ) -> dict[str, torch.Tensor]:
        """Return the parent's weights, and the importance of each channel by its losses, or by weights without any."""
        with_data = list(losses)
        groups = self._plan.groups
        scores = importance_by_data(parent, groups, with_data) if with_data else importance_by_weights(parent, groups)
        weights = {f"{WEIGHT}{name}": tensor.detach().clone() for name, tensor in parent.state_dict().items()}
        return weights | {f"{SCORE}{name}": score for name, score in scores.items()}

    def inherit(self, architecture: Architecture, module: nn.Module, inheritance: Mapping[str, torch.Tensor]) -> None:
        """Load the weights of the most important channels into the module of an architecture."""
        whole = self.parent_module()
        whole.load_state_dict(
            {name.removeprefix(WEIGHT): each for name, each in inheritance.items() if name.startswith(WEIGHT)}
        )
        kept: dict[str, IntArray] = {
            name: most_important(inheritance[f"{SCORE}{name}"], count)
            for name, count in self._counts(architecture).items()
        }
        part = pruned(whole, self._plan.groups, kept, self._dropped(architecture))
        module.load_state_dict(part.state_dict())

    def start(self, architecture: Architecture, module: nn.Module) -> None:
        """Load what is inherited from the parent as it came, where nothing was tuned or computed on data."""
        self.inherit(architecture, module, self.inheritance(self.parent_module(), ()))

    def origin(self, architecture: Architecture) -> Mapping[str, str]:
        """Return the model whose weights the smaller forms inherit."""
        return {"model": self._name, "licence": "that of this model and its weights, which is not known here"}

    # What an architecture keeps

    def _counts(self, architecture: Mapping[str, Option]) -> dict[str, int]:
        """Return the number of channels that each group keeps."""
        counts = {}
        for group in self._plan.groups:
            name = f"{group.stage}.{'trunk' if group.is_trunk else 'width'}"
            counts[group.name] = group.count(float(architecture[name]))
        return counts

    def _dropped(self, architecture: Mapping[str, Option]) -> list[str]:
        """Return the names of the blocks that an architecture lacks: of each stage the last ones."""
        dropped = []
        for stage in self._plan.stages:
            blocks = [block.name for block in self._plan.blocks if block.stage == stage]
            if blocks:
                dropped += blocks[int(architecture[f"{stage}.blocks"]) :]
        return dropped


def _are_alike(given: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return True for the same preparation; numbers of channels may be lists, as in files, or tuples."""

    def plain(each: Mapping[str, Any]) -> dict[str, Any]:
        return {key: list(value) if isinstance(value, tuple) else value for key, value in each.items()}

    return plain(given) == plain(other)


def _shares(name: str, given: Sequence[Any]) -> tuple[float, ...]:
    """Return shares in ascending order; all of the channels are always among them."""
    is_list = isinstance(given, list | tuple)
    if not is_list or not all(isinstance(each, int | float) and 0 < each <= 1 for each in given):
        raise ValueError(f"{name} must be shares of channels, above 0 and at most 1, but got {given!r}.")
    return tuple(sorted({*map(float, given), 1.0}))


def _choices(plan: Plan, widths: Sequence[float], trunks: Sequence[float]) -> tuple[Choice, ...]:
    found = []
    for stage in plan.stages:
        groups = [group for group in plan.groups if group.stage == stage]
        for name, shares, is_trunk in (("width", widths, False), ("trunk", trunks, True)):
            mine = [group for group in groups if group.is_trunk == is_trunk]
            if mine:
                found.append(Choice(f"{stage}.{name}", _different(mine, shares)))
        blocks = sum(block.stage == stage for block in plan.blocks)
        if blocks:
            steps = np.linspace(0, blocks, min(blocks + 1, MOST_BLOCK_OPTIONS))
            found.append(Choice(f"{stage}.blocks", tuple(dict.fromkeys(round(float(step)) for step in steps))))
    return tuple(found)


def _different(groups: Sequence[Any], shares: Sequence[float]) -> tuple[float, ...]:
    """Return the shares that give different numbers of channels, of equal ones the nearest to what is kept."""
    channels = sum(group.channels for group in groups)
    by_counts: dict[tuple[int, ...], float] = {}
    for share in shares:
        counts = tuple(group.count(share) for group in groups)
        known = by_counts.setdefault(counts, share)
        by_counts[counts] = min(known, share, key=lambda each: abs(each - sum(counts) / channels))
    return tuple(sorted(by_counts.values()))

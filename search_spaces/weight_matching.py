"""Matching the tensors of a file to those of a network: by their names, or by their order and shapes.

Other packages give the same network other names, but mostly write its tensors in the same order.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # spaces are listed without it
    import torch

COUNTERS = "num_batches_tracked"
"""Batch normalisations count their batches, which nothing depends on. Older files lack the counts."""
ROLES = ("weight", "bias", "running_mean", "running_var")
"""What torch's own layers call their tensors. Names of other packages end alike."""
SYNONYMS = {
    **dict.fromkeys(("gamma", "scale", "kernel"), "weight"),
    **dict.fromkeys(("beta", "offset"), "bias"),
    **dict.fromkeys(("moving_mean", "mean"), "running_mean"),
    **dict.fromkeys(("moving_variance", "moving_var", "var"), "running_var"),
}
"""What other packages call the roles."""
_FEW = 0.5
"""With a smaller share of the names that a network needs, a file has names of its own."""


class OrderError(ValueError):
    """Weights that cannot be matched by their order. The message says which tensor does not fit, in one sentence."""


def mismatches(
    own: Mapping[str, torch.Tensor], given: Mapping[str, torch.Tensor], heads: Collection[str] = ()
) -> list[str]:
    """Return in words each tensor that the network or the file lacks, and those of another shape, or with a flaw.

    Tensors of the ``heads`` may be missing, or be those of another number of classes.
    """
    found = []
    for name, tensor in own.items():
        if name not in given:
            if not name.endswith(COUNTERS) and name not in heads:
                found.append(f"{name} of {sizes(tensor)} is missing in the file")
        elif not _fits(tensor, given[name], is_head=name in heads):
            found.append(f"{name} is {sizes(given[name])} in the file and {sizes(tensor)} in the model")
    found += flaws(own, {name: tensor for name, tensor in given.items() if name in own})
    return found + [f"{name} of the file is not in the model" for name in given if name not in own]


def flaws(own: Mapping[str, torch.Tensor], given: Mapping[str, torch.Tensor]) -> list[str]:
    """Return in words each tensor of a file that has another type than the network's, or values that cannot be.

    A network may have infinite values itself, as masks do. Values of tensors without data are not looked at.
    """
    found = []
    for name, tensor in given.items():
        wanted = own.get(name)
        if wanted is not None and wanted.is_floating_point() != tensor.is_floating_point():
            if not name.endswith(COUNTERS):
                found.append(f"{name} is of {_type(tensor)} in the file and of {_type(wanted)} in the model")
        elif not tensor.is_meta and (wanted is None or wanted.is_meta or _is_finite(wanted)):
            flaw = flaw_of(name, tensor)
            found += [f"{name} {flaw}"] if flaw else []
    return found


def has_own_names(own: Collection[str], given: Collection[str]) -> bool:
    """Return True if a file calls most of a network's tensors by other names."""
    needed = [name for name in own if not name.endswith(COUNTERS)]
    return sum(name in given for name in needed) < _FEW * len(needed)


def matched_in_order(
    own: Mapping[str, torch.Tensor], given: Mapping[str, torch.Tensor], heads: Collection[str], path: Path
) -> dict[str, torch.Tensor]:
    """Return the tensors of a file under the names of a network that has the same shapes in the same order.

    Tensors of the ``heads`` may be those of another number of classes. Those of one layer are told by their roles, in
    any order. Shapes that agree may still belong to another network, so names that contradict the order are refused,
    and so are values that no trained network has.

    Raises:
        OrderError: a shape differs, names contradict, values cannot be, or the file keeps no order.
    """
    if path.suffix == ".safetensors":
        missing = next(name for name in own if name not in given)
        raise OrderError(
            f"it has no {missing} of {sizes(own[missing])}, but names such as {next(iter(given))}, and safetensors "
            "keep no order of tensors. Take the pickle that they were made from"
        )
    mine, theirs = _with_a_shape(own), _by_role(list(_with_a_shape(own)), _with_a_shape(given))
    _check_shapes(mine, theirs, heads)
    names = list(zip(mine, theirs, strict=True))
    _check_roles(names)
    _check_owners(names)
    _check_last_words(names)
    _check_numbers(list(mine), list(theirs))
    _check_values(names, theirs)
    return {name: theirs[other].contiguous() for name, other in names}


def told(of: str, path: Path, count: int) -> str:
    """Return the sentences on weights that were matched by their order."""
    return (
        f"the weights of {of} in {path.name} have other names, so {count} tensors are taken by their order, in which "
        "all shapes agree. Nobody can check what the network did between its tensors, such as activations and padding: "
        "compare the accuracy of a fitted head with what you know of these weights."
    )


def _with_a_shape(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in tensors.items() if tensor.ndim}


def _by_role(mine: Sequence[str], theirs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return a file's tensors, those of a layer in the network's order if both have the same roles, each once."""
    names, end = list(theirs), 0
    for _, group in groupby(mine, key=_owner):
        roles = [_role(name) for name in group]
        begin, end = end, end + len(roles)
        layer = {_role(name): name for name in names[begin:end]}
        is_one = len({_owner(name) for name in names[begin:end]}) == 1
        if is_one and len(layer) == len(roles) and layer.keys() == set(roles) <= set(ROLES):
            names[begin:end] = [layer[role] for role in roles]
    return {name: theirs[name] for name in names}


def _owner(name: str) -> str:
    """Return the layer that a tensor's name tells."""
    return name.rpartition(".")[0]


def _role(name: str) -> str:
    """Return what a tensor's name tells that it does in its layer, in torch's word if there is one."""
    word = name.rpartition(".")[2]
    return SYNONYMS.get(word, word)


def sizes(tensor: torch.Tensor) -> str:
    """Return a tensor's shape in words."""
    return "×".join(map(str, tensor.shape)) or "a number"


def _fits(own: torch.Tensor, given: torch.Tensor, *, is_head: bool) -> bool:
    return own.shape[1:] == given.shape[1:] if is_head else own.shape == given.shape


def _check_shapes(mine: Mapping[str, torch.Tensor], theirs: Mapping[str, torch.Tensor], heads: Collection[str]) -> None:
    for number, (name, other) in enumerate(zip(mine, theirs, strict=False), start=1):
        wanted, found = mine[name], theirs[other]
        fits = _fits(wanted, found, is_head=name in heads)
        if not fits or wanted.is_floating_point() != found.is_floating_point():
            raise OrderError(f"tensor {number} must be {name} of {sizes(wanted)}, but is {other} of {sizes(found)}")
    if len(mine) != len(theirs):
        longer = mine if len(mine) > len(theirs) else theirs
        first = list(longer)[min(len(mine), len(theirs))]
        raise OrderError(f"there must be {len(mine)} tensors, but there are {len(theirs)}; {first} has no counterpart")


def _check_roles(names: Sequence[tuple[str, str]]) -> None:
    for name, other in names:
        mine, theirs = _role(name), _role(other)
        if mine in ROLES and theirs in ROLES and mine != theirs:
            raise OrderError(f"{name} would be taken from {other}, which is called by another role")


def _check_owners(names: Sequence[tuple[str, str]]) -> None:
    """Check that the tensors of each layer come from one layer. Raises OrderError."""
    forth: dict[str, str] = {}
    back: dict[str, str] = {}
    for name, other in names:
        if _role(name) not in ROLES or _role(other) not in ROLES:
            continue
        mine, theirs = _owner(name), _owner(other)
        if forth.setdefault(mine, theirs) != theirs or back.setdefault(theirs, mine) != mine:
            raise OrderError(f"{name} would be taken from {other}, but tensors of one layer must come from one layer")


def _check_last_words(names: Sequence[tuple[str, str]]) -> None:
    """Check that no layer is taken from one of another word, where both sides know both words. Raises OrderError.

    Words that differ in a number alone are left to the check of numbers, for many begin to count elsewhere.
    """
    words = [(_last_word(name), _last_word(other)) for name, other in names]
    ours, theirs = {mine for mine, _ in words}, {other for _, other in words}
    for (name, other), (mine, their) in zip(names, words, strict=True):
        is_numbered = re.sub(r"\d+", "", mine) == re.sub(r"\d+", "", their)
        if not is_numbered and mine in theirs and their in ours:
            raise OrderError(f"{name} would be taken from {other}, but both have layers called {mine} and {their}")


def _last_word(name: str) -> str:
    """Return the last part of the name of a tensor's layer."""
    return _owner(name).rpartition(".")[2]


def _check_numbers(mine: Sequence[str], theirs: Sequence[str]) -> None:
    """Check that numbers in names, as those of blocks, never fall where those of the network do not."""
    if next(_falls(mine), None) is not None:
        return
    fallen = next(_falls(theirs), None)
    if fallen is not None:
        raise OrderError(f"the names of the file suggest another order: {fallen[1]} comes after {fallen[0]}")


def _falls(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield names with a number that is lower than that of an earlier name which begins alike, behind that one."""
    last: dict[str, tuple[int, str]] = {}
    for name in names:
        parts = re.split(r"(\d+)", name)
        for place in range(1, len(parts), 2):
            begin, number = "".join(parts[:place]), int(parts[place])
            before = last.get(begin)
            if before is not None and before[0] > number:
                yield before[1], name
            last[begin] = number, name


def _check_values(names: Sequence[tuple[str, str]], theirs: Mapping[str, torch.Tensor]) -> None:
    for name, other in names:
        flaw = flaw_of(name, theirs[other])
        if flaw:
            raise OrderError(f"{other}, taken as {name}, {flaw}")


def flaw_of(name: str, tensor: torch.Tensor) -> str:
    """Return in words why no trained network has these values under a name; nothing if it may."""
    if not _is_finite(tensor):
        return "must be finite, but has NaN or infinite values"
    if _role(name) == "running_var" and bool((tensor < 0).any()):
        return "must be variances, but has negative values"
    return ""


def _is_finite(tensor: torch.Tensor) -> bool:
    return not tensor.is_floating_point() or bool(tensor.isfinite().all())


def _type(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")

"""Targets: the runtime that a model runs in, with precision, batch size and threads."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from nas.errors import RecipeError, did_you_mean

PRECISIONS = ("fp32", "fp16", "bf16", "int8", "int8-dynamic")
"""``int8`` has static ranges that are calibrated on data; ``int8-dynamic`` finds the ranges while it runs."""


def checked_precisions(names: Sequence[str]) -> tuple[str, ...]:
    """Return precisions to choose from, fp32 first; none for none.

    Raises:
        RecipeError: an unknown name, one that comes twice, or a choice without fp32 or with nothing else.
    """
    for name in names:
        if name not in PRECISIONS:
            raise RecipeError(
                f"precisions are of {', '.join(PRECISIONS)}, but got {name!r}. {did_you_mean(name, PRECISIONS)}"
            )
    if len(set(names)) < len(names):
        twice = next(name for name in names if list(names).count(name) > 1)
        raise RecipeError(f"precisions must differ, but {twice} comes more than once.")
    if names and ("fp32" not in names or len(names) < 2):
        raise RecipeError(
            "precisions must hold fp32, which the others are compared with, and at least one other, but got "
            f"{', '.join(names)}. For one precision alone, give it to the target: onnxruntime-cpu:int8."
        )
    return ("fp32", *(name for name in names if name != "fp32")) if names else ()


DEVICE_NAME = r"[a-z][a-z0-9_-]{0,39}"
DIGITS = 6
"""No target has a batch or threads of more digits."""


def check_device_name(name: str) -> None:
    """Check the name of a device. Raises RecipeError."""
    if re.fullmatch(DEVICE_NAME, name) is None:
        raise RecipeError(
            "the name of a device begins with a small letter, and has at most 40 small letters, digits, - and _, "
            f"but got {name!r}."
        )


ModelFormat = Literal["onnx", "torch"]
"""The format of an exported model: an ONNX file, or a torch program as ``nas.formats.torch_program`` writes it."""


@dataclass(frozen=True)
class Target:
    """A runtime on a device, with the settings that a latency depends on.

    It is written ``[device/]runtime[:precision][:batch=N][:threads=N]``, for example ``onnxruntime-cpu:fp32:threads=1``
    for this machine, or ``pi/onnxruntime-cpu:int8``. Your own runtime is written ``module:Class``. Further parts, such
    as ``:streams=2``, are options of the runtime, which are passed to its constructor as text.
    """

    runtime: str
    precision: str = "fp32"
    batch: int = 1
    threads: int = 1
    options: tuple[tuple[str, str], ...] = ()
    device: str = ""

    @classmethod
    def parse(cls, text: str) -> Target:
        """Return the target that ``text`` names.

        Raises:
            RecipeError: a part is no precision, ``batch=N``, ``threads=N`` or option, or comes twice.
        """
        device, slash, rest = text.strip().rpartition("/")
        if slash:
            check_device_name(device)
        start = re.match(r"[A-Za-z_][\w.]*:[A-Z]\w*(?=:|$)|[a-z0-9][a-z0-9_.-]*(?=:|$)", rest)
        if start is None:
            raise RecipeError(
                "a target starts with the name of a runtime, such as onnxruntime-cpu, or of a device before it, such "
                f"as pi/onnxruntime-cpu, but got {text!r}."
            )
        fields: dict[str, str | int] = {}
        options: dict[str, str] = {}
        for part in rest[start.end() :].split(":")[1:]:
            option = re.fullmatch(r"(?!batch=|threads=)([A-Za-z_]\w*)=([\w.+-]+)", part)
            if option is not None and option[1] not in options:
                options[option[1]] = option[2]
                continue
            match = re.fullmatch(r"(batch|threads)=([1-9][0-9]*)", part)
            if match and len(match[2]) > DIGITS:
                raise RecipeError(
                    f"{match[1]} must have at most {DIGITS} digits, but got {part[:40]!r} in {text[:80]!r}."
                )
            key, value = (match[1], int(match[2])) if match else ("precision", part)
            if key == "precision" and part not in PRECISIONS:
                raise RecipeError(
                    f"parts of a target are a precision, batch=N or threads=N, but got {part!r} in {text!r}. "
                    f"{did_you_mean(part, (*PRECISIONS, 'batch=1', 'threads=1'))}"
                )
            if key in fields:
                raise RecipeError(f"a target has one {key}, but {text!r} has two.")
            fields[key] = value
        known = {**fields, "options": tuple(sorted(options.items())), "device": device}
        return cls(start[0], **known)  # type: ignore[arg-type]

    @property
    def short(self) -> str:
        """The text without what every target has by default, as people write it."""
        plain = Target(self.runtime)
        parts = {"": self.precision, "batch=": self.batch, "threads=": self.threads}
        usual = {"": plain.precision, "batch=": plain.batch, "threads=": plain.threads}
        told = [f"{key}{value}" for key, value in parts.items() if value != usual[key]]
        told += [f"{key}={value}" for key, value in self.options]
        return ":".join((f"{self.device}/{self.runtime}" if self.device else self.runtime, *told))

    def __str__(self) -> str:
        options = "".join(f":{key}={value}" for key, value in self.options)
        device = f"{self.device}/" if self.device else ""
        return f"{device}{self.runtime}:{self.precision}:batch={self.batch}:threads={self.threads}{options}"


def named_targets(targets: Sequence[Target]) -> dict[str, Target]:
    """Return several targets by the names that stand before their metrics. The first one needs none.

    A further target has the name of its device. On this machine, and where two targets share a device, it has the
    ``short`` text of the target.

    Raises:
        RecipeError: two targets are the same, have other batch sizes, or would have the same name.
    """
    found: dict[str, Target] = {}
    of_device = Counter(each.device for each in targets)
    for place, each in enumerate(targets):
        alone = each.device if of_device[each.device] == 1 else ""
        name = (alone or each.short) if place else ""
        if each in found.values() or name in found:
            raise RecipeError(f"the targets of a search must differ, but {name} comes twice. Leave one of them out.")
        if each.batch != targets[0].batch:
            raise RecipeError(
                f"the targets of a search run batches of one size, but got batch={targets[0].batch} and {each.short}. "
                "Give all the same."
            )
        found[name] = each
    return found


def name_among(written: str, targets: Mapping[str, Target]) -> str:
    """Return the name of the target that someone means by its name, its device or its text.

    ``written`` is a ``short`` text. ``targets`` are those of ``named_targets``.

    Raises:
        RecipeError: no target, or several, are meant.
    """
    if written in targets:
        return written
    found = [name for name, target in targets.items() if target.short == written]
    found = found or [name for name, target in targets.items() if target.device == written]
    if len(found) != 1:
        known = ", ".join(target.short for target in targets.values())
        rule = "what stands before a metric is the device or the whole of one of the targets"
        several = f", which {len(found)} of them share" if found else ""
        raise RecipeError(f"{rule} ({known}), but got {written!r}{several}. Name one of them, or add it as a target.")
    return found[0]

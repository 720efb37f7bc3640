"""The check of a task before a search begins: its members fit together, and bundles can carry its preparation."""

from __future__ import annotations

import ast
import contextlib
import inspect
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nas.errors import DataError, NasError, raised_text
from nas.space.architecture import is_text
from nas.space.own_code import own_code
from nas.space.signature import Signature
from nas.tasks.batches import Items, items_at
from nas.tasks.carrying import ALWAYS
from nas.tasks.criteria import CRITERIA
from nas.tasks.scores import Score
from nas.tasks.task import Preparation, Task

LOOKED_AT = 4
NOT_CARRIED = ("nas", "torch", "torchvision", "lightning")
"""Packages that a device with a deployed model does not have. ``nas.tasks.deployed`` is carried itself."""


def check_task(task: Task) -> None:
    """Check a task on a few of its items.

    Raises:
        DataError: a member is missing or raises, inputs are not those of the signature, or a bundle could not prepare
            inputs as the training does.
    """
    kind = type(task).__qualname__
    with _within(kind, "name"):
        name: object = task.name
    if not isinstance(name, str) or not name or not is_text(name):
        raise DataError(f"the name of a task must be a text on one line, but that of {kind} is {name!r:.60}.")
    for title in ("train", "validation", "test"):
        with _within(kind, title):
            count = len(getattr(task, title))
        if not count:
            raise DataError(f"each split of a task must have items, but {title} of {kind} has none.")
    with _within(kind, "signature"):
        signature: object = task.signature
    if not isinstance(signature, Signature):
        raise DataError(f"signature of a task must be a nas.Signature, but that of {kind} is {signature!r:.60}.")
    with _within(kind, "train"):
        batch = items_at(task.train, np.arange(min(LOOKED_AT, len(task.train))))
    with _within(kind, "inputs_of"):
        inputs, again = task.inputs_of(batch.raw), task.inputs_of(batch.raw)
    _check_inputs(kind, "inputs_of", inputs, signature, len(batch.targets))
    if not all(map(torch.equal, inputs, again)):
        raise DataError(
            f"inputs_of of the task {kind} must give the same numbers each time, but twice the same items gave "
            "different ones. Put random changes into augmented, which training alone uses."
        )
    with _within(kind, "augmented"):
        changed = task.inputs_of(task.augmented(batch.raw, torch.Generator().manual_seed(0)))
    _check_inputs(kind, "augmented, then inputs_of,", changed, signature, len(batch.targets))
    _check_criterion(kind, task, batch)
    _check_answers(kind, task)
    if task.preparation is not None:
        _check_preparation(kind, task, batch, inputs)
        check_can_be_carried(task.preparation)


def _check_answers(kind: str, task: Task) -> None:
    with _within(kind, "answers"):
        answers = task.answers
    if not isinstance(answers, dict) or "kind" not in answers:
        raise DataError(f'answers of a task must be a dict with a "kind", but those of {kind} are {answers!r:.60}.')
    if answers["kind"] not in list(CRITERIA):
        raise DataError(
            f'"kind" in answers of a task, mostly that of its criterion, must be one of {", ".join(CRITERIA)}, but '
            f"{kind} has {answers['kind']!r:.40}. Plain numbers are regression."
        )
    names, classes = answers.get("names"), task.signature.classes
    if names is None:
        return
    if not isinstance(names, list | tuple) or not all(isinstance(each, str) for each in names):
        raise DataError(f'"names" in answers of a task must be a list of texts, but {kind} has {names!r:.60}.')
    if answers["kind"] == "classification" and len(names) != classes:
        raise DataError(f'"names" in answers of the task {kind} must name {classes} classes, but got {len(names)}.')


@contextlib.contextmanager
def _within(kind: str, member: str) -> Iterator[None]:
    try:
        with own_code():
            yield
    except NasError:
        raise
    except Exception as error:
        raise DataError(f"{member} of the task {kind} raised {raised_text(error)}.") from error


def _check_inputs(kind: str, member: str, inputs: object, signature: Signature, count: int) -> None:
    rule = f"{member} of the task {kind} must give inputs as its signature has them, {signature.wanted(count)}"
    if not isinstance(inputs, tuple) or not all(isinstance(each, torch.Tensor) for each in inputs):
        raise DataError(f"{rule}, in a tuple of tensors, but gave a {type(inputs).__name__}.")
    got = [(tuple(each.shape), str(each.dtype).removeprefix("torch.")) for each in inputs]
    wanted = [((count, *each.shape), each.dtype) for each in signature.inputs]
    if got != wanted:
        shown = ", ".join(f"{dtype} of shape {shape}" for shape, dtype in got)
        raise DataError(f"{rule}, but gave {shown}. The types must be {', '.join(dtype for _, dtype in wanted)}.")
    for tensor, each in zip(inputs, signature.inputs, strict=True):
        if not bool(tensor.isfinite().all()):
            raise DataError(
                f"{rule}, of finite numbers, but {each.name} has NaN or infinite values. Fill them, or leave out items."
            )


def _check_criterion(kind: str, task: Task, batch: Items) -> None:
    outputs = torch.zeros((len(batch.targets), *task.signature.output))
    with _within(kind, "criterion"):
        loss: Any = task.criterion.loss(outputs, batch.targets)
        tally = task.criterion.tally()
        tally.add(outputs, batch.targets)
        error: Any = tally.error
    if not isinstance(loss, torch.Tensor) or loss.numel() != 1 or not bool(loss.isfinite().all()):
        raise DataError(
            f"criterion of the task {kind} must give a loss that is one finite number, but gave {loss!r:.60}."
        )
    if not error >= 0:
        raise DataError(f"criterion of the task {kind} must give an error of at least 0, but gave {error}.")
    _check_scores(kind, task.criterion, tally)


def _check_scores(kind: str, criterion: Any, tally: Any) -> None:
    """Check that a tally scores what the criterion names. Those of a few items may raise: some need several classes."""
    if not callable(getattr(tally, "scores", None)):
        raise DataError(f"the tally of the task {kind} must have a method scores, but {type(tally).__name__} has none.")
    try:
        with own_code():
            scores: Any = tally.scores()
    except Exception:
        return
    is_sound = isinstance(scores, Mapping) and all(isinstance(each, Score) for each in scores.values())
    if not is_sound or "error" not in scores:
        raise DataError(
            f'scores() of the tally of the task {kind} must give a nas.Score for "error" and each further metric by '
            f"its name, but gave {scores!r:.80}."
        )
    names: Any = getattr(criterion, "metrics", None) or ()
    lacking = [each for each in names if each not in scores] if isinstance(names, tuple | list) else [names]
    if lacking:
        raise DataError(
            f"metrics of the criterion of the task {kind} must be a tuple of names that scores() of its tally gives "
            f"({', '.join(scores)}), but it has {lacking[0]!r}. Leave that out, or score it."
        )


def _check_preparation(kind: str, task: Task, batch: Items, inputs: tuple[torch.Tensor, ...]) -> None:
    """Check that training and bundles make the same numbers of raw items."""
    with _within(kind, "preparation"):
        prepared = task.prepared(batch.raw)
    for name, mine, theirs in zip(task.signature.inputs, inputs, prepared, strict=True):
        mine_array, theirs_array = mine.numpy(), np.asarray(theirs)
        if mine_array.dtype != theirs_array.dtype or not np.array_equal(mine_array, theirs_array):
            raise DataError(
                f"inputs_of of the task {kind} and prepared of its preparation must give the same numbers, bit for "
                f"bit, but {name} differs: {_difference(mine_array, theirs_array)}. Else winners would get other "
                "inputs than those that they were trained on."
            )


def _difference(mine: Any, theirs: Any) -> str:
    if mine.shape != theirs.shape or mine.dtype != theirs.dtype:
        return f"{mine.dtype} of shape {mine.shape} against {theirs.dtype} of shape {theirs.shape}"
    return f"by up to {float(np.abs(mine.astype(np.float64) - theirs).max()):.3g}"


def check_can_be_carried(preparation: Preparation) -> None:
    """Check that a bundle can carry the file in which a preparation is written.

    Raises:
        DataError: it is a script or notebook, has the name of another file, or imports what a device does not have.
    """
    kind = type(preparation)
    where = f"the preparation {kind.__qualname__} of a task must lie in a file of its own, which winners carry"
    if kind.__module__ == "__main__":
        raise DataError(f"{where}, but it lies in the program that runs. Move it to a module, such as my_files.py.")
    try:
        file = Path(inspect.getfile(kind))
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, TypeError, SyntaxError) as error:
        raise DataError(f"{where}, but it cannot be read: {error}.") from error
    if file.parent != Path(__file__).parent / "deployed" and file.stem in (*ALWAYS, "arrays"):
        raise DataError(f"{where}, but {file.name} is the name of another file that they carry. Rename it.")
    if not any(isinstance(node, ast.FunctionDef) and node.name == "preparation_of" for node in tree.body):
        raise DataError(f"{where}, with a function preparation_of(about) that makes it again, but {file} has none.")
    for node in ast.walk(tree):
        _check_no_neighbour(where, file, node)
        for name in _imported(node):
            if name.partition(".")[0] in NOT_CARRIED and not name.startswith("nas.tasks.deployed"):
                raise DataError(
                    f"{where} and which imports neither nas nor torch, but {file}, line {node.lineno}, "  # type: ignore[attr-defined]
                    f"imports {name}. Move what needs that to another file."
                )


def _check_no_neighbour(where: str, file: Path, node: ast.AST) -> None:
    """Check that a module imports no other one of the same author, which a bundle would lack."""
    if not isinstance(node, (ast.Import, ast.ImportFrom)) or file.parent == Path(__file__).parent / "deployed":
        return
    near = [name for name in _imported(node) if name and (file.parent / f"{name.partition('.')[0]}.py").is_file()]
    is_relative = isinstance(node, ast.ImportFrom) and node.level > 0
    if is_relative or (near and file.parent != Path(sysconfig.get_paths()["purelib"])):
        raise DataError(
            f"{where}, and it may need no other of your files, but {file}, line {node.lineno}, has "
            f"{ast.unparse(node)!r}. Move what it needs into this file."
        )


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [each.name for each in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []

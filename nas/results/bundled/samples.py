"""A few real items in a bundle: to check its models against torch on any machine, and to calibrate int8 forms there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nas.errors import JournalError
from nas.paths import why_no_file
from nas.storage.journal import write_aside
from nas.tasks.carrying import is_carried
from nas.tasks.deployed.inputs import Arrays

if TYPE_CHECKING:
    import torch

    from nas.tasks.batches import Examples, Tensors
    from nas.tasks.task import Preparation, Task

    Kept = Callable[[Tensors], Arrays]

SAMPLES = "samples.safetensors"
MOST_CHECKED, MOST_CALIBRATED, LEAST = 512, 256, 8
MOST_BYTES = 4 * 2**20
"""Either kind of items takes about so many bytes at most, but there are at least ``LEAST``."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Items of the data with torch's outputs for them, and items on which int8 forms find their ranges.

    Attributes:
        checked: an array for each input of validation items; raw, or already prepared if ``is_prepared``.
        outputs: the outputs of the torch module for these.
        targets: their targets; empty where those are no single numbers.
        calibration: the same as ``checked``, of training items.
        is_prepared: True where the preparation cannot be done without the user's own code.
    """

    checked: Arrays
    outputs: npt.NDArray[np.float32]
    targets: npt.NDArray[Any]
    calibration: Arrays
    is_prepared: bool = False

    def in_words(self, noun: str) -> str:
        """Return what there is, in a few words, where items are called ``noun``."""
        checked, calibration = len(self.outputs), len(self.calibration[0])
        return f"{checked} validation {noun} with torch's outputs, and {calibration} training {noun}"

    def inputs(self, preparation: Preparation) -> Arrays:
        """Return the model's inputs of the items to check."""
        return self.checked if self.is_prepared else preparation.prepared(self.checked)

    def calibration_inputs(self, preparation: Preparation) -> Arrays:
        """Return the model's inputs of the items to calibrate on."""
        return self.calibration if self.is_prepared else preparation.prepared(self.calibration)


def samples_of(task: Task, module: torch.nn.Module) -> Samples:
    """Return evenly spaced validation items with the outputs of ``module`` for them, and random training items.

    They check that exported models answer alike, so the test split stays unread until the winner is tested.
    """
    from nas.tasks.batches import items_at

    is_prepared = task.preparation is None or not is_carried(task.preparation)

    def kept(raw: Tensors) -> Arrays:
        return task.prepared(raw) if is_prepared else tuple(each.numpy() for each in raw)

    checked = items_at(task.validation, _spaced(task, task.validation, kept))
    count = min(MOST_CALIBRATED, _affordable(task, task.train, kept))
    targets = checked.targets.numpy()
    return Samples(
        kept(checked.raw),
        _outputs(module, task.prepared(checked.raw), task),
        targets if targets.ndim == 1 else np.zeros(0, dtype=np.int64),
        kept(task.sample(count).raw),
        is_prepared,
    )


def write_samples(folder: Path, samples: Samples) -> None:
    """Write the items into a bundle's folder."""
    from safetensors.numpy import save

    found = {f"checked.{place}": each for place, each in enumerate(samples.checked)}
    found |= {f"calibration.{place}": each for place, each in enumerate(samples.calibration)}
    found |= {"outputs": samples.outputs, "targets": samples.targets}
    whole = {name: np.ascontiguousarray(each) for name, each in found.items()}
    write_aside(folder / SAMPLES, save(whole, {"prepared": str(int(samples.is_prepared))}))


def read_samples(folder: Path) -> Samples | None:
    """Return the items in a bundle's folder; None if there are none, as in bundles of version 0.8 and before.

    Raises:
        JournalError: the file cannot be read.
    """
    path = folder / SAMPLES
    if not path.exists():
        return None
    why = why_no_file(path)
    if why is not None:
        raise JournalError(f"the items of a bundle must be a file, but {path} {why}.")
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as stored:
            found = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 no mapping
            is_prepared = (stored.metadata() or {}).get("prepared") == "1"
        return Samples(
            _numbered(found, "checked"),
            found["outputs"],
            found["targets"],
            _numbered(found, "calibration"),
            is_prepared,
        )
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
        raise JournalError(f"the items of a bundle must be readable, but {path} is not: {error}.") from error


def _numbered(found: dict[str, npt.NDArray[Any]], kind: str) -> Arrays:
    count = sum(name.startswith(f"{kind}.") for name in found)
    return tuple(found[f"{kind}.{place}"] for place in range(count))


def _spaced(task: Task, examples: Examples, kept: Kept) -> npt.NDArray[np.int64]:
    count = min(MOST_CHECKED, _affordable(task, examples, kept))
    return np.unique(np.linspace(0, len(examples) - 1, count).astype(np.int64))


def _affordable(task: Task, examples: Examples, kept: Kept) -> int:
    """Return how many items of a split fit into ``MOST_BYTES`` with their outputs."""
    from nas.tasks.batches import items_at

    one = kept(items_at(examples, np.zeros(1, dtype=np.int64)).raw)
    size: int = sum(each.nbytes for each in one) + 4 * int(np.prod(task.signature.output))
    return min(len(examples), max(LEAST, MOST_BYTES // size))


def _outputs(module: torch.nn.Module, inputs: Arrays, task: Task) -> npt.NDArray[np.float32]:
    """Return the outputs of a module in eval mode."""
    import torch

    from nas.space.torch_settings import torch_threads

    together = task.signature.together(MOST_CHECKED)
    with torch_threads(1), torch.inference_mode():
        parts = [
            module(*(torch.from_numpy(each[start : start + together]) for each in inputs)).numpy()
            for start in range(0, len(inputs[0]), together)
        ]
    found: npt.NDArray[np.float32] = np.concatenate(parts)
    return found

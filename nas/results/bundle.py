"""The bundle of a winner: its folder with the model's files, and how to load and run them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
import numpy.typing as npt

from nas.errors import JournalError, RecipeError, TargetError
from nas.space.architecture import Architecture
from nas.space.search_space import SearchSpace, load_space, make_space
from nas.tasks.predict import Inputs, Preparation, probabilities_of
from nas.values.target import Target

if TYPE_CHECKING:
    import torch

ABOUT, WEIGHTS = "architecture.json", "model.safetensors"
GIVEN = "given"
"""The name of a space or a data set that was passed as an object, which no file can name."""
TIMEOUT_S = 120.0


@final
@dataclass(frozen=True)
class Bundle:
    """The files of one winner. ``about`` is its ``architecture.json``: choices, classes, scaling, target, scores."""

    folder: Path
    about: dict[str, Any]

    @classmethod
    def read(cls, folder: Path) -> Bundle:
        """Return the bundle in ``folder``.

        Raises:
            JournalError: the folder has no readable ``architecture.json``.
        """
        try:
            return cls(folder, json.loads((folder / ABOUT).read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise JournalError(f"a winner's folder must hold {ABOUT}, but {folder} does not: {error}.") from error

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the images that the model takes."""
        channels, height, width = self.about["input_shape"]
        return int(channels), int(height), int(width)

    def module(self, space: SearchSpace | type[SearchSpace] | None = None) -> torch.nn.Module:
        """Build the torch module, in eval mode, with the winner's weights.

        ``space`` is needed only where the search was given an object instead of a name.

        Raises:
            RecipeError: the space cannot be found by its name.
            CandidateError: the space no longer builds this architecture.
        """
        from safetensors.torch import load_file

        from nas.space.tracing import build_checked, load_weights

        described = dict(self.about["space"])
        name, classes = described.pop("name"), len(self.about["classes"])
        if space is None and name == GIVEN:
            raise RecipeError(
                f"this winner comes from a space that was passed as an object ({described.get('class', 'unknown')}); "
                "pass it again: winner.load(space=…)."
            )
        if space is None:
            made = load_space(name, described, input_shape=self.input_shape, classes=classes)
        elif isinstance(space, type):
            made = make_space(space, space.__qualname__, {}, input_shape=self.input_shape, classes=classes)
        else:
            made = space
        module = build_checked(made, Architecture(self.about["choices"]), self.input_shape, classes)
        load_weights(module, load_file(self.folder / WEIGHTS))
        return module.eval()

    @property
    def preparation(self) -> Preparation:
        """The way from a picture to the model's input, as the tested pictures went it."""
        return Preparation.of(self.about)

    def predict(self, inputs: Inputs) -> npt.NDArray[np.float32]:
        """Run the deployed model on pictures, in the runtime and precision that were measured.

        ``inputs`` is the path of a picture or of a folder of pictures, several such paths, or pixels: uint8 of shape
        (N, channels, height, width), or (N, height, width) for one channel. Pictures are prepared as the tested ones
        were. Returns the probabilities of the classes, shape (N, classes).

        Raises:
            InputError: a picture cannot be read, or the pixels have another type or shape; a ValueError.
            TargetError: the target's runtime is not available here.
            CandidateError: the runtime refuses the model, or takes too long.
            JournalError: the deployed model does not lie in the bundle.
        """
        preparation = self.preparation
        scaled = preparation.scaled(preparation.pixels(inputs))
        if not len(scaled):
            return np.zeros((0, len(self.about["classes"])), dtype=np.float32)
        return probabilities_of(self._outputs(scaled))

    def _outputs(self, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        from nas.hardware.benchmarking import OUTPUTS_TOGETHER
        from nas.hardware.measuring_process import MeasuringProcess
        from nas.hardware.runtimes.runtime import load_runtime
        from nas.storage.scratch import temporary_folder

        target, model = Target.parse(self.about["target"]), self.folder / self.about["deployed"]
        if not model.resolve().is_relative_to(self.folder.resolve()) or not model.exists():
            raise JournalError(f"the deployed model must lie in its bundle, but {model} does not.")
        unavailable = load_runtime(target.runtime, target.options).why_unavailable(target)
        if unavailable is not None:
            raise TargetError(unavailable)
        missing = -len(inputs) % target.batch
        padded = np.concatenate([inputs, np.zeros((missing, *inputs.shape[1:]), dtype=np.float32)])
        together = max(1, OUTPUTS_TOGETHER // target.batch) * target.batch
        with temporary_folder("outputs") as scratch, MeasuringProcess(target, TIMEOUT_S) as run:
            parts = [
                run.outputs(model, padded[start : start + together], scratch, TIMEOUT_S)
                for start in range(0, len(padded), together)
            ]
        return np.concatenate(parts)[: len(inputs)]

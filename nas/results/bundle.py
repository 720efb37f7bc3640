"""The bundle of a winner: its folder with the model's files, and how to load and run them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
import numpy.typing as npt

from nas.errors import JournalError, RecipeError, TargetError
from nas.space.architecture import Architecture
from nas.space.plug_ins import load_plug_in
from nas.space.rules import GROUP
from nas.space.search_space import SearchSpace, load_space, make_space
from nas.space.signature import Signature, image_signature
from nas.storage.run_files import ABOUT as ABOUT
from nas.tasks.carrying import preparation_in
from nas.tasks.deployed.inputs import Arrays
from nas.tasks.deployed.predict import answers_of
from nas.values.evaluation import ELSEWHERE
from nas.values.target import Target

if TYPE_CHECKING:
    import torch

    from nas.tasks.task import Preparation

WEIGHTS = "model.safetensors"
GIVEN = "given"
"""The name of a space or a data set that was passed as an object, which no file can name."""
FORM = "form"
"""The key of an ``architecture.json`` that describes an exported form; a winner's own bundle has none."""
MADE_FOR = "space_signature"
"""The key of the signature for which a space was made, where the model has inputs of its own."""
TIMEOUT_S = 120.0


@final
@dataclass(frozen=True)
class Bundle:
    """The files of one winner. ``about`` is its ``architecture.json``: choices, classes, scaling, target, scores."""

    folder: Path
    about: dict[str, Any] = field(repr=False)

    @classmethod
    def read(cls, folder: Path) -> Bundle:
        """Return the bundle in ``folder``.

        Raises:
            JournalError: the folder has no readable ``architecture.json``.
        """
        try:
            return cls(folder, json.loads((folder / ABOUT).read_text(encoding="utf-8")))
        except (OSError, ValueError, RecursionError) as error:
            raise JournalError(f"a winner's folder must hold {ABOUT}, but {folder} does not: {error}.") from error

    @property
    def signature(self) -> Signature:
        """The inputs and the output of the model. Before 0.8 all models took images."""
        if "signature" in self.about:
            return Signature.from_json(self.about["signature"])
        return image_signature(self.about["input_shape"], len(self.about["classes"]))

    @property
    def answers(self) -> dict[str, Any]:
        """How outputs become answers. Before 0.8 all were probabilities of classes."""
        found: dict[str, Any] = self.about.get("answers") or {
            "kind": "classification",
            "names": list(self.about["classes"]),
        }
        return found

    @property
    def further_targets(self) -> dict[str, tuple[Target, str]]:
        """By the name of each further target of the search: the target, and the file of the bundle that runs there.

        Raises:
            JournalError: the bundle tells of them in another form.
        """
        try:
            told = self.about.get(ELSEWHERE, {}).items()
            return {on: (Target.parse(str(each["target"])), str(each["deployed"])) for on, each in told}
        except (AttributeError, KeyError, TypeError, RecipeError) as error:
            raise JournalError(
                f"{self.folder / ABOUT} must tell the target and the file of each further target, but: {error}"
            ) from error

    @property
    def targets(self) -> dict[str, tuple[Target, str]]:
        """All targets of the search in the form of ``further_targets``. The first one's name is empty."""
        return {"": (Target.parse(self.about["target"]), str(self.about["deployed"])), **self.further_targets}

    def module(self, space: SearchSpace | type[SearchSpace] | None = None) -> torch.nn.Module:
        """Build the torch module, in eval mode, with the winner's weights.

        ``space`` is needed only where the search was given an object instead of a name.

        Raises:
            RecipeError: the space cannot be found by its name.
            CandidateError: the space no longer builds this architecture.
        """
        from safetensors.torch import load_file

        from nas.space.tracing import build_checked, load_weights

        made = self.space(space)
        # A recipe may have added choices of training, which the space itself does not know.
        own = {choice.name for choice in made.choices}
        known = {name: option for name, option in self.about["choices"].items() if name in own}
        module = build_checked(made, Architecture(known), self._made_for)
        load_weights(module, load_file(self.folder / WEIGHTS))
        return module.eval()

    def space(self, space: SearchSpace | type[SearchSpace] | None = None) -> SearchSpace:
        """Return the space of the winner, which is found by its name unless ``space`` is given.

        Raises:
            RecipeError: the space cannot be found by its name.
        """
        described = dict(self.about["space"])
        name = described.pop("name")
        if space is None and name == GIVEN:
            raise RecipeError(
                f"this winner comes from a space that was passed as an object ({described.get('class', 'unknown')}); "
                "pass it again: winner.load(space=…)."
            )
        if space is None:
            return _made(name, described, self._made_for, self.about["choices"])
        return make_space(space, space.__qualname__, {}, self._made_for) if isinstance(space, type) else space

    @property
    def _made_for(self) -> Signature:
        """The signature for which the space was made."""
        return Signature.from_json(self.about[MADE_FOR]) if MADE_FOR in self.about else self.signature

    @property
    def preparation(self) -> Preparation:
        """The way from raw inputs, such as pictures, to the model's, as the tested ones went it.

        Raises:
            JournalError: the bundle records none.
        """
        try:
            return preparation_in(self.about)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise JournalError(f"{self.folder / ABOUT} must record how inputs are prepared, but: {error}") from error

    def predict(self, inputs: Any) -> npt.NDArray[np.float32]:
        """Run the deployed model on raw inputs, in the runtime and precision that were measured.

        ``inputs`` is the path of a file, such as a picture, or of a folder of them, several such paths, or arrays:
        of pictures, uint8 pixels of shape (N, channels, height, width), or (N, height, width) for one channel. They are
        prepared as the tested ones were. Returns answers: of a classifier the probabilities of the classes, shape
        (N, classes).

        Raises:
            InputError: an input cannot be read, or an array has another type or shape; a ValueError.
            TargetError: the target's runtime is not available here.
            CandidateError: the runtime refuses the model, or takes too long.
            JournalError: the deployed model does not lie in the bundle.
        """
        preparation = self.preparation
        prepared = preparation.prepared(preparation.read(inputs))
        if not len(prepared[0]):
            return np.zeros((0, *self.signature.output), dtype=np.float32)
        return answers_of(self._outputs(prepared), self.answers)

    def _outputs(self, inputs: Arrays) -> npt.NDArray[np.float32]:
        from nas.hardware.devices.local_device import LocalDevice
        from nas.hardware.measuring_process import OUTPUTS_TOGETHER
        from nas.hardware.runtimes.runtime import load_runtime

        target, model = Target.parse(self.about["target"]), self.folder / self.about["deployed"]
        if not model.resolve().is_relative_to(self.folder.resolve()) or not model.exists():
            raise JournalError(f"the deployed model must lie in its bundle, but {model} does not.")
        # nothing is timed, so that fewer cores than the target has threads will do
        unavailable = load_runtime(target.runtime, target.options).why_unavailable(target)
        if unavailable is not None:
            raise TargetError(unavailable)
        with LocalDevice().process(target, TIMEOUT_S, pinned=False) as process:
            return process.outputs(model, inputs, TIMEOUT_S, self.signature.together(OUTPUTS_TOGETHER))


def _made(name: str, options: dict[str, Any], signature: Signature, choices: Mapping[str, Any]) -> SearchSpace:
    """Return a space by its name. One with ``options_of_winner`` is made without what only a search needs."""
    reduced = getattr(load_plug_in(GROUP, name, "search space"), "options_of_winner", None)
    return load_space(name, options if reduced is None else reduced(options, choices), signature)

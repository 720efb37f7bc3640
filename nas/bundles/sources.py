"""What forms are made from: the exported model of a bundle, or its torch module, which is built again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
import numpy.typing as npt

from nas.bundles.agreement import Agreement, agreement_of
from nas.errors import CandidateError, JournalError, NasError, RecipeError, raised_text
from nas.formats.onnx_session import outputs_of
from nas.results.bundle import GIVEN, WEIGHTS, Bundle
from nas.results.bundled.samples import SAMPLES, Samples, read_samples
from nas.space.search_space import SearchSpace
from nas.tasks.criteria import OF_CLASSES
from nas.tasks.deployed.inputs import Arrays
from nas.values.target import ModelFormat, Target

if TYPE_CHECKING:
    import torch

ONNX, PROGRAM = "model.onnx", "model.pt2"
RANDOM_ITEMS = 64
GivenSpace = SearchSpace | type[SearchSpace] | str
FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Reference:
    """Inputs, and the outputs that each form of a model must have for them, in one order."""

    inputs: Arrays
    outputs: FloatArray
    targets: npt.NDArray[Any]
    name: str = "torch"
    on: str = "validation items"

    def agreement(self, outputs: FloatArray, answers: Mapping[str, Any]) -> Agreement:
        """Return how far other outputs for the same inputs agree."""
        return agreement_of(outputs, self.outputs, answers, self.targets, self.name, self.on)


@final
class Source:
    """A bundle from which forms are made. ``space`` builds its torch module; without it, the space that it names does.

    ``trust`` lets the code run that the bundle names as ``module:Name``.
    """

    def __init__(self, bundle: Bundle, space: GivenSpace | None = None, *, trust: bool = False) -> None:
        self.bundle = bundle
        self._space = space
        self.trust = trust

    @cached_property
    def samples(self) -> Samples | None:
        """The bundle's items; None for a bundle without them. Raises JournalError if they cannot be read."""
        return read_samples(self.bundle.folder)

    @cached_property
    def reference(self) -> Reference:
        """Real items with torch's outputs; else random inputs with those of the torch module, or of ``model.onnx``.

        Raises:
            JournalError: the bundle has neither items, nor weights, nor an ONNX file.
        """
        samples = self.samples
        if samples is not None:
            try:
                inputs = samples.inputs(self.bundle.preparation)
            except ValueError as error:
                raise JournalError(f"the items of {self.bundle.folder} must be its model's inputs: {error}") from error
            return Reference(inputs, samples.outputs, samples.targets)
        inputs = _random(self.bundle)
        nothing = np.zeros(0, dtype=np.int64)
        try:
            return Reference(inputs, outputs_in_torch(self.module, inputs), nothing, on="random inputs")
        except (RecipeError, CandidateError, JournalError, OSError):
            pass
        path = self.bundle.folder / ONNX
        if not path.is_file():
            raise JournalError(f"a form is compared with torch or {ONNX}, but {self.bundle.folder} lacks both.")
        return Reference(inputs, outputs_of(path, inputs), nothing, ONNX, "random inputs")

    @cached_property
    def module(self) -> torch.nn.Module:
        """The torch module with its weights.

        Raises:
            JournalError: the bundle has no weights, as an exported form.
            RecipeError: its space is not known, or is code of its own that nobody trusts.
            CandidateError: the space no longer builds it.
        """
        if not (self.bundle.folder / WEIGHTS).is_file():
            raise JournalError(
                f"this form is made from the weights of a winner, but {self.bundle.folder} has no {WEIGHTS}. "
                "Name the winner's own bundle."
            )
        given = self._given_space()
        try:
            return self.bundle.module(given)
        except NasError:
            raise
        except Exception as error:  # torch and safetensors have many exceptions for weights that do not fit
            raise JournalError(
                f"the weights of {self.bundle.folder} must fit the module that its space builds, but "
                f"{raised_text(error)}."
            ) from error

    def calibration(self) -> Arrays:
        """Return the inputs on which an int8 form finds its ranges. Raises JournalError for a bundle without items."""
        if self.samples is None:
            raise JournalError(
                f"int8 finds its ranges on items of the data, but {self.bundle.folder} has no {SAMPLES}. Name a bundle "
                "with it, such as the winner's own in its run, or choose another precision."
            )
        return self.samples.calibration_inputs(self.bundle.preparation)

    def classifies(self) -> bool:
        """Return True if the model answers with classes."""
        return self.bundle.answers["kind"] in OF_CLASSES

    def exported(self, model_format: ModelFormat, batch: int | None, folder: Path) -> Path:
        """Return the model in the format that a runtime takes, for a batch, or for any with None.

        The bundle's own file is taken if it has this batch; else one is written to ``folder``.

        Raises:
            as ``module``, and CandidateError if the exporter cannot express the module.
        """
        name = ONNX if model_format == "onnx" else PROGRAM
        own = self.bundle.folder / name
        if own.is_file() and batch == self.bundle.about["batch"]:
            return own
        from nas.formats.export import export_model, export_onnx

        inputs, path = self.bundle.signature.inputs, folder / name
        if batch is None:
            export_onnx(self.module, inputs, None, path)
        else:
            export_model(self.module, inputs, batch, path, model_format)
        return path

    def check_runtimes(self, targets: Iterable[Target]) -> None:
        """Check that targets, which the bundle names, run no code that nobody trusts.

        Raises:
            RecipeError: the runtime of one is a ``module:Name``.
        """
        self._check_trusted([target.runtime for target in targets])

    def _check_trusted(self, names: Sequence[str]) -> None:
        code = [name for name in names if ":" in name]
        if code and not self.trust:
            raise RecipeError(
                f"the bundle {self.bundle.folder} names code of its own, {' and '.join(code)}, which would have to "
                "run. If the bundle is your own, or you trust who made it, say so with --trust."
            )

    @cached_property
    def space(self) -> SearchSpace:
        """The space of the winner. Raises RecipeError if it is not known, or is code of its own that nobody trusts."""
        return self.bundle.space(self._given_space())

    def _given_space(self) -> SearchSpace | type[SearchSpace] | None:
        if self._space is not None and not isinstance(self._space, str):
            return self._space
        described = dict(self.bundle.about["space"])
        name = self._space or str(described.pop("name"))
        if self._space is None and name == GIVEN:
            raise RecipeError(
                f"the winner {self.bundle.about['id']} comes from a space that was passed as an object: pass space=… "
                "in Python, or name its class with --space my_module:MySpace."
            )
        from nas.space.plug_ins import code_named, load_plug_in
        from nas.space.rules import GROUP

        if self._space is None:
            self._check_trusted(code_named(GROUP, name, described, "search space"))
            return None
        found: Any = load_plug_in(GROUP, name, "search space")
        made: SearchSpace | type[SearchSpace] = found
        return made


def same_for_any_batch(path: Path, reference: Reference) -> None:
    """Check that an ONNX file with an open batch gives the same outputs for several sizes.

    Raises:
        CandidateError: of kind parity; it does not, or ONNX Runtime refuses a size.
    """
    for count in (1, 3, min(7, len(reference.outputs))):
        few = tuple(each[:count] for each in reference.inputs)
        found = agreement_of(outputs_of(path, few), reference.outputs[:count], {"kind": "raw"})
        if not found.is_exact:
            raise CandidateError(
                "parity",
                f"outputs for a batch of {count} must equal those of torch, but differ by {found.difference:.2g}.",
            )


def _random(bundle: Bundle) -> Arrays:
    """Return fixed pseudo-random inputs of a bundle's model."""
    from nas.formats.model_inputs import Input, random_inputs

    declared = tuple(
        Input(each.name, np.dtype(each.dtype), (RANDOM_ITEMS, *each.shape), each.counts)
        for each in bundle.signature.inputs
    )
    return tuple(random_inputs(declared).values())


def outputs_in_torch(module: torch.nn.Module, inputs: Arrays) -> FloatArray:
    """Return the outputs of a module in eval mode. Raises CandidateError if it cannot run on these inputs."""
    import torch

    try:
        with torch.inference_mode():
            found: FloatArray = module(*map(torch.from_numpy, inputs)).numpy()
    except Exception as error:  # a module of a user's own raises anything
        raise CandidateError("exception", f"the torch module raised {raised_text(error)}") from error
    return found

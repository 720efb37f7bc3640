"""From architectures to measured rows: build, export, deploy, and measure them together."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeGuard

import numpy as np
import torch

from nas.errors import CandidateError, TargetError
from nas.formats.export import export_model
from nas.formats.onnx_session import Arrays
from nas.hardware.bench import Bench, Outcome, ProfilingBench
from nas.hardware.machine import check_inputs_fit
from nas.hardware.runtimes.runtime import Deployed, ExportedModel
from nas.progress import Progress
from nas.space.architecture import Architecture
from nas.space.first_look import FirstLook
from nas.space.layer import Layer
from nas.space.parts.candidate import SpaceParts
from nas.space.parts.own_inputs import signature_of, wishes_of
from nas.space.search_space import SearchSpace
from nas.space.signature import Signature
from nas.space.torch_settings import in_turn, torch_threads
from nas.space.tracing import build_checked, trace
from nas.storage.measurement_store import MeasurementStore, layers_identity, space_identity
from nas.storage.scratch import temporary_folder
from nas.tasks.data_source import DataSource
from nas.values.evaluation import FOR_ANY, KEPT, Evaluation, Failure
from nas.values.metric import SUSTAINED
from nas.values.profiled_network import LATENCY, profile_of

SIZE, NOTES = "model_bytes", "exporter_notes"
"""A file's size, and the condition in the store that tells whether the file held notes of its exporter.

Until version 0.6.0 files held such notes, and sizes were kept without this condition.
"""


class Measurer(Protocol):
    """Measures architectures of one space on one target."""

    @property
    def fingerprint(self) -> str | None:
        """An identifier of the target, its hardware and versions, or None if measurements must not be kept."""

    @property
    def device_s(self) -> float:
        """Seconds for which the measurer has held the device so far."""

    def rows(
        self,
        architectures: Sequence[Architecture],
        metrics: Sequence[str],
        *,
        round_number: int,
        rng: np.random.Generator,
        progress: Progress,
    ) -> list[Evaluation]:
        """Return one ``measure`` row for each architecture, with all ``metrics`` or with the reason of a failure."""


@dataclass(frozen=True)
class Surroundings:
    """A measurer that builds and exports each architecture of ``space`` and measures it on ``bench``.

    ``signature`` is that of the data; an architecture may have inputs of its own. ``store`` holds measurements of
    earlier runs. ``look`` is taken at each architecture before it is built. ``source`` gives the data on which int8
    finds its ranges; without it, these are random.

    Raises:
        RecipeError: the images of one batch do not fit into memory.
    """

    space: SearchSpace
    bench: Bench
    signature: Signature
    batch: int
    store: MeasurementStore | None = None
    look: FirstLook | None = None
    source: DataSource | None = None

    def __post_init__(self) -> None:
        check_inputs_fit(self.batch * self.signature.item_bytes, self.signature.wanted(self.batch))

    @property
    def fingerprint(self) -> str | None:
        """The bench's fingerprint."""
        return self.bench.fingerprint

    @property
    def device_s(self) -> float:
        """Seconds for which the bench has held the device so far."""
        return self.bench.device_s

    def rows(
        self,
        architectures: Sequence[Architecture],
        metrics: Sequence[str],
        *,
        round_number: int,
        rng: np.random.Generator,
        progress: Progress,
    ) -> list[Evaluation]:
        """Return one row for each architecture, as ``measure_architectures`` does."""
        return measure_architectures(
            self, architectures, metrics, round_number=round_number, rng=rng, progress=progress
        )


def measure_architectures(
    surroundings: Surroundings,
    architectures: Sequence[Architecture],
    metrics: Sequence[str],
    *,
    round_number: int,
    rng: np.random.Generator,
    progress: Progress,
) -> list[Evaluation]:
    """Return one ``measure`` row for each architecture, with untrained weights: latency does not depend on them.

    An architecture that cannot be built, exported, deployed or run becomes a failed row. Measurements that the store
    holds for the same architecture, space and target are reused, and new ones are added to it. Architectures that
    differ only in choices of training are measured once.
    """
    steps = measured_in_steps(
        surroundings, architectures, metrics, round_number=round_number, rng=rng, progress=progress
    )
    while True:
        try:
            next(steps)
        except StopIteration as ended:
            rows: list[Evaluation] = ended.value
            return rows


def measured_in_steps(
    surroundings: Surroundings,
    architectures: Sequence[Architecture],
    metrics: Sequence[str],
    *,
    round_number: int,
    rng: np.random.Generator,
    progress: Progress,
) -> Generator[bool, None, list[Evaluation]]:
    """Do what ``measure_architectures`` does in steps, and return the rows at the end.

    Yields False after each export but the last, and then True: the rest may happen in another thread.
    """
    bench = surroundings.bench
    parts = SpaceParts(surroundings.space)
    asked, architectures = architectures, list(dict.fromkeys(map(parts.on_device, architectures)))
    # Before any stage of progress, because the first use of the fingerprint measures the target, which takes a while.
    keeps = surroundings.store is not None and bench.fingerprint is not None
    space_key = space_identity(surroundings.space, surroundings.signature) if keeps else ""
    found: dict[Architecture, Outcome] = {}
    kept: set[Architecture] = set()
    with temporary_folder("models") as folder:
        progress.stage("exporting models", len(architectures))
        keys: dict[Architecture, str] = {}
        layers: dict[Architecture, tuple[Layer, ...]] = {}
        exported: dict[Architecture, Path] = {}
        for architecture in architectures:
            try:
                whole = parts.candidate(architecture)
                module = _build(surroundings, whole)
                signature = signature_of(surroundings.space, whole, surroundings.signature)
                if keeps or _profiles(bench, metrics):
                    layers[architecture], operators = trace(module, signature)
                    # A key of the space's source and of what the model runs: it changes when the space's code does.
                    keys[architecture] = f"{space_key}-{layers_identity(layers[architecture], operators)}"
                known = _known(surroundings, keys.get(architecture, ""), architecture, metrics)
                if known is not None:
                    found[architecture] = known
                    kept.add(architecture)
                else:
                    path = folder / f"{architecture.id}.{bench.model_format}"
                    export_model(module, signature.inputs, surroundings.batch, path, bench.model_format)
                    exported[architecture] = path
            except CandidateError as error:
                found[architecture] = error
            progress.advance()
            yield architecture == architectures[-1]
        if kept:
            progress.say(f"{len(kept)} of {len(architectures)} architectures were measured on this target before")
        if exported:
            found |= _measure(surroundings, exported, layers, metrics, folder / "deployed", rng, progress)
            _keep(surroundings, keys, {architecture: found[architecture] for architecture in exported})
    progress.close()
    seen = ((each, parts.on_device(each)) for each in asked)
    return [_row(each, found[part], round_number, part in kept, parts.training) for each, part in seen]


def vary_constant_weights(module: torch.nn.Module) -> None:
    """Add small random differences to weights that are all equal, such as all zeros or all ones, as training would.

    Converters drop layers that such weights make trivial, and the latency would be that of another network. In an
    untrained ResNet-18, whose last scales are zero, LiteRT's converter keeps 5 of 21 convolutions.
    """
    with torch.no_grad():
        for tensor in module.parameters():
            if tensor.is_floating_point() and tensor.numel() and bool((tensor == tensor.flatten()[0]).all()):
                tensor.add_(torch.randn_like(tensor), alpha=0.05)


@in_turn()
@torch_threads(1)
def _build(surroundings: Surroundings, architecture: Architecture) -> torch.nn.Module:
    if surroundings.look is not None:
        surroundings.look.check_build(architecture)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = build_checked(surroundings.space, architecture, surroundings.signature)
        vary_constant_weights(module)
        return module


def _measure(
    surroundings: Surroundings,
    exported: dict[Architecture, Path],
    layers: Mapping[Architecture, Sequence[Layer]],
    metrics: Sequence[str],
    folder: Path,
    rng: np.random.Generator,
    progress: Progress,
) -> dict[Architecture, Outcome]:
    """Deploy exported models, and measure all that the runtime accepts together. Latencies get their profiles."""
    bench = surroundings.bench
    progress.stage("deploying models", len(exported))
    folders = [folder / architecture.id for architecture in exported]
    models = _with_calibration(surroundings, exported)
    answers = dict(zip(exported, bench.deploy(models, folders, progress.advance), strict=True))
    found: dict[Architecture, Outcome] = {a: d for a, d in answers.items() if isinstance(d, CandidateError)}
    deployed: dict[Architecture, Deployed] = {a: d for a, d in answers.items() if isinstance(d, Deployed)}
    progress.stage(
        f"sessions of measuring {len(deployed)} model{'s' * (len(deployed) != 1)}", len(deployed) * bench.rounds
    )
    outcomes = dict(zip(deployed, bench.measure(list(deployed.values()), metrics, rng, progress.advance), strict=True))
    if _profiles(bench, metrics):
        outcomes |= _profiled(bench, deployed, layers, outcomes, progress)
    return found | outcomes


def _with_calibration(surroundings: Surroundings, exported: Mapping[Architecture, Path]) -> list[ExportedModel]:
    """Return exported models with the items to calibrate on. Those that want the same inputs share them."""
    source, parts = surroundings.source, SpaceParts(surroundings.space)
    if source is None:
        return [ExportedModel(path) for path in exported.values()]
    items: dict[str, Callable[[], Arrays]] = {}
    models = []
    for architecture, path in exported.items():
        wishes = wishes_of(surroundings.space, parts.candidate(architecture))
        key = json.dumps(wishes, sort_keys=True)
        calibration = items.setdefault(key, partial(source.calibration_items, wishes))
        models.append(ExportedModel(path, calibration, classifies=source.classifies))
    return models


def _profiles(bench: Bench, metrics: Sequence[str]) -> TypeGuard[ProfilingBench]:
    """Return True if latencies are asked for, and the bench can tell how they divide among operators."""
    return LATENCY in metrics and isinstance(bench, ProfilingBench) and bench.profiles_layers


def _profiled(
    bench: ProfilingBench,
    deployed: Mapping[Architecture, Deployed],
    layers: Mapping[Architecture, Sequence[Layer]],
    outcomes: Mapping[Architecture, Outcome],
    progress: Progress,
) -> dict[Architecture, Outcome]:
    """Return the outcomes whose latency was measured, with the profiles of the models that can be profiled."""
    sound = {a: outcome for a, outcome in outcomes.items() if not isinstance(outcome, CandidateError)}
    if not sound:
        return {}
    progress.stage(f"profiling {len(sound)} model{'s' * (len(sound) != 1)}", len(sound))
    try:
        profiles = bench.layer_times([deployed[architecture] for architecture in sound], progress.advance)
    except TargetError as error:
        progress.say(f"the predictor learns from no profile, because models could not be profiled: {error}")
        return {}
    found: dict[Architecture, Outcome] = {}
    for (architecture, outcome), profile in zip(sound.items(), profiles, strict=True):
        latency = outcome[LATENCY]
        conditions = {**latency.conditions, **profile_of(layers[architecture], profile.layers)}
        found[architecture] = {**outcome, LATENCY: replace(latency, conditions=conditions)}
    return found


def _known(surroundings: Surroundings, key: str, architecture: Architecture, metrics: Sequence[str]) -> Outcome | None:
    """Return the stored measurements of all ``metrics``, or None where one is missing."""
    store, fingerprint = surroundings.store, surroundings.bench.fingerprint
    if store is None or fingerprint is None:
        return None
    known = store.find(fingerprint, key, architecture)
    if SIZE in known:
        conditions = dict(known[SIZE].conditions)
        if conditions.pop(NOTES, True):  # notes are no part of a model any more
            del known[SIZE]
        else:
            known[SIZE] = replace(known[SIZE], conditions=conditions)
    return {name: known[name] for name in metrics} if set(metrics) <= known.keys() else None


def _keep(surroundings: Surroundings, keys: dict[Architecture, str], found: dict[Architecture, Outcome]) -> None:
    store, fingerprint = surroundings.store, surroundings.bench.fingerprint
    if store is None or fingerprint is None:
        return
    for architecture, outcome in found.items():
        if not isinstance(outcome, CandidateError):
            # How long a model ran is no part of the store's key, so sustained latencies are measured again.
            kept = {name: each for name, each in outcome.items() if name != SUSTAINED}
            if SIZE in kept:
                kept[SIZE] = replace(kept[SIZE], conditions={**kept[SIZE].conditions, NOTES: False})
            store.add(fingerprint, keys[architecture], architecture, kept)


def _row(
    architecture: Architecture, outcome: Outcome, round_number: int, kept: bool, for_any: Sequence[str]
) -> Evaluation:
    if isinstance(outcome, CandidateError):
        return Evaluation("measure", architecture, round_number, failure=Failure(outcome.kind, outcome.reason))
    details: dict[str, Any] = {KEPT: True} if kept else {}
    if for_any:
        details[FOR_ANY] = list(for_any)
    return Evaluation("measure", architecture, round_number, measurements=outcome, details=details)

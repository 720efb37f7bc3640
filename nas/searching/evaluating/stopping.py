"""Early stopping of a run's trainings: what is recorded of them, and how far early errors can be relied on."""

from __future__ import annotations

from typing import final

from nas.searching.sampler_feedback import known_losses
from nas.searching.state import RunState
from nas.space.architecture import Architecture, Option
from nas.storage.journal_rows import RungsJudged
from nas.training.early_stopping import EarlyStopping, RungTrust
from nas.values.evaluation import FITTED, Evaluation


@final
class Stopping:
    """Decides which trainings go on. Where candidates differ in their epochs, those with the same number are compared.

    After the same epoch, a training that ends soon is farther than one that has long to go, because its learning rate
    has fallen.
    """

    def __init__(self, state: RunState, epochs: int) -> None:
        """Take in what the run knows. ``epochs`` are those of candidates that have no choice of their own."""
        self._state = state
        self._epochs = epochs
        self._is_searched = "epochs" in state.beliefs.parts.training
        self._by_epochs: dict[Option | None, EarlyStopping] = {}
        for row in (row for row in state.beliefs.trainings.values() if row.is_in_epochs):
            for epoch, error in enumerate(row.details.get("curve", ()), start=1):
                self.record(row.architecture, epoch, error)

    def record(self, architecture: Architecture, epoch: int, error: float) -> None:
        """Record a candidate's error after an epoch. Only those after which trainings may stop count."""
        of = self._of(architecture)
        if epoch in of.rungs:
            of.record(architecture.id, epoch, error, known_losses(self._state.beliefs, architecture))

    def recall(self, architecture: Architecture, row: Evaluation) -> None:
        """Record the errors of a training that ended before the run was interrupted, as its reports did."""
        curve = row.details.get("curve", ())
        if row.details.get(FITTED) or not row.details.get("epochs"):
            return
        for epoch, error in enumerate(curve, start=1):
            self.record(architecture, epoch, error)
            if epoch < len(curve) or row.failed or row.details.get("stopped_early"):
                self.goes_on(architecture, epoch)

    def goes_on(self, architecture: Architecture, epoch: int) -> bool:
        """Return True if a candidate is trained beyond ``epoch``, for which it was recorded."""
        return self._of(architecture).goes_on(architecture.id, epoch)

    def epochs_of(self, architecture: Architecture) -> int:
        """Return the epochs of a candidate's whole training."""
        return int(architecture.get("epochs", self._epochs)) if self._is_searched else self._epochs

    def _of(self, architecture: Architecture) -> EarlyStopping:
        alike, beliefs = self._state.beliefs.epochs_choice(architecture), self._state.beliefs
        if alike not in self._by_epochs:
            epochs = self.epochs_of(architecture)
            self._by_epochs[alike] = EarlyStopping(
                self._state.recipe.stopping,
                epochs,
                whole=lambda: beliefs.whole_curves(architecture),
                tell=lambda trust, trainings: self._record_judgement(trust, trainings, epochs),
            )
        return self._by_epochs[alike]

    def _record_judgement(self, trust: RungTrust, trainings: int, epochs: int) -> None:
        """Say how far early errors can be relied on, unless the journal has it from before."""
        state = self._state
        of = epochs if self._is_searched else None
        if (trainings, of) in [(judged.trainings, judged.epochs) for judged in state.journal.rows(RungsJudged)]:
            return
        shown = ", ".join(f"{correlation:.2f} after {epoch}" for epoch, correlation in trust.correlations.items())
        verdict = (
            f"stopping begins at epoch {trust.relied_on[0]}" if trust.relied_on else "so no training is stopped early"
        )
        state.progress.say(
            f"early errors rank {trainings} whole trainings like those after {epochs} epochs, Spearman: {shown}; "
            f"{verdict}"
        )
        by_epoch = {str(epoch): correlation for epoch, correlation in trust.correlations.items()}
        state.journal.append(RungsJudged(trainings, by_epoch, list(trust.relied_on) or None, of))

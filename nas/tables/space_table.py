"""A table of random architectures of a space, as ``nas measure --space`` asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import final

from nas.hardware.bench import Bench
from nas.progress import Progress
from nas.storage.home import home
from nas.storage.measurement_store import MeasurementStore
from nas.tables.interruption import noting_how_to_continue
from nas.tables.measured_table import measure_table
from nas.tables.named_space import NamedSpace
from nas.values.evaluation import Evaluation
from nas.values.target import Target

DEFAULT_COUNT = 40


@final
@dataclass(frozen=True)
class SpaceTable:
    """The ``count`` random architectures of a space to measure into a table at ``path``.

    ``seed`` draws the architectures. ``fresh`` ignores measurements that earlier commands kept.
    """

    space: NamedSpace
    count: int
    path: Path
    metrics: Sequence[str]
    seed: int
    fresh: bool

    def measure(self, target: Target, bench: Bench, progress: Progress) -> list[Evaluation]:
        """Measure the architectures, write the table, and return its rows, failures included.

        An interruption carries a note that tells how to continue.

        Raises:
            RecipeError: an unknown space or option, an unfit name of the table, or a space that is too small.
            TargetError: the target cannot be measured here.
        """
        space, look = self.space.load_apart(progress.say)
        with closing(look), noting_how_to_continue(self.fresh):
            return measure_table(
                space,
                self.count,
                target,
                bench,
                self.path,
                signature=self.space.signature,
                metrics=self.metrics,
                store=MeasurementStore(home(), fresh=self.fresh),
                seed=self.seed,
                progress=progress,
                look=look,
            )

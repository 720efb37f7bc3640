"""Bringing a new target into a table from start to end: measure a few architectures, then predict all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from nas.errors import RecipeError
from nas.hardware.bench_request import BenchRequest
from nas.hardware.measuring import Surroundings
from nas.prediction.operator_fusion import as_executed
from nas.prediction.predictor import MIN_SAMPLES
from nas.prediction.samples import MeasuredDevice
from nas.prediction.trust_report import TrustReport, trust_reports
from nas.prediction.trust_request import TrustRequest, check_limits
from nas.progress import Progress
from nas.space.description import Describer
from nas.space.first_look import FirstLook
from nas.space.search_space import SearchSpace
from nas.storage.home import home
from nas.storage.measurement_store import MeasurementStore, space_identity
from nas.tables.interruption import noting_how_to_continue
from nas.tables.kept_columns import kept_elsewhere, kept_there, table_of_kept, with_kept
from nas.tables.measured_table import device_name, named_cells
from nas.tables.named_space import NamedSpace
from nas.tables.onboarding import Onboarded, doubts_of, measure_few, predict_rows, sources_from, write_onboarded
from nas.tables.table import Table, read_table
from nas.tables.table_device import latencies_of
from nas.tables.table_file import check_name, read_cells
from nas.values.other_target import Source


@final
@dataclass(frozen=True)
class Onboarding:
    """A target to bring into a table, and how.

    ``samples`` architectures of the table at ``path`` are measured in ``metric``. ``sources`` are devices to transfer
    from, of the table or with kept measurements of the space; without any, all with the metric are used. With ``path``
    None, the table is one of the architectures with kept measurements. The new table is written to ``out``. ``fresh``
    ignores measurements of the target that earlier commands kept.
    """

    path: Path | None
    space: NamedSpace
    bench: BenchRequest
    metric: str
    sources: Sequence[str]
    trust: TrustRequest
    samples: int
    out: Path
    fresh: bool = False

    @property
    def device(self) -> str:
        """The new target, as the table's columns name it."""
        return device_name(self.bench.target)

    def check(self) -> None:
        """Check what can be checked before anything is read.

        Raises:
            RecipeError: an unfit name of the new table, too few samples, or an unknown predictor.
        """
        check_name(self.out)
        if self.samples < MIN_SAMPLES:
            raise RecipeError(f"--samples must be at least {MIN_SAMPLES} for a predictor, but got {self.samples}.")
        self.trust.method()


def onboard(asked: Onboarding, progress: Progress) -> TrustReport:
    """Measure a few architectures on the new target, predict the others, write the new table, and return the report.

    Raises:
        RecipeError: something that was asked for is unknown or contradictory.
        TargetError: the target cannot be measured here, or too few architectures could be.
    """
    asked.check()
    with asked.space.described(progress.say, builds=True) as (describer, look):
        return _bring_in(asked, _table(asked, describer.space, progress), describer, look, progress)


def _table(asked: Onboarding, space: SearchSpace, progress: Progress) -> Table:
    """Return the table, with a column for each further target whose measurements in the space are kept.

    Raises:
        RecipeError: the table cannot be read; or without a table, nothing was kept.
    """
    store = MeasurementStore(home())
    kept = kept_elsewhere(store, space_identity(space, asked.space.signature), asked.metric, asked.device)
    if asked.path is None:
        table = table_of_kept(store, asked.metric, kept)
    else:
        table = read_table(asked.path, space)
        kept = {name: values for name, values in kept.items() if not table.has_column(f"{asked.metric}_{name}")}
        table = with_kept(table, asked.metric, kept)
    if kept:
        named = ", ".join(f"{name} ({len(values)})" for name, values in kept.items())
        progress.say(f"{asked.metric} was measured in this space before on other targets: {named}")
    return table


def _bring_in(
    asked: Onboarding, table: Table, describer: Describer, look: FirstLook, progress: Progress
) -> TrustReport:
    check_limits(asked.trust.limits, [asked.metric])
    sources = sources_from(table, asked.metric, asked.device, asked.sources)
    for doubt in table.doubts_about(f"{asked.metric}_{device}" for device in table.targets(asked.metric)):
        progress.say(doubt)
    bench = asked.bench.open(progress.say)
    bench.check([asked.metric])
    surroundings = Surroundings(
        describer.space,
        bench,
        asked.space.signature,
        asked.bench.target.batch,
        MeasurementStore(home(), fresh=asked.fresh),
        look,
    )
    if not asked.fresh:
        identity = space_identity(describer.space, asked.space.signature)
        own = kept_there(MeasurementStore(home()), bench.fingerprint, identity, asked.metric)
        table = with_kept(table, asked.metric, {asked.device: own} if own else {}, fill=True)
    devices = [source.target for source in sources]
    with noting_how_to_continue(asked.fresh):
        onboarded = measure_few(
            table,
            asked.metric,
            asked.device,
            devices,
            asked.samples,
            surroundings,
            describer,
            seed=asked.trust.seed,
            progress=progress,
        )
    for doubt in doubts_of(onboarded, f"{asked.metric}_{asked.device}"):
        progress.say(doubt)
    return _predict(asked, table, describer, sources, onboarded, progress)


def _predict(
    asked: Onboarding,
    table: Table,
    describer: Describer,
    sources: Sequence[Source],
    onboarded: Onboarded,
    progress: Progress,
) -> TrustReport:
    """Fit the predictor to what was measured, predict every row, and write the new table."""
    values = {table.architectures[row]: value for row, value in onboarded.values.items()}
    taken = {each.architecture: each.measurements for each in onboarded.rows.values() if not each.failed}
    describer = as_executed(describer, taken)
    data = MeasuredDevice(
        describer,
        asked.device,
        {asked.metric: values},
        (),
        {asked.metric: sources},
        {asked.metric: [a for a in table.architectures if a not in values]},
        latencies_of(table, asked.device),
    )
    trust = asked.trust
    ((report, fitted),) = trust_reports(
        data,
        trust.method(),
        trust.predictor,
        limits=trust.limits,
        most=len(values),
        seed=trust.seed,
        progress=progress,
    )
    progress.stage("predicting the table", len(table))
    predicted = predict_rows(fitted, table, describer, progress.advance)
    is_file = asked.path is not None
    cells = read_cells(table.path) if is_file else named_cells(describer.space, table.architectures)
    write_onboarded(asked.out, cells, table, asked.metric, asked.device, onboarded, predicted)
    return report

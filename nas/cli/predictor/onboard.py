"""``nas predictor onboard``: a table's values for a new target, from few measurements."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

from nas.cli import options
from nas.cli.output import check_page, json_alone, show_trust
from nas.cli.predictor.report import REPORT_FILE, TABLE_PREDICTOR

ONBOARDED_FILE = Path("onboarded.csv.gz")


def onboard(
    target: options.NewTarget,
    table: options.SourceTable = None,
    space: options.TableSpace = None,
    input_shape: options.InputShape = None,
    classes: options.Classes = None,
    option: options.SpaceOptions = None,
    samples: options.Samples = 10,
    metric: options.OnboardMetric = "latency_ms",
    sources: options.OnboardSources = None,
    predictor: options.OnboardPredictor = TABLE_PREDICTOR,
    limit: options.Limits = None,
    within: options.Within = 0.01,
    max_rounds: options.MaxRounds = 15,
    meter_command: options.MeterCommand = None,
    fresh_measurements: options.FreshMeasurements = False,
    out: options.OnboardedTable = ONBOARDED_FILE,
    page: options.OnboardPage = REPORT_FILE,
    seed: options.Seed = 0,
    as_json: options.AsJson = False,
) -> None:
    """Predict a table's values for a new target from few measurements.

    A few architectures of the table are measured on the new target. The others are predicted with the help of the
    table's other devices, and of those on which the space was measured before. Without a table, it is one of the
    networks that were measured there. The new table holds both, and the report shows how far the predictions can be
    trusted.
    """
    from nas.hardware.bench_request import BenchRequest, measured_metric
    from nas.prediction.trust_request import TrustRequest
    from nas.reports.progress_display import choose_progress
    from nas.tables.named_space import space_of_table
    from nas.tables.new_target import Onboarding, onboard as bring_in
    from nas.values.objective import Limit
    from nas.values.target import Target

    check_page(page, "--report")
    onboarding = Onboarding(
        path=table,
        space=space_of_table(table, space, option or [], input_shape, classes),
        bench=BenchRequest(Target.parse(target), within, max_rounds, meter_command),
        metric=measured_metric(metric),
        sources=options.names_in(sources) or [],
        trust=TrustRequest(predictor, [Limit.parse(text) for text in limit or []], seed),
        samples=samples,
        out=out,
        fresh=fresh_measurements,
    )
    with json_alone(as_json), closing(choose_progress(sys.stdout, as_json)) as progress:
        report = bring_in(onboarding, progress)
    where = "earlier measurements" if table is None else table.name
    facts = {"table": str(table or where), "predictor": predictor, "seed": str(seed), "written to": str(out)}
    show_trust([report], page, f"{onboarding.device}, onboarded from {where}", facts, as_json, table=out)

"""The plots of a run's report: the front, the error over the search, and predictions against measurements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate

from nas.reports.candidates import OUTSIDE, Candidate, PredictionCheck, QualityAxis, prediction_checks
from nas.reports.figures import (
    Plot,
    Point,
    axis_ranges,
    figure_of,
    finite,
    hover_text,
    is_inside,
    limit_lines,
    line_of,
    padded,
    step_line,
    trace_of,
)
from nas.reports.wording import MEASURED, Wording, wording_of
from nas.results.front import Front
from nas.results.winner import Winner, range_text
from nas.values.evaluation import Evaluation, PredictedValue
from nas.values.measurement import Measurement
from nas.values.metric import METRICS, Metric
from nas.values.objective import limit_text

MOST_WITH_BARS = 300
"""With more candidates, their bars would hide everything else."""


def front_plot(front: Front, candidates: Sequence[Candidate], cost: Metric) -> Plot:
    """Plot the error, or another trained objective, against ``cost``: winners with their front, and candidates."""
    words, axis = wording_of(front.table), QualityAxis(front.quality, front.words)
    winners = [_winner_point(winner, cost, axis) for winner in front if winner.has(cost.name)]
    whole, ended = ([c for c in candidates if c.stopped == is_stopped] for is_stopped in (False, True))
    found = [_found_point(c, cost, words, axis) for c in whole if _is_found(c, cost)]
    predicted = [_predicted_point(c, cost, words, axis) for c in whole if _is_predicted_only(c, cost)]
    stopped = [_found_point(c, cost, words, axis) for c in ended if _is_found(c, cost)]
    stopped += [_predicted_point(c, cost, words, axis) for c in ended if _is_predicted_only(c, cost)]
    winners, found, predicted, stopped = map(finite, (winners, found, predicted, stopped))
    is_crowded = len(found) + len(predicted) + len(stopped) > MOST_WITH_BARS
    if is_crowded:
        found, predicted, stopped = ([point.without_bars for point in each] for each in (found, predicted, stopped))
    word = words.value_source if cost.source == "measured" else cost.source.replace("trained", "test")
    traces = [
        trace_of(stopped, "stopped", "stopped early", "x-thin-open", 7),
        trace_of(predicted, "predicted", "candidates, predicted", "circle-open", 8),
        trace_of(found, "measured", f"candidates, {word}", "circle", 8),
        step_line(winners),
        trace_of(winners, "winner", f"winners, {word}", "diamond", 12),
    ]
    x_limits = [limit for limit in front.limits if limit.metric.name == cost.name]
    y_limits = [limit for limit in front.limits if limit.metric == axis.metric]
    main = [*winners, *found, *predicted] or stopped
    x_range, y_range = axis_ranges(main, [limit.value for limit in x_limits], axis.bounds(y_limits))
    outside = sum(not is_inside(point, x_range, y_range) for point in stopped)
    title = cost.title if cost.source == "measured" or word in cost.title else f"{cost.title} ({word})"
    layout = {
        "xaxis": {
            "title": {"text": f"{title}{f', {cost.unit}' if cost.unit else ''}"},
            "range": x_range,
            **({"tickformat": ".3~%"} if cost.is_share else {}),
        },
        "yaxis": {"title": {"text": axis.title}, "ticksuffix": axis.suffix, "range": y_range},
        **limit_lines(x_limits, y_limits, x_range, y_range, axis.scaled(1)),
    }
    caption = words.front_caption
    if ways := _ways(candidates):
        caption += f" {ways}"
    if cost.source == "measured":
        caption += f" {words.bars_caption}"
        caption += " Candidates have none here, because they are many." if is_crowded else ""
    else:
        bars = "" if front.table else " Bars are 95 % intervals of the test."
        caption += f"{bars} Values on the horizontal axis are {cost.source}, not measured."
    for limit in x_limits:
        if x_range is not None and limit.value > x_range[1]:
            caption += f" The limit, {limit_text(limit)}, lies to the right of the plotted range."
    if outside:
        lies = "candidate lies" if outside == 1 else "candidates lie"
        caption += f" {outside} early-stopped {lies} outside the plotted range. Double-click the plot to see all."
    if not main:
        caption = "Nothing to show yet: no training has finished."
    name = f"Test {axis.title[0].lower()}{axis.title[1:]} and {cost.title[0].lower()}{cost.title[1:]}"
    return Plot(f"front-{cost.name}", name, caption, figure_of(traces, layout))


def _ways(candidates: Sequence[Candidate]) -> str:
    """Return a sentence about candidates whose errors do not come from training, if there are any."""
    ways = dict.fromkeys(candidate.by for candidate in candidates if candidate.by)
    return f"Candidates were not trained: their errors were estimated {' or '.join(ways)}." if ways else ""


def error_plot(front: Front, candidates: Sequence[Candidate]) -> Plot:
    """Plot the error, or another trained objective, over a search without other objectives."""
    words, axis = wording_of(front.table), QualityAxis(front.quality, front.words)
    full = [(i, c) for i, c in enumerate(candidates, 1) if not c.stopped]
    stopped = [(i, c) for i, c in enumerate(candidates, 1) if c.stopped]
    points, stopped_points = (
        [Point(i, axis.value(c), hover_text(c.architecture, *_candidate_lines(c, words, axis))) for i, c in each]
        for each in (full, stopped)
    )
    lowest = accumulate((axis.value(c) for _, c in full), min)
    best = [Point(i, value, "") for (i, _), value in zip(full, lowest, strict=True)]
    last = len(candidates) + 1
    winners = [
        Point(
            last + rank,
            axis.estimate(winner)[0],
            hover_text(winner.architecture, *_winner_lines(winner, axis)),
            y_bounds=axis.estimate(winner)[1],
        )
        for rank, winner in enumerate(front)
    ]
    traces = [
        trace_of(stopped_points, "stopped", "stopped early", "x-thin-open", 7),
        trace_of(points, "measured", "candidates", "circle", 8),
        line_of([(p.x, p.y) for p in best], "measured", "best so far", shape="hv"),
        trace_of(winners, "winner", "winners, test split", "diamond", 12),
    ]
    y_limits = [limit for limit in front.limits if limit.metric == axis.metric]
    main = [*winners, *points] or stopped_points
    x_range, y_range = axis_ranges([*main, *stopped_points], [], axis.bounds(y_limits))
    layout = {
        "xaxis": {"title": {"text": "Candidates, then winners"}, "range": x_range},
        "yaxis": {"title": {"text": axis.title}, "ticksuffix": axis.suffix, "range": y_range},
        **limit_lines([], y_limits, x_range, y_range, axis.scaled(1)),
    }
    caption = " ".join(filter(None, (words.order_caption, _ways(candidates))))
    if not main:
        caption = "Nothing to show yet: no training has finished."
    return Plot("error", f"{axis.title} over the search", caption, figure_of(traces, layout))


def prediction_plots(rows: Sequence[Evaluation], words: Wording = MEASURED) -> list[Plot]:
    """Plot predicted against measured values, for each metric that has both."""
    plots = [_prediction_plot(metric, prediction_checks(rows, metric), words) for metric in METRICS.values()]
    return [plot for plot in plots if plot is not None]


def _prediction_plot(metric: Metric, checks: Sequence[PredictionCheck], words: Wording) -> Plot | None:
    pairs = [(check, _check_point(check, metric)) for check in checks]
    pairs = [(check, point) for check, point in pairs if point.is_finite]
    if not pairs:
        return None
    candidates = [point for check, point in pairs if not check.is_winner]
    winners = [point for check, point in pairs if check.is_winner and check.came_before]
    seen = [point for check, point in pairs if not check.came_before]
    low, high = padded([bound for _, p in pairs for bound in (*(p.x_bounds or ()), *(p.y_bounds or ()))])
    traces = [
        line_of(
            [(low, low), (high, high)], "identity", f"predicted = {'measured' if words is MEASURED else 'looked up'}"
        ),
        trace_of(candidates, "measured", "candidates", "circle", 8),
        trace_of(seen, "winner", "winners the predictor was fitted to", "diamond-open", 12),
        trace_of(winners, "winner", "winners", "diamond", 12),
    ]
    unit = f", {metric.unit}" if metric.unit else ""
    kind = "Measured" if words is MEASURED else "Looked-up"
    layout = {
        "xaxis": {"title": {"text": f"Predicted {metric.title.lower()}{unit}"}, "range": [low, high]},
        "yaxis": {"title": {"text": f"{kind} {metric.title.lower()}{unit}"}, "range": [low, high]},
    }
    caption = words.check_caption
    counted = [check for check, _ in pairs if check.came_before]
    if counted:
        within_bounds = sum(check.is_within_bounds for check in counted)
        within_10_percent = sum(check.is_within_10_percent for check in counted)
        caption += (
            f" Of {len(counted)} {'point' if len(counted) == 1 else 'points'} {words.predicted_before}, "
            f"{within_bounds} lie within the 90 % bounds and {within_10_percent} within ±10 % of {words.actual_value}."
        )
    if seen:
        which = "1 hollow point, a winner" if len(seen) == 1 else f"{len(seen)} hollow points, winners"
        caption += f" Not counted: {which} that the predictor had been fitted to."
    title = f"{kind} against predicted {metric.title.lower()}"
    return Plot(f"check-{metric.name}", title, caption, figure_of(traces, layout))


def _is_found(candidate: Candidate, cost: Metric) -> bool:
    return cost.name in (candidate.measurements if cost.source == "measured" else candidate.values)


def _is_predicted_only(candidate: Candidate, cost: Metric) -> bool:
    return cost.source == "measured" and cost.name in candidate.predicted and not _is_found(candidate, cost)


def _found_point(candidate: Candidate, cost: Metric, words: Wording, axis: QualityAxis) -> Point:
    hover = hover_text(candidate.architecture, *_candidate_lines(candidate, words, axis, cost))
    if cost.source != "measured":
        return Point(candidate.values[cost.name], axis.value(candidate), hover)
    measured = candidate.measurements[cost.name]
    bounds = (measured.interval.lower, measured.interval.upper)
    return Point(measured.median, axis.value(candidate), hover, bounds)


def _predicted_point(candidate: Candidate, cost: Metric, words: Wording, axis: QualityAxis) -> Point:
    predicted = candidate.predicted[cost.name]
    hover = hover_text(candidate.architecture, *_candidate_lines(candidate, words, axis, cost))
    return Point(predicted.mean, axis.value(candidate), hover, (predicted.lower, predicted.upper))


def _winner_point(winner: Winner, cost: Metric, axis: QualityAxis) -> Point:
    bounds = None
    if cost.source in ("measured", "trained"):
        interval = winner.estimate(cost.name).interval
        bounds = (interval.lower, interval.upper)
    value, ends = axis.estimate(winner)
    return Point(
        x=winner.value(cost.name),
        y=value,
        hover=hover_text(winner.architecture, *_winner_lines(winner, axis, cost)),
        x_bounds=bounds,
        y_bounds=ends,
    )


def _check_point(check: PredictionCheck, metric: Metric) -> Point:
    predicted, measured = check.predicted, check.measured
    lines = _value_lines(metric, {metric.name: predicted}, {metric.name: measured}, {})
    return Point(
        x=predicted.mean,
        y=measured.median,
        hover=hover_text(check.architecture, *lines),
        x_bounds=(predicted.lower, predicted.upper),
        y_bounds=(measured.interval.lower, measured.interval.upper),
    )


def _winner_lines(winner: Winner, axis: QualityAxis, cost: Metric | None = None) -> list[str]:
    words = axis.words
    lines = [f"test {words.title} {words.text(winner.test_error)} ({words.range_text(winner.test_interval)})"]
    scores = {name: found.value for name, found in winner.scores.items()}
    if axis.metric.name in scores:
        lines.append(f"test {axis.metric.title.lower()} {axis.metric.format(scores[axis.metric.name])}")
    return lines + _value_lines(cost, winner.predicted, winner.measurements, {**winner.values, **scores})


def _candidate_lines(candidate: Candidate, words: Wording, axis: QualityAxis, cost: Metric | None = None) -> list[str]:
    stopped = ", stopped early" if candidate.stopped else ""
    way = f", {candidate.by}" if candidate.by else ""
    title, name = axis.words.title, axis.metric.name
    lines = [f"{words.search_accuracy.format(title)} {axis.words.text(candidate.error)}{way}{stopped}"]
    if not axis.is_error and name in candidate.values:
        lines.append(f"{axis.metric.title.lower()} {axis.metric.format(candidate.values[name])}")
    return lines + _value_lines(cost, candidate.predicted, candidate.measurements, candidate.values)


def _value_lines(
    metric: Metric | None,
    predicted: Mapping[str, PredictedValue],
    measurements: Mapping[str, Measurement],
    values: Mapping[str, float],
) -> list[str]:
    if metric is None:
        return []
    name, title, lines = metric.name, metric.title.lower(), []
    if name in measurements:
        found = measurements[name]
        if found.table is not None:
            lines.append(f"{title} {metric.format(found.median)}, from the table")
        else:
            bounds = range_text(metric, found.interval.lower, found.interval.upper)
            lines.append(f"measured {title} {metric.format(found.median)} ({bounds})")
    if name in predicted:
        guess = predicted[name]
        lines.append(f"predicted {title} {metric.format(guess.mean)} ({range_text(metric, guess.lower, guess.upper)})")
        if not guess.known:
            lines.append(OUTSIDE)
    if metric.source != "measured" and name in values:
        lines.append(f"{title} {metric.format(values[name])}")
    return lines

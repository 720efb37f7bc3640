"""Tables and lists for the terminal: a front, measured files, and a target's profile."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from nas.errors import CandidateError
from nas.hardware.file_measuring import MeasuredFile
from nas.hardware.roofline import rate_text, share_text
from nas.hardware.target_profile import TargetProfile
from nas.progress import duration_text
from nas.reports.wording import failed_text, wording_of
from nas.results.failures import failures_text
from nas.results.front import REPORT_NAME, Front
from nas.results.front_views import judged_text
from nas.results.text_tables import differing_choices
from nas.results.winner import Winner, broken_text
from nas.values.metric import METRICS, Metric, bare_range

PADDING = 2
MOST_SHOWN = 8
"""The most winners that the terminal shows, so that their table fits on a screen."""
MOST_NOTES = 8
LEAST_CHOICES = 28
URGENT = ("Not met", "Worse than", "Near chance", "Doubt")


def print_front(front: Front, console: Console, report: Path | None = None, *, has_report: bool = True) -> None:
    """Print every winner with its accuracy, costs, limits and notes: as a table, or as cards in a narrow terminal.

    A winner's choices stand below its values: those of the best one, and of the others what differs from it. Ids and
    paths are never cut or wrapped, so that they can be copied. The last line names the ``report``, by default
    ``report.html`` in the run folder; without ``has_report`` it is left out.
    """
    if front.first is not None:
        console.print(Text(front.first.text()), soft_wrap=True)
    elif not front.winners:
        why = failures_text(front.failures)
        console.print(Text(f"No winners.{f' {failed_text(front.failed)}.' if front.failed else ''} {why}".rstrip()))
    else:
        shown = front[:MOST_SHOWN]
        notes = _Notes(front, len(shown))
        for with_predictions in (True, False):
            columns = _columns(shown, notes, with_predictions)
            if sum(_widths(columns)) + PADDING * (len(columns) - 1) <= console.width:
                _print_table(columns, shown, console)
                break
        else:
            _print_cards(shown, notes, console)
        _print_below(front, notes, console)
    for sentence in front.compared:
        console.print(Text(sentence))
    if has_report:
        console.print(Text(f"Report: {report or front.run_folder / REPORT_NAME}"), soft_wrap=True)


class _Notes:
    """The numbered sentences below a table, and their numbers for each winner."""

    def __init__(self, front: Front, shown: int) -> None:
        found: list[tuple[str, ...]] = [
            (*(f"Not met: {broken_text(winner, limit)}." for limit in winner.broken(front.limits)), *notes)
            for winner, notes in zip(front.winners[:shown], front.notes, strict=False)
        ]
        listed = dict.fromkeys(text for texts in found for text in texts)
        self.texts = sorted(listed, key=lambda text: not text.startswith(URGENT))  # the others may be cut off
        self._numbers = [[self.texts.index(text) + 1 for text in texts] for texts in found]

    def numbers(self, place: int) -> str:
        """Return the numbers of the notes on the winner at a place, such as ``1 3``; … stands for those not shown."""
        shown = [str(number) for number in sorted(self._numbers[place]) if number <= MOST_NOTES]
        return " ".join([*shown, *(["…"] if len(shown) < len(self._numbers[place]) else [])])


_Column = list[tuple[str, str]]
"""The header of a column and its cells: each a value, and the small print below it."""


def _columns(front: Front, notes: _Notes, with_predictions: bool) -> list[_Column]:
    """Return the columns of the winners' table."""
    names = [
        f"{'●' if on_front else '○'} {each.architecture.id}"
        for each, on_front in zip(front, front.on_front, strict=True)
    ]
    precisions = [winner.precision or "" for winner in front]
    columns = [[("Winner", "precision" if any(precisions) else ""), *zip(names, precisions, strict=True)]]
    columns.append([_header(front), *(_narrow(winner.told(METRICS["error"])) for winner in front)])
    if any(winner.seeds is not None for winner in front):
        columns.append([("Over", "seeds"), *(_narrow(_over_seeds(winner)) for winner in front)])
    for cost in front.shown_costs:
        columns.append([(_title(cost), _source(front, cost)), *(_narrow(winner.told(cost)) for winner in front)])
        if with_predictions and any(cost.name in winner.predicted for winner in front):
            columns.append([(_title(cost), "predicted"), *(_narrow(winner.foretold(cost)) for winner in front)])
    if front.limits:
        columns.append([("Limits", ""), *(("met" if each.meets(front.limits) else "not met", "") for each in front)])
    if notes.texts:
        columns.append([("Notes", ""), *((notes.numbers(place), "") for place in range(len(front)))])
    return columns


def _narrow(cell: tuple[str, str]) -> tuple[str, str]:
    value, bounds = cell
    return value, bare_range(value, bounds)


def _widths(columns: Sequence[_Column]) -> list[int]:
    return [max(max(map(cell_len, cell)) for cell in column) for column in columns]


def _print_table(columns: Sequence[_Column], front: Front, console: Console) -> None:
    widths = _widths(columns)

    def line(texts: Sequence[str], style: str) -> Text:
        parts = (text + " " * (width + PADDING - cell_len(text)) for text, width in zip(texts, widths, strict=True))
        return Text("".join(parts).rstrip(), style=style)

    for number, row in enumerate(zip(*columns, strict=True)):
        values, small = line([value for value, _ in row], "" if number else "bold"), [text for _, text in row]
        values.highlight_regex("^●", "green")
        values.highlight_regex(r"\bmet\b", "green")
        values.highlight_regex("not met", "red")
        console.print(values, soft_wrap=True)
        if any(small):
            console.print(line(small, "bright_black" if number else "bold"), soft_wrap=True)
        if number:
            told = _choices(front, front.winners[number - 1], console.width - 2)
            console.print(Text(f"  {told}", style="bright_black"), soft_wrap=True)


def _choices(front: Front, winner: Winner, width: int) -> str:
    """Return the choices of the best winner, and of another one those in which it differs from the best."""
    assert front.reference is not None
    start = "" if winner.architecture != front.reference else "choices: "
    return start + differing_choices(winner.architecture, front.reference, max(width, LEAST_CHOICES) - len(start))


def _print_cards(front: Front, notes: _Notes, console: Console) -> None:
    """Print each winner as a short list, for narrow terminals and for many costs."""
    for place, (winner, on_front) in enumerate(zip(front.winners, front.on_front, strict=True)):
        console.print(_name(winner, on_front))
        accuracy = _inline(*winner.told(METRICS["error"]))
        lines: list[tuple[str, str | Text]] = [(f"{front.scored} {front.words.title}", accuracy)]
        if winner.seeds is not None:
            lines.append(("  over seeds", winner.seeds.text(front.words)))
        for cost in front.shown_costs:
            text = _inline(*winner.told(cost))
            if winner.has(cost.name):
                text.append(f"  {_source(front, cost)}", style="bright_black")
            lines.append((_title(cost).lower(), text))
            if cost.name in winner.predicted:
                lines.append(("  predicted", _inline(*winner.foretold(cost))))
        if precision := winner.precision:
            lines.append(("precision", precision))
        if front.limits:
            met = winner.meets(front.limits)
            lines.append(("limits", Text("met" if met else "not met", style="green" if met else "red")))
        if notes.numbers(place):
            lines.append(("notes", notes.numbers(place)))
        width = max(len(name) for name, _ in lines)
        lines.append(("choices", _choices(front, winner, console.width - width - 4).removeprefix("choices: ")))
        print_pairs(lines, console, indent=2)


def _further_notes(count: int) -> str:
    """Return which of ``count`` notes are not shown, with the verb."""
    first = MOST_NOTES + 1
    return f"Note {first} is" if count == first else f"Notes {first} to {count} are"


def _print_below(front: Front, notes: _Notes, console: Console) -> None:
    """Print what qualifies the values above: winners left out, notes, the meaning of marks, and where models are."""
    left = len(front) - MOST_SHOWN
    if left > 0:
        noun = "winner" if left == 1 else "winners"
        console.print(Text(f"and {left} more {noun}: the report and --json have all."))
    console.print()
    if notes.texts:
        styles = {"Not met": "red", "Worse than": "red", "Near chance": "yellow", "Doubt": "yellow"}
        shown = notes.texts[:MOST_NOTES]
        styled = [next((styles[start] for start in URGENT if text.startswith(start)), "") for text in shown]
        pairs = zip(shown, styled, strict=True)
        print_pairs([(str(number), Text(*pair)) for number, pair in enumerate(pairs, 1)], console)
        if len(notes.texts) > MOST_NOTES:
            console.print(Text(f"{_further_notes(len(notes.texts))} in the report and in --json."))
        console.print()
    if front.nothing_learned:
        console.print(Text(front.nothing_learned, style="yellow"))
    for line in _legend(front):
        console.print(Text(line, style="bright_black"))
    best = front.best_or_none or front.winners[0]
    if best.folder:
        title = "Best model" if front.best_or_none else f"Model of {best.architecture.id}"
        others = " (others beside it)" if len(front) > 1 else ""
        console.print(Text(f"{title}: {front.run_folder / best.folder}{others}"), soft_wrap=True)


def _legend(front: Front) -> list[str]:
    lines = ["● on the front   ○ not on it"] if not all(front.on_front) else []
    if front.table is None:
        is_predicted = any(cost.name in winner.predicted for winner in front for cost in front.costs)
        bounds = " and 90 % bounds of predictions" if is_predicted else ""
        lines += [judged_text(front)] if front.items else []
        lines.append(f"Ranges are 95 % intervals of measured values{bounds}.")
        if any(winner.seeds is not None for winner in front):
            lines.append("Over seeds: the mean of trainings by different seeds, its 95 % interval, and their number.")
    else:
        lines.append(f"Nothing was trained or measured: values are from {front.table}. Ranges are 90 % bounds.")
    return [*lines, *([f"{failed_text(front.failed)}."] if front.failed else [])]


def _name(winner: Winner, on_front: bool) -> Text:
    return Text.assemble(("● ", "green") if on_front else ("○ ", "bright_black"), (winner.architecture.id, "bold"))


def _header(front: Front) -> tuple[str, str]:
    """Return the header of the error, on two lines."""
    title = f"{front.scored.capitalize()} {front.words.title}"
    first, _, rest = title.rpartition(" ")
    return (first, rest) if len(first) <= 2 * len(rest) else (title, "")


def _source(front: Front, cost: Metric) -> str:
    """Return where the values of a metric come from."""
    if cost.source == "trained":
        return "test"
    return wording_of(front.table).value_source if cost.source == "measured" else cost.source


def _title(cost: Metric) -> str:
    return cost.title.removesuffix(f" ({cost.source})")


def _over_seeds(winner: Winner) -> tuple[str, str]:
    """Return the mean over seeds, and its interval with the number of seeds."""
    if winner.seeds is None:
        return "–", ""
    found = winner.seeds.estimate
    return winner.words.text(found.value), f"{winner.words.range_text(found.interval)}, {len(winner.seeds.errors)}"


def _inline(value: str, bounds: str) -> Text:
    return Text.assemble(value, (f"  {bounds}" if bounds else "", "bright_black"))


def print_pairs(pairs: Iterable[tuple[str, str | Text]], console: Console, indent: int = 0) -> None:
    """Print names and values in two columns; a long value is wrapped within its column."""
    lines = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    lines.add_column(no_wrap=True, style="bright_black")
    lines.add_column(overflow="fold")
    for name, value in pairs:
        lines.add_row(Text(name), value if isinstance(value, Text) else Text(value))
    console.print(Padding(lines, (0, 0, 0, indent)))


def print_measured(found: Sequence[MeasuredFile], console: Console) -> None:
    """Print the measurements of each file as a short list, or the reason for a failure. File names are never cut."""
    for each in found:
        console.print(Text(str(each.path), style="bold"), soft_wrap=True)
        print_pairs(_measured_lines(each), console, indent=2)


def _measured_lines(each: MeasuredFile) -> Iterator[tuple[str, Text]]:
    if isinstance(each.outcome, CandidateError):
        yield "failed", Text(each.outcome.reason, style="red")
        return
    flags: dict[str, None] = {}
    for name, measurement in each.outcome.items():
        metric = METRICS[name]
        text = metric.format(measurement.median)
        if not measurement.interval.is_point:
            ran_s = measurement.conditions.get("ran_s")  # that of a sustained latency
            of = f"{len(measurement.rounds)} sessions" if ran_s is None else f"after {duration_text(ran_s)}"
            text += f"  (95 %: {measurement.range_text}; {of})"
        yield metric.title.lower(), Text(text)
        flags |= dict.fromkeys(measurement.flags)
    latency = each.outcome.get("latency_ms")
    throughput = each.throughput
    if latency is not None and throughput is not None:
        yield "p95 of one inference", Text(METRICS["latency_ms"].format(latency.p95))
        yield (
            "drift",
            Text(f"{100 * (latency.drift - 1):+.2f} %, corrected; {latency.raw_median:.4g} ms by a stopwatch"),
        )
        shares = [
            f"{share_text(share)} of {what}"
            for share, what in (
                (throughput.share_of_peak, "the measured peak"),
                (throughput.share_of_roofline, "the roofline"),
            )
            if share is not None
        ]
        yield "throughput", Text(", ".join([f"{rate_text(throughput.items_per_s)} per second", *shares]))
        if throughput.beyond_bound:
            yield "", Text(throughput.beyond_bound, style="yellow")
        executed = latency.conditions.get("executed_precision")
        by = f"{executed} on " if executed else "by "
        yield "executed", Text(f"{by}{latency.conditions['runtime']}, {latency.target}")
    for flag in flags:
        yield "doubt", Text(flag, style="yellow")


def print_profile(profile: TargetProfile, console: Console) -> None:
    """Print the profile of a target: its hardware, reference speed and peaks."""
    pairs: list[tuple[str, str | Text]] = [("target", Text(profile.target, style="bold"))]
    for name, value in profile.hardware.items():
        pairs.append((name.removesuffix("_bytes").replace("_", " "), _hardware_text(name, value)))
    pairs.append(("reference speed", f"{profile.reference_ms:.4g} ms, recorded {profile.recorded}"))
    larger = (profile.medium_reference_ms, profile.large_reference_ms)
    if None not in larger:
        pairs.append(("of 4 and 8 MB of weights", " and ".join(f"{each:.4g}" for each in larger) + " ms"))
    doubt = profile.doubtful or profile.large_doubtful
    pairs += [("doubt", Text(doubt, style="yellow"))] if doubt else []
    if profile.peak_macs_per_s is not None and profile.bandwidth_bytes_per_s is not None:
        pairs.append(("peak", f"{profile.peak_macs_per_s / 1e9:.4g} G multiply-accumulates per second"))
        pairs.append(("memory bandwidth", f"{profile.bandwidth_bytes_per_s / 1e9:.4g} GB/s"))
        if profile.cache_bandwidth_bytes_per_s is not None:
            pairs.append(("from caches", f"{profile.cache_bandwidth_bytes_per_s / 1e9:.4g} GB/s"))
        pairs.append(("ridge", f"{profile.ridge_macs_per_byte:.3g} multiply-accumulates per byte"))
    else:
        pairs.append(("peaks", f"not found: {profile.why_no_peaks}"))
    pairs.append(("fingerprint", profile.fingerprint))
    print_pairs(pairs, console)


def _hardware_text(name: str, value: object) -> str:
    """Return a hardware property for people; bytes get a readable unit."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_hardware_text(name, inner)}" for key, inner in value.items())
    if name.endswith("_bytes") and isinstance(value, int):
        return METRICS["model_bytes"].format(value)
    return "not known" if value is None else str(value)

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
from nas.reports.wording import failed_text, wording_of
from nas.results.front import REPORT_NAME, Front
from nas.results.winner import Winner, accuracy_range_text, accuracy_text, broken_text, range_text
from nas.values.metric import METRICS, Metric

ARCHITECTURE_COLUMN = 1


NARROWEST_ARCHITECTURE = 28


WIDEST_VERDICT = 24


TABLE_PADDING = 2


def print_front(front: Front, console: Console, report: Path | None = None, *, has_report: bool = True) -> None:
    """Print every winner with its accuracy, costs, limits and bundle: as a table, or as cards in a narrow terminal.

    Ids and paths are never cut or wrapped, so that they can be copied. The last line names the ``report``, by default
    ``report.html`` in the run folder; without ``has_report`` it is left out.
    """
    if not front.winners:
        console.print(Text(f"No winners.{f' {failed_text(front.failed)}.' if front.failed else ''}"))
    else:
        headers, rows = _columns(front)
        widths = [
            max(max(map(cell_len, str(cell).split("\n"))) for cell in cells)
            for cells in zip(headers, *rows, strict=True)
        ]
        widths[ARCHITECTURE_COLUMN] = min(widths[ARCHITECTURE_COLUMN], NARROWEST_ARCHITECTURE)
        if front.limits:
            widths[-1] = min(widths[-1], WIDEST_VERDICT)
        if sum(widths) + TABLE_PADDING * (len(widths) - 1) <= console.width:
            _print_table(headers, rows, front, console)
        else:
            _print_cards(front, console)
        console.print(_legend(front))
    if has_report:
        console.print(Text(f"Report: {report or front.run_folder / REPORT_NAME}"), soft_wrap=True)


def _columns(front: Front) -> tuple[list[str], list[list[Text]]]:
    """Return the table's headers, and the cells of each row."""
    headers = ["Winner" if front.table else "Winner and bundle", "Architecture", "Test accuracy"]
    for cost in front.costs:
        if cost.source == "measured":
            headers += [f"{cost.title}\npredicted", f"{cost.title}\n{wording_of(front.table).value_source}"]
        else:
            headers.append(f"{_title(cost)}\n{cost.source}")
    if front.limits:
        headers.append("Limits")
    rows = []
    for winner, on_front in zip(front.winners, front.on_front, strict=True):
        bundle = f"\n  {winner.folder}" if winner.folder else ""
        cells = [Text.assemble(_name(winner, on_front), bundle), Text(winner.short)]
        cells.append(_stacked(*_accuracy(winner)))
        for cost in front.costs:
            if cost.source == "measured":
                cells.append(_stacked(*_predicted(winner, cost)))
            cells.append(_stacked(*_found(winner, cost)))
        if front.limits:
            cells.append(_verdict(winner, front))
        rows.append(cells)
    return headers, rows


def _print_table(headers: Sequence[str], rows: Sequence[Sequence[Text]], front: Front, console: Console) -> None:
    table = Table(box=None, padding=(0, TABLE_PADDING, 1, 0), pad_edge=False, header_style="bold")
    for index, header in enumerate(headers):
        is_verdict = header == "Limits"
        wraps = is_verdict or index == ARCHITECTURE_COLUMN
        table.add_column(header, no_wrap=not wraps, overflow="fold", max_width=WIDEST_VERDICT if is_verdict else None)
    for row in rows:
        table.add_row(*row)
    console.print(table)
    console.print()
    if front.table is None:
        console.print(Text(f"Bundles, the folders of exported models, are in {front.run_folder}"), soft_wrap=True)


def _print_cards(front: Front, console: Console) -> None:
    """Print each winner as a short list, for narrow terminals and for many costs."""
    for winner, on_front in zip(front.winners, front.on_front, strict=True):
        console.print(_name(winner, on_front))
        lines = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
        lines.add_column(no_wrap=True, style="bright_black")
        lines.add_column(overflow="fold")
        value, bounds = _accuracy(winner)
        lines.add_row("test accuracy", _inline(value, bounds))
        for cost in front.costs:
            text = _inline(*_found(winner, cost))
            if winner.has(cost.name):
                source = wording_of(front.table).value_source if cost.source == "measured" else cost.source
                text.append(f"  {source}", style="bright_black")
            lines.add_row(_title(cost).lower(), text)
            if cost.source == "measured":
                lines.add_row("  predicted", _inline(*_predicted(winner, cost)))
        if front.limits:
            lines.add_row("limits", _verdict(winner, front))
        lines.add_row("architecture", Text(winner.short))
        console.print(Padding(lines, (0, 0, 0, 2)))
        if winner.folder:
            bundle = Text.assemble("  ", ("bundle         ", "bright_black"), _bundle(winner, front))
            console.print(bundle, soft_wrap=True)
        console.print()


def _legend(front: Front) -> Text:
    parts = ["● on the front   ○ not on it"] if not all(front.on_front) else []
    if front.table is None:
        parts.append("Ranges are 95 % intervals of measured values and 90 % bounds of predictions.")
    else:
        parts.append(f"Nothing was trained or measured: values are from {front.table}. Ranges are 90 % bounds.")
    if front.failed:
        parts.append(f"{failed_text(front.failed)}.")
    return Text("   ".join(parts), style="bright_black")


def _name(winner: Winner, on_front: bool) -> Text:
    return Text.assemble(("● ", "green") if on_front else ("○ ", "bright_black"), (winner.architecture.id, "bold"))


def _title(cost: Metric) -> str:
    return cost.title.removesuffix(f" ({cost.source})")


def _accuracy(winner: Winner) -> tuple[str, str]:
    return accuracy_text(winner.test_error), accuracy_range_text(winner.test_interval)


def _predicted(winner: Winner, cost: Metric) -> tuple[str, str]:
    if cost.name not in winner.predicted:
        return "–", ""
    predicted = winner.predicted[cost.name]
    return cost.format(predicted.mean), range_text(cost, predicted.lower, predicted.upper)


def _found(winner: Winner, cost: Metric) -> tuple[str, str]:
    if not winner.has(cost.name):
        return "–", ""
    if cost.source != "measured":
        return cost.format(winner.value(cost.name)), ""
    interval = winner.measurements[cost.name].interval
    if winner.measurements[cost.name].table is not None:
        return cost.format(winner.value(cost.name)), ""
    return cost.format(winner.value(cost.name)), range_text(cost, interval.lower, interval.upper)


def _verdict(winner: Winner, front: Front) -> Text:
    broken = winner.broken(front.limits)
    if not broken:
        return Text("met", style="green")
    return Text("not met: " + "; ".join(broken_text(winner, limit) for limit in broken), style="red")


def _stacked(value: str, bounds: str) -> Text:
    return Text.assemble(value, (f"\n{bounds}" if bounds else "", "bright_black"))


def _inline(value: str, bounds: str) -> Text:
    return Text.assemble(value, (f"  {bounds}" if bounds else "", "bright_black"))


def _bundle(winner: Winner, front: Front) -> str:
    return str(front.run_folder / winner.folder)


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
        interval = measurement.interval
        text = metric.format(measurement.median)
        if interval.lower < interval.upper:
            bounds = range_text(metric, interval.lower, interval.upper)
            text += f"  (95 %: {bounds}, {len(measurement.rounds)} rounds)"
        yield metric.title.lower(), Text(text)
        flags |= dict.fromkeys(measurement.flags)
    latency = each.outcome.get("latency_ms")
    throughput = each.throughput
    if latency is not None and throughput is not None:
        yield "p95 of one inference", Text(METRICS["latency_ms"].format(latency.p95))
        yield (
            "drift",
            Text(f"{100 * (latency.drift - 1):+.2f} %, corrected; {latency.raw_median:.4g} ms before correction"),
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
        executed = latency.conditions.get("executed_precision")
        yield "executed", Text(f"{executed} on {latency.conditions['runtime']}, {latency.target}")
    for flag in flags:
        yield "doubt", Text(flag, style="yellow")


def print_profile(profile: TargetProfile, console: Console) -> None:
    """Print the profile of a target: its hardware, reference speed and peaks."""
    pairs: list[tuple[str, str | Text]] = [("target", Text(profile.target, style="bold"))]
    for name, value in profile.hardware.items():
        pairs.append((name.removesuffix("_bytes").replace("_", " "), _hardware_text(name, value)))
    pairs.append(("reference speed", f"{profile.reference_ms:.4g} ms, recorded {profile.recorded}"))
    if profile.peak_macs_per_s is not None and profile.bandwidth_bytes_per_s is not None:
        pairs.append(("peak", f"{profile.peak_macs_per_s / 1e9:.4g} G multiply-accumulates per second"))
        pairs.append(("memory bandwidth", f"{profile.bandwidth_bytes_per_s / 1e9:.4g} GB/s"))
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

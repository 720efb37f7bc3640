"""``python -m experiments.report_speed`` measures how long long runs take to show, and how quickly reports answer.

    python -m experiments.report_speed --evaluations 1000 10000 50000 --json OUT.json

A run of so many evaluations is made up and written to a folder: every candidate of a space of 18 choices is measured or
predicted, trained, stopped early, or failed, and 40 of them become winners. ``nas show`` and ``nas report`` read it, a
process each. Their time is that of the processor, so that other programs hardly lengthen it; the time per row is what
a row adds to the time of the shortest run.

With ``--browser`` the report is also opened in headless Chromium, which Playwright drives: ``pip install playwright``.
Times are medians of ``--repeats``:

- *first screen*: from the start of loading until the front and the budget are painted;
- *whole*: until the table and the parallel coordinates are painted too;
- *slider*: from a step of the budget's slider until the page shows the new answer.
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.command_line import heading, line, parser_of, positive
from nas.hardware.machine import processor_name
from nas.recipe.recipe import Recipe
from nas.reports.report import render_report
from nas.results.run import Run
from nas.space.architecture import Architecture
from nas.storage.journal import Journal
from nas.storage.journal_rows import Began, RoundEnded
from nas.values.evaluation import Evaluation, Failure, PredictedValue
from nas.values.measurement import Measurement
from nas.values.objective import Limit, Objective

TARGET = "onnxruntime-cpu:fp32:batch=1:threads=1"
WINNERS, ROUNDS = 40, 20
APPENDED = 500
"""Rows that are written to the journal at a time."""
STEPS = 60
PAINTED = """() => new Promise((done) => requestAnimationFrame(() => setTimeout(() => done(performance.now()), 0)))"""
SLIDE = """async (steps) => {
  const slider = document.querySelector('#budget input[type="range"]');
  const times = [];
  for (let step = 0; step < steps; step += 1) {
    slider.value = String(40 + (step * 37) % 340);
    const start = performance.now();
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)));
    times.push(performance.now() - start);
  }
  return times;
}"""
WORK = """(steps) => {
  const slider = document.querySelector('#budget input[type="range"]');
  const times = [];
  for (let step = 0; step < steps; step += 1) {
    slider.value = String(40 + (step * 37) % 340);
    const start = performance.now();
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    document.body.getBoundingClientRect();
    times.push(performance.now() - start);
  }
  return times;
}"""


def made_up_run(evaluations: int, seed: int = 0) -> Run:
    """Return a run of about ``evaluations`` rows, which differ as those of a real one do."""
    rng = np.random.default_rng(seed)
    rows: list[Evaluation] = []
    candidates: list[tuple[float, Architecture, float]] = []
    number = 0
    while len(rows) < evaluations - 2 * WINNERS:
        architecture = _architecture(rng, number)
        size = sum(float(v) for v in architecture.values() if isinstance(v, int)) / 300
        rows += _candidate(architecture, size, number, rng)
        error = rows[-1].values.get("error")
        if error is not None and rows[-1].reached_full_fidelity:
            candidates.append((error + 0.1 * size, architecture, size))
        number += 1
    for _, architecture, size in sorted(candidates, key=lambda each: each[0])[:WINNERS]:
        rows += _winner(architecture, size, rng)
    return Run(
        name=f"made-up-{evaluations}",
        recipe_text="# made up\n",
        objectives=tuple(map(Objective.parse, ("error", "latency_ms"))),
        limits=(Limit.parse("latency_ms <= 2ms"),),
        target=TARGET,
        rows=tuple(rows),
        fits=(),
        run_folder=Path("runs/made-up"),
        is_over=True,
    )


def write_run(folder: Path, evaluations: int) -> None:
    """Write the made-up run to ``folder``, as a search would have left it."""
    made_up = made_up_run(evaluations)
    recipe = Recipe(
        data="digits", space="mobilenet", trials=evaluations, limits=list(map(str, made_up.limits)),
        objectives=list(map(str, made_up.objectives)),
    )  # fmt: skip
    seconds = itertools.count(1_700_000_000, 30)
    with Journal.start(folder, recipe.to_toml(), clock=lambda: next(seconds)) as journal:
        journal.append(Began({"name": "mobilenet"}, {"processor": "made up"}, {}, {"name": "digits"}))
        for begin in range(0, len(made_up.rows), APPENDED):
            journal.append(*made_up.rows[begin : begin + APPENDED])
        journal.append(RoundEnded(recipe.rounds + 1))


def measured_commands(evaluations: int, folder: Path, repeats: int) -> dict[str, float]:
    """Return the seconds of processor and the peak memory that ``nas show`` and ``nas report`` take for a run."""
    run = folder / f"run-{evaluations}"
    write_run(run, evaluations)
    found: dict[str, float] = {"evaluations": evaluations}
    for name, arguments in (("show", ["show", run]), ("report", ["report", run, "--out", folder / "report.html"])):
        spent = [_spent([sys.executable, "-m", "nas", *map(str, arguments)]) for _ in range(repeats)]
        found[f"{name}_s"] = statistics.median(seconds for seconds, _ in spent)
        found[f"{name}_mib"] = statistics.median(mib for _, mib in spent)
    return found


def _spent(command: Sequence[str]) -> tuple[float, float]:
    """Return the seconds of processor and the peak memory in MiB of a process. Raises SystemExit if it failed."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with status {process.returncode}.")
    unit = 1024 if sys.platform == "linux" else 1024**2
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / unit


def command_table(found: Sequence[Mapping[str, float]]) -> list[str]:
    """Return a line for each run: the time and memory of both commands, and what a row adds to the shortest run."""
    titles = ("evaluations", "nas show", "a row", "memory", "nas report", "a row", "memory")
    shortest = min(found, key=lambda each: each["evaluations"])
    lines = [*heading(titles)]
    for each in found:
        cells = [f"{each['evaluations']:.0f}"]
        for name in ("show", "report"):
            more = each["evaluations"] - shortest["evaluations"]
            row = f"{1e6 * (each[f'{name}_s'] - shortest[f'{name}_s']) / more:.0f} µs" if more else ""
            cells += [f"{each[f'{name}_s']:.2f} s", row, f"{each[f'{name}_mib']:.0f} MiB"]
        lines.append(line(cells))
    return lines


def _architecture(rng: np.random.Generator, number: int) -> Architecture:
    stages = {
        f"stage{stage}.{name}": options[int(rng.integers(len(options)))]
        for stage in range(1, 5)
        for name, options in (
            ("depth", (1, 2, 3, 4)),
            ("kernel", (3, 5, 7)),
            ("width", (16, 24, 32, 48, 64, 96)),
            ("block", ("mbconv", "fused")),
        )
    }
    return Architecture({"resolution": (96, 128, 160)[number % 3], "seed": number % 200, **stages})


def _measured(name: str, value: float, rng: np.random.Generator) -> Measurement:
    rounds = tuple((float(sample),) for sample in value * rng.normal(1, 0.02, 5))
    return Measurement(name, TARGET, rounds, {"processor": "made up"})


def _candidate(architecture: Architecture, size: float, number: int, rng: np.random.Generator) -> list[Evaluation]:
    latency, guess = 0.2 + 1.5 * size, float(rng.normal(1, 0.05))
    predicted = {"latency_ms": PredictedValue(latency * guess, latency * guess * 0.9, latency * guess * 1.1, latency)}
    place = min(ROUNDS, number // 100)
    rows = []
    if number % 2:
        rows.append(Evaluation("measure", architecture, place, measurements={
            "latency_ms": _measured("latency_ms", latency, rng)}))  # fmt: skip
    if number % 31 == 7:
        failure = Failure("nan", f"the loss became NaN in epoch {number % 9}")
        return [*rows, Evaluation("train", architecture, place, predicted=predicted, failure=failure)]
    stopped = number % 5 == 0
    error = 0.04 + 0.3 * float(np.exp(-size)) + float(rng.uniform(0, 0.06)) + (0.2 if stopped else 0)
    details = {"epochs": 4 if stopped else 20, "stopped_early": stopped, "seconds": float(rng.uniform(5, 50))}
    values = {"error": error, **_counted(size)}
    return [*rows, Evaluation("train", architecture, place, values, predicted, details=details)]


def _winner(architecture: Architecture, size: float, rng: np.random.Generator) -> list[Evaluation]:
    error = 0.03 + 0.3 * float(np.exp(-size)) + float(rng.uniform(0, 0.02))
    details = {"test_error": error, "test_interval": [0.93 * error, 1.07 * error], "folder": "", "parity": 1e-6}
    measured = {"latency_ms": _measured("latency_ms", 0.2 + 1.5 * size, rng)}
    retrained = Evaluation("retrain", architecture, ROUNDS, details={"epochs": 60, "seconds": 60.0})
    return [retrained, Evaluation("winner", architecture, ROUNDS, _counted(size), {}, measured, details)]


def _counted(size: float) -> dict[str, float]:
    return {"params": float(round(1e5 * (0.3 + size) ** 2)), "macs": float(round(3e7 * (0.2 + size) ** 1.5))}


def measured_report(evaluations: int, browser: Any, folder: Path, repeats: int) -> dict[str, float]:
    """Return the size of a report and its times in milliseconds; how long it takes to write, in seconds."""
    record = made_up_run(evaluations)
    start = time.perf_counter()
    text = render_report(record)
    wrote_s = time.perf_counter() - start
    page = folder / f"report-{evaluations}.html"
    page.write_text(text, encoding="utf-8")
    opened, slides, works = [], [], []
    for _ in range(repeats):
        tab = browser.new_page(viewport={"width": 1280, "height": 900})
        tab.goto(page.as_uri(), wait_until="commit")
        tab.wait_for_selector("html.whole", state="attached")
        whole_ms = tab.evaluate(PAINTED)
        first_ms = tab.evaluate("performance.getEntriesByName('first screen')[0].startTime")
        opened.append((first_ms, whole_ms))
        slides += tab.evaluate(SLIDE, STEPS)
        works += tab.evaluate(WORK, STEPS)
        tab.close()
    return {
        "evaluations": len(record.rows),
        "megabytes": len(text.encode()) / 1e6,
        "written_s": wrote_s,
        "first_screen_ms": statistics.median(first for first, _ in opened),
        "whole_ms": statistics.median(whole for _, whole in opened),
        "slider_ms": statistics.median(slides),
        "slider_p95_ms": float(np.quantile(slides, 0.95)),
        "slider_work_ms": statistics.median(works),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print a table of commands, and one of reports in a browser if one is named."""
    parser = parser_of("report_speed", __doc__)
    parser.add_argument("--evaluations", type=positive, nargs="+", default=[1000, 10_000, 50_000])
    parser.add_argument("--repeats", type=positive, default=5)
    parser.add_argument("--browser", help="the program of Chromium")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args(arguments)
    print(processor_name())
    with tempfile.TemporaryDirectory() as folder:
        found = [measured_commands(each, Path(folder), asked.repeats) for each in asked.evaluations]
        print("\n".join(command_table(found)))
        if asked.browser:
            opened = _opened(asked.browser, asked.evaluations, Path(folder), asked.repeats)
            found = [{**command, **report} for command, report in zip(found, opened, strict=True)]
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 0


def _opened(program: str, counts: Sequence[int], folder: Path, repeats: int) -> list[dict[str, float]]:
    """Measure reports in a browser, print a table of them, and return them."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        found = [measured_report(each, browser, folder, repeats) for each in counts]
        version = browser.version
        browser.close()
    print(f"\nChromium {version}")
    titles = ("evaluations", "MB", "written", "first screen", "whole", "slider", "slider, 95 %", "slider's own work")
    print("\n".join(heading(titles)))
    for each in found:
        cells = [f"{each[key]:.0f} ms" for key in ("first_screen_ms", "whole_ms", "slider_ms", "slider_p95_ms")]
        print(line([f"{each['evaluations']:.0f}", f"{each['megabytes']:.2f}", f"{each['written_s']:.1f} s", *cells,
                    f"{each['slider_work_ms']:.1f} ms"]))  # fmt: skip
    return found


if __name__ == "__main__":
    sys.exit(main())

"""Fronts that are hard to show: equal winners, only misses, winners near chance, long names, many choices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from run_record_example import example_record

from nas.results.front import Front
from nas.results.run import Run
from nas.space.architecture import Architecture, Option
from nas.values.comparison import wilson_interval
from nas.values.evaluation import Evaluation, Failure
from nas.values.measurement import Measurement
from nas.values.objective import Limit, Objective

BUSY = "the machine stayed busy: the process waited for its core for 31 % of the time"


def winner(
    choices: dict[str, Option],
    wrong: int,
    latency_ms: float | None,
    *,
    images: int = 359,
    chance: float | None = 0.9,
    flags: Sequence[str] = (),
    table: str | None = None,
) -> Evaluation:
    """Return the row of a winner that classifies ``wrong`` of ``images`` wrongly, with a latency of about ±2.5 %."""
    architecture = Architecture(choices)
    measurements = {}
    if latency_ms is not None:
        rounds = tuple((latency_ms * (1 + 0.02 * step),) for step in ((0,) if table else (-1, -1, 0, 1, 1)))
        conditions = {} if table is None else {"table": table}
        measurements["latency_ms"] = Measurement("latency_ms", "cpu", rounds, conditions, tuple(flags))
    details = {
        "test_error": wrong / images,
        "test_interval": [wrong / images] * 2 if table else list(wilson_interval(wrong, images)),
        "folder": "" if table else f"winners/{architecture.id}",
        **({} if chance is None else {"chance_error": chance}),
    }
    return Evaluation("winner", architecture, 1, {"params": 1000.0}, measurements=measurements, details=details)


def thirty(number: int) -> dict[str, Option]:
    """Return thirty choices, all of which change with ``number``."""
    return {f"block{block}.{what}": number + block for block in range(10) for what in ("kernel", "width", "depth")}


def id_of(**choices: Option) -> str:
    """Return the id of an architecture."""
    return Architecture(choices).id


FAILED = Evaluation("winner", Architecture({"depth": 9}), 1, failure=Failure("parity", "outputs differ by 0.2"))


@dataclass(frozen=True)
class AwkwardFront:
    """The rows of winners, and what a reader must be told.

    Attributes:
        rows: the rows of the run.
        says: words of the terminal's text and of ``repr``, in which lines are joined.
        terminal: words of the terminal's text alone.
        page: words of the report alone.
        never: words of neither the terminal's text nor ``repr``.
        limits: what had to hold.
        table: the table that values are from.
    """

    rows: tuple[Evaluation, ...]
    says: tuple[str, ...] = ()
    terminal: tuple[str, ...] = ()
    page: tuple[str, ...] = ()
    never: tuple[str, ...] = ("nan", "inf ", "None", "Traceback")
    limits: tuple[str, ...] = ()
    table: str | None = None

    @property
    def record(self) -> Run:
        """The record of the run."""
        return replace(
            example_record(),
            rows=self.rows,
            fits=(),
            objectives=tuple(map(Objective.parse, ("error", "latency_ms"))),
            limits=tuple(map(Limit.parse, self.limits)),
            table=self.table,
            run_folder=Path("runs/awkward"),
        )

    @property
    def front(self) -> Front:
        """The front of the run."""
        return self.record.front


AWKWARD_FRONTS = {
    "one winner": AwkwardFront(
        rows=(winner({"depth": 1}, 4, 0.5),),
        says=(id_of(depth=1), "98.89 %", "0.5 ms", "depth=1"),
        never=("○", "cannot be told apart", "differs in", "others in"),
    ),
    "equal winners": AwkwardFront(
        rows=(winner({"depth": 1}, 4, 0.5), winner({"depth": 2}, 4, 0.5)),
        says=("cannot be told apart: in test accuracy and latency they differ by less than the joint 95 % interval",),
        page=(
            "Same as",
            "cannot be told apart",
            "The test cannot tell the best accuracy, 98.89 %, from that of another winner.",
        ),
        never=("○", "dominated"),
    ),
    "a winner that is only just dominated": AwkwardFront(
        rows=(winner({"depth": 1}, 4, 0.03986), winner({"depth": 2}, 4, 0.04014), winner({"depth": 3}, 5, 0.08)),
        says=("cannot be told apart", id_of(depth=3)),
        terminal=("○ " + id_of(depth=3), "● " + id_of(depth=2)),
    ),
    "a lead within the joint interval": AwkwardFront(
        rows=(winner({"depth": 1}, 2, 0.9), winner({"depth": 2}, 4, 0.5)),
        says=(f"{id_of(depth=1)} leads {id_of(depth=2)} by less than the joint 95 % interval",),
        never=("cannot be told apart",),
    ),
    "three winners of which only neighbours are the same": AwkwardFront(
        rows=tuple(winner({"depth": depth}, 4, 0.5 * 1.025**depth) for depth in range(3)),
        says=(f"{id_of(depth=1)} cannot be told apart from {id_of(depth=0)} and {id_of(depth=2)}",),
        never=(f"{id_of(depth=0)}, {id_of(depth=1)} and {id_of(depth=2)} cannot be told apart",),
    ),
    "only misses": AwkwardFront(
        rows=(winner({"depth": 1}, 4, 0.5), winner({"depth": 2}, 9, 0.3)),
        says=("not met",),
        terminal=("Not met: latency 0.5 ms > 0.1 ms", "Not met: latency 0.3 ms > 0.1 ms"),
        limits=("latency_ms <= 0.1ms",),
    ),
    "one near chance": AwkwardFront(
        rows=(winner({"depth": 1}, 24, 0.5, images=42, chance=2 / 3), winner({"depth": 2}, 2, 0.9, images=42)),
        says=(
            "Near chance: the interval of the test accuracy reaches that of always answering",
            "the most frequent class, 33.33 %.",
        ),
        page=("near chance",),
        never=("Nothing was learned",),
    ),
    "all near chance": AwkwardFront(
        rows=tuple(winner({"depth": d}, 24 + d, 0.5 * d, images=42, chance=2 / 3) for d in (1, 2)),
        says=("Nothing was learned: no winner can be told from always answering", "training.epochs", "more images"),
        page=(
            "Nothing was learned on onnxruntime-cpu:fp32:batch=1:threads=1: none of 2 winners can be told from always",
            "Train longer (training.epochs and retraining.epochs)",
        ),
    ),
    "chance unknown": AwkwardFront(
        rows=(winner({"depth": 1}, 340, 0.5, chance=None),), never=("chance", "Nothing was learned")
    ),
    "very long names of options": AwkwardFront(
        rows=tuple(winner({"operator": f"{number}{'x' * 400}", "depth": 1}, number, 0.5 + number) for number in (1, 2)),
        says=("differs in 1 choice", "2 choices"),
        never=("x" * 100,),
    ),
    "thirty choices": AwkwardFront(
        rows=tuple(winner(thirty(number), 2 * number, 1 / (1 + number)) for number in range(4)),
        says=("differs in block0(kernel=",),
        never=("block9(kernel=12 width=12 depth=12)",),
    ),
    "unicode": AwkwardFront(
        rows=(
            winner({"演算子": "畳み込み", "größe": "½"}, 4, 0.5),
            winner({"演算子": "注意", "größe": "½"}, 2, 0.9),
        ),
        says=("演算子=畳み込み",),
    ),
    "line breaks and escapes in options": AwkwardFront(
        rows=(winner({"op": "a\nb\x1b[31m"}, 4, 0.5),),
        says=("op=a\\nb\\x1b[31m",),
        never=("\x1b",),
    ),
    "no interval, from a table": AwkwardFront(
        rows=(
            winner({"depth": 1}, 4, 0.5, table="t.csv", chance=None),
            winner({"depth": 2}, 4, 0.5001, table="t.csv", chance=None),
        ),
        says=("98.89 %",),
        terminal=("○ " + id_of(depth=2), "values are from t.csv"),
        never=("cannot be told apart", "–0.5", "no interval"),
        table="t.csv",
    ),
    "failed winners": AwkwardFront(
        rows=(winner({"depth": 1}, 4, 0.5), FAILED), terminal=("1 chosen architecture failed.",)
    ),
    "all winners failed": AwkwardFront(
        rows=(FAILED,), terminal=("No winners. 1 chosen architecture failed.",), page=("No winners",)
    ),
    "doubts": AwkwardFront(
        rows=(winner({"depth": 1}, 4, 0.5, flags=[BUSY]), winner({"depth": 2}, 2, 0.9, flags=[BUSY])),
        says=(f"Doubt: {BUSY}.",),
        page=(BUSY,),
    ),
    "an unmeasured winner": AwkwardFront(
        rows=(winner({"depth": 1}, 4, None), winner({"depth": 2}, 9, 0.3)), terminal=("–",), never=("nan",)
    ),
    "a winner without choices": AwkwardFront(rows=(winner({}, 4, 0.5),), says=("no choices",)),
    "conditional choices": AwkwardFront(
        rows=(winner({"depth": 1, "head": "big", "size": 3}, 2, 0.5), winner({"depth": 2, "head": "none"}, 5, 0.3)),
        says=("differs in depth=2 head=none, without size",),
    ),
    "many choices that depend on others": AwkwardFront(
        rows=(winner({"depth": 3, **thirty(1)}, 2, 0.5), winner({"depth": 1, "block0.kernel": 7}, 5, 0.3)),
        says=("differs in depth=1 block0(kernel=7) and 29 more",),
    ),
    "fifty winners": AwkwardFront(
        rows=tuple(winner({"depth": depth}, 100 - depth, 1.0 + depth) for depth in range(50)),
        says=("more",),
        terminal=("and 42 more winners: the report and --json have all.", "are in the report and in --json"),
    ),
}

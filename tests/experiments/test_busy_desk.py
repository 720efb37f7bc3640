"""The figures about a busy desk say how far values, ratios and intervals are from those of the idle machine."""

from __future__ import annotations

import json

from experiments.busy_desk import Desk, from_json, percent, row, table, to_json
from nas.values.measurement import Measurement
from nas.values.target import Target

MS = {"a": 1.0, "b": 2.0, "c": 4.0}


def desk(kind: str, count: int, *, factors: dict[str, float], wall: float = 1.0, unseen: float = 0.0) -> Desk:
    """Return a desk whose models take so many times as long as on the idle one, and ``wall`` times by a stopwatch."""
    found = {
        name: Measurement(
            "latency_ms",
            "t",
            ((ms * factors.get(name, 1.0),),) * 6,
            drifts=(1.0,) * 6,
            walls=((wall * ms,),) * 6,
            unseen=unseen,
        )
        for name, ms in MS.items()
    }
    return Desk(kind, count, found, 12.3)


IDLE = desk("idle", 0, factors={})


def test_a_row_compares_with_the_idle_machine() -> None:
    """One of three models is 20 % off: so are two of three ratios, and its narrow interval misses the truth."""
    cells = row(IDLE, desk("memory", 8, factors={"c": 1.2}, wall=5.0))
    assert cells[0] == "memory × 8"
    assert cells[1] == "0.0 %, 17.8 %, 20.0 %"
    assert cells[2] == "67 %"
    assert cells[4] == "33 %"
    assert cells[5:8] == ["67 %", "33 %", "5.00 ×, most 5.0 ×"]
    assert cells[8] == "12"
    assert cells[9].startswith("c +20.0 %")


def test_wide_intervals_hold_the_truth() -> None:
    """The doubt that a measurement tells of itself is judged, too."""
    cells = row(IDLE, desk("memory", 8, factors={"c": 1.2}, unseen=0.25))
    assert cells[5:7] == ["100 %", "100 %"]


def test_desks_survive_json_and_make_a_table() -> None:
    """The raw data hold all that the table needs."""
    desks = [IDLE, desk("arithmetic", 1, factors={}), desk("idle again", 0, factors={"a": 1.01})]
    again = from_json(json.loads(json.dumps(to_json(desks))))
    assert again == desks
    lines = table(again, Target("onnxruntime-cpu"))
    assert lines[0] == "3 models of 1 to 4 ms; onnxruntime-cpu:fp32:batch=1:threads=1; idle: 12 s"
    assert [line.split(" | ")[0] for line in lines[4:]] == ["| arithmetic × 1", "| idle again"]
    assert percent(0.0) == "0.0 %"

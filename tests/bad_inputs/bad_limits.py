"""Bad limits, objectives and times: what is no bound, has no unit, or was taken apart by the shell."""

from __future__ import annotations

from bad_inputs.bad_input import BadInput

DRY = ("search", "--dry-run")


def limit(text: str, *says: str) -> BadInput:
    """Return the case of one limit."""
    return BadInput((*DRY, "--limit", text), says)


def time(text: str, *says: str) -> BadInput:
    """Return the case of one search time."""
    return BadInput((*DRY, "--time", text), says)


BAD_INPUTS = {
    "a number without a unit": limit("latency_ms<=60", "needs a unit, such as 2ms, but got '60'", "Write 60ms"),
    "bytes without a unit": limit("model_bytes<=100000", "needs a unit, such as 1.5MB", "Write 100000B"),
    "memory without a unit": limit("peak_memory_mib<=64", "needs a unit, such as 64MiB"),
    "energy without a unit": limit("energy_mj<=1", "needs a unit, such as 0.5mJ"),
    "a percentage without its sign": limit("error<=5", "or is written like 5%, but got '5'"),
    "an accuracy without its sign": limit("accuracy>=95", "or is written like 95%, but got '95'"),
    "a misspelt accuracy": limit("acuracy>=90%", "unknown metric 'acuracy'. Did you mean 'accuracy'?"),
    "a shortened throughput": limit("throughput>=10", "Did you mean 'throughput_per_s'?"),
    "an accuracy from above": limit("accuracy<=90%", "with >=", "Write 'accuracy >= 90%', or 'error <= 10%'"),
    "a latency from below": limit("latency_ms>=2ms", "written with <=", "Write 'latency_ms <= 2ms'"),
    "a strict bound": limit("latency_ms<2ms", "written with <=, but got '<'"),
    "what a shell leaves of it": limit("latency_ms", "Quote it on the command line"),
    "what a shell leaves of an accuracy": limit("accuracy", "accuracy >= 90%", "Quote it"),
    "nothing at all": limit("", "a limit is written like 'latency_ms <= 2ms', but got ''"),
    "a comma for a point": limit("latency_ms<=1,5ms", "is a number with a unit, such as 2ms, but got '1,5ms'"),
    "two bounds in one": limit("1ms<=latency_ms<=2ms", "a limit is written like"),
    "the unit of something else": limit("latency_ms<=3MB", "the unit of latency_ms is one of ns, us"),
    "megabits": limit("model_bytes<=3Mb", "but got 'Mb'"),
    "FLOPs for MACs": limit("macs<=30MFLOPs", "One multiply-accumulate is two FLOPs"),
    "a device that is no target": limit(
        "pi/latency_ms<=3ms", "the whole of one of the targets (onnxruntime-cpu), but got 'pi'", "add it as a target"
    ),
    "a device before a count": limit("pi/params<=3k", "params is counted, and the same on all: write params alone"),
    "a minus": limit("latency_ms<=-1ms", "must be finite and not negative"),
    "infinity": limit("latency_ms<=1e999ms", "must be finite and not negative"),
    "digits of another script": limit("latency_ms<=\u0663ms", "is a number with a unit"),
    "two limits on one metric": BadInput(
        (*DRY, "--limit", "accuracy>=90%", "--limit", "error<=5%"),
        ("a metric has one limit at most", "error has several"),
    ),
    "accuracy as a metric to measure": BadInput(
        ("measure", "a.onnx", "--metric", "accuracy"), ("accuracy is higher for better models", "name error instead")
    ),
    "throughput as a metric to report": BadInput(
        ("predictor", "report", "x.csv", "--metric", "throughput_per_s"), ("name item_ms instead",)
    ),
    "five objectives": BadInput(
        (
            *DRY,
            *(word for name in ("error", "macs", "params", "latency_ms", "item_ms") for word in ("--objective", name)),
        ),
        ("objectives are one to four different metrics",),
    ),
    "a time without a unit": time("1", "a time needs a unit: write 1s, 1min or 1h, but got '1'"),
    "a time of zero": time("0min", "greater than 0"),
    "a time before now": time("-5min", "a time is written like 90s, 15min or 2h"),
    "a time in words": time("an hour", "a time is written like"),
    "a time that never ends": time("9" * 40 + "h", "at most 1000000000"),
    "a time of a unit that is not known": time("3d", "a time is written like"),
}

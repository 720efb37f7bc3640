"""Benches as the command line asks for them: their metrics and their meter commands."""

from __future__ import annotations

import pytest

from nas.errors import RecipeError, TargetError
from nas.hardware.bench_request import BenchRequest, measured_metric, split_command
from nas.values.target import Target


def request_with(command: str) -> BenchRequest:
    """Return a request whose energy meter is ``command``."""
    return BenchRequest(Target("onnxruntime-cpu"), within=0.01, max_rounds=5, meter_command=command)


@pytest.mark.parametrize(
    ("platform", "command", "arguments"),
    [
        ("linux", "meter --since 'the start'", ["meter", "--since", "the start"]),
        ("win32", r'C:\tools\meter.exe "the start"', [r"C:\tools\meter.exe", "the start"]),
        (
            "win32",
            r'"C:\my tools\meter.exe" --since="the start" --ever',
            [r"C:\my tools\meter.exe", "--since=the start", "--ever"],
        ),
    ],
)
def test_a_meter_command_is_split_as_its_system_does(
    monkeypatch: pytest.MonkeyPatch, platform: str, command: str, arguments: list[str]
) -> None:
    """On Windows a backslash is part of a path."""
    monkeypatch.setattr("nas.hardware.bench_request.sys.platform", platform)
    assert split_command(command) == arguments


def test_an_unusable_meter_command_is_refused() -> None:
    """An open quotation and an unknown program are refused before anything is measured."""
    with pytest.raises(RecipeError, match=r"--meter-command is a program and its arguments, but got .*No closing quot"):
        request_with("bob's-meter").open(say=print)
    with pytest.raises(TargetError, match="must be a program that can be started, but there is no 'no-such-meter'"):
        request_with("no-such-meter --joules").open(say=print).check_meter()


def test_only_measured_metrics_are_taken() -> None:
    """A counted metric is refused, and the message names the measured ones."""
    assert measured_metric("energy_mj") == "energy_mj"
    with pytest.raises(RecipeError, match=r"must be a measured one, but params is counted\. Known: latency_ms, "):
        measured_metric("params")

"""``nas target``: the runtimes that it lists, shows and installs."""

from __future__ import annotations

import json

import pytest
from in_process import refused

from nas.cli.target import list_targets, show_target
from nas.space.plug_ins import plug_in_names

pytestmark = pytest.mark.usefixtures("onnx_profile")  # found once, not by each command anew


def test_targets_are_listed_once_each_with_precisions_or_a_reason(capsys: pytest.CaptureFixture[str]) -> None:
    """Energy meters of the processor and the GPU are listed too."""
    list_targets()
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if not line.startswith(" ")]
    names = [line[0] for line in lines]
    for name in plug_in_names("nas.runtimes"):
        assert names.count(name) == 1
        (told,) = [line[1] for line in lines if line[0] == name]
        assert told.startswith(("fp32", "not here: "))
    assert dict(lines)["onnxruntime-cpu"].strip() == "fp32, int8, int8-dynamic"
    assert names.count("energy,") == 2


def test_targets_are_listed_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    """What works and why not are apart."""
    list_targets(as_json=True)
    found = json.loads(capsys.readouterr().out)
    runtimes = {each["name"]: each for each in found["runtimes"]}
    assert list(runtimes) == plug_in_names("nas.runtimes")
    assert runtimes["onnxruntime-cpu"] == {
        "name": "onnxruntime-cpu",
        "offers": ["fp32", "int8", "int8-dynamic"],
        "why_not": None,
    }
    assert all(bool(each["offers"]) == (each["why_not"] is None) for each in runtimes.values())
    assert [each["name"] for each in found["energy_meters"]] == ["processor", "GPU"]


def test_an_unavailable_runtime_has_its_reason(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason says what to do."""
    monkeypatch.setattr("nas.hardware.runtimes.availability.plug_in_names", lambda group: ["own_runtime:Elsewhere"])
    list_targets()
    assert "own_runtime:Elsewhere  not here: it needs a board; attach one." in capsys.readouterr().out


@pytest.mark.slow
def test_a_target_is_shown_with_hardware_speed_and_peaks(capsys: pytest.CaptureFixture[str]) -> None:
    """The target is shown for people and as JSON."""
    show_target("onnxruntime-cpu")
    text = capsys.readouterr().out
    for words in ("processor", "runtime", "onnxruntime 1.", "memory", "reference speed", " ms, recorded 20",
                  "G multiply-accumulates per second", "GB/s", "fingerprint"):  # fmt: skip
        assert words in text
    show_target("onnxruntime-cpu", as_json=True)
    shown = json.loads(capsys.readouterr().out)
    assert shown["target"] == "onnxruntime-cpu:fp32:batch=1:threads=1"
    assert min(shown["reference_ms"], shown["peak_macs_per_s"], shown["bandwidth_bytes_per_s"]) > 0


def test_only_a_runtime_with_its_own_environment_is_installed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime is installed with nas, so it is refused."""
    text = refused(capsys, monkeypatch, "target", "install", "onnxruntime-cpu")
    assert "is for runtimes with an environment of their own, but onnxruntime-cpu has none" in text

"""Packages for a device: what is found and sent, what is left out, and what is told before anything is sent."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from made_wheels import PI, wheel

from nas.errors import TargetError
from nas.hardware.devices import installing
from nas.hardware.devices.board import Board
from nas.hardware.devices.installing import install, installable
from nas.hardware.devices.registry import DeviceRecord, known
from nas.hardware.devices.wheels import site_of
from nas.hardware.runtimes.litert_runtime import LiteRtCpu
from nas.hardware.runtimes.onnx_runtime import OnnxRuntimeCpu
from nas.values.target import Target


class LiteRt(LiteRtCpu):
    """One for which models are converted here."""

    def why_not_converted(self, target: Target) -> None:
        """Return nothing."""


RECORD = DeviceRecord("pi", "ssh://pi@board")
ORT = ("onnxruntime", "onnx", "numpy", "protobuf", "ml_dtypes", "typing_extensions")


@pytest.fixture(name="asked", autouse=True)
def _asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What pip was asked for. It "finds" a wheel for each package, but none of OpenVINO."""
    asked: list[list[str]] = []

    def find(requirements: Sequence[str], board: dict[str, Any], folder: Path) -> list[Path]:
        asked.append([*requirements])
        if requirements[0].startswith("openvino"):
            raise TargetError("openvino has no wheel for it.")
        return [wheel(folder, f"{re.split('[=<>~]', each)[0]}-1", content=each) for each in requirements]

    monkeypatch.setattr(installing, "find", find)
    return asked


@pytest.fixture(name="sent", autouse=True)
def _sent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The folders that are sent to the board, which then runs everything."""
    sent: list[str] = []
    monkeypatch.setenv("NAS_HOME", str(tmp_path))
    monkeypatch.setattr(Board, "look", lambda self, packages=(): PI)
    monkeypatch.setattr(Board, "unpack", lambda self, archives: sent.extend(name for name, _ in archives))
    monkeypatch.setattr(Board, "why_unavailable", lambda self, target: None)
    return sent


def found_there(monkeypatch: pytest.MonkeyPatch, **changes: object) -> None:
    monkeypatch.setattr(Board, "look", lambda self, packages=(): {**PI, **changes})


def site(package: str) -> str:
    return site_of(Path(f"{package}-1.whl"))


def test_each_wheel_is_sent_once(asked: list[list[str]], sent: list[str]) -> None:
    """Runtimes share folders of what they have in common, such as numpy. Each runtime has the version that is here."""
    record = install(RECORD, ["onnxruntime-cpu", "litert-cpu"], lambda text: None)
    assert [each[0].partition("==")[0] for each in asked] == ["onnxruntime", "ai-edge-litert"]
    assert re.fullmatch(r"onnxruntime==\d+\.\d+\.\d+", asked[0][0])
    assert asked[1][0] == "ai-edge-litert==2.3.*"  # its environment is not installed in this home
    assert sorted(sent) == sorted({*map(site, ORT), *map(site, ("ai-edge-litert", "flatbuffers"))})
    assert record.packages["litert-cpu"].split() == [*map(site, LiteRtCpu.device_packages)]
    assert known("pi") == record


def test_what_the_board_has_is_not_sent(
    asked: list[list[str]], sent: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither packages of its own Python, nor folders that were sent before."""
    own = {**dict.fromkeys(ORT, "1"), "onnxruntime": version("onnxruntime")}
    found_there(monkeypatch, packages=own, have=[site("numpy"), site("ml_dtypes")])
    record = install(RECORD, ["onnxruntime-cpu", "litert-cpu"], lambda text: None)
    assert record.packages["onnxruntime-cpu"] == ""
    assert len(asked) == 1
    assert sorted(sent) == sorted([site("ai-edge-litert"), site("flatbuffers")])


def test_another_version_there_is_passed_over(sent: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """It may not open what is written here, or run it otherwise."""
    found_there(monkeypatch, packages=dict.fromkeys(ORT, "1"))
    record = install(RECORD, ["onnxruntime-cpu"], lambda text: None)
    assert record.packages["onnxruntime-cpu"].split() == [*map(site, ORT)]
    assert len(sent) == len(ORT)


def test_room_is_needed_for_all_runtimes_before_anything_is_sent(
    sent: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found_there(monkeypatch, free_bytes=4096 * len(ORT))
    with pytest.raises(TargetError, match=r"needs about 0 MiB of room in /home/pi/\.nas-device, but has 0 MiB"):
        install(RECORD, ["onnxruntime-cpu", "litert-cpu"], lambda text: None)
    assert not sent
    install(RECORD, ["onnxruntime-cpu"], lambda text: None)
    assert len(sent) == len(ORT)


def test_by_default_it_gets_what_fits(sent: list[str]) -> None:
    """Runtimes for which it has no wheels, or for which nothing is converted here, are left out with the reason."""
    said: list[str] = []
    record = install(RECORD, [], said.append)
    assert list(record.packages) == ["onnxruntime-cpu"]
    (litert,) = [text for text in said if text.startswith("litert-cpu")]
    assert "is left out: models for it are converted here" in litert
    assert "run: nas target install litert-cpu" in litert
    assert "openvino-cpu is left out: openvino has no wheel for it." in said
    assert "onnxruntime-cpu is ready on pi" in said


def test_a_named_runtime_must_fit(sent: list[str]) -> None:
    """One that cannot be converted for yet is put there, and what is missing here is told."""
    with pytest.raises(TargetError, match="pi cannot have openvino-cpu: openvino has no wheel for it"):
        install(RECORD, ["onnxruntime-cpu", "openvino-cpu"], lambda text: None)
    assert not sent
    said: list[str] = []
    install(RECORD, ["litert-cpu"], said.append)
    assert [text for text in said if "litert-cpu still needs something on this machine" in text]


def test_where_nothing_fits_it_is_told(sent: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installing, "installable", lambda: ["litert-cpu", "openvino-cpu"])
    with pytest.raises(TargetError, match="pi can have none of the runtimes litert-cpu, openvino-cpu"):
        install(RECORD, [], lambda text: None)
    assert not sent


def test_a_runtime_that_does_not_start_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Board, "why_unavailable", lambda self, target: "no libstdc++")
    with pytest.raises(TargetError, match=r"was put on pi, but does not run there: no libstdc\+\+"):
        install(RECORD, ["onnxruntime-cpu"], lambda text: None)


def test_by_default_one_that_does_not_start_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody asked for it by name, and the others are sound. Only where none starts nothing is kept."""
    monkeypatch.setattr(installing, "installable", lambda: ["onnxruntime-cpu", "other"])
    monkeypatch.setattr(installing, "load_runtime", lambda name: LiteRt() if name == "other" else OnnxRuntimeCpu())
    lacking = {"other": "no libstdc++"}
    monkeypatch.setattr(Board, "why_unavailable", lambda self, target: lacking.get(target.runtime))
    said: list[str] = []
    record = install(RECORD, [], said.append)
    assert list(record.packages) == ["onnxruntime-cpu"]
    assert "other is left out: it does not run on pi. no libstdc++" in said
    lacking["onnxruntime-cpu"] = "illegal instruction"
    with pytest.raises(TargetError, match="onnxruntime-cpu was put on pi2, but does not run there: illegal"):
        install(replace(RECORD, name="pi2"), [], said.append)
    assert known("pi") == record


def test_what_was_installed_by_name_stays_where_it_is_left_out_now() -> None:
    before = replace(RECORD, found=PI, packages={"litert-cpu": site("numpy")})
    said: list[str] = []
    record = install(before, [], said.append)
    assert any(text.startswith("litert-cpu is left out") for text in said)
    assert record.packages.keys() == {"litert-cpu", "onnxruntime-cpu"}


@pytest.mark.parametrize(
    ("changes", "is_kept"), [({}, True), ({"python": [3, 14, 0]}, False), ({"libc": ["glibc", "2.36"]}, False)]
)
def test_packages_of_another_python_are_forgotten(
    changes: dict[str, Any], is_kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They come first where modules are looked for, and could not be loaded."""
    before = replace(RECORD, found=PI, packages={"litert-cpu": site("numpy")})
    found_there(monkeypatch, **changes)
    record = install(before, ["onnxruntime-cpu"], lambda text: None)
    assert list(record.packages) == [*(["litert-cpu"] if is_kept else []), "onnxruntime-cpu"]


def test_what_can_be_installed() -> None:
    """Runtimes that need torch cannot, and say so."""
    assert installable() == ["litert-cpu", "onnxruntime-cpu", "openvino-cpu"]
    for name in ("executorch-xnnpack", "torch-cpu"):
        with pytest.raises(TargetError, match=f"{name} runs on this machine only: .*needs torch"):
            install(RECORD, [name], lambda text: None)

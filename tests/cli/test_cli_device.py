"""``nas device``, as it is typed for another Python of this machine, and measuring there."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import fake_ssh
import numpy as np
import onnx
import pytest
from in_process import printed, refused
from onnx_models import linear, outside

from nas.hardware.devices.registry import known

Typed = Callable[..., str]


@pytest.fixture(name="typed")
def _typed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Typed:
    monkeypatch.setenv("NAS_HOME", str(tmp_path / "home"))
    return lambda *words: printed(capsys, monkeypatch, *words)


@pytest.fixture(name="here")
def _here(typed: Typed, tmp_path: Path) -> str:
    """A device that was added and set up."""
    typed("device", "add", "here", "local:", "--python", sys.executable, "--folder", tmp_path / "there")
    said = typed("device", "install", "here", "onnxruntime-cpu")
    assert "the Python of here has its packages already" in said
    assert "onnxruntime-cpu is ready on here" in said
    return "here"


@pytest.mark.slow
def test_a_device_from_adding_to_removing(typed: Typed, here: str, tmp_path: Path) -> None:
    assert "here  local:  onnxruntime-cpu" in typed("device", "list")
    (listed,) = json.loads(typed("device", "list", "--json"))
    assert listed["runtimes"] == ["onnxruntime-cpu"]
    assert "python there  3." in typed("device", "show", here)
    assert f"{here} is ready" in typed("device", "doctor", here)
    assert (tmp_path / "there" / "nas-device" / "code").is_dir()
    assert "here is forgotten, and its files are removed" in typed("device", "remove", here)
    assert not (tmp_path / "there" / "nas-device").exists()
    assert "No device was added" in typed("device", "list")


@pytest.mark.slow
def test_a_pool_is_a_name_for_devices(typed: Typed, here: str, tmp_path: Path) -> None:
    """They stay when it is forgotten. One that cannot be reached is told by its name."""
    typed("device", "add", "there", "local:", "--python", sys.executable, "--folder", tmp_path / "other")
    assert "here, there" in typed("device", "add", "both", "pool:here,there")
    assert "both  pool:here,there" in typed("device", "list")
    assert "here, there" in typed("device", "show", "both")
    assert "onnxruntime-cpu is ready on there" in typed("device", "install", "both")
    assert "both is forgotten." in typed("device", "remove", "both")
    assert "here  local:" in typed("device", "list")


@pytest.mark.slow
def test_a_model_is_measured_there(typed: Typed, here: str, tmp_path: Path) -> None:
    """Also one whose weights lie in a file beside it. Its row names the device."""
    model = linear(np.ones((6, 3), dtype=np.float32))
    (tmp_path / "weights.bin").write_bytes(model.graph.initializer[0].raw_data)
    outside(model.graph.initializer[0], "weights.bin")
    onnx.save(model, tmp_path / "model.onnx")
    words = ("measure", tmp_path / "model.onnx", "--max-rounds", "3", "--json", "--target", f"{here}/onnxruntime-cpu")
    (found,) = json.loads(typed(*words))
    latency = found["measured"]["latency_ms"]
    assert latency["target"] == "here/onnxruntime-cpu:fp32:batch=1:threads=1"
    assert latency["conditions"]["runtime"].startswith("onnxruntime ")
    kept = tmp_path / "there" / "nas-device" / "models"
    assert [path.parent for path in kept.glob("*/weights.bin")] == [path.parent for path in kept.glob("*/model.onnx")]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("device", "show", "pi"), "Add it: nas device add pi ssh://USER@HOST"),
        (("device", "add", "Pi", "ssh://pi@board"), "begins with a small letter"),
        (
            ("device", "add", "pi", "board"),
            "the address of a device begins with one of adb:, command:, local:, ssh:, pool:",
        ),
        (("device", "add", "pi", "ssh://"), "an address for ssh is ssh://[USER@]HOST[:PORT]"),
        (("device", "add", "pi", "local:", "--python", "no-such-python"), "there is no 'no-such-python'"),
        (("device", "add", "here", "local:"), "here is one. Remove it: nas device remove here"),
        (("device", "add", "pi", "local:", "--folder", "/proc"), "pi was not added, because it cannot measure yet"),
        (("device", "install", "here", "torch-cpu"), "torch-cpu runs on this machine only: it needs torch"),
        (("device", "install", "here", "onnxruntime-gpu"), "Did you mean"),
        (("target", "show", "pi/onnxruntime-cpu"), "Add it: nas device add pi"),
        (("target", "show", "here/torch-cpu"), "torch-cpu runs on this machine only"),
        (("target", "show", "here/onnxruntime-cpu:threads=999"), "threads must be at most the"),
    ],
)
def test_mistakes_are_told(
    here: str,
    words: tuple[str, ...],
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert said in refused(capsys, monkeypatch, *words)


def test_a_device_that_is_gone_can_be_forgotten(
    typed: Typed, here: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "home" / "devices" / "here.json"
    path.write_text(path.read_text().replace('"local:"', '"ssh://pi@board"'))
    monkeypatch.setenv("PATH", fake_ssh.put_on_path(tmp_path, os.environ["PATH"]))
    monkeypatch.setenv(fake_ssh.SAYS, "ssh: connect to host board port 22: Connection timed out")
    said = refused(capsys, monkeypatch, "device", "remove", here)
    assert "check that it is on" in said
    assert "nas device remove here --keep-files" in said
    assert known(here)
    assert typed("device", "remove", here, "--keep-files") == "here is forgotten.\n"


class TestAProgram:
    @pytest.fixture
    def farm(self, typed: Typed, tmp_path: Path) -> str:
        program = tmp_path / "time it"
        program.write_text("#!/bin/sh\necho 2; echo 2")
        program.chmod(0o755)
        said = typed("device", "add", "farm", f"command:'{program}' --board m7")
        assert "time it sha256:" in said
        assert "Next: nas device doctor farm" in said
        return "farm"

    def test_from_adding_to_removing(self, typed: Typed, farm: str, tmp_path: Path) -> None:
        listed = typed("device", "list")
        assert "farm  command:" in listed
        assert "nothing installed" not in listed
        assert "sha256:" in typed("device", "show", farm)
        assert "farm is ready" in typed("device", "doctor", farm)
        onnx.save(linear(np.ones((6, 3), dtype=np.float32)), tmp_path / "m.onnx")
        (found,) = json.loads(
            typed("measure", tmp_path / "m.onnx", "--target", f"{farm}/onnxruntime-cpu", "--max-rounds", "2", "--json")
        )
        assert found["measured"]["latency_ms"]["median"] == 2.0
        assert "farm is forgotten" in typed("device", "remove", farm)

    @pytest.mark.parametrize(
        ("address", "said"),
        [
            ("command:", "the address of a program is command:PROGRAM"),
            ("command:'open", "an address must close its quotation marks"),
            ("command:no-such-program", "the program of farm must be one that can be started, but no-such-program"),
            ("adb:", "the address of a phone is adb:[SERIAL] PROGRAM"),
            ("adb: no-such-program", "the program of farm must be a file of this machine"),
        ],
    )
    def test_that_is_none_is_told_and_not_added(
        self,
        typed: Typed,
        address: str,
        said: str,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        assert said in refused(capsys, monkeypatch, "device", "add", "farm", address)
        assert "No device was added" in typed("device", "list")

    def test_that_has_no_python_can_have_nothing_installed(
        self, typed: Typed, farm: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert "has no Python" in refused(capsys, monkeypatch, "device", "install", farm)

"""Another kind of processor: what is installed over ssh on an emulated aarch64 machine computes what it does here.

These tests take many minutes, so they run only when asked for: ``make test-emulated``. Times mean nothing there.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import emulated_machine
import numpy as np
import pytest
import torch
from commands import environment
from torch import nn

from nas.formats.export import export_model
from nas.hardware.devices.device import Device
from nas.hardware.devices.local_device import LocalDevice
from nas.hardware.devices.named import device_of
from nas.hardware.measuring_process import converting
from nas.hardware.runtimes.runtime import Deployed, ExportedModel, Float32Array, load_runtime
from nas.space.signature import image_inputs
from nas.values.target import Target

pytestmark = [pytest.mark.slow, pytest.mark.emulated, pytest.mark.timeout(7200)]
FOLDER = "NAS_EMULATED_MACHINE"
"""Names a folder in which the machine is built once. By default each run builds it anew."""
SHAPE, ITEMS = (3, 16, 16), 12
LIMIT_S = 900.0
RUNTIMES = ("onnxruntime-cpu", "litert-cpu")
LOADINGS, TOO_SLOW = 4, "the measuring process must answer within"
"""Beside other programs, it loads a runtime too slowly until Python has compiled all of it, and is asked again."""
SAME_FP32, SAME_INT8 = 1e-5, 0.05
"""Outputs may differ by so much of the largest: other kernels add in another order, and round to another byte."""


@pytest.fixture(name="machine", scope="module")
def _machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Its address, and a search path with an ssh that knows it."""
    reason = emulated_machine.why_missing()
    if reason:
        pytest.skip(reason)
    folder = Path(os.environ.get(FOLDER) or tmp_path_factory.mktemp("machine"))
    folder.mkdir(exist_ok=True)
    try:
        emulated_machine.build(folder)
    except OSError as error:
        pytest.skip(str(error))
    with emulated_machine.serving(folder) as found:
        yield found


@pytest.fixture(name="arm", scope="module")
def _arm(machine: tuple[str, str]) -> Iterator[str]:
    """The machine as a device, which has nothing but Python before. All is typed as for any other board."""
    url, path = machine
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", path)
        added = typed("add", "arm", url, "--folder", emulated_machine.DISK)
        assert added.returncode == 0, added.stderr
        for _ in range(LOADINGS):
            installed = typed("install", "arm", *RUNTIMES)
            if TOO_SLOW not in installed.stderr:
                break
        assert installed.returncode == 0, installed.stdout + installed.stderr
        for name in RUNTIMES:
            assert f"{name} is ready on arm" in installed.stdout
        yield "arm"


def typed(*words: str) -> subprocess.CompletedProcess[str]:
    """Return what ``nas device`` says."""
    command = [sys.executable, "-m", "nas", "device", *words]
    return subprocess.run(command, env=environment(), capture_output=True, text=True)


def network() -> nn.Module:
    """Return the commonest layers, with statistics for the batch norms."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = nn.Sequential(
            *(nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()),
            *(nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.Hardswish(), nn.Conv2d(16, 64, 1)),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)),
        )
        made(torch.randn(64, *SHAPE))
    return made.eval()


def converted(text: str, images: Float32Array, folder: Path) -> tuple[Target, Deployed]:
    """Return a target of this machine, and the model that was converted for it here. Skips where it cannot be."""
    target = replace(Target.parse(text), batch=2)
    runtime = load_runtime(target.runtime)
    reason = runtime.why_not_converted(target)
    if reason is not None:
        pytest.skip(reason)
    exported, own = folder / f"model.{runtime.model_format}", folder / "converted"
    export_model(network(), image_inputs(SHAPE), 2, exported, runtime.model_format)
    own.mkdir()
    with converting(target) as process:
        return target, process.convert(ExportedModel(exported, lambda: [images]), own)


def outputs(device: Device, target: Target, model: Path, images: Float32Array) -> tuple[Float32Array, str]:
    """Return a device's outputs, and the precision that ran there."""
    with device.process(target, LIMIT_S) as process:
        reply = process.ask("time", model=model, reference=None, seconds=0.0, min_samples=1)
        return process.outputs(model, [images]), reply["conditions"]["executed_precision"]


@pytest.mark.parametrize("text", [f"{name}:{precision}" for name in RUNTIMES for precision in ("fp32", "int8")])
def test_outputs_are_those_of_this_machine(arm: str, text: str, tmp_path: Path) -> None:
    """Of a model that was converted here, and is only opened there. Classes are the same, except near ties."""
    images = np.random.default_rng(1).standard_normal((ITEMS, *SHAPE)).astype(np.float32)
    target, model = converted(text, images, tmp_path)
    here, precision = outputs(LocalDevice(), target, model.path, images)
    there = replace(target, device=arm)
    device = device_of(there)
    assert device.facts.architecture == "aarch64"
    found, precision_there = outputs(device, there, model.path, images)
    assert precision_there == precision
    assert np.abs(found - here).max() < (SAME_FP32 if target.precision == "fp32" else SAME_INT8) * np.abs(here).max()

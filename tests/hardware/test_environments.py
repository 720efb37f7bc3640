"""Environments of runtimes: an incomplete installation counts as none, and a foreign Python imports this package."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_models import linear

from nas.errors import TargetError
from nas.hardware.devices.device import why_not_measured
from nas.hardware.devices.local_device import LocalDevice
from nas.hardware.measuring_process import converting
from nas.hardware.runtimes.environments import (
    MARKER,
    Environment,
    folder_of,
    install,
    interpreter_of,
    why_missing,
    worker_command,
    worker_environment,
)
from nas.hardware.runtimes.onnx_runtime import OnnxRuntimeCpu
from nas.hardware.runtimes.runtime import ExportedModel
from nas.space.plug_ins import plug_in_path
from nas.storage.file_lock import take
from nas.storage.home import home
from nas.values.target import Target

TESTS = Path(__file__).parents[1]


def make_wheel(folder: Path, version: str) -> Path:
    """Write a package called ``pebble`` without requirements, which pip installs without the internet."""
    path = folder / f"pebble-{version}-py3-none-any.whl"
    about = f"pebble-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("pebble.py", f"VERSION = {version!r}\n")
        wheel.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: pebble\nVersion: {version}\n")
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", f"pebble.py,,\n{about}/METADATA,,\n{about}/WHEEL,,\n{about}/RECORD,,\n")
    return path


def version_of_pebble(interpreter: Path) -> str:
    told = subprocess.run(
        [str(interpreter), "-c", "import pebble; print(pebble.VERSION)"], capture_output=True, text=True, check=True
    )
    return told.stdout.strip()


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the test's own, so that no test touches the user's."""
    folder = tmp_path / "home"
    monkeypatch.setenv("NAS_HOME", str(folder))
    return folder


class TestHome:
    def test_is_where_the_variable_says(self, own_home: Path) -> None:
        """NAS_HOME with an absolute path does not depend on the current folder."""
        assert home() == own_home

    def test_is_absolute(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A relative NAS_HOME is relative to the current folder at that moment."""
        monkeypatch.setenv("NAS_HOME", "here")
        assert home() == Path.cwd() / "here"

    def test_has_a_place_without_the_variable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The default is the platform's folder for user data, in a folder of this package's name."""
        monkeypatch.delenv("NAS_HOME")
        assert home().is_absolute()
        assert "nas" in home().parts


class TestInterpreter:
    def test_is_this_python_without_an_environment(self) -> None:
        """A runtime without an environment uses this Python."""
        assert interpreter_of(OnnxRuntimeCpu().environment) == Path(sys.executable)

    def test_is_missing_before_installation(self) -> None:
        """The reason names the folder and the command that installs the environment."""
        environment = Environment("pebbles", ("pebble",))
        assert interpreter_of(environment) is None
        reason = why_missing(environment, Target("pebble-cpu", "int8"))
        assert reason is not None
        assert str(folder_of(environment)) in reason
        assert "nas target install pebble-cpu" in reason

    def test_half_an_installation_counts_as_none(self) -> None:
        """A folder with a Python but without the last step's file counts as not installed."""
        environment = Environment("pebbles", ("pebble",))
        python = folder_of(environment) / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.symlink_to(sys.executable)
        assert interpreter_of(environment) is None

    def test_a_python_that_is_gone_counts_as_none(self) -> None:
        """An environment whose Python was removed counts as not installed."""
        environment = Environment("pebbles", ("pebble",))
        python = folder_of(environment) / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.symlink_to(python.parent / "removed")
        (folder_of(environment) / MARKER).write_text(json.dumps({"requirements": ["pebble"]}))
        assert interpreter_of(environment) is None

    def test_other_platforms_are_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """On another platform the reason suggests no installation, because it would fail."""
        monkeypatch.setattr("platform.machine", lambda: "abacus")
        reason = why_missing(Environment("pebbles", (), frozenset({("Linux", "x86_64")})), Target("pebble-cpu"))
        assert reason is not None
        assert "Linux x86_64" in reason
        assert "abacus" in reason
        assert "install" not in reason


class TestInstall:
    @pytest.mark.slow
    def test_installs_once_and_again_for_other_requirements(self, tmp_path: Path) -> None:
        """A second call does nothing, and a changed requirement replaces the environment."""
        said: list[str] = []
        old = Environment("pebbles", (str(make_wheel(tmp_path, "1.0")),))
        python = install(old, said.append)
        assert python == interpreter_of(old)
        assert version_of_pebble(python) == "1.0"
        assert any("pebbles" in line for line in said)
        record = json.loads((folder_of(old) / MARKER).read_text())
        assert any(package.startswith("pebble") for package in record["packages"])

        told_so_far = len(said)
        assert install(old, said.append) == python
        assert len(said) == told_so_far

        new = Environment("pebbles", (str(make_wheel(tmp_path, "2.0")),))
        assert interpreter_of(new) is None
        assert version_of_pebble(install(new, said.append)) == "2.0"
        assert interpreter_of(old) is None

    @pytest.mark.slow
    def test_a_requirement_that_cannot_be_had(self, tmp_path: Path) -> None:
        """The error contains pip's own message, and no complete installation is left."""
        environment = Environment("pebbles", (str(tmp_path / "nowhere"),))
        with pytest.raises(TargetError, match="nowhere"):
            install(environment, lambda line: None)
        assert interpreter_of(environment) is None
        assert not folder_of(environment).exists()

    @pytest.mark.slow
    def test_a_requirement_is_never_an_option(self, tmp_path: Path) -> None:
        """A requirement that begins with a dash is treated as a package name."""
        environment = Environment("pebbles", (f"--target={tmp_path / 'elsewhere'}",))
        with pytest.raises(TargetError, match="Invalid requirement"):
            install(environment, lambda line: None)
        assert not (tmp_path / "elsewhere").exists()

    @pytest.mark.slow
    @pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
    def test_survives_being_killed(self, tmp_path: Path) -> None:
        """An installation killed before its last step counts as none, and the next call completes it."""
        wheel = make_wheel(tmp_path, "1.0")
        program = (
            "import os, signal, sys\n"
            "import nas.hardware.runtimes.environments\n"
            "from nas.hardware.runtimes.environments import Environment\n"
            "nas.hardware.runtimes.environments.os.replace = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)\n"
            "nas.hardware.runtimes.environments.install(Environment('pebbles', (sys.argv[1],)), print)\n"
        )
        done = subprocess.run([sys.executable, "-c", program, str(wheel)], capture_output=True, check=False)
        assert done.returncode == -signal.SIGKILL
        environment = Environment("pebbles", (str(wheel),))
        assert version_of_pebble(folder_of(environment) / "bin" / "python") == "1.0"
        assert interpreter_of(environment) is None
        assert version_of_pebble(install(environment, lambda line: None)) == "1.0"

    @pytest.mark.slow
    def test_waits_for_another_installer(self, tmp_path: Path) -> None:
        """A second installer says that it waits, and continues when the first has ended."""
        environment = Environment("pebbles", (str(tmp_path / "nowhere"),))
        folder_of(environment).parent.mkdir(parents=True)
        other = take(folder_of(environment).parent / ".pebbles.lock")
        waited = threading.Event()
        ended: list[str] = []

        def second() -> None:
            try:
                install(environment, lambda line: waited.set() if "waiting" in line else None)
            except TargetError as error:
                ended.append(str(error))

        thread = threading.Thread(target=second)
        thread.start()
        assert waited.wait(timeout=30)
        assert not folder_of(environment).exists()
        other.close()
        thread.join(timeout=120)
        assert "nowhere" in ended[0]

    def test_a_disk_that_refuses(self, own_home: Path) -> None:
        """The error names the folder and the variable that moves it."""
        own_home.mkdir()
        (own_home / "environments").write_text("a file where the folder would be")
        with pytest.raises(TargetError, match="NAS_HOME"):
            install(Environment("pebbles", ("pebble",)), lambda line: None)


class TestWorkerCommand:
    def test_has_the_path_of_this_python(self) -> None:
        """In this Python the worker finds what this process finds, but nothing in the current folder."""
        python, safe_path, *_, package = worker_command(Path(sys.executable))[: -len(list(filter(None, sys.path)))]
        assert (python, safe_path) == (sys.executable, "-P")
        assert Path(package, "hardware", "runtimes", "worker.py").exists()

    def test_an_empty_part_of_the_path_does_not_mean_the_current_folder(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """``PYTHONPATH=$PYTHONPATH:folder`` has one where the variable was not set before."""
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", "one", "", "other", ""]))
        assert worker_environment()["PYTHONPATH"] == os.pathsep.join(["one", "other"])

    def test_finds_this_package_from_a_foreign_python(self, tmp_path: Path) -> None:
        """A foreign Python imports this copy of the package and ignores PYTHONPATH."""
        poison = tmp_path / "poison"
        for name in ("nas", "numpy"):
            (poison / name).mkdir(parents=True)
            (poison / name / "__init__.py").write_text("raise ImportError('from PYTHONPATH')\n")
        python = Path(sys.executable)
        command = worker_command(python.parent / ".." / python.parent.name / python.name)
        assert "-c" in command
        request = {"op": "conditions", "target": "own_runtime:Acting", "implementation": "own_runtime:Acting"}
        done = subprocess.run(
            command,
            input=json.dumps(request) + "\n",
            capture_output=True,
            text=True,
            check=False,
            cwd=TESTS,
            env={**os.environ, "PYTHONPATH": str(poison)},
        )
        assert done.returncode == 0, done.stderr
        reply = json.loads(done.stdout)
        assert reply["ok"], reply
        assert reply["runtime"] == "acting 1.0"

    @pytest.mark.slow
    @pytest.mark.parametrize("precision", ["fp32", "int8"])
    @pytest.mark.parametrize("runtime", ["onnxruntime-cpu", "openvino-cpu"])
    def test_loads_no_library_of_training(self, runtime: str, precision: str, tmp_path: Path) -> None:
        """A device that opens and measures converted models needs neither torch nor Ray, and starts quickly."""
        target = Target(runtime, precision)
        if why_not_measured(target, LocalDevice()) is not None:
            pytest.skip("it is not installed here")
        exported, folder = tmp_path / "model.onnx", tmp_path / "converted"
        exported.write_bytes(linear(np.ones((4, 2), np.float32)).SerializeToString())
        folder.mkdir()
        with converting(target) as process:
            model = str(process.convert(ExportedModel(exported), folder).path)
        python, *rest = worker_command(Path(sys.executable))
        named = {"target": str(target), "implementation": plug_in_path("nas.runtimes", runtime, "runtime")}
        np.savez(tmp_path / "inputs.npz", np.ones((1, 4), np.float32))
        inputs, outputs = (str(tmp_path / name) for name in ("inputs.npz", "outputs.npy"))
        requests: list[dict[str, Any]] = [
            {"op": "conditions"},
            {"op": "memory", "model": model},
            {"op": "time", "model": model, "reference": model, "seconds": 0.01, "min_samples": 1},
            {"op": "outputs", "model": model, "inputs": inputs, "outputs": outputs},
            {"op": "layers", "model": model},
        ]
        done = subprocess.run(
            [python, "-X", "importtime", *rest],
            input="".join(json.dumps({**request, **named}) + "\n" for request in requests),
            capture_output=True,
            text=True,
            check=True,
            env=worker_environment(),
        )
        replies = [json.loads(line) for line in done.stdout.splitlines()]
        assert [reply["ok"] for reply in replies] == [True] * len(requests), replies
        loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
        assert "numpy" in loaded
        assert loaded & {"torch", "ray", "optuna", "pandas", "scipy", "sklearn", "timm", "nncf"} == set()


@pytest.mark.parametrize("what", ["a file", "a link to nothing", "a marker that is a folder", "no Python", "a text"])
def test_a_damaged_environment_is_installed_anew(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever lies in its place counts as not installed, and does not stop the installation."""
    environment = Environment("damaged", ())
    folder = folder_of(environment)
    folder.parent.mkdir(parents=True)
    match what:
        case "a file":
            folder.write_text("x")
        case "a link to nothing":
            folder.symlink_to("nowhere")
        case "a marker that is a folder":
            (folder / MARKER).mkdir(parents=True)
        case _:
            (folder / "bin").mkdir(parents=True)
            (folder / MARKER).write_text(json.dumps({"requirements": []}))
            if what == "a text":
                (folder / "bin" / "python").write_text("not executable")
    assert interpreter_of(environment) is None
    monkeypatch.setattr("nas.hardware.runtimes.environments._pip", lambda *_: [])
    monkeypatch.setattr("nas.hardware.runtimes.environments.venv.EnvBuilder", Made)
    assert install(environment, lambda text: None) == folder / "bin" / "python"
    assert interpreter_of(environment) == folder / "bin" / "python"


class Made:
    """Makes an environment without pip."""

    def __init__(self, **_: object) -> None: ...

    def create(self, folder: Path) -> None:
        (folder / "bin").mkdir(parents=True)
        (folder / "bin" / "python").symlink_to(sys.executable)

"""Environments of runtimes: half an installation never counts as one, and a foreign Python finds this package."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from nas.errors import TargetError
from nas.hardware.runtimes.environments import (
    MARKER,
    Environment,
    folder_of,
    install,
    interpreter_of,
    why_missing,
    worker_command,
)
from nas.hardware.runtimes.onnx_runtime import OnnxRuntimeCpu
from nas.storage.file_lock import take
from nas.storage.home import home
from nas.values.target import Target

TESTS = Path(__file__).parents[1]


def make_wheel(folder: Path, version: str) -> Path:
    """A package called ``pebble`` that needs nothing, so that pip installs it without the internet."""
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
    """A home of the test's own, so that none touches the user's."""
    folder = tmp_path / "home"
    monkeypatch.setenv("NAS_HOME", str(folder))
    return folder


class TestHome:
    def test_is_where_the_variable_says(self, own_home: Path) -> None:
        """An absolute path, whatever the current folder becomes."""
        assert home() == own_home

    def test_is_absolute(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A relative one is meant from the folder that is current now."""
        monkeypatch.setenv("NAS_HOME", "here")
        assert home() == Path.cwd() / "here"

    def test_has_a_place_without_the_variable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The platform's for a user's data, in a folder of this package's name."""
        monkeypatch.delenv("NAS_HOME")
        assert home().is_absolute()
        assert "nas" in home().parts


class TestInterpreter:
    def test_is_this_python_without_an_environment(self) -> None:
        """Most runtimes live among the other packages."""
        assert interpreter_of(OnnxRuntimeCpu().environment) == Path(sys.executable)

    def test_is_missing_before_installation(self) -> None:
        """And the reason says where it was looked for, and what to do."""
        environment = Environment("pebbles", ("pebble",))
        assert interpreter_of(environment) is None
        reason = why_missing(environment, Target("pebble-cpu", "int8"))
        assert reason is not None
        assert str(folder_of(environment)) in reason
        assert "nas target install pebble-cpu" in reason

    def test_half_an_installation_counts_as_none(self) -> None:
        """A folder with a Python but without the last step's mark."""
        environment = Environment("pebbles", ("pebble",))
        python = folder_of(environment) / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.symlink_to(sys.executable)
        assert interpreter_of(environment) is None

    def test_a_python_that_is_gone_counts_as_none(self) -> None:
        """The link in an environment dangles after the Python that made it was removed."""
        environment = Environment("pebbles", ("pebble",))
        python = folder_of(environment) / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.symlink_to(python.parent / "removed")
        (folder_of(environment) / MARKER).write_text(json.dumps({"requirements": ["pebble"]}))
        assert interpreter_of(environment) is None

    def test_other_platforms_are_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Before any installation is suggested, for it would fail."""
        monkeypatch.setattr("platform.machine", lambda: "abacus")
        reason = why_missing(Environment("pebbles", ()), Target("pebble-cpu"), [("Linux", "x86_64")])
        assert reason is not None
        assert "Linux x86_64" in reason
        assert "abacus" in reason
        assert "install" not in reason


class TestInstall:
    @pytest.mark.slow
    def test_installs_once_and_again_for_other_requirements(self, tmp_path: Path) -> None:
        """The second call finds all in place, and a changed requirement replaces it."""
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

    def test_a_requirement_that_cannot_be_had(self, tmp_path: Path) -> None:
        """pip's own words are passed on, and nothing that looks installed is left."""
        environment = Environment("pebbles", (str(tmp_path / "nowhere"),))
        with pytest.raises(TargetError, match="nowhere"):
            install(environment, lambda line: None)
        assert interpreter_of(environment) is None
        assert not folder_of(environment).exists()

    def test_a_requirement_is_never_an_option(self, tmp_path: Path) -> None:
        """What begins with a dash is looked for as a package."""
        environment = Environment("pebbles", (f"--target={tmp_path / 'elsewhere'}",))
        with pytest.raises(TargetError, match="Invalid requirement"):
            install(environment, lambda line: None)
        assert not (tmp_path / "elsewhere").exists()

    @pytest.mark.slow
    @pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
    def test_survives_being_killed(self, tmp_path: Path) -> None:
        """Killed when all is installed but the mark: it counts as nothing, and the next call makes it whole."""
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

    def test_waits_for_another_installer(self, tmp_path: Path) -> None:
        """Says so, and goes on when the other has ended."""
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
        """Named as what it is, with the folder and the variable that moves it."""
        own_home.write_text("a file where the folder would be")
        with pytest.raises(TargetError, match="NAS_HOME"):
            install(Environment("pebbles", ("pebble",)), lambda line: None)


class TestWorkerCommand:
    def test_is_the_module_in_this_python(self) -> None:
        """Started as any module is."""
        assert worker_command(Path(sys.executable)) == [sys.executable, "-m", "nas.hardware.runtimes.worker"]

    def test_finds_this_package_from_a_foreign_python(self, tmp_path: Path) -> None:
        """By its folder alone: nothing on PYTHONPATH is seen, and no other copy of it either."""
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

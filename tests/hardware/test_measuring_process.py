"""The measuring process answers requests, is ended when it hangs, and is started again."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import own_runtime
import pytest
from own_runtime import opened

from nas.errors import CandidateError, TargetError
from nas.hardware.machine import fastest_cores
from nas.hardware.measuring_process import LocalChannel, MeasuringProcess
from nas.hardware.runtimes.runtime import Deployed, ExportedModel
from nas.hardware.runtimes.worker import BLOCKS, MAX_BLOCK_SAMPLES
from nas.values.target import Target

TIMEOUT_S = 30.0


def model(folder: Path, deed: str, name: str = "a") -> str:
    path = folder / f"{name}.txt"
    path.write_text(deed)
    return str(path)


def ask_time(process: MeasuringProcess, path: str, **changes: object) -> dict[str, object]:
    return process.ask("time", model=path, **{"reference": None, "seconds": 0.001, "min_samples": 1, **changes})


class TestPath:
    @pytest.mark.parametrize("end", ["", os.pathsep], ids=["as it is", "with an empty part"])
    def test_imports_nothing_from_the_current_folder(
        self, acting: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
    ) -> None:
        """A file there with the name of a module of Python, of a library or of this package is not imported."""
        for module in ("json", "numpy", "queue", "nas", "own_runtime", "sitecustomize"):
            code = f"open({str(tmp_path / 'imported')!r}, 'a').write({module!r})"
            (tmp_path / f"{module}.py").write_text(code)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("PYTHONPATH", os.environ["PYTHONPATH"] + end)
        with MeasuringProcess(acting, TIMEOUT_S) as process:
            assert process.conditions["runtime"] == "acting 1.0"
        assert not (tmp_path / "imported").exists()

    def test_finds_a_runtime_in_the_current_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A user's own runtime may lie where the command is typed."""
        (tmp_path / "runtime_of_mine.py").write_text(Path(own_runtime.__file__).read_text())
        monkeypatch.setattr(sys, "path", list(sys.path))
        monkeypatch.chdir(tmp_path)
        with MeasuringProcess(Target("runtime_of_mine:Acting"), TIMEOUT_S) as process:
            assert process.conditions["runtime"] == "acting 1.0"


class TestCores:
    @pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="only Linux pins processes")
    def test_only_what_is_timed_is_pinned(self, acting: Target) -> None:
        """Processes that run models for their outputs, one beside each training, would all share the fastest core."""
        with MeasuringProcess(acting, TIMEOUT_S) as process:
            assert process.conditions["pinned_to_cores"] == fastest_cores(1)
        with MeasuringProcess(acting, TIMEOUT_S, pinned=False) as process:
            assert process.conditions["pinned_to_cores"] is None


class TestAnswers:
    def test_what_all_measurements_have_in_common(self, acting: Target) -> None:
        """The shared conditions are processor, versions and cores in plain JSON, read at the start."""
        with MeasuringProcess(acting, TIMEOUT_S) as process:
            conditions = process.conditions
        assert json.loads(json.dumps(conditions, allow_nan=False)) == conditions
        assert conditions["runtime"] == "acting 1.0"
        assert (conditions["threads"], conditions["batch"]) == (1, 1)
        assert conditions["processor"]
        if hasattr(os, "sched_getaffinity"):
            assert len(conditions["pinned_to_cores"]) == 1

    def test_times_a_model_between_readings_of_the_reference(self, acting: Target, tmp_path: Path) -> None:
        """A timing has a reading of the reference, and a reference that opens quickly is opened again."""
        reference = model(tmp_path, "clock 0.5", "reference")
        with MeasuringProcess(acting, TIMEOUT_S) as process:
            for name in ("a", "b"):
                reply = ask_time(process, model(tmp_path, "clock 2", name), reference=reference, seconds=10.0)
                assert reply["samples"] == [2.0] * BLOCKS * MAX_BLOCK_SAMPLES
                assert reply["reference_ms"] == 0.5
                assert reply["pressure"] == 0
        assert [name for name, _ in opened(tmp_path)] == ["a", "reference", "b", "reference"]

    def test_takes_at_least_as_many_samples_as_are_asked_for(self, acting: Target, tmp_path: Path) -> None:
        """The minimum number of samples is taken, however little time there is."""
        with MeasuringProcess(acting, TIMEOUT_S) as process:
            reply = ask_time(process, model(tmp_path, "take 1"), seconds=1e-9, min_samples=7)
        samples = reply["samples"]
        assert isinstance(samples, list)
        assert 7 <= len(samples) <= 8
        assert min(samples) >= 1

    def test_a_clock_of_the_sessions_own_is_believed(self, acting: Target, tmp_path: Path) -> None:
        """A session's own clock is used instead of the process's, as for a GPU."""
        began = time.monotonic()
        with MeasuringProcess(acting, TIMEOUT_S) as process:
            reply = ask_time(process, model(tmp_path, "clock 100000"), min_samples=8)
        assert reply["samples"][0] == 100_000  # type: ignore[index]
        assert time.monotonic() - began < 60

    def test_converts_and_gives_outputs(self, tmp_path: Path, acting: Target) -> None:
        """A last incomplete batch is padded, and the padding's outputs are removed."""
        path = Path(model(tmp_path, "be quick"))
        images = np.random.default_rng(0).standard_normal((5, 2, 3, 3)).astype(np.float32)
        (tmp_path / "deployed").mkdir()
        with MeasuringProcess(Target(acting.runtime, batch=4), TIMEOUT_S) as process:
            deployed = process.convert(ExportedModel(path, lambda: [images]), tmp_path / "deployed", TIMEOUT_S)
            assert deployed == Deployed(path, weight_bytes=len("be quick"))
            found = process.outputs(deployed.path, [images])
        np.testing.assert_allclose(found, np.stack([images.mean((1, 2, 3)), images.max((1, 2, 3))], 1), rtol=1e-6)

    def test_images_that_are_pickled_are_refused(self, tmp_path: Path, acting: Target) -> None:
        """Pickled images are refused, because reading them would run code."""
        np.savez(tmp_path / "images.npz", np.array([{}], dtype=object))
        path = Path(model(tmp_path, "be quick"))
        with MeasuringProcess(acting, TIMEOUT_S) as process, pytest.raises(CandidateError, match=r"allow_pickle=False"):
            process.ask("outputs", model=path, inputs=tmp_path / "images.npz", outputs=tmp_path / "outputs.npy")

    def test_what_a_runtime_prints_does_not_come_between(self, acting: Target, tmp_path: Path) -> None:
        """Output of Python and of C code does not disturb the replies."""
        with MeasuringProcess(acting, TIMEOUT_S) as process:
            for name in ("a", "b"):
                assert len(ask_time(process, model(tmp_path, "print", name))["samples"]) >= 1  # type: ignore[arg-type]

    def test_paths_of_any_letters_are_understood(self, acting: Target, tmp_path: Path) -> None:
        """Paths may contain line breaks and quotation marks."""
        folder = tmp_path / 'modèles "à\nmesurer"'
        folder.mkdir()
        with MeasuringProcess(acting, TIMEOUT_S) as process:
            assert ask_time(process, model(folder, "clock 3"))["samples"][0] == 3  # type: ignore[index]


class TestFailures:
    def test_a_refusal_leaves_the_process_running(self, acting: Target, tmp_path: Path) -> None:
        """A refusal carries the runtime's reason, and the process answers the next request."""
        with MeasuringProcess(acting, TIMEOUT_S) as process:
            with pytest.raises(
                CandidateError, match=r"^own_runtime:Acting refused the model: ValueError: not a model of mine$"
            ) as caught:
                ask_time(process, model(tmp_path, "refuse", "bad"))
            assert caught.value.kind == "measure"
            ask_time(process, model(tmp_path, "clock 1", "good"))
        (_, first), (_, second) = opened(tmp_path)
        assert first == second

    @pytest.mark.slow
    def test_a_hung_process_is_ended_and_another_one_answers(self, acting: Target, tmp_path: Path) -> None:
        """A hung process is ended after the timeout, which one request can change for itself."""
        with MeasuringProcess(acting, TIMEOUT_S) as process:
            began = time.monotonic()
            with pytest.raises(CandidateError, match=r"must answer within 0\.5 s, but did not; it was ended") as caught:
                ask_time(process, model(tmp_path, "hang", "h"), timeout_s=0.5)
            assert caught.value.kind == "timeout"
            assert 0.5 <= time.monotonic() - began < 20
            ask_time(process, model(tmp_path, "take 100", "slow"))
        (_, hung), (_, second) = opened(tmp_path)
        assert hung != second
        with pytest.raises(ProcessLookupError):
            os.kill(hung, 0)

    @pytest.mark.parametrize("deed", ["die", "wait"])
    def test_a_process_that_died_is_replaced(self, acting: Target, tmp_path: Path, deed: str) -> None:
        """The error shows the exit code of a process that died, with its usual cause."""
        os.mkfifo(tmp_path / "waiting")
        killer = subprocess.Popen(
            [sys.executable, "-c", "import os, sys; os.kill(int(open(sys.argv[1]).read()), 9)", tmp_path / "waiting"]
        )
        with MeasuringProcess(acting, TIMEOUT_S) as process:
            with pytest.raises(CandidateError, match=r"ended with exit code -9 \(killed, .* memory\) before") as caught:
                ask_time(process, model(tmp_path, deed, "d"))
            assert caught.value.kind == "measure"
            ask_time(process, model(tmp_path, "clock 1"))
        killer.kill()
        killer.wait()

    def test_one_that_died_between_requests_fails_the_next_and_is_replaced(
        self, acting: Target, tmp_path: Path
    ) -> None:
        """A process that died between requests fails the next request, and the one after is answered."""
        with MeasuringProcess(acting, TIMEOUT_S) as process:
            ask_time(process, model(tmp_path, "clock 1"))
            ((_, first),) = opened(tmp_path)
            os.kill(first, signal.SIGKILL)
            with pytest.raises(CandidateError, match="ended with exit code -9"):
                ask_time(process, model(tmp_path, "clock 2", "b"))
            ask_time(process, model(tmp_path, "clock 3", "c"))

    @pytest.mark.usefixtures("acting")
    @pytest.mark.parametrize(
        ("runtime", "reason"),
        [("Broken", "OSError: libboard.so is missing"), ("Deadly", "ended with exit code 7 before it answered")],
    )
    def test_a_target_that_cannot_start_is_no_models_fault(self, runtime: str, reason: str) -> None:
        """A target that cannot start raises TargetError on entering."""
        process = MeasuringProcess(Target(f"own_runtime:{runtime}"), TIMEOUT_S)
        with pytest.raises(TargetError, match=f"own_runtime:{runtime}:.* cannot be measured here: .*{reason}"), process:
            pytest.fail("it must not start")

    def test_a_meter_that_is_missing_is_the_targets_fault(self, acting: Target, tmp_path: Path) -> None:
        """A missing meter raises TargetError with what to do, because no model can be metered."""
        meter = {"kind": "command", "command": [str(tmp_path / "no-such-meter")], "gpu": None}
        with MeasuringProcess(acting, TIMEOUT_S) as process, pytest.raises((TargetError, CandidateError)) as caught:
            process.ask("energy", model=model(tmp_path, "clock 1"), meter=meter)
        assert "no-such-meter" in str(caught.value)

    def test_leaving_it_ends_the_process(self, acting: Target, tmp_path: Path) -> None:
        """Leaving the context ends the process, also after an error."""

        def interrupted() -> None:
            with MeasuringProcess(acting, TIMEOUT_S) as process:
                ask_time(process, model(tmp_path, "clock 1"))
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        ((_, number),) = opened(tmp_path)
        with pytest.raises(ProcessLookupError):
            os.kill(number, 0)

    @pytest.mark.parametrize("deed", ["clock 1", pytest.param("hang", marks=pytest.mark.slow)])
    def test_a_driver_that_dies_leaves_no_process_behind(self, acting: Target, tmp_path: Path, deed: str) -> None:
        """The measuring process ends when its standard input closes, or seconds later if a model keeps it busy."""
        script = (
            "import os, sys, threading\n"
            "from nas.hardware.measuring_process import LocalChannel, MeasuringProcess\n"
            "from nas.values.target import Target\n"
            "with MeasuringProcess(Target(sys.argv[1]), 30.0) as process:\n"
            "    threading.Timer(2, os.kill, (os.getpid(), 9)).start()\n"
            "    process.ask('time', model=sys.argv[2], reference=None, seconds=0.001, min_samples=1)\n"
            "    os.kill(os.getpid(), 9)\n"
        )
        command = [sys.executable, "-c", script, acting.runtime, model(tmp_path, deed)]
        assert subprocess.run(command, check=False).returncode == -9
        ((_, number),) = opened(tmp_path)
        deadline = time.monotonic() + 10
        while Path(f"/proc/{number}/cmdline").exists() and Path(f"/proc/{number}/cmdline").read_bytes():
            assert time.monotonic() < deadline, "it still runs"
            time.sleep(0.02)


class Starved:
    """A process that answers when it has been asked for the third time."""

    pid = 1

    def __init__(self) -> None:
        self.asked: list[float] = []

    def line(self, timeout_s: float) -> str:
        self.asked.append(timeout_s)
        if len(self.asked) < 3:
            raise queue.Empty
        return "{}"


def test_waiting_for_a_core_is_no_hanging(acting: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside busy programs a process gets a fifth of the time; its limit is for the rest."""
    measuring: Any = LocalChannel(acting)
    waited_s = iter((100.0, 130.0, 150.0))
    monkeypatch.setattr("nas.hardware.measuring_process.waiting_s", lambda pid: next(waited_s))
    process = Starved()
    assert measuring._line(process, 10.0) == "{}"
    assert process.asked == pytest.approx([10.0, 40.0, 60.0], abs=1.0)
    monkeypatch.setattr("nas.hardware.measuring_process.waiting_s", lambda pid: 0.0)
    monkeypatch.setattr("nas.hardware.measuring_process.time.monotonic", iter((0.0, 10.0)).__next__)
    with pytest.raises(queue.Empty):
        measuring._line(Starved(), 10.0)

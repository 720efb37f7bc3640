"""A device behind a program measures as other devices do, and each bad answer is a sentence that names the device."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import own_runtime
import pytest
from acting_models import QUICK, as_they_are, failure_of, latency_of, models_of

from nas.errors import CandidateError, RecipeError, TargetError
from nas.hardware import benchmarking
from nas.hardware.bench import Outcome
from nas.hardware.benchmarking import DeviceBench
from nas.hardware.devices.command_runner import Command, told_by
from nas.hardware.devices.device import Device
from nas.hardware.devices.local_device import LocalDevice
from nas.hardware.devices.program_device import ProgramDevice
from nas.hardware.devices.registry import DeviceRecord
from nas.hardware.own_programs import MOST_PRINTED
from nas.values.measurement import WALL
from nas.values.target import Target

CLOCK = f"""\
words=$(tr -d '\\0' < "$1")
set -- $words
case "$1" in
  clock) i=0; while [ $i -lt $NAS_SAMPLES ]; do echo "$2"; i=$((i + 1)); done ;;
  "") echo {own_runtime.REFERENCE_MS} ;;
  *) eval "$words" ;;
esac
"""
"""A board whose models say how long they take, or what the program does. Its reference model is a file of zeros."""

Farm = Callable[..., ProgramDevice]


@pytest.fixture
def farm(tmp_path: Path) -> Farm:
    def made(script: str = CLOCK, arguments: str = "") -> ProgramDevice:
        program = tmp_path / "run here"
        program.write_text(f"#!/bin/sh\n{script}")
        program.chmod(0o755)
        record = DeviceRecord("farm", f"command:'{program}' {arguments}".strip())
        return ProgramDevice(record, Command(record))

    return made


@pytest.fixture(autouse=True)
def _quick_export(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.formats.export.export_model", own_runtime.write_unread)


def measured(device: Device, target: Target, folder: Path, deeds: dict[str, str], **settings: Any) -> list[Outcome]:
    bench = DeviceBench(target, replace(QUICK, **settings), device=device)
    return bench.measure(as_they_are(models_of(folder, deeds)), ["latency_ms"], np.random.default_rng(0))


class TestMeasuring:
    @pytest.mark.slow
    def test_gives_what_this_machine_gives(self, farm: Farm, acting: Target, tmp_path: Path) -> None:
        deeds = {"a": "clock 1", "b": "clock 3"}
        there = measured(farm(), replace(acting, device="farm"), tmp_path, deeds)
        here = measured(LocalDevice(), acting, tmp_path, deeds)
        assert [latency_of(each).median for each in there] == pytest.approx([latency_of(each).median for each in here])
        found = latency_of(there[0])
        assert found.target == "farm/own_runtime:Acting:fp32:batch=1:threads=1"
        assert found.conditions["runtime"].startswith("run here sha256:")
        assert found.drift == 1.0

    def test_takes_as_many_calls_as_the_docs_say(self, farm: Farm, acting: Target, tmp_path: Path) -> None:
        bench = DeviceBench(replace(acting, device="farm"), QUICK, device=farm(f"echo >>{tmp_path}/calls\n{CLOCK}"))
        _ = bench.profile
        page = (Path(__file__).parents[3] / "docs" / "devices.md").read_text(encoding="utf-8")
        assert f"takes {(tmp_path / 'calls').read_text().count(chr(10))} calls" in page

    def test_is_corrected_by_the_reference_model_there(self, farm: Farm, acting: Target, tmp_path: Path) -> None:
        target = replace(acting, device="farm")
        bench = DeviceBench(target, QUICK, device=farm())
        assert bench.profile.reference_ms == own_runtime.REFERENCE_MS
        slower = farm(CLOCK.replace(str(own_runtime.REFERENCE_MS), str(1.1 * own_runtime.REFERENCE_MS)))
        bench._device = slower  # the same device, which has become slower
        (found,) = bench.measure(
            as_they_are(models_of(tmp_path, {"a": "clock 2.2"})), ["latency_ms"], np.random.default_rng(0)
        )
        assert latency_of(found).median == pytest.approx(2.0)
        assert latency_of(found).raw_median == 2.2

    @pytest.mark.slow
    def test_with_another_program_does_not_compare(self, farm: Farm, acting: Target) -> None:
        target = replace(acting, device="farm")
        prints = {
            DeviceBench(target, QUICK, device=farm(script, arguments)).fingerprint
            for script, arguments in ((CLOCK, ""), (CLOCK + "# better", ""), (CLOCK, "--board m7"))
        }
        assert len(prints) == 3

    @pytest.mark.parametrize("argument", ["{}", "--script={}"])
    def test_with_another_script_does_not_compare(self, tmp_path: Path, argument: str) -> None:
        """Of ``command:python3 FILE`` the file is what measures."""
        script, prints = tmp_path / "time.py", set()
        device = Command(DeviceRecord("farm", f"command:{sys.executable} {argument.format(script)} {'x' * 5000}"))
        for text in ("print(1)", "print(20)", "print(20)"):
            script.write_text(text)
            prints.add(device.identity)
        assert len(prints) == 2

    def test_tells_the_program_what_is_wanted(self, farm: Farm, acting: Target, tmp_path: Path) -> None:
        """And no shell reads the address: a semicolon is a part of an argument."""
        device = farm('echo "$1|$2|$NAS_DEVICE|$NAS_TARGET|$NAS_BATCH|$NAS_THREADS|$NAS_SAMPLES" >&2; exit 1', "'a; b'")
        target = replace(acting, device="farm", batch=4, threads=2)
        with pytest.raises(CandidateError) as failed:
            device.runner.run(tmp_path / "m.txt", target, 7, 5.0)
        assert f"a; b|{tmp_path / 'm.txt'}|farm|{target}|4|2|7" in str(failed.value)

    def test_computes_outputs_here(self, farm: Farm, acting: Target, tmp_path: Path) -> None:
        images = np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2)
        (path,) = models_of(tmp_path, {"a": "take 0"})
        found = []
        for device, target in ((farm(), replace(acting, device="farm")), (LocalDevice(), acting)):
            with device.process(target, 30.0) as process:
                found.append(process.outputs(path, [images]).tolist())
        assert found[0] == found[1]

    def test_compares_no_outputs_of_many_items(
        self, farm: Farm, acting: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """They would be those of this machine twice, and a message would tell of the farm's."""
        monkeypatch.setattr(benchmarking, "SENT_WHOLE_BYTES", 0)
        said: list[str] = []
        bench = DeviceBench(replace(acting, device="farm"), QUICK, device=farm(), say=said.append)
        images = np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2)
        found = bench.outputs(*as_they_are(models_of(tmp_path, {"a": "clock 1"})), [images])
        assert found.tolist() == images.reshape(2, -1).tolist()
        assert not said

    @pytest.mark.parametrize("metric", ["peak_memory_mib", "energy_mj", "sustained_latency_ms"])
    def test_of_what_it_cannot_tell_is_refused_before(self, farm: Farm, acting: Target, metric: str) -> None:
        bench = DeviceBench(replace(acting, device="farm"), QUICK, device=farm())
        assert not bench.can_measure(metric)
        assert not bench.profiles_layers
        with pytest.raises(TargetError, match="farm tells"):
            bench.check([metric])


class TestBadAnswers:
    @pytest.mark.parametrize(
        ("deed", "kind", "said"),
        [
            ("true", "measure", "but it printed nothing"),
            ("echo fast", "measure", "but it printed 'fast'"),
            ("echo 2 ms", "measure", "but it printed '2 ms'"),
            ("echo -3", "measure", "but a time must be a finite number above 0 ms, but one is -3"),
            ("echo 0", "measure", "above 0 ms, but one is 0"),
            ("echo nan", "measure", "above 0 ms, but one is nan"),
            ("echo inf", "measure", "above 0 ms, but one is inf"),
            ("printf '\\377'", "measure", "which is no UTF-8"),
            ("echo 2; echo no room >&2; exit 3", "measure", "but it ended with exit code 3: no room"),
            ("kill -9 $$", "measure", "but it ended with exit code -9"),
            ("sleep 30", "timeout", "but it did not end within 0.5 s"),
            ("(trap '' TERM; sleep 30) & echo 2; wait", "timeout", "but it did not end within 0.5 s"),
        ],
    )
    def test_fail_their_model_alone(
        self, farm: Farm, acting: Target, tmp_path: Path, deed: str, kind: str, said: str
    ) -> None:
        began_s = time.monotonic()
        bad, good = measured(
            farm(), replace(acting, device="farm"), tmp_path, {"x": deed, "a": "clock 1"}, timeout_s=0.5
        )
        found_kind, reason = failure_of(bad)
        assert found_kind == kind
        assert said in reason
        assert reason.startswith("farm: run here must print milliseconds, one number a line")
        assert "Try it: " in reason
        assert latency_of(good).median == pytest.approx(1.0)
        assert time.monotonic() - began_s < 20

    def test_of_too_much_are_refused(self, farm: Farm, acting: Target, tmp_path: Path) -> None:
        device = farm(f"yes 1 | head -c {MOST_PRINTED + 2}")
        with pytest.raises(CandidateError, match="it printed more than 1 MiB"):
            device.runner.run(tmp_path / "m", acting, 1, 20.0)

    def test_to_the_reference_model_stop_everything(self, farm: Farm, acting: Target) -> None:
        """Nothing could be corrected then."""
        bench = DeviceBench(replace(acting, device="farm"), QUICK, device=farm("exit 1"))
        with pytest.raises(TargetError, match="must run its reference model, but: farm: run here must print"):
            _ = bench.profile

    @pytest.mark.parametrize("hiccups", [2, 3])
    def test_to_the_reference_model_fail_no_candidate(
        self, farm: Farm, acting: Target, tmp_path: Path, hiccups: int
    ) -> None:
        """The farm hiccups when it gets the reference model, once the reference speed is known."""
        left = tmp_path / "hiccups"
        left.mkdir()
        hiccup = f"if rmdir $(ls -d {left}/* | head -n 1) 2>/dev/null; then echo busy >&2; exit 1; fi"
        script = CLOCK.replace('"") echo', f'"") {hiccup}; echo')
        target = replace(acting, device="farm")
        bench, models = DeviceBench(target, QUICK, device=farm(script)), models_of(tmp_path, {"a": "clock 1"})
        _ = bench.profile
        for number in range(hiccups):
            (left / str(number)).mkdir()

        def measured() -> Outcome:
            (found,) = bench.measure(as_they_are(models), ["latency_ms"], np.random.default_rng(0))
            return found

        if hiccups < 3:
            assert latency_of(measured()).median == pytest.approx(1.0)
        else:
            with pytest.raises(TargetError, match=r"farm must run its reference model, but: farm: run here .*: busy"):
                measured()
        assert not list(left.iterdir())

    @pytest.mark.parametrize("is_there", [True, False])
    def test_of_a_program_that_cannot_be_started(
        self, farm: Farm, acting: Target, tmp_path: Path, is_there: bool
    ) -> None:
        device = farm()
        path = tmp_path / "run here"
        path.chmod(0o644) if is_there else path.unlink()
        with pytest.raises(TargetError, match="the program of farm must be one that can be started"):
            DeviceBench(replace(acting, device="farm"), QUICK, device=device)
        with pytest.raises(TargetError, match="must be one that can be started"):
            device.runner.run(tmp_path / "m", acting, 1, 1.0)


class TestPrinted:
    @pytest.mark.parametrize(
        "printed", ["2\n2.5\n", "\n 2 \r\n2.5", "[2, 2.5]", '{"latency_ms": [2, 2.5], "conditions": {}}']
    )
    def test_lines_or_json_are_read(self, printed: str) -> None:
        assert told_by(printed.encode()).samples_ms == (2.0, 2.5)

    def test_conditions_are_kept_apart_from_ours(self, farm: Farm, acting: Target, tmp_path: Path) -> None:
        """The precision that ran is shown as for other devices."""
        said = '{"latency_ms": 2, "conditions": {"executed_precision": "int8", "clock": "cycles"}}'
        (found,) = measured(farm(), replace(acting, device="farm"), tmp_path, {"j": f"echo '{said}'"})
        assert latency_of(found).conditions["executed_precision"] == "int8"
        assert latency_of(found).conditions["told"] == {"clock": "cycles"}
        assert latency_of(found).clock == WALL

    @pytest.mark.parametrize(
        ("printed", "said"),
        [
            ("[]", "1 to 10000 times, but there are 0"),
            ("[2, null]", "must be numbers, but got \\[2, null\\]"),
            ("[true]", "must be numbers"),
            ('["2"]', "must be numbers"),
            ("[1" + "0" * 400 + "]", "must be numbers"),
            ("[NaN]", "above 0 ms, but one is nan"),
            ("[2", "its JSON cannot be read"),
            ("[" * 100_000, "its JSON cannot be read"),
            ('{"ms": 2}', "must have latency_ms and perhaps conditions, but has ms"),
            ("{}", "but has nothing"),
            ('{"latency_ms": 2, "conditions": [1]}', "conditions must be an object"),
            ('{"latency_ms": 2, "conditions": {"clock": [1]}}', "texts and finite numbers, but clock is \\[1\\]"),
            ('{"latency_ms": 2, "conditions": {"c": NaN}}', "texts and finite numbers, but c is nan"),
            ('{"latency_ms": 2, "conditions": {"c": -1e999}}', "texts and finite numbers, but c is -inf"),
            ("1\n" * 10_001, "but there are 10001"),
        ],
    )
    def test_anything_else_is_refused(self, printed: str, said: str) -> None:
        with pytest.raises(ValueError, match=said):
            told_by(printed.encode())


@pytest.mark.parametrize("address", ["command:", "command:  ", "command:'open", "command:bin/run"])
def test_an_address_must_name_a_program(address: str) -> None:
    with pytest.raises(RecipeError, match=r"command:PROGRAM|by its whole path|close its quotation"):
        Command(DeviceRecord("farm", address))


@pytest.mark.slow
def test_a_program_on_the_path_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, acting: Target) -> None:
    program = tmp_path / "time-it"
    program.write_text("#!/bin/sh\necho 4\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert Command(DeviceRecord("farm", "command:time-it")).run(tmp_path / "m", acting, 1, 5.0).samples_ms == (4.0,)

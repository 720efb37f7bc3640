"""``nas measure`` and ``nas target``: what they print, what they refuse, and their exit statuses."""

from __future__ import annotations

import csv
import gzip
import itertools
import json
from pathlib import Path

import pytest
from commands import run_nas
from test_cli import refused
from test_onnx_file import with_external_data
from tiny_space import TinySpace

from nas.cli.measure import how_to_go_on, make_bench
from nas.errors import RecipeError, TargetError
from nas.formats.export import export_onnx
from nas.progress import NullProgress
from nas.space.architecture import Architecture
from nas.space.layer import total_macs, total_params
from nas.space.plug_ins import plug_in_names
from nas.space.search_space import load_space
from nas.space.tracing import layers_of

pytestmark = pytest.mark.usefixtures("onnx_profile")  # found once, not by each command anew

QUICK = ("--max-rounds", "2", "--within", "1")


@pytest.fixture(name="files", scope="module")
def model_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two models, a file that is none, and one whose weights are said to lie outside its folder."""
    folder = tmp_path_factory.mktemp("models")
    space = TinySpace()
    for name, width in (("a", 4), ("b", 16)):
        module = space.build({"width": width, "depth": 1, "kernel": 3})  # type: ignore[arg-type]
        export_onnx(module, (1, 8, 8), 1, folder / f"{name}.onnx")
    (folder / "garbage.onnx").write_bytes(b"garbage")
    outside = with_external_data(folder / "outside", "../weights.bin")
    return [folder / "a.onnx", folder / "b.onnx", folder / "garbage.onnx", outside]


def test_good_files_have_numbers_and_bad_ones_reasons(files: list[Path]) -> None:
    """In 80 columns, without escape codes, and with status 1 for what failed."""
    done = run_nas("measure", *files, *QUICK, COLUMNS="80")
    assert done.returncode == 1, done.stderr
    assert "\x1b" not in done.stdout
    text = done.stdout[done.stdout.index(f"{files[0]}\n") :]
    parts = [text[text.index(f"{path}\n") :] for path in files]
    good, other, garbage = (before.removesuffix(after) for before, after in itertools.pairwise(parts))
    for part in (good, other):
        for words in (" ms  (95 %: ", "throughput", "per second", "drift", "executed", "fp32 on onnxruntime"):
            assert words in part
    assert "garbage.onnx is not" in " ".join(garbage.split())
    assert "must lie in its own folder" in " ".join(parts[-1].split())
    assert "failed" not in good + other
    assert all(len(line) <= 80 for line in text.splitlines() if line.startswith(" "))


def test_json_is_all_that_stands_on_standard_output(files: list[Path]) -> None:
    """Progress goes to standard error; status 0 says that all were measured."""
    done = run_nas("measure", files[0], *QUICK, "--metric", "latency_ms", "--metric", "peak_memory_mib", "--json")
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)
    assert found["path"] == str(files[0])
    assert set(found["measured"]) == {"latency_ms", "peak_memory_mib"}
    assert found["throughput_per_s"] == pytest.approx(1000 / found["measured"]["latency_ms"]["median"])
    assert 0 < found["share_of_peak"] <= found["share_of_roofline"]
    assert "measuring models" in done.stderr


@pytest.mark.slow
def test_a_published_space_is_measured_into_a_table(tmp_path: Path) -> None:
    """Six edges as numbers of operations, counts that belong to them, and a latency within its interval."""
    out = tmp_path / "table.csv.gz"
    done = run_nas("measure", "--space", "nasbench201", "--count", "2", "--out", out, "--input-shape", "1x8x8",
                   "--option", "channels=4", "--option", "cells=1", *QUICK, "--json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"table": str(out), "measured": 2, "failed": 0}
    lines = list(csv.DictReader(gzip.decompress(out.read_bytes()).decode().splitlines()))
    space = load_space("nasbench201", {"channels": 4, "cells": 1}, input_shape=(1, 8, 8), classes=10)
    assert len(lines) == 2
    for line in lines:
        values = {choice.name: choice.options[int(line[choice.name])] for choice in space.choices}
        assert Architecture(values).id == line["id"]
        layers = layers_of(space, Architecture(values), (1, 8, 8), 10)
        assert (int(line["params"]), float(line["mflops"])) == (total_params(layers), total_macs(layers) / 1e6)
        device = "onnxruntime-cpu_fp32_batch1_threads1"
        low, value, high = (float(line[f"{part}latency_ms_{device}"]) for part in ("lower_", "", "upper_"))
        assert 0 < low <= value <= high


SPACE = ("--space", "nasbench201")
BAD_REQUESTS = {
    "neither": ((), "takes either ONNX files or --space NAME"),
    "both": (("a.onnx", *SPACE, "--out", "t.csv.gz"), "takes either ONNX files or --space NAME"),
    "counted metric": (("a.onnx", "--metric", "params"), "params is counted. Known: latency_ms, "),
    "modelled metric": (("a.onnx", "--metric", "modelled_energy_mj"), "modelled_energy_mj is modelled"),
    "unknown metric": (("a.onnx", "--metric", "latency"), "Did you mean 'latency_ms'?"),
    "torch runtime": (("a.onnx", "--target", "torch-cpu"), "name onnxruntime-cpu or openvino-cpu, or measure a search"),
    "no table": (SPACE, "name its file with --out table.csv.gz"),
    "table's name": ((*SPACE, "--out", "t.csv"), "to a file named like table.csv.gz, but got 't.csv'"),
    "shape": ((*SPACE, "--out", "t.csv.gz", "--input-shape", "32"), "such as 3x32x32, but got '32'"),
    "option": ((*SPACE, "--out", "t.csv.gz", "--option", "cells"), "--option takes KEY=VALUE, such as channels=8"),
    "space's option": ((*SPACE, "--out", "t.csv.gz", "--option", "cell=1"), "Did you mean 'cells'?"),
    "count": ((*SPACE, "--out", "t.csv.gz", "--count", "15626"), "but it has 15625 and 15626 were asked for"),
    "target": (("a.onnx", "--target", "onnxruntime-gpu"), "Did you mean 'onnxruntime-cpu'?"),
}


@pytest.mark.parametrize("what", BAD_REQUESTS)
def test_a_wrong_request_is_one_message(
    what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says the rule, the value and what to do, and nothing is written."""
    arguments, message = BAD_REQUESTS[what]
    monkeypatch.chdir(tmp_path)
    text = refused(capsys, monkeypatch, "measure", *arguments)
    assert message in text
    assert len(text.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_targets_are_listed_once_each_with_precisions_or_a_reason(capsys: pytest.CaptureFixture[str]) -> None:
    """The meters of processor and GPU too."""
    from nas.cli.measure import list_targets

    list_targets()
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if not line.startswith(" ")]
    names = [line[0] for line in lines]
    for name in plug_in_names("nas.runtimes"):
        assert names.count(name) == 1
        (told,) = [line[1] for line in lines if line[0] == name]
        assert told.startswith(("fp32", "not here: "))
    assert dict(lines)["onnxruntime-cpu"].strip() == "fp32, int8, int8-dynamic"
    assert names.count("energy,") == 2


def test_a_runtime_that_cannot_be_had_says_why(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not as a bare no, but with what to do."""
    from nas.cli.measure import list_targets

    monkeypatch.setattr("nas.space.plug_ins.plug_in_names", lambda group: ["own_runtime:Elsewhere"])
    list_targets()
    assert "own_runtime:Elsewhere  not here: it needs a board; attach one." in capsys.readouterr().out


def test_a_target_is_shown_with_hardware_speed_and_peaks(capsys: pytest.CaptureFixture[str]) -> None:
    """For people, and as JSON."""
    from nas.cli.measure import show_target

    show_target("onnxruntime-cpu")
    text = capsys.readouterr().out
    for words in ("processor", "runtime", "onnxruntime 1.", "memory", "reference speed", " ms, recorded 20",
                  "G multiply-accumulates per second", "GB/s", "fingerprint"):  # fmt: skip
        assert words in text
    show_target("onnxruntime-cpu", as_json=True)
    shown = json.loads(capsys.readouterr().out)
    assert shown["target"] == "onnxruntime-cpu:fp32:batch=1:threads=1"
    assert min(shown["reference_ms"], shown["peak_macs_per_s"], shown["bandwidth_bytes_per_s"]) > 0


def test_only_what_has_an_environment_is_installed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime is here already."""
    text = refused(capsys, monkeypatch, "target", "install", "onnxruntime-cpu")
    assert "is for runtimes with an environment of their own, but onnxruntime-cpu has none" in text


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
def test_a_meters_command_is_split_as_its_system_does(
    monkeypatch: pytest.MonkeyPatch, platform: str, command: str, arguments: list[str]
) -> None:
    """A backslash is part of a path on Windows."""
    monkeypatch.setattr("nas.cli.measure.sys.platform", platform)
    assert make_bench("onnxruntime-cpu", 0.01, 5, command, NullProgress())._meter["command"] == arguments


def test_a_meters_command_that_is_none_is_refused() -> None:
    """Before anything is measured: an open quotation, and a program that does not exist."""
    with pytest.raises(RecipeError, match=r"--meter-command is a program and its arguments, but got .*No closing quot"):
        make_bench("onnxruntime-cpu", 0.01, 5, "bob's-meter", NullProgress())
    with pytest.raises(TargetError, match="must be a program that can be started, but there is no 'no-such-meter'"):
        make_bench("onnxruntime-cpu", 0.01, 5, "no-such-meter --joules", NullProgress()).check_meter()


def test_an_interruption_says_what_goes_on() -> None:
    """What was measured is not looked for where that is forbidden."""
    assert how_to_go_on(False) == "The same command goes on from there."
    assert how_to_go_on(True) == "The same command without --fresh-measurements goes on from there."

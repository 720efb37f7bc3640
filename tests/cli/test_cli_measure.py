"""``nas measure``: what it prints and refuses, and its exit status."""

from __future__ import annotations

import csv
import gzip
import itertools
import json
from pathlib import Path

import pytest
from commands import run_nas
from in_process import refused
from onnx_models import with_external_data
from tiny_space import TinySpace

from nas.formats.export import export_onnx
from nas.space.architecture import Architecture
from nas.space.layer import total_macs, total_params
from nas.space.search_space import enumerate_space, load_space
from nas.space.signature import image_inputs, image_signature
from nas.space.tracing import layers_of
from nas.tables.measured_table import TOGETHER

pytestmark = pytest.mark.usefixtures("onnx_profile")  # found once, not by each command anew

QUICK = ("--max-rounds", "2", "--within", "1")


@pytest.fixture(name="files", scope="module")
def model_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two models, a file that is no model, and a model whose weights lie outside its folder."""
    folder = tmp_path_factory.mktemp("models")
    space = TinySpace()
    for name, width in (("a", 4), ("b", 16)):
        module = space.build({"width": width, "depth": 1, "kernel": 3})  # type: ignore[arg-type]
        export_onnx(module, image_inputs((1, 8, 8)), 1, folder / f"{name}.onnx")
    (folder / "garbage.onnx").write_bytes(b"garbage")
    outside = with_external_data(folder / "outside", "../weights.bin")
    return [folder / "a.onnx", folder / "b.onnx", folder / "garbage.onnx", outside]


@pytest.mark.slow
def test_good_files_have_numbers_and_bad_ones_reasons(files: list[Path]) -> None:
    """The output fits 80 columns without escape codes, and the exit status is 1 because files failed."""
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


@pytest.mark.slow
def test_json_is_all_that_stands_on_standard_output(files: list[Path]) -> None:
    """Progress goes to standard error, and the exit status is 0 because every file was measured."""
    done = run_nas("measure", files[0], *QUICK, "--metric", "latency_ms", "--metric", "peak_memory_mib", "--json")
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)
    assert found["path"] == str(files[0])
    assert set(found["measured"]) == {"latency_ms", "peak_memory_mib"}
    assert found["throughput_per_s"] == pytest.approx(1000 / found["measured"]["latency_ms"]["median"])
    assert 0 < found["share_of_peak"] <= found["share_of_roofline"]
    assert "sessions of measuring 1 model: 2 of 2 done" in done.stderr


@pytest.mark.slow
def test_a_published_space_is_measured_into_a_table(tmp_path: Path) -> None:
    """Each row holds the choices, matching counts, and a latency within its interval."""
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
        layers = layers_of(space, Architecture(values), image_signature((1, 8, 8), 10))
        assert (int(line["params"]), float(line["mflops"])) == (total_params(layers), total_macs(layers) / 1e6)
        device = "onnxruntime-cpu_fp32_batch1_threads1"
        low, value, high = (float(line[f"{part}latency_ms_{device}"]) for part in ("lower_", "", "upper_"))
        assert 0 < low <= value <= high


SPACE = ("--space", "nasbench201")
MANY = itertools.islice(enumerate_space(load_space("nasbench201", {}, input_shape=(3, 8, 8), classes=10)), TOGETHER + 1)
BAD_REQUESTS = {
    "neither": ((), "takes ONNX files, --space NAME or --run RUN"),
    "both": (("a.onnx", *SPACE, "--out", "t.csv.gz"), "takes ONNX files, --space NAME or --run RUN"),
    "counted metric": (("a.onnx", "--metric", "params"), "params is counted. Known: latency_ms, "),
    "modelled metric": (("a.onnx", "--metric", "modelled_energy_mj"), "modelled_energy_mj is modelled"),
    "unknown metric": (("a.onnx", "--metric", "latency"), "Did you mean 'latency_ms'?"),
    "torch runtime": (("a.onnx", "--target", "torch-cpu"), "choose onnxruntime-cpu, or measure a search space"),
    "no table": (SPACE, "name its file with --out table.csv.gz"),
    "table's name": ((*SPACE, "--out", "t.csv"), "to a file named like table.csv.gz, but got 't.csv'"),
    "shape": (
        (*SPACE, "--out", "t.csv.gz", "--input-shape", "32"),
        "search space nasbench201 takes images, float32 of shape (channels, height, width)",
    ),
    "compare": ((*SPACE, "--out", "t.csv.gz", "--compare"), "--compare is for models that are named, not for random"),
    "too many to compare": (
        (*SPACE, *(f"--architectures={json.dumps(dict(each))}" for each in MANY), "--compare"),
        "at most 40 architectures are measured in the same sessions and compared, but got 41",
    ),
    "option": ((*SPACE, "--out", "t.csv.gz", "--option", "cells"), "--option takes KEY=VALUE, such as channels=8"),
    "space's option": ((*SPACE, "--out", "t.csv.gz", "--option", "cell=1"), "Did you mean 'cells'?"),
    "count": ((*SPACE, "--out", "t.csv.gz", "--count", "15626"), "but it has 15625 and 15626 were asked for"),
    "target": (("a.onnx", "--target", "onnxruntime-gpu"), "Did you mean 'onnxruntime-cpu'?"),
}


@pytest.mark.parametrize("what", BAD_REQUESTS)
def test_a_wrong_request_is_one_message(
    what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message says the rule, the value and what to do, and nothing is written."""
    arguments, message = BAD_REQUESTS[what]
    monkeypatch.chdir(tmp_path)
    text = refused(capsys, monkeypatch, "measure", *arguments)
    assert message in text
    assert len(text.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []

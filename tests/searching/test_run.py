"""Whole runs in this process, with a bench and a clock of which every reading is known."""

from __future__ import annotations

import itertools
import json
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from commands import assert_nothing_twice, evaluations_of, rows_of
from fake_bench import DEVICE_S, VALUES, FakeBench, FakeClock, latency_ms
from fault_spaces import Faulty
from safetensors.torch import load_file
from torch import nn

import nas
from nas.errors import CandidateError, JournalError, LimitError, RecipeError, TargetError
from nas.formats.onnx_session import outputs_of
from nas.hardware.bench import Outcome
from nas.hardware.runtimes.runtime import Deployed
from nas.recipe.recipe import read_recipe
from nas.reports.report import headline
from nas.results.front import Front
from nas.results.record import read_record
from nas.searching.run import Instruments, gpu_share
from nas.space.architecture import Architecture, Choice
from nas.space.search_space import SearchSpace, enumerate_space
from nas.storage.journal import read_rows
from nas.tasks.dataset import DataSet, Split
from nas.training.training import normalised_images
from nas.values.metric import METRICS
from nas.values.objective import Limit
from nas.values.pareto import non_dominated

BASE: Mapping[str, Any] = {
    "name": "run",
    "data": "digits",
    "trials": 6,
    "rounds": 2,
    "measuring": {"initial": 6, "per_round": 2},
    "training": {"epochs": 2, "subset": 0.2},
    "retraining": {"epochs": 1, "winners": 2},
    "execution": {"executor": "inline"},
}


class Diary:
    """A progress that keeps what it is told; ``stages`` are the names of those that began."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.news: list[str] = []

    def stage(self, name: str, total: int | None = None, most_s: float | None = None) -> None:
        self.stages.append(name)

    def advance(self, best: str | None = None) -> None:
        """Not kept."""

    def say(self, text: str) -> None:
        self.news.append(text)

    def close(self) -> None:
        """Not kept."""


class OneChoice:
    """Six networks of one layer, which is the whole space."""

    choices = (Choice("width", (2, 3, 4, 5, 6, 8)),)

    def build(self, architecture: Architecture) -> nn.Module:
        width = int(architecture["width"])
        return nn.Sequential(nn.Conv2d(1, width, 3, stride=2, padding=1), nn.Flatten(), nn.Linear(16 * width, 10))


@pytest.fixture(autouse=True)
def quick_export(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models of the search are not exported: the bench here does not open them. Winners are."""
    monkeypatch.setattr(
        "nas.hardware.measuring.export_model", lambda module, shape, batch, path, form: path.write_bytes(b"model")
    )


def search(runs: Path, space: SearchSpace | None = None, data: DataSet | None = None, **changes: Any) -> Front:
    """A run named ``run`` in ``runs`` with another bench and clock each time."""
    progress = changes.pop("progress", None)
    space = Faulty() if space is None else space
    instruments = Instruments(bench=FakeBench(space), clock=FakeClock(), stopwatch=FakeClock())
    return nas.search(
        {**BASE, **changes}, space=space, data=data, runs=runs, progress=progress, instruments=instruments
    )


def resume(run: Path, space: SearchSpace | None = None) -> Front:
    space = Faulty() if space is None else space
    return nas.resume(
        run, space=space, instruments=Instruments(bench=FakeBench(space), clock=FakeClock(), stopwatch=FakeClock())
    )


def trained(run: Path) -> list[Architecture]:
    return [row.architecture for row in evaluations_of(run, "train")]


# The same again


@pytest.mark.parametrize("sampler", ["gp", "tpe", "nsga2", "nsga3", "local", "random"])
def test_a_recipe_and_a_seed_decide_every_row(tmp_path: Path, sampler: str) -> None:
    """Two runs give the same journal, all columns of all rows, their times included; another seed gives another."""
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        search(tmp_path / folder, seed=seed, sampler=sampler, retraining={"epochs": 1, "winners": 1})
    first, second, other = (rows_of(tmp_path / folder / "run") for folder in ("a", "b", "c"))
    assert first == second
    assert trained(tmp_path / "a" / "run") != trained(tmp_path / "c" / "run")
    assert [row[1] for row in first] == sorted(row[1] for row in first)
    assert len(first) != len(other) or first != other


def test_resuming_a_finished_run_repeats_nothing(tmp_path: Path) -> None:
    """The journal stays as it was, and the front is the same."""
    front = search(tmp_path)
    before = rows_of(tmp_path / "run")
    again = resume(tmp_path / "run")
    assert rows_of(tmp_path / "run") == before
    assert again.to_json() == front.to_json()


def test_what_is_stopped_early_is_no_candidate_and_is_not_trained_again(tmp_path: Path) -> None:
    """Its row has the epochs that it reached; an interrupted run stops the same ones as a run that was let alone."""
    changes = {
        "objectives": ["error", "macs"],
        "sampler": "random",
        "trials": 18,
        "training": {"epochs": 6, "subset": 0.3},
        "early_stopping": {"check": 3, "least_correlation": -1, "margin": 0, "min_peers": 2, "neighbours": 6},
    }

    class Stopping(Diary):
        def stage(self, name: str, total: int | None = None, most_s: float | None = None) -> None:
            super().stage(name, total)
            if name == "round 2/2: training":
                raise KeyboardInterrupt

    search(tmp_path / "a", **changes)
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path / "b", progress=Stopping(), **changes)
    resume(tmp_path / "b" / "run")
    rows, again = (evaluations_of(tmp_path / folder / "run", "train") for folder in "ab")
    assert [(r.architecture, r.values, r.details["epochs"]) for r in again] == [
        (r.architecture, r.values, r.details["epochs"]) for r in rows
    ]
    stopped = {row.architecture for row in rows if row.details["stopped_early"]}
    assert len(rows) == len({row.architecture for row in rows}) == 18
    assert 1 <= len(stopped) <= 15
    for row in rows:
        assert len(row.details["curve"]) == row.details["epochs"]
        assert row.reached_full_fidelity == (row.details["epochs"] == 6) == (row.architecture not in stopped)
    assert not stopped & {row.architecture for row in evaluations_of(tmp_path / "a" / "run", "winner")}
    assert stopped & {row.architecture for row in rows[: len(rows) // 2]}, "some were stopped before the interruption"


def test_a_changed_recipe_is_refused_on_resume(tmp_path: Path) -> None:
    """With what was changed, and nothing is done; where trainings run may change."""
    search(tmp_path)
    run = tmp_path / "run"
    text = (run / "recipe.toml").read_text()
    before = rows_of(run)
    (run / "recipe.toml").write_text(text.replace("seed = 0", "seed = 1").replace('sampler = "gp"', 'sampler = "tpe"'))
    with pytest.raises(JournalError, match=r"seed was 0 and is 1 now, sampler was \"gp\" and is \"tpe\" now\. Bring"):
        resume(run)
    assert rows_of(run) == before
    (run / "recipe.toml").write_text(text.replace("workers = 0", "workers = 1"))
    resume(run)
    assert rows_of(run) == before


@pytest.mark.parametrize("stop_before", ["round 2/2: training", "retraining winners", "exporting winners"])
def test_a_run_stopped_between_stages_goes_on_from_its_rows(tmp_path: Path, stop_before: str) -> None:
    """What was done before stays as it is, nothing is done twice, and the budget is exact."""

    class Stopping(Diary):
        def stage(self, name: str, total: int | None = None, most_s: float | None = None) -> None:
            if name == stop_before:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as stopped:
        search(tmp_path, progress=Stopping())
    run = tmp_path / "run"
    assert stopped.value.__notes__ == [f"Go on with: nas.resume('{run}', space=…), with the space that it began with"]
    before = rows_of(run)
    front = resume(run)
    assert rows_of(run)[: len(before)] == before
    assert len(trained(run)) == BASE["trials"]
    assert len(front) >= 1
    assert_nothing_twice(run)


def test_after_its_time_a_search_trains_no_more(tmp_path: Path) -> None:
    """Each round ends with its share, what was trained has winners, and a resumed run has no second helping."""
    diary = Diary()
    front = search(tmp_path, search_time_s=0.2, trials=200, progress=diary)  # of a clock that ticks when it is read
    run = tmp_path / "run"
    assert 2 <= len(trained(run)) < 30
    by_round = Counter(row.round for row in evaluations_of(run, "train"))
    assert set(by_round) == {1, 2}
    assert sum("its share of the search's 0.2 s is over" in news for news in diary.news) == 2
    assert len(front) >= 1
    before = rows_of(run)
    resume(run)
    assert rows_of(run) == before


def test_however_short_its_time_a_search_trains_something(tmp_path: Path) -> None:
    """Or it would have no front."""
    assert len(search(tmp_path, search_time_s=0.001, trials=200)) == 1
    assert len(trained(tmp_path / "run")) == 1


# Objectives and limits


@pytest.mark.parametrize(
    "objectives",
    [
        ["error"],
        ["macs"],
        ["error", "params"],
        ["error", "peak_memory_mib"],
        ["error", "latency_ms", "model_bytes"],
        ["latency_ms", "error", "modelled_energy_mj", "macs"],
    ],
    ids="+".join,
)
def test_any_one_to_four_metrics_are_minimised(tmp_path: Path, objectives: list[str]) -> None:
    """The budget is exact, and the winners that are on the front are those that no other winner beats."""
    front = search(tmp_path, objectives=objectives)
    run = tmp_path / "run"
    assert len(trained(run)) == BASE["trials"]
    assert_nothing_twice(run)
    assert len(front) >= 1
    losses_NM = np.array([[winner.value(name) for name in objectives] for winner in front])
    assert list(front.on_front) == non_dominated(losses_NM).tolist()
    measured = {name for name in objectives if METRICS[name].source == "measured"}
    first = [row for row in evaluations_of(run, "measure") if row.round == 0]
    assert len(first) == (6 if measured else 0)
    assert all(set(row.measurements) == measured for row in first)


def middle_of_the_space(metric: str) -> float:
    values = [VALUES[metric](architecture) for architecture in enumerate_space(Faulty())]
    return float(np.median(values))


@pytest.mark.parametrize(
    "limit",
    [
        f"latency_ms <= {middle_of_the_space('latency_ms')}",
        f"peak_memory_mib <= {middle_of_the_space('peak_memory_mib')}",
        f"model_bytes <= {middle_of_the_space('model_bytes')}",
        "params <= 1k",
        "macs <= 3kMACs",
        "modelled_energy_mj <= 0.002mJ",
        "error <= 99%",
    ],
)
def test_winners_hold_a_limit_on_any_metric(tmp_path: Path, limit: str) -> None:
    """Every winner is within a limit that half of the space exceeds, or is shown as one that is not."""
    front = search(tmp_path, limits=[limit], objectives=["error", "params"], trials=6)
    parsed = Limit.parse(limit)
    assert len(trained(tmp_path / "run")) == 6
    assert len(front) >= 1
    for winner in front:
        assert winner.has(parsed.metric.name)
        assert winner.broken([parsed]) == ([] if parsed.holds(winner.upper(parsed.metric.name)) else [parsed])
    assert any(winner.meets([parsed]) for winner in front)
    shown = front.to_json()["winners"]
    assert [entry["meets_limits"] for entry in shown] == [winner.meets([parsed]) for winner in front]
    if parsed.metric.name in VALUES:
        assert all(VALUES[parsed.metric.name](winner.architecture) <= parsed.value * 1.001 for winner in front)


def test_a_limit_on_the_error_that_nothing_meets_is_shown_as_broken(tmp_path: Path) -> None:
    """An error is known only after training, so what was found is retrained all the same, and marked."""
    front = search(tmp_path, objectives=["latency_ms"], limits=["error <= 1%"])
    assert len(trained(tmp_path / "run")) == BASE["trials"]
    assert len(front) >= 1
    assert not any(winner.meets(front.limits) for winner in front)
    assert front.best is None


def test_an_unreachable_limit_ends_a_run_before_any_training(tmp_path: Path) -> None:
    """The message says the lowest value that was measured, and of which architecture."""
    with pytest.raises(LimitError) as refused:
        search(tmp_path, limits=["latency_ms <= 0.1ms"])
    run = tmp_path / "run"
    rows = [row for row in evaluations_of(run, "measure") if not row.failed]
    lowest = min(rows, key=lambda row: row.measurements["latency_ms"].median)
    assert trained(run) == []
    text = str(refused.value)
    assert f"the lowest measured value is {lowest.measurements['latency_ms'].median:.4g} ms" in text
    assert lowest.architecture.id in text
    assert latency_ms(lowest.architecture) == min(map(latency_ms, enumerate_space(Faulty())))


@pytest.mark.parametrize(
    ("limit", "found"),
    [("params <= 100", "counted"), ("modelled_energy_mj <= 1nJ", "modelled"), ("model_bytes <= 10B", "measured")],
)
def test_an_unreachable_limit_names_where_the_lowest_value_comes_from(tmp_path: Path, limit: str, found: str) -> None:
    """A counted, modelled or measured value is called that."""
    with pytest.raises(LimitError, match=f"nothing that was found in the space meets .*: the lowest {found} value is"):
        search(tmp_path, limits=[limit])
    assert trained(tmp_path / "run") == []


def test_limits_that_can_be_met_only_one_at_a_time_end_a_run_before_any_training(tmp_path: Path) -> None:
    """Each of the two is met by something, and both by nothing, which the message says."""

    class Contrary(OneChoice):
        """Wide is slow and narrow has many parameters."""

        def build(self, architecture: Architecture) -> nn.Module:
            hidden = 2 ** (10 - int(architecture["width"]))
            return nn.Sequential(nn.Flatten(), nn.Linear(64, hidden), nn.Linear(hidden, 10))

    with pytest.raises(LimitError, match=r"meets all of params <= 2000, latency_ms <= 0\.85 together"):
        search(tmp_path, Contrary(), limits=["params <= 2k", "latency_ms <= 0.85"])
    assert trained(tmp_path / "run") == []


# Small spaces


def test_a_space_smaller_than_the_budget_is_trained_once_and_says_so(tmp_path: Path) -> None:
    """Six architectures are trained once each, the rest of the budget is not spent, and that is told."""
    diary = Diary()
    front = search(tmp_path, OneChoice(), trials=20, early_stopping={"enabled": False}, progress=diary)
    assert sorted(int(a["width"]) for a in trained(tmp_path / "run")) == [2, 3, 4, 5, 6, 8]
    assert_nothing_twice(tmp_path / "run")
    assert len(front) >= 1
    assert any("no further architecture was found that is new" in text for text in diary.news)


def test_a_space_without_numbers_to_learn_from_says_that_it_is_too_small(tmp_path: Path) -> None:
    """A predictor needs five measured architectures; a space of three has not got them."""

    class Three(OneChoice):
        choices = (Choice("width", (2, 3, 4)),)

    with pytest.raises(nas.errors.TargetError, match=r"at least 5 measured.*there are 3\. The space may be too small"):
        search(tmp_path, Three())
    assert len(search(tmp_path / "b", Three(), objectives=["error", "macs"], trials=6)) >= 1


# What may be looked at, and when


class TellTale(nn.Module):
    """Notes, for training and evaluation mode, by their first pixels from which splits images come."""

    seen: set[tuple[str, bool, float]] = set()  # noqa: RUF012 (shared on purpose)
    stage = ""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.device.type == "cpu" and not torch.compiler.is_compiling() and type(x) is torch.Tensor:
            marks = x[:, 0, 0, 0].detach().unique().tolist()
            self.seen.update((self.stage, self.training, round(mark, 4)) for mark in marks)
        return x


class Watched(OneChoice):
    def build(self, architecture: Architecture) -> nn.Module:
        return nn.Sequential(TellTale(), super().build(architecture))


class WatchedSplit(Split):
    """Images that must not be read before they are unsealed."""

    sealed = False

    def __getattribute__(self, name: str) -> Any:
        if name == "images" and WatchedSplit.sealed:
            raise AssertionError("the test images were read before the winners were tested")
        return super().__getattribute__(name)


@pytest.fixture(name="marked")
def marked_data(digits: DataSet) -> Iterator[DataSet]:
    """Digits whose first pixel tells their split: 50, 100 and 150."""

    def mark(split: Split, value: int) -> npt.NDArray[np.uint8]:
        images = split.images.copy()
        images[:, :, 0, 0] = value
        return images

    data = DataSet(
        "marked",
        Split(mark(digits.train, 50), digits.train.labels),
        Split(mark(digits.validation, 100), digits.validation.labels),
        WatchedSplit(mark(digits.test, 150), digits.test.labels),
        digits.classes,
    )
    assert data.fingerprint  # reads all images, which the record of a run does before it begins
    TellTale.seen, TellTale.stage = set(), ""
    WatchedSplit.sealed = True
    yield data
    WatchedSplit.sealed = False


def test_validation_images_are_trained_on_only_at_the_end_and_test_images_only_tested(
    tmp_path: Path, marked: DataSet
) -> None:
    """The search trains on training images and evaluates on validation images; the test split comes last, once."""

    class Stages(Diary):
        def stage(self, name: str, total: int | None = None, most_s: float | None = None) -> None:
            super().stage(name, total)
            TellTale.stage = name.rpartition(": ")[2]
            if name == "testing winners":
                WatchedSplit.sealed = False

    diary = Stages()
    search(tmp_path, Watched(), marked, training={"epochs": 1, "augment": False}, progress=diary)
    mean, std = float(marked.mean[0]), float(marked.std[0])
    train, validation, test = (round((value / 255 - mean) / std, 4) for value in (50, 100, 150))

    def seen(stage: str, training: bool) -> set[float]:
        return {mark for at, mode, mark in TellTale.seen if (at, mode) == (stage, training)}

    assert seen("training", True) == {train}
    assert seen("training", False) - {0.0} == {validation}
    assert {train, validation} == seen("retraining winners", True)
    assert test not in {mark for _, _, mark in TellTale.seen}
    assert diary.stages.count("testing winners") == 1


# The run folder


@pytest.fixture(name="finished", scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that several tests look at."""
    runs = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "nas.hardware.measuring.export_model", lambda module, shape, batch, path, form: path.write_bytes(b"model")
        )
        search(runs, target="onnxruntime-cpu:batch=4")
    return runs / "run"


def test_a_run_folder_is_complete_and_holds_no_pickle(finished: Path) -> None:
    """Recipe, journal, report and for each winner five files; nothing else, and nothing that runs code when read."""
    winners = [row.architecture.id for row in evaluations_of(finished, "winner")]
    assert winners
    bundle = ("architecture.json", "measurement.json", "model.onnx", "model.safetensors", "predict.py")
    expected = {"recipe.toml", "journal.db", "report.html", ".writer"}
    expected |= {f"winners/{winner}/{name}" for winner in winners for name in bundle}
    files = {str(path.relative_to(finished)) for path in finished.rglob("*") if path.is_file()}
    assert files - {"journal.db-wal", "journal.db-shm"} == expected
    for path in finished.rglob("*"):
        if path.is_file():
            start = path.read_bytes()[:4]
            assert not start.startswith((b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK")), path


def test_the_recipe_in_a_run_folder_is_the_resolved_one(finished: Path) -> None:
    """It has every default written out and reads back as it was."""
    recipe = read_recipe(finished / "recipe.toml")
    assert recipe.to_toml() == (finished / "recipe.toml").read_text()
    assert recipe.trials == 6
    assert recipe.target == "onnxruntime-cpu:fp32:batch=4:threads=1"
    assert recipe.training.learning_rate == 5e-3
    with pytest.raises(RecipeError, match="made with a space object; pass it again as space="):
        nas.resume(finished)


def test_the_journal_is_kept_with_a_write_ahead_log(finished: Path) -> None:
    """Readers do not disturb the writer."""
    connection = sqlite3.connect(finished / "journal.db")
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_a_bundle_holds_the_very_model_that_was_trained_and_measured(finished: Path, digits: DataSet) -> None:
    """Its weights load into what the space builds, whose outputs are those of the ONNX file."""
    for row in evaluations_of(finished, "winner"):
        folder = finished / str(row.details["folder"])
        module = Faulty().build(row.architecture)
        module.load_state_dict(load_file(folder / "model.safetensors"))
        module.eval()
        images = normalised_images(digits.validation.images, digits)
        with torch.inference_mode():
            expected = module(torch.from_numpy(images)).numpy()
        np.testing.assert_allclose(outputs_of(folder / "model.onnx", images), expected, rtol=1e-3, atol=1e-4)
        about = json.loads((folder / "architecture.json").read_text())
        assert about["id"] == row.architecture.id == folder.name
        assert about["choices"] == dict(row.architecture)
        assert about["test_error"] == row.details["test_error"]
        assert set(json.loads((folder / "measurement.json").read_text())) == set(row.measurements)


ALONE = """
import importlib.abc, runpy, sys

class Nothing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in sys.stdlib_module_names and top not in ("numpy", "onnxruntime", "flatbuffers", "google"):
            raise ModuleNotFoundError(f"{name} must not be needed", name=name)

sys.meta_path.insert(0, Nothing())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
assert not {"torch", "nas"} & set(sys.modules)
"""


def test_predict_needs_only_numpy_and_onnxruntime_and_agrees_with_the_test_error(
    tmp_path: Path, finished: Path, digits: DataSet
) -> None:
    """The file in the bundle classifies saved images, and is wrong as often as the journal says."""
    np.save(tmp_path / "images.npy", digits.test.images)
    row = evaluations_of(finished, "winner")[0]
    done = subprocess.run(
        [
            *(sys.executable, "-I", "-c", ALONE),
            *(finished / str(row.details["folder"]) / "predict.py", tmp_path / "images.npy"),
        ],
        cwd=tmp_path,
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    classes = [line.split("\t")[0] for line in done.stdout.splitlines()]
    wrong = sum(name != digits.classes[label] for name, label in zip(classes, digits.test.labels, strict=True))
    assert wrong / len(digits.test) == pytest.approx(row.details["test_error"])


@pytest.mark.parametrize(("seed", "what"), [(0, "this recipe's run"), (1, "a run of another recipe")])
def test_a_folder_that_holds_a_run_is_not_written_over(finished: Path, seed: int, what: str) -> None:
    """Whether it is the same recipe's or another's, the message says which and what to do."""
    before = rows_of(finished)
    with pytest.raises(JournalError) as refused:
        search(finished.parent, target="onnxruntime-cpu:batch=4", seed=seed)
    assert what in str(refused.value)
    assert f"--resume {finished}" in str(refused.value)
    assert "choose another --name" in str(refused.value)
    assert rows_of(finished) == before


@pytest.mark.parametrize(
    ("gpus", "workers", "share"), [(0, 4, 0.0), (2, 2, 1.0), (4, 2, 1.0), (1, 2, 0.5), (2, 3, 0.5), (2, 5, 1 / 3)]
)
def test_workers_share_what_gpus_there_are(gpus: int, workers: int, share: float) -> None:
    """All of them run at once, each on one GPU or a fraction of one: Ray takes no one and a half."""
    assert gpu_share(gpus, workers) == share
    if share:
        assert gpus * int(1 / share + 1e-9) >= workers


def test_who_stops_listening_ends_a_run_like_ctrl_c(tmp_path: Path) -> None:
    """With how to go on, its report, and the account of what it cost; not as if the disk were full."""

    class Deaf(Diary):
        def stage(self, name: str, total: int | None = None, most_s: float | None = None) -> None:
            super().stage(name, total, most_s)
            if name.startswith("round 2"):
                raise BrokenPipeError

        def close(self) -> None:
            if self.stages[-1].startswith("round 2"):
                raise BrokenPipeError

    with pytest.raises(BrokenPipeError) as ended:
        search(tmp_path, progress=Deaf())
    run = tmp_path / "run"
    assert [note.split(":")[0] for note in ended.value.__notes__] == ["Go on with"]
    assert (run / "report.html").is_file()
    assert read_rows(run, "cost")


def test_what_a_search_cost_is_kept_and_told(tmp_path: Path) -> None:
    """In rows that add up to the device's time; the report says the times, and why there is no energy."""
    run = tmp_path / "run"
    search(tmp_path, energy={"meter": "none"})
    costs = read_rows(run, "cost")
    measurements = [row for stage in ("measure", "winner") for row in evaluations_of(run, stage) if row.measurements]
    assert len(costs) >= 2
    assert sum(cost["device_s"] for cost in costs) == pytest.approx(DEVICE_S * len(measurements))
    assert all(cost["wall_s"] > 0 and cost["joules"] is None for cost in costs)
    parts = [cost["of"] for cost in costs]
    assert parts == ["search"] * parts.count("search") + ["winners"] * parts.count("winners")
    assert set(parts) == {"search", "winners"}
    text = (run / "report.html").read_text()
    for words in ("Cost of the search", "time for winners", "not measured", "the recipe names no meter."):
        assert words in text


@pytest.mark.parametrize(
    "refusal", [CandidateError("energy", "no window was above idle"), TargetError("the meter must update")], ids=str
)
def test_an_energy_that_nobody_asked_for_costs_no_winner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: Exception
) -> None:
    """Where it cannot be measured it is left out, and said so; nothing else that was measured is lost."""

    class Metered(FakeBench):
        def measure(
            self, models: Sequence[Deployed], metrics: Sequence[str], rng: np.random.Generator, *more: Any
        ) -> list[Outcome]:
            if list(metrics) != ["energy_mj"]:
                return super().measure(models, metrics, rng, *more)
            if isinstance(refusal, CandidateError):
                return [*super().measure(models[:1], metrics, rng, *more), *[refusal] * (len(models) - 1)]
            raise refusal

    monkeypatch.setattr("fake_bench.VALUES", {**VALUES, "energy_mj": latency_ms})
    diary = Diary()
    instruments = Instruments(bench=Metered(Faulty()), clock=FakeClock(), stopwatch=FakeClock())
    front = nas.search(BASE, space=Faulty(), runs=tmp_path, progress=diary, instruments=instruments)
    assert len(front) == 2
    assert all({"latency_ms", "weight_bytes"} <= set(winner.measurements) for winner in front)
    metered = sum("energy_mj" in winner.measurements for winner in front)
    assert metered == (1 if isinstance(refusal, CandidateError) else 0)
    assert sum("could not be measured" in text for text in diary.news) == 1


def test_the_report_says_what_ended_a_run(tmp_path: Path) -> None:
    """Nothing in it promises that more will come."""
    with pytest.raises(LimitError) as caught:
        search(tmp_path, limits=["latency_ms <= 1us"])
    record = read_record(tmp_path / "run")
    assert record.ended_by == str(caught.value)
    assert headline(record).startswith("No winners on ")
    assert headline(record).endswith(str(caught.value))


def test_a_kill_costs_the_account_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Time is noted with the rows, not only at the end of a stage."""
    monkeypatch.setattr("nas.searching.run_state.COST_EVERY_S", 0.0)
    search(tmp_path, trials=3, rounds=1)
    connection = sqlite3.connect(tmp_path / "run" / "journal.db")
    kinds = [kind for (kind,) in connection.execute("SELECT kind FROM rows ORDER BY number")]
    connection.close()
    following = [after for kind, after in itertools.pairwise(kinds) if kind == "evaluation" != after]
    assert following == ["cost"] * len(following)


def test_runs_without_a_name_get_a_new_folder_each(tmp_path: Path) -> None:
    """It is made of the data set's and the space's names and a number."""
    for _ in range(2):
        search(tmp_path, name="", trials=1, rounds=1, objectives=["error"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["digits-given", "digits-given-2"]

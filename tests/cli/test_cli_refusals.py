"""Requests that the command refuses, and how it says so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import SHORT, TESTS, UNMEASURED, run_nas
from in_process import refused

from nas.errors import JournalError

pytestmark = pytest.mark.usefixtures("onnx_profile")  # found once, not by each command anew

SPACE = ("--space", "fault_spaces:Faulty")
INLINE = ("--executor", "inline")

BAD_INPUTS = {
    "space": (("--space", "mobilnet"), "unknown search space 'mobilnet'. Did you mean 'mobilenet'?"),
    "space's module": (("--space", "no_such_module:Space"), "module 'no_such_module', which is neither installed nor"),
    "space's class": (("--space", "fault_spaces:Faultyy"), "fault_spaces has no 'Faultyy'. Did you mean 'Faulty'?"),
    "space's option": ((*SPACE, "--set", "space.fault=1"), "has no option 'fault'. Did you mean 'faults'?"),
    "data set": (("--data", "digit"), "unknown data set 'digit'. Did you mean 'digits'?"),
    "target": (("--target", "onnxruntime-gpu"), "'onnxruntime-gpu'. Did you mean 'onnxruntime-cpu'?"),
    "part of a target": (("--target", "onnxruntime-cpu:thread=2"), "has no option 'thread'. Did you mean 'threads'"),
    "precision": (("--target", "onnxruntime-cpu:fp23"), "Did you mean 'fp32'?"),
    "objective": (("--objective", "latency"), "unknown metric 'latency'. Did you mean 'latency_ms'?"),
    "objective twice": (("--objective", "error", "--objective", "error"), "objectives are one to four different"),
    "metric of a limit": (("--limit", "latncy_ms<=2"), "unknown metric 'latncy_ms'. Did you mean 'latency_ms'?"),
    "unit of a limit": (("--limit", "latency_ms<=2mJ"), "the unit of latency_ms is one of ns, us"),
    "lower bound": (("--limit", "latency_ms>=2ms"), "limits are upper bounds written with <=, but got '>='"),
    "limit without a number": (("--limit", "latency_ms<=fast"), "such as 2ms, but got 'fast'"),
    "predictor": (("--set", "predictor=stackd"), "unknown predictor 'stackd'. Did you mean 'stacked'?"),
    "sampler": (("--sampler", "tpee"), "unknown sampler 'tpee'. Did you mean 'tpe'?"),
    "sampler's option": (
        ("--sampler", "nsga2", "--set", "sampler.populatoin=3"),
        "sampler 'nsga2' has no option 'populatoin'. Did you mean 'population'?",
    ),
    "predictor's option": (("--set", "predictor.width=3"), "predictor 'stacked' has no option 'width'."),
    "way of evaluating": (("--evaluate", "supernett"), "unknown value 'supernett'. Did you mean 'supernet'?"),
    "space without shared weights": (
        ("--evaluate", "supernet", "--space", "nasbench201"),
        "'nasbench201' has no method supernet(). Write one, choose another space, or evaluate by \"train\"",
    ),
    "start without shared weights": (
        ("--set", 'retraining.start="supernet"'),
        'evaluate must be "supernet", but got "train"',
    ),
    "executor": (("--executor", "rai"), "unknown value 'rai'. Did you mean 'ray'?"),
    "key": (("--set", "training.epoch=3"), "no key 'training.epoch'. Did you mean 'epochs'?"),
    "table": (("--set", "trainin.epochs=3"), "no key 'trainin'. Did you mean 'training'?"),
    "override without value": (("--set", "trials"), "--set takes key=value"),
    "value out of range": (("--set", "training.epochs=0"), "training.epochs: input should be greater than"),
    "more rounds than trials": (
        ("--trials", "3", "--set", "rounds=4"),
        "rounds must be at most trials (3), but got 4.",
    ),
    "name that is a path": (("--name", "../run"), "name: "),
    "folder of images": (("--data", "folder:no_such_folder"), "no_such_folder"),
    "recipe": (("no_such_recipe.toml",), "a recipe is a TOML file, but no_such_recipe.toml does not exist."),
    "resume": (
        ("--resume", "no_such_run"),
        "no_such_run must be the folder of a run, but it does not exist.",
    ),
    "resume with flags": (("--resume", "run", "--seed", "3"), "other keys of [execution], but got seed=3."),
    "resume with a recipe": (("other.toml", "--resume", "run"), "so it takes no other.toml."),
    "more trials of no run": (("--trials", "+3"), "+3 adds to what a run has, so the run must be named: --resume RUN."),
    "more time of no run": (("--time", "+3min"), "+3min adds to what a run has"),
    "cluster without Ray": ((*INLINE, "--ray-address", "auto"), "ray_address joins a Ray cluster, which executor "),
    "more GPUs than there are": (
        (*SPACE, "--set", "execution.gpus_per_worker=999"),
        "execution.gpus_per_worker must be at most what this machine has, ",
    ),
    "unknown flag": (("--trails", "3"), "--trials"),
    "flag that is no number": (("--trials", "many"), "trials: must be a number, but got 'many'"),
}


@pytest.mark.parametrize("what", BAD_INPUTS)
def test_a_mistake_gives_one_message_and_no_run_folder(
    what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names the rule, the value and, for an unknown name, the nearest known one."""
    arguments, message = BAD_INPUTS[what]
    monkeypatch.chdir(tmp_path)
    text = refused(capsys, monkeypatch, "search", *arguments)
    assert message in text
    assert len(text.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["trials = ", "trials: 3\n", "\udcff"], ids=["cut off", "YAML", "not UTF-8"])
def test_a_recipe_that_is_not_toml_is_refused(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names the file and its mistake."""
    recipe = tmp_path / "recipe.toml"
    recipe.write_bytes(content.encode(errors="surrogateescape"))
    text = refused(capsys, monkeypatch, "search", recipe, "--runs", tmp_path / "runs")
    is_text = content.isascii()
    assert f"a recipe is a TOML file{'' if is_text else ' in UTF-8'}, but {recipe} is " in text
    assert not (tmp_path / "runs").exists()


def test_several_mistakes_in_a_recipe_are_reported_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each mistake has one line."""
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('trails = 3\nseed = -1\n[training]\nepochs = "many"\n')
    lines = refused(capsys, monkeypatch, "search", recipe, "--runs", tmp_path / "runs").splitlines()
    assert len(lines) == 3
    assert any("Did you mean 'trials'?" in line for line in lines)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("command", ["show", "report"])
def test_a_folder_that_is_no_run_is_refused(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names the missing file."""
    assert f"{tmp_path} must be the folder of a run" in refused(capsys, monkeypatch, command, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_run_folder_that_cannot_be_made_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file in place of the folder gives one line that names it."""
    (tmp_path / "file").touch()
    monkeypatch.chdir(TESTS)
    text = refused(capsys, monkeypatch, "search", *SPACE, *SHORT, *INLINE, "--runs", tmp_path / "file")
    assert str(tmp_path / "file") in text
    assert len(text.splitlines()) == 1


def test_a_program_that_asked_for_json_gets_the_code_too(tmp_path: Path) -> None:
    """Standard error has the message for people as ever, and standard output both."""
    done = run_nas("show", tmp_path, "--json")
    assert done.returncode == 2
    found = json.loads(done.stdout)["error"]
    assert found["code"] == JournalError.code == "journal"
    assert done.stderr == f"error: {found['message']}\n"


@pytest.mark.slow
def test_the_real_command_refuses_the_same_way(tmp_path: Path) -> None:
    """The real command prints one line on standard error, ends with status 2 and writes nothing."""
    done = run_nas("search", "--space", "mobilnet", "--runs", tmp_path / "runs")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "Did you mean 'mobilenet'?" in done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_an_unreachable_limit_ends_with_status_1(tmp_path: Path) -> None:
    """The request is valid, but no architecture can meet it."""
    done = run_nas("search", *SPACE, *SHORT, *UNMEASURED, *INLINE, "--limit", "params<=10", "--runs", tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: nothing that was found in the space meets params <= 10: the lowest counted ")
    assert "Traceback" not in done.stderr

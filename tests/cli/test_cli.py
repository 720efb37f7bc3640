"""The command: what it refuses and how it says so, what it prints, and that it answers at once."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import SHORT, TESTS, UNMEASURED, environment, rows_of, run_nas

from nas.cli.main import main
from nas.recipe.recipe import Recipe, read_recipe
from nas.storage.journal import Journal

pytestmark = pytest.mark.usefixtures("onnx_profile")  # found once, not by each command anew

HEAVY = ("torch", "ray", "optuna", "plotly", "onnxruntime", "sklearn", "scipy", "torchvision", "timm")
SPACE = ("--space", "fault_spaces:Faulty")
INLINE = ("--executor", "inline")


@pytest.mark.parametrize(
    "code",
    [
        "import nas",
        "import nas.cli.main",
        "import nas.cli.main\ntry:\n nas.cli.main.main()\nexcept SystemExit as e: assert not e.code",
    ],
)
def test_help_and_import_load_nothing_heavy(code: str) -> None:
    """Neither torch nor Ray nor any other library that takes its time."""
    check = f"\nimport sys\nprint([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", code + check, "--help"],
        env=environment(), text=True, capture_output=True, timeout=30, check=True,
    )  # fmt: skip
    assert done.stderr == "[]\n"
    assert "Usage" in done.stdout or "main" not in code


# What is refused


def refused(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> str:
    """What the command says, when it ends with status 2 and prints no traceback and nothing on standard output."""
    monkeypatch.setattr(sys, "argv", ["nas", *map(str, arguments)])
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(SystemExit) as end:
        main()
    output = capsys.readouterr()
    assert end.value.code == 2, output.err
    assert output.out == ""
    assert output.err.startswith("error: ")
    assert "Traceback" not in output.err
    return output.err


BAD_INPUTS = {
    "space": (("--space", "mobilnet"), "unknown search space 'mobilnet'. Did you mean 'mobilenet'?"),
    "space's module": (("--space", "no_such_module:Space"), "module 'no_such_module', which is neither installed nor"),
    "space's class": (("--space", "fault_spaces:Faultyy"), "fault_spaces has no 'Faultyy'. Did you mean 'Faulty'?"),
    "space's option": ((*SPACE, "--set", "space.fault=1"), "has no option 'fault'. Did you mean 'faults'?"),
    "data set": (("--data", "digit"), "unknown data set 'digit'. Did you mean 'digits'?"),
    "target": (("--target", "onnxruntime-gpu"), "'onnxruntime-gpu'. Did you mean 'onnxruntime-cpu'?"),
    "part of a target": (("--target", "onnxruntime-cpu:thread=2"), "'thread=2' in 'onnxruntime-cpu:thread=2'"),
    "precision": (("--target", "onnxruntime-cpu:fp23"), "Did you mean 'fp32'?"),
    "objective": (("--objective", "latency"), "unknown metric 'latency'. Did you mean 'latency_ms'?"),
    "objective twice": (("--objective", "error", "--objective", "error"), "objectives are one to four different"),
    "metric of a limit": (("--limit", "latncy_ms<=2"), "unknown metric 'latncy_ms'. Did you mean 'latency_ms'?"),
    "unit of a limit": (("--limit", "latency_ms<=2mJ"), "the unit of latency_ms is one of ns, us"),
    "lower bound": (("--limit", "latency_ms>=2ms"), "limits are upper bounds written with <=, but got '>='"),
    "limit without a number": (("--limit", "latency_ms<=fast"), "such as 2ms, but got 'fast'"),
    "predictor": (("--set", "predictor=stackd"), "unknown predictor 'stackd'. Did you mean 'stacked'?"),
    "sampler": (("--set", "sampler=tpee"), "'local' or 'random', but got 'tpee'"),
    "way of evaluating": (("--evaluate", "supernett"), "'zero-cost' or 'table', but got 'supernett'"),
    "space without shared weights": (
        ("--evaluate", "supernet", "--space", "nasbench201"),
        "'nasbench201' has no method supernet(). Write one, choose another space, or evaluate by \"train\"",
    ),
    "start without shared weights": (
        ("--set", 'retraining.start="supernet"'),
        'evaluate must be "supernet", but got "train"',
    ),
    "executor": (("--executor", "rai"), "'ray' or 'inline', but got 'rai'"),
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
    "resume": (("--resume", "no_such_run"), "--resume takes the folder of a run, but no_such_run has no recipe.toml."),
    "resume with flags": (("--resume", "run", "--trials", "3"), "--set execution.KEY=VALUE, but got trials=3."),
    "resume with a recipe": (("other.toml", "--resume", "run"), "--set execution.KEY=VALUE, but got other.toml."),
    "cluster without Ray": ((*INLINE, "--ray-address", "auto"), "ray_address joins a Ray cluster, which executor "),
    "more GPUs than there are": (
        (*SPACE, "--set", "execution.gpus_per_worker=999"),
        "execution.gpus_per_worker must be at most what this machine has, ",
    ),
    "unknown flag": (("--trails", "3"), "--trials"),
    "flag that is no number": (("--trials", "many"), "Invalid value for '--trials'"),
}


@pytest.mark.parametrize("what", BAD_INPUTS)
def test_a_mistake_gives_one_message_and_no_run_folder(
    what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names the rule, the value and, for a name, the nearest known one."""
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
    """The message names the file and what is wrong in it."""
    recipe = tmp_path / "recipe.toml"
    recipe.write_bytes(content.encode(errors="surrogateescape"))
    text = refused(capsys, monkeypatch, "search", recipe, "--runs", tmp_path / "runs")
    assert f"a recipe is a TOML file, but {recipe} is not: " in text
    assert not (tmp_path / "runs").exists()


def test_several_mistakes_in_a_recipe_are_told_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line each."""
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('trails = 3\nseed = -1\n[training]\nepochs = "many"\n')
    lines = refused(capsys, monkeypatch, "search", recipe, "--runs", tmp_path / "runs").splitlines()
    assert len(lines) == 3
    assert any("Did you mean 'trials'?" in line for line in lines)
    assert not (tmp_path / "runs").exists()


def test_data_that_is_not_there_says_where_it_was_looked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a network the message says which folders were searched and what to do."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("NAS_DATA", raising=False)
    monkeypatch.setattr("nas.tasks.named_data._find_idx_files", lambda folders: None)
    monkeypatch.setattr("nas.tasks.named_data._download", lambda name, root: "no network")
    text = refused(capsys, monkeypatch, "search", "--data", "fashion-mnist", "--set", f"data.root={tmp_path / 'empty'}",
                   "--runs", tmp_path / "runs")  # fmt: skip
    assert str(tmp_path / "empty") in text
    assert "it could not be downloaded (no network). Install it with" in text
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("command", ["show", "report"])
def test_a_folder_that_is_no_run_is_refused(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message says what is missing."""
    assert f"{tmp_path} must be the folder of a run" in refused(capsys, monkeypatch, command, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_run_folder_that_cannot_be_made_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file in its place is the system's refusal, told in one line."""
    (tmp_path / "file").touch()
    monkeypatch.chdir(TESTS)
    text = refused(capsys, monkeypatch, "search", *SPACE, *SHORT, *INLINE, "--runs", tmp_path / "file")
    assert str(tmp_path / "file") in text
    assert len(text.splitlines()) == 1


def test_the_real_command_refuses_the_same_way(tmp_path: Path) -> None:
    """In a process of its own too: one line on standard error, status 2, nothing written."""
    done = run_nas("search", "--space", "mobilnet", "--runs", tmp_path / "runs")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "Did you mean 'mobilenet'?" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_an_unreachable_limit_ends_with_status_1(tmp_path: Path) -> None:
    """Nothing was wrong with the request, but nothing can meet it."""
    done = run_nas("search", *SPACE, *SHORT, *UNMEASURED, *INLINE, "--limit", "params<=10", "--runs", tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: nothing that was found in the space meets params <= 10: the lowest counted ")
    assert "Traceback" not in done.stderr


# What is printed


@pytest.fixture(name="finished", scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A run by flags alone, with JSON for its result."""
    runs = tmp_path_factory.mktemp("runs")
    done = run_nas("search", *SPACE, *SHORT, *UNMEASURED, *INLINE, "--trials", "3", "--seed", "1", "--limit",
                   "params<=2k", "--name", "run", "--runs", runs, "--json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    return runs / "run", done


def test_json_is_all_that_stands_on_standard_output(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    """Progress goes to standard error; neither holds escape codes, there being no terminal."""
    run, done = finished
    result = json.loads(done.stdout)
    assert result["run_folder"] == str(run)
    assert result["objectives"] == ["error", "macs"]
    assert [winner["meets_limits"] for winner in result["winners"]] == [True]
    assert "round 1/1: training" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr


def test_flags_and_a_recipe_file_give_the_same_recipe(
    tmp_path: Path, finished: tuple[Path, subprocess.CompletedProcess[str]]
) -> None:
    """What flags ask for is what the same keys in TOML ask for."""
    (tmp_path / "recipe.toml").write_text("""
        name = "run"
        seed = 1
        data = "digits"
        space = "fault_spaces:Faulty"
        objectives = ["error", "macs"]
        limits = ["params <= 2000"]
        trials = 3
        rounds = 1
        measuring = {initial = 5, rounds = 2, max_rounds = 2, seconds_per_round = 0.02}
        training = {epochs = 1, subset = 0.1}
        retraining = {epochs = 1, winners = 1}
        execution = {executor = "inline"}
    """)
    assert read_recipe(tmp_path / "recipe.toml") == read_recipe(finished[0] / "recipe.toml")


def test_show_prints_a_run_again(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    """As a table without escape codes, or as the very JSON that the search printed."""
    run, done = finished
    shown = run_nas("show", run)
    assert shown.returncode == 0, shown.stderr
    assert json.loads(done.stdout)["winners"][0]["id"] in shown.stdout
    assert "test accuracy" in shown.stdout
    assert "\x1b" not in shown.stdout
    assert json.loads(run_nas("show", run, "--json").stdout) == json.loads(done.stdout)


def test_show_can_be_redirected_to_what_knows_few_letters(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    """As a file has on Windows."""
    run, _ = finished
    shown = run_nas("show", run, PYTHONIOENCODING="ascii")
    assert shown.returncode == 0, shown.stderr
    assert "? " in shown.stdout


def test_show_to_a_reader_that_has_seen_enough_ends_quietly(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    """As with ``nas show … | head -0``."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "nas", "show", str(finished[0]), "--json"],
        env=environment(), stdout=write, stderr=subprocess.PIPE, text=True, timeout=30, check=False,
    )  # fmt: skip
    os.close(write)
    assert done.stderr == ""


def test_report_is_written_again(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    """From the journal alone, to the same place, which is printed."""
    run, _ = finished
    before = (run / "report.html").read_bytes()
    (run / "report.html").unlink()
    done = run_nas("report", run)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{run / 'report.html'}\n"
    assert len((run / "report.html").read_bytes()) == len(before)


def test_resuming_a_finished_run_by_command_changes_nothing(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    """It prints the same result again."""
    run, done = finished
    before = rows_of(run)
    again = run_nas("search", "--resume", run, "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout) == json.loads(done.stdout)
    assert rows_of(run) == before


def test_resuming_takes_where_trainings_run(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    """For this time; the run's recipe stays as it was."""
    run, done = finished
    before = (run / "recipe.toml").read_bytes()
    again = run_nas("search", "--resume", run, *INLINE, "--set", "execution.workers=1", "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout) == json.loads(done.stdout)
    assert (run / "recipe.toml").read_bytes() == before


def test_a_dry_run_prints_the_recipe_alone(tmp_path: Path) -> None:
    """Which can be kept and searched; keys that are not set are told too."""
    done = run_nas("search", *SPACE, "--time", "90s", "--runs", tmp_path / "runs", "--dry-run")
    assert done.returncode == 0, done.stderr
    (tmp_path / "recipe.toml").write_text(done.stdout)
    assert read_recipe(tmp_path / "recipe.toml") == Recipe(space="fault_spaces:Faulty", search_time_s=90)
    assert "\n# image_size =\n" in done.stdout
    assert not (tmp_path / "runs").exists()


def test_show_lists_runs(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    """One line each, also those that are not over, of which no report exists."""
    run, _ = finished
    with_another = shutil.copytree(run.parent, run.parent.parent / "listed")
    other = with_another / "stopped"
    Journal.start(other, (run / "recipe.toml").read_text(), clock=time.time).close()
    shown = run_nas("show", "--runs", with_another)
    assert shown.returncode == 0, shown.stderr
    first, second = shown.stdout.splitlines()
    assert first.startswith(f"{with_another / 'run'}: 1 winner ")
    assert second == f"{other}: Nothing has been recorded yet on onnxruntime-cpu:fp32:batch=1:threads=1. Not over."
    assert len(json.loads(run_nas("show", "--runs", with_another, "--json").stdout)) == 2
    alone = run_nas("show", other).stdout
    assert alone == f"No winners.\nNot over. Unless it still runs, go on with: nas search --resume {other}\n"
    nothing = run_nas("show", "--runs", run.parent / "none").stdout
    assert nothing == f"There are no runs in {run.parent / 'none'}.\n"


def test_list_names_what_a_recipe_can_name() -> None:
    """Spaces, data sets, targets, predictors, samplers, and the metrics with a limit as an example."""
    done = run_nas("list")
    assert done.returncode == 0, done.stderr
    named = (
        "mobilenet",
        "nasbench201",
        "digits",
        "folder:PATH",
        "onnxruntime-cpu",
        "stacked",
        "gp, tpe",
        "energy_mj<=0.5mJ",
    )
    for name in named:
        assert name in done.stdout
    assert "\x1b" not in done.stdout


def test_a_terminal_gets_colours(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    """The same table, with escape codes, where there is someone to see them."""
    terminal, end = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "nas", "show", str(finished[0])],
        env=environment(TERM="xterm-256color", COLUMNS="100"), stdout=end, stderr=end,
    )  # fmt: skip
    os.close(end)
    parts = []
    try:
        while part := os.read(terminal, 4096):
            parts.append(part)
    except OSError:  # the other end is closed
        pass
    os.close(terminal)
    assert process.wait(timeout=30) == 0
    text = b"".join(parts).decode()
    assert "\x1b[" in text
    assert "test accuracy" in re.sub(r"\x1b\[[0-9;]*m", "", text)

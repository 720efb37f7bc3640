"""``nas search --dry-run``: looks at everything that a search would work with, and writes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from in_process import printed, refused
from model_rows import write_models
from small_bundle import write_photos

from nas.cli.main import main
from nas.recipe.recipe import Recipe, read_recipe

pytestmark = pytest.mark.usefixtures("onnx_profile")

PHOTOS = ("search", "--data", "folder:photos", "--set", "data.image_size=16", "--dry-run")


def test_it_looks_at_the_data_the_space_and_the_target(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recipe goes to standard output, and what its names stand for to standard error."""
    data = tmp_path / "photos"
    write_photos(data)
    (data / "train" / "cat" / "broken.jpg").write_text("no picture")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["nas", *PHOTOS])
    with pytest.raises(SystemExit) as end:
        main()
    output = capsys.readouterr()
    assert end.value.code == 0, output.err
    (tmp_path / "recipe.toml").write_text(output.out)
    assert read_recipe(tmp_path / "recipe.toml").data.image_size == 16
    begin = output.err.splitlines().index(next(line for line in output.err.splitlines() if line.startswith("data: ")))
    told, lines = output.err.splitlines()[:begin], output.err.splitlines()[begin:]
    assert "looking at pictures: 53 to do." in told
    assert (
        lines[0] == "data: folder:photos, 2 classes, 16×16 pixels in 3 channels, in training mirrored: 20 to train, "
        "6 to validate, 26 to test"
    )
    assert lines[1] == "models: images (float32, 3×16×16) → 2"
    assert lines[2].startswith("warning: 1 of 53 pictures was left out as unreadable: train/cat/broken.jpg (")
    assert lines[3].startswith("space: mobilenet, ")
    assert lines[3].endswith(" architectures")
    assert lines[4:] == ["target: onnxruntime-cpu:fp32:batch=1:threads=1", "run folder: runs/folder-photos-mobilenet"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos", "recipe.toml"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--data", "folder:nowhere"), "nowhere is no folder"),
        (("--space", "mobilnet"), "Did you mean 'mobilenet'?"),
        (("--space", "nasbench201", "--evaluate", "supernet"), "has no method supernet()"),
        (("--target", "no_such_module:Runtime"), "no_such_module"),
        (("--sampler", "tpee"), "Did you mean 'tpe'?"),
        (("--set", "predictor.width=3"), "has no option 'width'"),
        (("--name", "taken"), "already holds a run. Choose another name."),
    ],
)
def test_it_refuses_what_a_search_refuses(
    arguments: tuple[str, ...],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever is wrong is found before the search begins."""
    (tmp_path / "runs" / "taken").mkdir(parents=True)
    (tmp_path / "runs" / "taken" / "recipe.toml").touch()
    monkeypatch.chdir(tmp_path)
    assert message in refused(capsys, monkeypatch, "search", *arguments, "--dry-run")


@pytest.mark.parametrize(
    ("flags", "precisions"),
    [
        ((), ("fp32", "int8")),
        (("--precision", "int8-dynamic", "--precision", "fp32"), ("fp32", "int8-dynamic")),
        (("--target", "onnxruntime-cpu:fp32"), ()),
        (("--set", "precisions=[]"), ()),
    ],
)
def test_shrinking_searches_fp32_and_int8_unless_it_is_told_otherwise(
    flags: tuple[str, ...], precisions: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("nas.searching.run.look", lambda recipe, runs, progress: (recipe, []))
    monkeypatch.chdir(tmp_path)
    text = printed(capsys, monkeypatch, "shrink", "my_module:make_model", *flags, "--dry-run")
    assert Recipe.from_toml(text).precisions == precisions


def test_shrinking_takes_what_suits_inherited_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parent, its weights by their whole path, and the flags make a recipe that suits inherited weights."""
    monkeypatch.setattr("nas.searching.run.look", lambda recipe, runs, progress: (recipe, []))
    monkeypatch.chdir(tmp_path)
    flags = ("--weights", "w.safetensors", "--dry-run")
    recipe = Recipe.from_toml(printed(capsys, monkeypatch, "shrink", "my_module:make_model", *flags))
    assert recipe.space.options == {"parent": "my_module:make_model", "weights": str(tmp_path / "w.safetensors")}
    assert recipe.training.epochs == 2


@pytest.mark.parametrize(
    ("flags", "trials", "epochs"), [((), 1000, 12), (("--time", "20min"), 10_000, 200), (("--trials", "50"), 50, 12)]
)
def test_shrinking_by_shared_weights_has_defaults_of_its_own(
    flags: tuple[str, ...], trials: int, epochs: int, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Candidates cost little, and winners begin with the weights that they shared."""
    monkeypatch.setattr("nas.searching.run.look", lambda recipe, runs, progress: (recipe, []))
    monkeypatch.chdir(tmp_path)
    given = ("my_module:make_model", "--evaluate", "supernet", *flags, "--dry-run")
    recipe = Recipe.from_toml(printed(capsys, monkeypatch, "shrink", *given))
    assert (recipe.trials, recipe.supernet.epochs) == (trials, epochs)
    assert (recipe.retraining.start, recipe.retraining.epochs, recipe.training.epochs) == ("supernet", 3, 2)


def test_a_table_is_shown_without_data_and_target(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It uses neither, so their defaults would tell of a data set and a machine that have no part in the search."""
    monkeypatch.chdir(tmp_path)
    write_models(tmp_path / "models.csv")
    table = (
        "table.path=models.csv",
        "table.accuracy=val_acc",
        "table.device=board",
        'space.choices=["family", "width"]',
    )
    options = [word for each in table for word in ("--set", each)]
    shown = printed(capsys, monkeypatch, "search", "--evaluate", "table", "--space", "table", *options, "--dry-run")
    assert "onnxruntime" not in shown
    assert "digits" not in shown
    (tmp_path / "recipe.toml").write_text(shown)
    assert read_recipe(tmp_path / "recipe.toml").to_toml() == shown

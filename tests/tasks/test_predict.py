"""``predict.py``: pictures get the pixels of the tested pipeline, and mistakes get one sentence."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_bundle import KINDS, WIDE, colours, write_bundle, write_photos

from nas.formats.onnx_session import outputs_of
from nas.results.bundle import Bundle
from nas.tasks.batches import items_at
from nas.tasks.carrying import packages_of
from nas.tasks.deployed import predict
from nas.tasks.deployed.inputs import InputError
from nas.tasks.deployed.pictures import PicturePreparation
from nas.tasks.deployed.predict import FILLS_BYTES, Model
from nas.tasks.images.images import Images
from nas.tasks.images.loading import load_data

Done = subprocess.CompletedProcess[str]


WAIT_S = 60


def run(script: Path, *arguments: str | Path, cwd: Path | None = None) -> Done:
    """Run ``predict.py`` without what this project needs."""
    return subprocess.run(
        [sys.executable, "-E", "-s", script, *map(str, arguments)],
        cwd=cwd,
        text=True,
        capture_output=True,
        check=False,
        timeout=WAIT_S,
    )


@pytest.fixture(name="photos", scope="module")
def photos_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures of every kind."""
    root = tmp_path_factory.mktemp("data")
    write_photos(root)
    return root


@pytest.fixture(name="data", scope="module")
def data_fixture(photos: Path) -> Images:
    """The same as a data set of small squares."""
    return load_data(f"folder:{photos}", image_size=16)


@pytest.fixture(name="script", scope="module")
def script_fixture(tmp_path_factory: pytest.TempPathFactory, data: Images) -> Path:
    """A ``predict.py`` in a winner's folder for that data set."""
    return write_bundle(tmp_path_factory.mktemp("bundle"), data)


def test_a_photo_gets_exactly_the_logits_of_the_tested_pipeline(photos: Path, data: Images, script: Path) -> None:
    """Whatever its size and mode: the numbers are equal to the last bit, also by a folder and by a module."""
    expected = outputs_of(script.with_name("model.onnx"), data.input_arrays(data.test, slice(None)))
    files = [photos / "test" / title / name for title in ("cat", "dog") for name in sorted(KINDS)]
    done = run(script, "--json", *files)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["input"] for line in lines] == [str(file) for file in files]
    np.testing.assert_array_equal(np.array([line["logits"] for line in lines], dtype=np.float32), expected)
    assert [line["class"] for line in lines] == [data.classes[label] for label in expected.argmax(axis=1)]
    np.testing.assert_allclose([sum(line["probabilities"].values()) for line in lines], 1, rtol=1e-5)
    assert run(script, "--json", photos / "test").stdout == done.stdout
    model = Model(script.parent)
    np.testing.assert_array_equal(model.outputs(photos / "test"), expected)
    np.testing.assert_array_equal(model.predict(files), model.predict(data.test.images))


def test_a_bundle_prepares_pictures_by_the_same_code(photos: Path, data: Images, script: Path) -> None:
    """What a winner is loaded from knows the data set's preparation, to the last bit."""
    bundle = Bundle.read(script.parent)
    assert bundle.preparation == data.preparation
    np.testing.assert_array_equal(bundle.preparation.read(photos / "test")[0], data.test.images)
    scaled = bundle.preparation.prepared((np.asarray(data.test.images),))[0]
    np.testing.assert_array_equal(scaled, data.input_arrays(data.test, slice(None))[0])


@pytest.mark.parametrize("gib", ["20", "0"])
def test_a_hundred_photos_get_the_inputs_of_training(tmp_path: Path, gib: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No value differs, whether training reads them from the shared file or decodes each batch."""
    monkeypatch.setenv("NAS_CACHE_GIB", gib)
    for number in range(112):
        path = tmp_path / "data" / ("test", "train")[number >= 100] / ("cat", "dog")[number % 2] / f"{number:03}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        colours((40 + 7 * (number % 11), 35 + 5 * (number % 13)), number).save(path, quality=60 + number % 36)
    data = load_data(f"folder:{tmp_path / 'data'}", image_size=24)
    deployed = Model(write_bundle(tmp_path / "bundle", data).parent).preparation
    (learned,) = data.inputs_of(items_at(data.test, slice(None)).raw)
    (given,) = deployed.prepared(deployed.read(tmp_path / "data" / "test"))
    assert given.shape == (100, 3, 24, 24)
    assert int((given != learned.numpy()).sum()) == 0


def test_the_preparation_is_told_to_programs_and_in_words(script: Path) -> None:
    """Whoever writes another program finds each step in architecture.json."""
    told = json.loads(script.with_name("architecture.json").read_text(encoding="utf-8"))["preparation"]
    assert (told["mode"], told["height"], told["width"], told["crop"]) == ("RGB", 16, 16, True)
    assert (told["layout"], told["dtype"], told["divide_by"]) == ("NCHW", "float32", 255)
    assert len(told["mean"]) == len(told["std"]) == 3
    words = " ".join(told["in_words"])
    for part in ("EXIF", "RGB", "16 × 16 pixels", "middle", "bilinear", "Divide by 255", "mean", "standard deviation"):
        assert part in words
    assert all(len(sentence.split()) <= 30 for sentence in told["in_words"])


def test_any_number_of_pixels_is_classified(tmp_path: Path, data: Images, script: Path) -> None:
    """The model's batch of two does not matter, nor does the axis of channels of a grey image."""
    for count in (1, 2, 3, 131):
        images = np.resize(data.test.images, (count, *data.input_shape))
        np.save(tmp_path / "images.npy", images)
        lines = run(script, "images.npy", cwd=tmp_path).stdout.splitlines()
        assert len(lines) == count
        name, title, probability = lines[-1].split("\t")
        assert (name, title in data.classes) == (f"images.npy[{count - 1}]", True)
        assert 0.5 <= float(probability) <= 1
        np.testing.assert_array_equal(
            Model(script.parent).outputs(images[:1])[0], Model(script.parent).outputs(images)[0]
        )
    assert Model(script.parent).predict(data.test.images[:0]).shape == (0, 2)


def test_pictures_of_another_size_than_all_tested_ones_are_told(tmp_path: Path) -> None:
    """Where no picture was scaled before the test, one that has to be is taken with a note."""
    grey = Images.from_arrays(np.random.default_rng(0).integers(0, 256, (20, 8, 12), np.uint8), np.arange(20) % 2)
    script = write_bundle(tmp_path / "bundle", grey, batch=1)
    for name, size in (("same.png", (12, 8)), ("large.png", WIDE), ("larger.png", (500, 300))):
        colours(size, 0).save(tmp_path / name)
    done = run(script, "same.png", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    done = run(script, "large.png", "larger.png", cwd=tmp_path)
    assert done.stderr == "note: all tested pictures had 12×8 pixels. Others are cut and scaled to that size.\n"
    assert len(done.stdout.splitlines()) == 2
    with pytest.warns(UserWarning, match="all tested pictures had 12×8 pixels"):
        Bundle.read(script.parent).preparation.read(tmp_path / "large.png")[0]


def test_a_model_of_another_runtime_is_told(tmp_path: Path, script: Path) -> None:
    """onnxruntime runs the exported model in the place of one that it cannot read."""
    folder = Path(shutil.copytree(script.parent, tmp_path / "bundle"))
    about = json.loads((folder / "architecture.json").read_text(encoding="utf-8"))
    about |= {"deployed": "deployed/model.xml", "target": "openvino-cpu:int8"}
    (folder / "architecture.json").write_text(json.dumps(about), encoding="utf-8")
    colours(WIDE, 0).save(tmp_path / "a.jpg")
    done = run(folder / "predict.py", tmp_path / "a.jpg")
    assert done.stdout == run(script, tmp_path / "a.jpg").stdout
    assert done.stderr == (
        "note: this runs model.onnx, not deployed/model.xml, which was tested and measured on openvino-cpu:int8.\n"
    )


@pytest.mark.parametrize("has_plain", [True, False])
def test_eight_bit_weights_are_not_run_where_they_overflow(
    tmp_path: Path, script: Path, monkeypatch: pytest.MonkeyPatch, has_plain: bool
) -> None:
    """There the exported model runs, if the folder has it; elsewhere the deployed one runs without a word."""
    folder = Path(shutil.copytree(script.parent, tmp_path / "bundle"))
    (folder / "deployed").mkdir()
    shutil.copy(folder / "model.onnx", folder / "deployed" / "model.onnx")
    about = json.loads((folder / "architecture.json").read_text(encoding="utf-8"))
    about |= {"deployed": "deployed/model.onnx", "target": "onnxruntime-cpu:int8", FILLS_BYTES: True}
    (folder / "architecture.json").write_text(json.dumps(about), encoding="utf-8")
    monkeypatch.setattr("nas.tasks.deployed.predict.bytes_overflow", lambda: False)
    Model(folder)  # a warning would be an error
    monkeypatch.setattr("nas.tasks.deployed.predict.bytes_overflow", lambda: True)
    (folder / ("deployed/model.onnx" if has_plain else "model.onnx")).unlink()
    instead = "this runs model.onnx, not deployed/model.onnx" if has_plain else "deployed/model.onnx may answer wrongly"
    with pytest.warns(UserWarning, match=f"^{instead}.*: its 8-bit weights may overflow on an x86 without VNNI"):
        Model(folder)


def test_a_package_that_is_missing_is_told_with_all_that_are_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], data: Images
) -> None:
    """The preparation names its own."""
    assert packages_of(data.preparation) == ["pillow"]
    (tmp_path / "architecture.json").write_text(json.dumps({"packages": ["scipy"]}), encoding="utf-8")
    monkeypatch.setattr(predict, "HERE", tmp_path)
    monkeypatch.setattr(predict, "Model", lambda: importlib.import_module("no_such_package"))
    assert predict.main(["a.wav"]) == 2
    assert "Install what it needs: pip install numpy onnxruntime scipy\n" in capsys.readouterr().err


def test_help_says_everything(script: Path) -> None:
    """How to call it, what it prints, and how to use it as a module."""
    done = run(script, "--help")
    assert done.returncode == 0
    for part in ("photo.jpg", ".npy", "from predict import Model", "--json", "numpy, onnxruntime and what reads"):
        assert part in done.stdout


def test_one_broken_picture_does_not_stop_the_others(tmp_path: Path, script: Path) -> None:
    """It is named, and the exit status tells that something is missing."""
    colours(WIDE, 0).save(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:500])
    colours(WIDE, 1).save(tmp_path / "c.jpg")
    (tmp_path / "notes.txt").write_text("no picture")
    done = run(script, tmp_path)
    assert done.returncode == 1
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == [
        str(tmp_path / "a.jpg"),
        str(tmp_path / "c.jpg"),
    ]
    assert done.stderr.startswith(f"error: {tmp_path / 'b.jpg'} cannot be read as an image: ")
    assert len(done.stderr.splitlines()) == 1


def _saved(array: object) -> object:
    def write(folder: Path) -> None:
        np.save(folder / "x.npy", array, allow_pickle=True)

    return write


def _claiming(count: int) -> object:
    """Return what writes a file whose header claims ``count`` pictures, and which holds none."""

    def write(folder: Path) -> None:
        with (folder / "x.npy").open("wb") as file:
            np.lib.format.write_array_header_1_0(
                file, {"descr": "|u1", "fortran_order": False, "shape": (count, 3, 16, 16)}
            )

    return write


MISTAKES = {
    "a missing file": (lambda folder: None, ("x.jpg",), "error: there is no file or folder x.jpg."),
    "an address": (lambda folder: None, ("http://a.b/x.jpg",), "error: there is no file or folder http:/a.b/x.jpg."),
    "a named pipe": (
        lambda folder: os.mkfifo(folder / "x.jpg"),
        ("x.jpg",),
        "error: there is no file or folder x.jpg.",
    ),
    "nothing": (lambda folder: None, (), "the following arguments are required: INPUT"),
    "an unknown option": (lambda folder: None, ("--jsn", "x.jpg"), "unrecognized arguments: --jsn"),
    "a text": (
        lambda folder: (folder / "x.jpg").write_text("a"),
        ("x.jpg",),
        "x.jpg cannot be read as an image: it is",
    ),
    "no bytes": (lambda folder: (folder / "x.jpg").touch(), ("x.jpg",), "cannot be read as an image"),
    "no bytes of pixels": (lambda folder: (folder / "x.npy").touch(), ("x.npy",), "cannot be used as an array"),
    "a text of pixels": (lambda folder: (folder / "x.npy").write_text("a"), ("x.npy",), "cannot be used as an array"),
    "a pickle": (_saved(np.array([{}])), ("x.npy",), "cannot be used as an array of pictures: "),
    "an empty folder": (lambda folder: None, (".",), "error: the folder . has no pictures"),
    "no pixels": (_saved(np.zeros((0, 3, 16, 16), np.uint8)), ("x.npy",), "it holds no array"),
    "an archive of arrays": (
        lambda folder: np.savez(folder / "x", np.zeros(3)) or (folder / "x.npz").rename(folder / "x.npy"),
        ("x.npy",),
        "it holds no array",
    ),
    "more pixels than bytes": (_claiming(10**12), ("x.npy",), "cannot be used as an array of pictures"),
    "a table of numbers": (_saved(np.zeros(4, dtype=[("a", "i4")])), ("x.npy",), "must be uint8 of shape"),
    "one number": (_saved(np.uint8(3)), ("x.npy",), "cannot be used as an array of pictures"),
    "floats": (_saved(np.zeros((2, 3, 16, 16))), ("x.npy",), "but got float64 of shape (2, 3, 16, 16). Floats within"),
    "channels last": (_saved(np.zeros((2, 16, 16, 3), np.uint8)), ("x.npy",), "Put the channels first"),
    "another size": (_saved(np.zeros((2, 3, 8, 8), np.uint8)), ("x.npy",), "must be uint8 of shape (N, 3, 16, 16)"),
}
"""By mistake: what lies in the folder, the arguments, and a part of the one sentence that answers them."""


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_answered_by_a_sentence(name: str, tmp_path: Path, script: Path) -> None:
    prepare, arguments, says = MISTAKES[name]
    prepare(tmp_path)  # type: ignore[operator]
    done = run(script, *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 2  # argparse adds the usage


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda folder: (folder / "architecture.json").unlink(), "needs the architecture.json of a winner beside it"),
        (lambda folder: (folder / "architecture.json").write_text("{"), "needs the architecture.json"),
        (lambda folder: (folder / "architecture.json").write_text("[]"), "needs the architecture.json"),
        (lambda folder: (folder / "architecture.json").write_text("{}"), "needs the architecture.json"),
        (lambda folder: (folder / "model.onnx").unlink(), "the model must lie beside predict.py, but there is no"),
        (lambda folder: (folder / "model.onnx").write_bytes(b"x"), "cannot load"),
    ],
)
def test_a_damaged_folder_is_told(tmp_path: Path, script: Path, damage: object, says: str) -> None:
    """A file that is missing or damaged is named."""
    folder = Path(shutil.copytree(script.parent, tmp_path / "bundle"))
    damage(folder)  # type: ignore[operator]
    colours(WIDE, 0).save(tmp_path / "a.jpg")
    done = run(folder / "predict.py", tmp_path / "a.jpg")
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_closed_output_is_no_error(tmp_path: Path, script: Path) -> None:
    """As in ``python predict.py folder | head``."""
    np.save(tmp_path / "images.npy", np.zeros((3000, 3, 16, 16), np.uint8))
    command = f'"{sys.executable}" "{script}" images.npy | head -n 1'
    done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (len(done.stdout.splitlines()), done.stderr) == (1, "")


def test_a_model_for_other_arrays_refuses_pictures(tmp_path: Path) -> None:
    """A picture cannot have five channels, and old bundles do not say how pictures are prepared."""
    colours(WIDE, 0).save(tmp_path / "a.png")
    images = np.random.default_rng(0).integers(0, 256, (20, 5, 8, 8), np.uint8)
    with pytest.raises(InputError, match=r"it takes 5 channels, but a picture has 1 or 3. Pass pixels"):
        Images.from_arrays(images, np.arange(20) % 2).preparation.read(tmp_path / "a.png")[0]
    old = PicturePreparation.of({"input_shape": [3, 8, 8], "mean": [0.5] * 3, "std": [0.2] * 3})
    with pytest.raises(InputError, match=r"its version did not record how. Pass pixels, uint8 of shape"):
        old.read(str(tmp_path / "a.png"))
    assert old.read(np.zeros((1, 3, 8, 8), np.uint8))[0].shape == (1, 3, 8, 8)


def test_a_picture_with_32_bits_is_refused(tmp_path: Path, data: Images) -> None:
    """Its range is not known."""
    Image.fromarray(np.full((9, 9), 70_000, np.int32)).save(tmp_path / "deep.tif")
    with pytest.raises(InputError, match=r"deep.tif cannot be read as an image: pictures must have 8 or 16 bits"):
        data.preparation.read(tmp_path / "deep.tif")[0]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems take no such names")
def test_a_name_that_is_no_text_is_printed(tmp_path: Path, script: Path) -> None:
    colours(WIDE, 0).save(tmp_path / "a.png")
    os.rename(tmp_path / "a.png", os.path.join(os.fsencode(tmp_path), b"\xff.png"))
    done = run(script, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\udcff.png\t" in done.stdout

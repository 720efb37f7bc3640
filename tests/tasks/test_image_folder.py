"""Folders of images: layouts, sizes, colour modes, and files that must not be read."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nas.errors import DataError
from nas.tasks.images.loading import load_data


def write_image(path: Path, size: tuple[int, int] = (6, 5), mode: str = "RGB", value: int = 100) -> None:
    """Write an image of one colour with the given mode and size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value if mode in ("L", "P", "I;16", "1") else (value,) * len(mode)).save(path)


def write_flat(root: Path, per_class: int = 10, **options: Any) -> None:
    for label, title in enumerate(("cat", "dog", "emu")):
        for index in range(per_class):
            write_image(root / title / f"{index}.png", value=50 * label + index, **options)


class TestFolder:
    def test_a_folder_a_class(self, tmp_path: Path) -> None:
        """Missing splits are taken from the images, in the same way each time."""
        write_flat(tmp_path)
        (tmp_path / "cat" / "notes.txt").write_text("no image")
        (tmp_path / ".cache").mkdir()
        data = load_data(f"folder:{tmp_path}")
        assert data.classes == ("cat", "dog", "emu")
        assert data.input_shape == (3, 5, 6)
        assert (len(data.train), len(data.validation), len(data.test)) == (18, 6, 6)
        values = [int(i[0, 0, 0]) for s in (data.train, data.validation, data.test) for i in s.images]
        assert sorted(values) == [50 * label + index for label in range(3) for index in range(10)]
        assert data.train.labels.tolist() == [int(image[0, 0, 0]) // 50 for image in data.train.images]
        assert load_data(f"folder:{tmp_path}").fingerprint == data.fingerprint
        assert (data.flip, data.name) == (True, f"folder:{tmp_path}")

    @pytest.mark.parametrize(
        ("classes", "mode", "mirrored", "random_parts"),
        [
            (("cat", "dog"), "RGB", True, True),
            (("cat", "dog"), "L", False, False),
            (("3", "10"), "RGB", False, False),
            (("a", "dog"), "RGB", False, False),
            (("turn-Left", "stop"), "RGB", False, True),
        ],
    )
    def test_photos_are_mirrored_and_cut_in_training_but_no_letters(
        self, tmp_path: Path, classes: tuple[str, ...], mode: str, mirrored: bool, random_parts: bool
    ) -> None:
        """Unless the user says so. What is done is told with the data. Sides are not mirrored.

        Small pictures stay whole, so runs on them go on that began before any were cut.
        """
        for title in classes:
            for number in range(3):
                write_image(tmp_path / title / f"{number}.png", (33, 40), mode=mode, value=9)
        data = load_data(f"folder:{tmp_path}")
        assert (data.flip, data.random_parts) == (mirrored, random_parts)
        assert ("in training mirrored" in data.in_words) == mirrored
        assert ("cut to random parts above 32 pixels" in data.in_words) == random_parts
        assert data.facts.get("mirrored", False) == mirrored
        assert data.facts.get("random parts", False) == random_parts
        assert load_data(f"folder:{tmp_path}", mirror=not mirrored).flip == (not mirrored)
        other = load_data(f"folder:{tmp_path}", random_parts=not random_parts)
        assert (other.flip, other.random_parts) == (mirrored, not random_parts)
        small = load_data(f"folder:{tmp_path}", image_size=32)
        assert small.random_parts == random_parts
        assert "random parts" not in small.in_words
        assert "random parts" not in small.facts

    @pytest.mark.parametrize("validation", ["val", "valid", "validation", None])
    @pytest.mark.parametrize("has_test", [True, False])
    def test_a_folder_a_split(self, tmp_path: Path, validation: str | None, has_test: bool) -> None:
        """Existing split folders are used unchanged."""
        write_flat(tmp_path / "train")
        if validation:
            write_flat(tmp_path / validation, per_class=2)
        if has_test:
            write_flat(tmp_path / "test", per_class=3)
        data = load_data(f"folder:{tmp_path}")
        assert len(data.train) == 30 - (0 if has_test else 6) - (0 if validation else 6)
        assert len(data.validation) == 6
        assert len(data.test) == (9 if has_test else 6)

    def test_the_folder_of_runs_is_no_class(self, tmp_path: Path) -> None:
        """A search in the current folder puts it beside the classes, and then loads them again."""
        write_flat(tmp_path)
        before = load_data(f"folder:{tmp_path}")
        (tmp_path / "runs" / "first").mkdir(parents=True)
        (tmp_path / "runs" / "first" / "recipe.toml").touch()
        assert load_data(f"folder:{tmp_path}").fingerprint == before.fingerprint

    @pytest.mark.parametrize("names", [("Train", "Test"), ("Training", "Testing"), ("TRAIN", "TEST")])
    def test_splits_by_other_names_are_no_classes(self, tmp_path: Path, names: tuple[str, str]) -> None:
        """Folders of splits are often written in capitals or in full; as classes they would be learned."""
        train, test = names
        write_flat(tmp_path / train)
        write_flat(tmp_path / test, per_class=3)
        data = load_data(f"folder:{tmp_path}")
        assert data.classes == ("cat", "dog", "emu")
        assert len(data.test) == 9

    def test_a_class_may_be_called_train(self, tmp_path: Path) -> None:
        """A folder of images is a class, whatever its name."""
        for title in ("train", "bus"):
            for index in range(4):
                write_image(tmp_path / title / f"{index}.png")
        assert load_data(f"folder:{tmp_path}").classes == ("bus", "train")

    def test_grey_images_have_one_channel_if_all_are_grey(self, tmp_path: Path) -> None:
        """A single colour image makes all images colour images."""
        write_flat(tmp_path, mode="L")
        assert load_data(f"folder:{tmp_path}").input_shape == (1, 5, 6)
        write_image(tmp_path / "cat" / "colour.png", mode="RGBA")
        assert load_data(f"folder:{tmp_path}").input_shape == (3, 5, 6)

    @pytest.mark.parametrize("ending", ["png", "pgm"])
    def test_sixteen_bits_keep_their_upper_eight(self, ending: str, tmp_path: Path) -> None:
        """Values are not clipped, and the pictures are grey."""
        for title in ("a", "b"):
            for index in range(3):
                write_image(tmp_path / title / f"{index}.{ending}", mode="I;16", value=0x4321)
        images = np.asarray(load_data(f"folder:{tmp_path}").train.images)
        assert (images == 0x43).all()
        assert images.shape[1] == 1

    def test_hidden_folders_are_passed_over(self, tmp_path: Path) -> None:
        """Programs keep deleted pictures and thumbnails there."""
        write_flat(tmp_path)
        before = load_data(f"folder:{tmp_path}")
        write_image(tmp_path / "cat" / ".trash" / "deleted.png", value=255)
        assert load_data(f"folder:{tmp_path}").fingerprint == before.fingerprint

    def test_pictures_of_many_sizes_are_scaled_to_a_usual_one(self, tmp_path: Path) -> None:
        """The middle squares, at a side that half of them have, or the smallest usual one; a note tells."""
        write_flat(tmp_path)
        write_image(tmp_path / "dog" / "wide.png", size=(40, 10), value=77)
        data = load_data(f"folder:{tmp_path}")
        assert data.input_shape == (3, 32, 32)
        assert data.crop
        (told,) = data.notes
        assert told.startswith("pictures differ in size, from 6×5 to 40×10 pixels, so their middle squares are scaled")
        assert "--set data.image_size=64" in told
        again = load_data(f"folder:{tmp_path}")
        assert (again.notes, again.crop) == (data.notes, True)

    @pytest.mark.parametrize(("sides", "expected"), [((70, 80, 90), 64), ((20, 100, 130), 96), ((400, 500, 600), 128)])
    def test_the_usual_side_is_one_that_half_of_the_pictures_have(
        self, tmp_path: Path, sides: tuple[int, ...], expected: int
    ) -> None:
        for title in ("a", "b"):
            for side in sides:
                write_image(tmp_path / title / f"{side}.png", size=(side, side + 10))
        assert load_data(f"folder:{tmp_path}").input_shape[1:] == (expected, expected)

    def test_large_pictures_of_one_size_are_scaled_too(self, tmp_path: Path) -> None:
        for title in ("a", "b"):
            for number in range(3):
                write_image(tmp_path / title / f"{number}.png", size=(800, 600))
        data = load_data(f"folder:{tmp_path}")
        assert data.input_shape[1:] == (128, 128)
        assert data.notes[0].startswith("pictures are large, 800×600 pixels, so their middle squares are scaled to 128")

    def test_with_an_image_size_each_picture_is_scaled(self, tmp_path: Path) -> None:
        write_flat(tmp_path)
        write_image(tmp_path / "dog" / "wide.png", size=(40, 10), value=77)
        data = load_data(f"folder:{tmp_path}", image_size=8)
        assert data.input_shape == (3, 8, 8)
        values = [image[0] for split in (data.train, data.validation, data.test) for image in split.images]
        assert any((value == 77).all() for value in values)

    def test_the_middle_of_a_wide_image_is_kept(self, tmp_path: Path) -> None:
        """The sides are cut off."""
        pixels = np.zeros((4, 12), dtype=np.uint8)
        pixels[:, 4:8] = 200
        for title in ("a", "b"):
            for index in range(3):
                (tmp_path / title).mkdir(exist_ok=True)
                Image.fromarray(pixels).save(tmp_path / title / f"{index}.png")
        assert (np.asarray(load_data(f"folder:{tmp_path}", image_size=4).train.images) == 200).all()

    @pytest.mark.parametrize("pictures", [1, 2])
    def test_the_orientation_of_a_camera_is_applied(self, tmp_path: Path, pictures: int) -> None:
        """The orientation stored in a JPEG file is applied to the size too, even in files with a preview."""
        exif = Image.Exif()
        exif[0x0112] = 6
        for title in ("a", "b"):
            (tmp_path / title).mkdir()
            for index in range(3):
                path = tmp_path / title / f"{index}.jpg"
                preview = Image.new("RGB", (3, 2))
                more: dict[str, Any] = {"format": "MPO", "save_all": True, "append_images": [preview]}
                Image.new("RGB", (6, 4)).save(path, exif=exif, **(more if pictures == 2 else {}))
                with Image.open(path) as saved:
                    assert saved.format == ("MPO" if pictures == 2 else "JPEG")
        assert load_data(f"folder:{tmp_path}").input_shape == (3, 6, 4)

    @pytest.mark.parametrize("content", [b"", b"no image", "half", b"%!PS-Adobe-3.0 EPSF-3.0\n%%EndComments\n"])
    def test_a_broken_image_is_named_and_left_out(self, tmp_path: Path, content: bytes | str) -> None:
        """One may be, whether its header or only its end is damaged. Formats that start a program are not read."""
        write_flat(tmp_path)
        path = tmp_path / "dog" / "3.png"
        if isinstance(content, str):
            noise = np.random.default_rng(0).integers(0, 256, (5, 6, 3), dtype=np.uint8)
            Image.fromarray(noise).save(path)
            content = path.read_bytes()[:80]
        path.write_bytes(content)
        data = load_data(f"folder:{tmp_path}")
        assert (len(data.train), len(data.validation), len(data.test)) == (18, 5, 6)
        assert 53 not in np.asarray(data.train.images)
        (note,) = data.notes
        assert note.startswith("1 of 30 pictures was left out as unreadable: dog/3.png (")
        assert data.warnings[0] == note

    def test_many_broken_images_are_refused(self, tmp_path: Path) -> None:
        """More than 5 % are no accident. The error names some with their reasons."""
        write_flat(tmp_path, per_class=20)
        for index in range(3):
            (tmp_path / "dog" / f"{index}.png").write_text("no image")
        assert load_data(f"folder:{tmp_path}").notes[0].startswith("3 of 60 pictures were left out as unreadable: ")
        for index in range(3, 8):
            (tmp_path / "dog" / f"{index}.png").write_text("no image")
        with pytest.raises(DataError, match=r"5% .* 3 of 60, but 8 are: dog/0.png \(it is none of PNG.*; and 3 more"):
            load_data(f"folder:{tmp_path}")

    def test_a_class_needs_an_image_that_can_be_read(self, tmp_path: Path) -> None:
        """A class whose only image is broken is refused by name."""
        write_flat(tmp_path)
        (tmp_path / "fox").mkdir()
        (tmp_path / "fox" / "1.jpg").write_bytes(b"")
        with pytest.raises(DataError, match=r"all of 'fox' are broken: fox/1.jpg"):
            load_data(f"folder:{tmp_path}")

    def test_a_photo_cut_off_in_its_middle_is_left_out(self, tmp_path: Path) -> None:
        """Also one with a proper end, whose missing part Pillow fills with grey."""
        rng = np.random.default_rng(0)
        for title in ("a", "b"):
            (tmp_path / title).mkdir()
            for index in range(3):
                noise = Image.fromarray(rng.integers(0, 256, (60, 80, 3), dtype=np.uint8))
                noise.save(tmp_path / title / f"{index}.jpg")
        content = (tmp_path / "a" / "1.jpg").read_bytes()
        (tmp_path / "a" / "1.jpg").write_bytes(content[: len(content) // 2] + b"\xff\xd9")
        (note,) = load_data(f"folder:{tmp_path}").notes
        assert "a/1.jpg (it breaks off before its end)" in note

    def test_files_of_unknown_formats_are_told(self, tmp_path: Path) -> None:
        """Pictures of a phone are not left out without a word; texts are."""
        write_flat(tmp_path)
        for name in ("IMG_1.HEIC", "IMG_2.heic", "labels.txt", ".DS_Store"):
            (tmp_path / "cat" / name).write_bytes(b"x")
        (note,) = load_data(f"folder:{tmp_path}").notes
        assert note == (
            "files with unknown endings were left out (2 .heic). Convert pictures among them to JPEG or PNG."
        )

    @pytest.mark.skipif(sys.platform != "linux", reason="other systems take no such names")
    def test_names_that_are_no_text(self, tmp_path: Path) -> None:
        """A class needs a name in UTF-8, because files of a winner hold it. The name of a file does not matter."""
        root = os.fsencode(tmp_path)
        write_flat(tmp_path)
        os.rename(os.path.join(root, b"cat", b"1.png"), os.path.join(root, b"cat", b"\xff.png"))
        assert len(load_data(f"folder:{tmp_path}").train) == 18
        with open(os.path.join(root, b"cat", b"\xfe.png"), "w") as file:
            file.write("no image")
        assert "cat/\\xfe.png" in load_data(f"folder:{tmp_path}").notes[0]
        os.rename(os.path.join(root, b"dog"), os.path.join(root, b"d\xf6g"))
        with pytest.raises(DataError, match=r"need names in UTF-8, but .* has one called 'd\\\\xf6g'"):
            load_data(f"folder:{tmp_path}")

    def test_links_out_of_the_folder_are_refused(self, tmp_path: Path) -> None:
        """Files may link within the folder; subfolders may not be links."""
        root = tmp_path / "data"
        write_flat(root)
        (root / "cat" / "inside.png").symlink_to(root / "cat" / "1.png")
        assert len(load_data(f"folder:{root}").train) == 19
        write_image(tmp_path / "secret.png")
        (root / "cat" / "outside.png").symlink_to(tmp_path / "secret.png")
        with pytest.raises(DataError, match=r"must lie within .*outside.png links to .*secret.png"):
            load_data(f"folder:{root}")
        (root / "cat" / "outside.png").unlink()
        (root / "cat" / "broken.png").symlink_to(root / "nothing.png")
        (root / "cat" / "itself.png").symlink_to(root / "cat" / "itself.png")
        with pytest.raises(DataError, match=r"2 are: cat/broken.png \(it is no file, or a broken link\); cat/itself"):
            load_data(f"folder:{root}")
        (root / "cat" / "itself.png").unlink()
        (root / "cat" / "broken.png").unlink()
        (root / "fox").symlink_to(root / "dog")
        with pytest.raises(DataError, match=r"must not be links, but .*fox links to .*dog"):
            load_data(f"folder:{root}")

    def test_a_link_to_the_folder_itself_is_fine(self, tmp_path: Path) -> None:
        """The data folder that the user named may be a link."""
        write_flat(tmp_path / "real")
        (tmp_path / "alias").symlink_to(tmp_path / "real")
        assert load_data(f"folder:{tmp_path / 'alias'}").signature.classes == 3

    def test_invalid_layouts_are_refused(self, tmp_path: Path) -> None:
        """Each message says what is wrong and where."""
        with pytest.raises(DataError, match=r"but .*nowhere is no folder"):
            load_data(f"folder:{tmp_path / 'nowhere'}")
        write_image(tmp_path / "one" / "cat" / "1.png")
        with pytest.raises(DataError, match="at least 2 classes, but it holds 1"):
            load_data(f"folder:{tmp_path / 'one'}")
        (tmp_path / "one" / "dog").mkdir()
        with pytest.raises(DataError, match=r"each class must have an image, but .*dog has none that ends in"):
            load_data(f"folder:{tmp_path / 'one'}")
        write_image(tmp_path / "one" / "dog" / "1.png")
        with pytest.raises(DataError, match="no class has more than one"):
            load_data(f"folder:{tmp_path / 'one'}")
        write_image(tmp_path / "one" / "loose.png")
        with pytest.raises(DataError, match=r"folder of their class, but .*loose.png"):
            load_data(f"folder:{tmp_path / 'one'}")

    def test_splits_that_do_not_fit_are_refused(self, tmp_path: Path) -> None:
        """Unknown classes, two validation folders and missing training images are refused."""
        write_flat(tmp_path / "train")
        write_image(tmp_path / "test" / "dogs" / "1.png")
        with pytest.raises(
            DataError, match=r"only classes of the training images, but it has 'dogs'. Did you mean 'dog'"
        ):
            load_data(f"folder:{tmp_path}")
        shutil.rmtree(tmp_path / "test")
        write_flat(tmp_path / "evaluation")
        with pytest.raises(
            DataError, match=r"but .*evaluation has some. Rename it, or move it out; if train is a class"
        ):
            load_data(f"folder:{tmp_path}")
        shutil.rmtree(tmp_path / "evaluation")
        for other in ("docs/a.png", "__MACOSX/a/b.png", "__MACOSX/b/b.png", "notes/a/._1.png", "notes/b/.c/1.png"):
            write_image(tmp_path / other)
        assert len(load_data(f"folder:{tmp_path}").classes) == 3  # none of these looks like a split
        write_flat(tmp_path / "val")
        write_flat(tmp_path / "valid")
        with pytest.raises(DataError, match=r"one folder for validation, but it has .*val and .*valid"):
            load_data(f"folder:{tmp_path}")
        (tmp_path / "train").rename(tmp_path / "learning")
        with pytest.raises(DataError, match="must have a folder train"):
            load_data(f"folder:{tmp_path}")

    def test_images_that_do_not_fit_into_memory_are_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The refusal comes before any image is decoded."""
        write_flat(tmp_path)
        with pytest.raises(DataError, match=r"must fit into 256 MiB, but one of 20000×20000 .* Set a lower image_size"):
            load_data(f"folder:{tmp_path}", image_size=20_000)
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
        with pytest.raises(DataError, match="too large an image"):
            load_data(f"folder:{tmp_path}")

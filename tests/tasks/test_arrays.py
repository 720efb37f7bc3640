"""Arrays that a user gives: only what is plainly an image is one, and labels name classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numbered_images import numbered_images

from nas.tasks.images.images import Images

ANY = np.random.default_rng(0)
LABELS = np.arange(200) % 2


def floats(*shape: int) -> np.ndarray[Any, Any]:
    return ANY.random((200, *shape), dtype=np.float32)


class TestImages:
    @pytest.mark.parametrize(
        ("images", "message"),
        [
            (floats(3, 128), "look like signals"),
            (floats(128, 3), "look like signals"),
            (floats(1, 64), "look like signals"),
            (floats(12, 1000), r"may be signals, because 1000×12 pixels.* pass images\[:, None\]"),
            (floats(64, 128), r"with more than the 256 levels of pixels may be signals.* pass images\[:, None\]"),
            (floats(3, 1, 128), "look like signals"),
            (floats(1, 3, 128), "look like signals"),
            (floats(22, 1, 1125), "look like signals"),
            ((floats(3, 128) * 255).astype(np.uint8), "look like signals"),
            ((floats(12, 100) * 255).astype(np.uint8), "very long image"),
            (floats(20), "must have the shape"),
            (floats(1, 3, 8, 8), "must have the shape"),
            (floats(8, 8).astype(bool), "must be uint8, or floats .* but got bool"),
            (floats(8, 8).astype(str), "must be uint8, or floats"),
        ],
    )
    def test_what_may_be_a_signal_is_no_image(self, images: np.ndarray[Any, Any], message: str) -> None:
        """The error says why, and how to say that it is an image after all."""
        with pytest.raises(ValueError, match=message):
            Images.from_arrays(images, LABELS)

    @pytest.mark.parametrize(
        ("images", "shape"),
        [
            (floats(1, 64, 128), (1, 64, 128)),
            (floats(3, 32, 32), (3, 32, 32)),
            (np.rint(floats(32, 32) * 255) / 255, (1, 32, 32)),
            ((floats(28, 28) * 255).astype(np.uint8), (1, 28, 28)),
            ((floats(3, 32, 512) * 255).astype(np.uint8), (3, 32, 512)),
            ((floats(13, 16, 16) * 255).astype(np.uint8), (13, 16, 16)),
        ],
    )
    def test_plain_images_are_taken(self, images: np.ndarray[Any, Any], shape: tuple[int, ...]) -> None:
        """An axis of channels, or the 256 levels of pixels, tell that an array holds images."""
        assert Images.from_arrays(images, LABELS).input_shape == shape


class TestLabels:
    def test_labels_with_gaps_are_mapped(self) -> None:
        """Each different label is a class, called by its label. Large ones take no memory."""
        labels = np.array([10**12, 7, 255])[np.arange(30) % 3]
        data = Images.from_arrays(numbered_images(30), labels, test_images=numbered_images(3), test_labels=labels[:3])
        assert data.classes == ("7", "255", "1000000000000")
        assert data.test.labels.tolist() == [2, 0, 1]
        huge = Images.from_arrays(numbered_images(20), np.array([2**64 - 1, 0] * 10, dtype=np.uint64))
        assert huge.classes == ("0", str(2**64 - 1))

    def test_labels_may_be_text(self) -> None:
        """The classes are in the order of the alphabet, or in the given one."""
        labels = np.array(["dog", "cat"] * 10)
        data = Images.from_arrays(numbered_images(20), labels)
        assert (data.classes, data.train.labels[0]) == (("cat", "dog"), 1)
        given = Images.from_arrays(numbered_images(20), labels, classes=("dog", "cat"))
        assert (given.classes, given.train.labels[0]) == (("dog", "cat"), 0)

    @pytest.mark.parametrize(
        ("labels", "options", "message"),
        [
            (np.arange(20) % 2 * 10**12, {"classes": ["a", "b"]}, "0 to 1 for 2 classes.* largest .* 1000000000000"),
            (np.arange(20) % 3, {"classes": ["a", "b"]}, "0 to 1 for 2 classes, but the largest of the others is 2"),
            (np.arange(20) % 2, {"classes": ["a", "b", "c"]}, "at least one image, but class c has none"),
            (np.array(["a", "c"] * 10), {"classes": ["a", "b"]}, "among a, b for 2 classes, .* is c"),
            (np.arange(20) % 2, {"classes": ["a", "a"]}, "different names, but 'a' is there 2 times"),
            (np.arange(20) % 2, {"classes": [0, 1]}, "name of a class must be text, but got 0"),
            (np.arange(20) % 2, {"classes": "ab"}, "names of several classes, but got the text 'ab'"),
            (np.arange(20) % 2, {"classes": [None, None]}, "name of a class must be text, but got None"),
            (np.arange(20) % 2, {"classes": []}, "at least 2 classes, but got 0"),
            (np.arange(0), {}, r"of shape \(N,\), but got int64 of shape \(0,\)"),
            (np.arange(20) % 2, {"classes": ["a", ""]}, "name of a class must be text, but got ''"),
            (np.arange(20) % 2, {"classes": ["a", "\udcff"]}, "must be text in UTF-8"),
            (np.arange(20) % 2, {"name": "\ud800"}, "must be text in UTF-8"),
            (np.arange(20) % 2 - 1, {}, "must not be negative, but got -1"),
            (np.arange(20) % 2 == 0, {}, "must be integers or text .* but got bool"),
            (np.array([{}] * 20), {}, "must be integers or text .* but got object"),
            (np.arange(40).reshape(20, 2) % 2, {}, r"classes. Pass their numbers: labels.argmax\(axis=1\)"),
            (np.arange(20) % 2, {"flip": "no"}, "flip must be True or False, but got 'no'"),
            (np.arange(20) % 2, {"shift": 1.5}, "shift must be a whole number of pixels, but got 1.5"),
        ],
    )
    def test_other_labels_are_refused(
        self, labels: np.ndarray[Any, Any], options: dict[str, Any], message: str
    ) -> None:
        """The error names the largest label that is no class."""
        with pytest.raises(ValueError, match=message):
            Images.from_arrays(numbered_images(20), labels, **options)

    def test_identities_are_no_labels(self) -> None:
        """A label for each image is refused at once, before each is looked at as a class."""
        images = np.zeros((60_000, 2, 2), dtype=np.uint8)
        with pytest.raises(ValueError, match="60000 of 60000 labels differ, up to 59999"):
            Images.from_arrays(images, np.arange(60_000))

    def test_test_labels_need_training_images(self) -> None:
        """A class that only the test has cannot be learned."""
        with pytest.raises(ValueError, match=r"test_labels must be 0 to 1 .* the largest of the others is 5"):
            Images.from_arrays(
                numbered_images(20), np.arange(20) % 2, test_images=numbered_images(2), test_labels=np.array([0, 5])
            )

    def test_labels_are_of_one_kind(self) -> None:
        """Text does not stand for a number."""
        test = {"test_images": numbered_images(2), "test_labels": np.array([0, 1])}
        with pytest.raises(ValueError, match="test_labels must be text where other labels are"):
            Images.from_arrays(numbered_images(20), np.array(["0", "1"] * 10), **test)


class TestDuplicates:
    def test_pictures_in_two_splits_are_counted(self) -> None:
        """A given test keeps its copies, which are counted, and so are pictures with two labels."""
        images, test = numbered_images(100), numbered_images(110)[95:]
        data = Images.from_arrays(images, np.arange(100) % 2, test_images=test, test_labels=np.arange(15) % 2)
        assert len(data.test) == 15
        assert [warning[:40] for warning in data.warnings[:2]] == [
            "10 of 115 pictures depend on others and ",
            "5 of 15 test pictures share a group with",
        ]
        assert data.warnings[2:] == (
            "5 pictures are in more than one class, pixel by pixel, so not every label can be right. Leave each in one "
            "class.",
        )

    def test_copies_stay_in_one_split(self) -> None:
        """Without copies nothing is said, and no group is in two splits that are made."""
        assert Images.from_arrays(numbered_images(100), np.arange(100) % 2).warnings == ()
        twice = np.concatenate([numbered_images(20), numbered_images(20)])
        data = Images.from_arrays(twice, np.arange(40) % 2, test_images=numbered_images(22)[20:], test_labels=[0, 1])
        (warning,) = data.warnings
        assert warning.startswith("40 of 42 pictures depend on others and form 20 groups")
        assert data.train.groups is not None
        assert data.validation.groups is not None
        assert not set(data.train.groups) & set(data.validation.groups)
        apart = Images.from_arrays(twice, np.arange(40) % 2, groups="none")
        assert apart.train.groups is None
        assert "validation pictures equal pictures of an earlier split" in apart.warnings[0]

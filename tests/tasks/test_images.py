"""Data sets: splits that never overlap, and arrays that are checked."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numbered_images import indices_of, numbered_images

from nas.tasks.batches import targets_of
from nas.tasks.images.images import Images
from nas.tasks.images.splits import Split


def numbered_data(count: int = 300, classes: int = 3, **options: Any) -> Images:
    return Images.from_arrays(numbered_images(count), np.arange(count) % classes, **options)


class TestSplits:
    def test_each_image_is_in_one_split(self) -> None:
        """The splits neither overlap nor lose an image, and each has its share of each class."""
        data = numbered_data()
        everything = [index for split in (data.train, data.validation, data.test) for index in indices_of(split)]
        assert sorted(everything) == list(range(300))
        assert (len(data.train), len(data.validation), len(data.test)) == (192, 48, 60)
        assert np.bincount(data.test.labels).tolist() == [20, 20, 20]
        assert np.bincount(data.validation.labels).tolist() == [16, 16, 16]

    def test_labels_stay_with_their_images(self) -> None:
        """Each image keeps its own label."""
        data = numbered_data()
        for split in (data.train, data.validation, data.test, data.part(0.3)):
            assert targets_of(split).tolist() == [index % 3 for index in indices_of(split)]

    def test_the_seed_moves_only_the_validation_split(self) -> None:
        """Test errors of runs with different seeds use the same images."""
        one, again, other = numbered_data(seed=1), numbered_data(seed=1), numbered_data(seed=2)
        assert one.fingerprint == again.fingerprint != other.fingerprint
        assert indices_of(one.test) == indices_of(other.test)
        assert indices_of(one.validation) != indices_of(other.validation)

    def test_more_of_few_images_validate(self) -> None:
        """A tenth of a few hundred images would tell good models from bad ones by chance."""
        counts = {count: len(numbered_data(count).validation) for count in (3000, 6249, 6252, 9000, 15_000)}
        assert counts == {3000: 480, 6249: 999, 6252: 999, 9000: 999, 15_000: 1200}
        assert len(numbered_data(validation_share=0.1).validation) == 24

    def test_subsets_are_nested_and_stratified(self) -> None:
        """A larger subset contains every smaller one, and each class has its share."""
        data = numbered_data()
        shares = (0.001, 0.1, 0.25, 0.3, 0.5, 0.99, 1.0)
        subsets = [data.part(share) for share in shares]
        for smaller, larger in itertools.pairwise(subsets):
            assert set(indices_of(smaller)) <= set(indices_of(larger))
        assert np.bincount(targets_of(subsets[2])).tolist() == [16, 16, 16]
        assert len(subsets[0]) == 3
        assert len(subsets[-1]) == len(data.train)

    def test_a_subset_has_limits(self) -> None:
        """A share must be above 0 and at most 1."""
        data = numbered_data()
        with pytest.raises(ValueError, match="share must be above 0 and at most 1, but got 0"):
            data.part(0)
        with pytest.raises(ValueError, match=r"but got 1\.5"):
            data.part(1.5)

    def test_a_sample_is_of_all_classes_in_random_order(self) -> None:
        """Even if images are sorted by class, each batch of a sample has all classes."""
        labels = np.repeat(np.arange(3), (60, 30, 30)).astype(np.int64)
        split = Split(numbered_images(120)[:, None], labels)
        assert np.bincount(split.sample(40).labels).tolist() == [20, 10, 10]
        whole = split.sample(1000)
        assert np.bincount(whole.labels).tolist() == [60, 30, 30]
        assert all(set(whole.labels[start : start + 24].tolist()) == {0, 1, 2} for start in range(0, 120, 24))
        assert len({image.tobytes() for image in whole.images}) == 120
        assert (split.sample(40).images == split.sample(40).images).all()
        assert (split.sample(40, seed=1).images != split.sample(40).images).any()
        assert len(split.sample(1).labels) == 1

    def test_a_class_of_two_is_in_train_first(self) -> None:
        """The training split never loses the last image of a class."""
        labels = np.array([0] * 50 + [1] * 2 + [2])
        data = Images.from_arrays(numbered_images(53), labels)
        assert set(data.train.labels.tolist()) == {0, 1, 2}

    def test_shapes_and_types_of_a_split_are_checked(self) -> None:
        """A split must hold uint8 images and as many int64 labels."""
        images = np.zeros((4, 1, 2, 2), dtype=np.uint8)
        with pytest.raises(ValueError, match=r"must be uint8 .* but got float64"):
            Split(images.astype(np.float64), np.zeros(4, dtype=np.int64))  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=r"int64 of shape \(4,\), but got int64 of shape \(3,\)"):
            Split(images, np.zeros(3, dtype=np.int64))


class TestDataSet:
    def test_mean_and_std_describe_the_training_images(self) -> None:
        """There is one value per channel, on the scale from 0 to 1."""
        rng = np.random.default_rng(0)
        images = rng.integers(0, 256, (2500, 3, 5, 4), dtype=np.uint8)
        data = Images.from_arrays(images, np.arange(2500) % 2)
        scaled = data.train.images / 255
        np.testing.assert_allclose(data.mean, scaled.mean(axis=(0, 2, 3)), rtol=1e-5)
        np.testing.assert_allclose(data.std, scaled.std(axis=(0, 2, 3)), rtol=1e-5)
        assert data.mean.dtype == data.std.dtype == np.float32
        assert (data.input_shape, data.signature.classes) == ((3, 5, 4), 2)

    def test_a_constant_channel_can_be_divided_by(self) -> None:
        """Its standard deviation counts as one grey level."""
        data = Images.from_arrays(np.full((20, 2, 2), 7, dtype=np.uint8), np.arange(20) % 2)
        assert data.std[0] == pytest.approx(1 / 255)

    def test_fingerprint_sees_pixels_labels_and_classes(self) -> None:
        """The fingerprint does not depend on the name."""
        data = numbered_data()
        pixels = data.test.images.copy()
        pixels[0, 0, 3, 3] += 1
        labels = data.train.labels.copy()
        labels[labels.argmax()], labels[labels.argmin()] = labels.min(), labels.max()
        changed = [
            replace(data, test=Split(pixels, data.test.labels)),
            replace(data, train=Split(data.train.images, labels)),
            replace(data, classes=("a", "b", "c")),
        ]
        assert data.fingerprint not in {other.fingerprint for other in changed}
        assert replace(data, name="other").fingerprint == data.fingerprint
        assert len(data.fingerprint) == 12

    def test_contradictions_are_refused(self) -> None:
        """Empty splits, other shapes, labels without a class, one class and a negative shift are refused."""
        data = numbered_data()
        with pytest.raises(ValueError, match="at least one image, but test is empty"):
            replace(data, test=data.test.sample(0))
        with pytest.raises(ValueError, match=r"same shape, \(1, 4, 4\) as in train, but got \(1, 4, 2\) in test"):
            replace(data, test=Split(data.test.images[..., :2], data.test.labels))
        with pytest.raises(ValueError, match="labels must be 0 to 1 for 2 classes, but got 0 to 2"):
            replace(data, classes=("a", "b"))
        with pytest.raises(ValueError, match="shift must not be negative, but got -1"):
            replace(data, shift=-1)

    def test_classes_without_a_test_are_told(self) -> None:
        """A class with one image has it in training, so nobody sees whether it was learned."""
        labels = np.concatenate([np.arange(40) % 2, np.arange(2, 9)])
        data = Images.from_arrays(numbered_images(47), labels)
        assert data.warnings == (
            "no test picture is of 2, 3, 4, 5, 6 and 2 more, so errors there are not seen. Add some, or leave the "
            "classes out.",
            "no validation picture is of 2, 3, 4, 5, 6 and 2 more, so errors there are not seen. Add some, or leave "
            "the classes out.",
            "7 of 9 classes have fewer than 5 training images, such as 2 with 1: models learn little from so few, and "
            "errors depend on chance. Bring more images.",
            "classes are unequal: 0 has 39.4 % of the training images, and 2 3.0 %. Always answering 0 has an error of "
            "60.6 % there. Look at balanced_error, or minimise it.",
        )


class TestFromArrays:
    def test_floats_become_bytes(self) -> None:
        """The range from 0 to 1 is mapped to 0 to 255."""
        images = np.zeros((20, 2, 2), dtype=np.float32)
        images[:, 0, 0], images[:, 0, 1] = 1.0, 0.5
        data = Images.from_arrays(images, np.arange(20) % 2)
        assert data.train.images[0, 0].tolist() == [[255, 128], [0, 0]]

    def test_own_test_images_are_kept_apart(self) -> None:
        """With given test images, all other images are split into training and validation."""
        data = Images.from_arrays(
            numbered_images(100),
            np.arange(100) % 2,
            test_images=numbered_images(10),
            test_labels=np.arange(10) % 2,
            classes=("cat", "dog"),
            flip=True,
            shift=2,
            name="pets",
        )
        assert indices_of(data.test) == list(range(10))
        assert (len(data.train), len(data.validation)) == (80, 20)
        assert (data.classes, data.flip, data.shift, data.name) == (("cat", "dog"), True, 2, "pets")

    @pytest.mark.parametrize(
        ("images", "labels", "options", "message"),
        [
            (np.zeros((4, 4), np.uint8), np.arange(4), {}, r"must have the shape .* but got \(4, 4\)"),
            (np.zeros((0, 4, 4), np.uint8), np.arange(0), {}, "must have the shape"),
            (np.zeros((4, 8, 8, 3), np.uint8), np.arange(4), {}, "must come before height and width"),
            (np.zeros((4, 2, 2), np.int32), np.arange(4), {}, "must be uint8, or floats .* but got int32"),
            (np.full((4, 2, 2), 255.0), np.arange(4), {}, r"must lie within \[0, 1\], but got 255 to 255"),
            (np.full((4, 2, 2), np.nan), np.arange(4), {}, r"must lie within \[0, 1\], but got nan"),
            (np.zeros((4, 2, 2), np.uint8), np.arange(3), {}, r"of shape \(4,\), but got int64 of shape \(3,\)"),
            (np.zeros((4, 2, 2), np.uint8), np.arange(4) / 2, {}, "must be integers or text .* but got float64"),
            (np.zeros((4, 2, 2), np.uint8), np.arange(4) - 1, {}, "must not be negative, but got -1"),
            (np.zeros((4, 2, 2), np.uint8), np.zeros(4, int), {}, "at least 2 classes, but got 1"),
            (np.zeros((4, 2, 2), np.uint8), np.arange(4), {}, "no class has more than one"),
            (np.zeros((4, 2, 2), np.uint8), np.arange(4) % 2, {"test_share": 1.0}, "test_share must lie .* got 1.0"),
            (np.zeros((9, 2, 2), np.uint8), np.arange(9) % 2, {"validation_share": 0}, "validation_share must lie"),
            (np.zeros((4, 2, 2), np.uint8), np.arange(4), {"test_labels": np.arange(4)}, "given together"),
        ],
    )
    def test_unfit_arrays_are_refused(
        self, images: np.ndarray[Any, Any], labels: np.ndarray[Any, Any], options: dict[str, Any], message: str
    ) -> None:
        """The error says the rule and then the value."""
        with pytest.raises(ValueError, match=message):
            Images.from_arrays(images, labels, **options)

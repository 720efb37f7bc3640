"""The well-known data sets of images, in words."""

from collections.abc import Mapping

DATA_SETS: Mapping[str, str] = {
    "digits": "Handwritten digits, 8×8 grey, 1,797 images, 10 classes. It comes with scikit-learn.",
    "fashion-mnist": "Pieces of clothing, 28×28 grey, 70,000 images, 10 classes.",
    "mnist": "Handwritten digits, 28×28 grey, 70,000 images, 10 classes.",
    "cifar10": "Animals and vehicles, 32×32 in colour, 60,000 images, 10 classes.",
    "cifar100": "Things of everyday life and nature, 32×32 in colour, 60,000 images, 100 classes.",
}
"""The data sets with a name, and what is in each."""

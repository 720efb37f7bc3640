"""Medoids: a few points that represent many."""

import numpy as np
import pytest

from nas.prediction.medoids import medoids


def _clusters() -> tuple[np.ndarray, np.ndarray]:
    """Thirty points close to each of four centres, and the number of each point's centre."""
    rng = np.random.default_rng(3)
    centres = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]])
    numbers = np.repeat(np.arange(4), 30)
    return centres[numbers] + rng.normal(scale=0.3, size=(120, 2)), numbers


def test_finds_one_medoid_of_each_cluster_near_its_middle() -> None:
    """Four clusters get one medoid each."""
    features, numbers = _clusters()
    chosen = medoids(features, 4, np.random.default_rng(0))
    assert sorted(numbers[chosen]) == [0, 1, 2, 3]
    for index in chosen:
        middle = features[numbers == numbers[index]].mean(axis=0)
        assert np.linalg.norm(features[index] - middle) < 0.2


def test_takes_what_must_be_taken_and_moves_the_others_away_from_it() -> None:
    """Two given points stay, and the other two represent the remaining clusters."""
    features, numbers = _clusters()
    chosen = medoids(features, 4, np.random.default_rng(0), first=(7, 40))
    assert chosen[:2].tolist() == [7, 40]
    assert sorted(numbers[chosen[2:]]) == [2, 3]


def test_stands_for_more_than_a_random_choice() -> None:
    """The mean distance to the nearest medoid is shorter than to the nearest of random points."""
    features = np.random.default_rng(1).normal(size=(300, 6))

    def distance(chosen: np.ndarray) -> float:
        return float(np.linalg.norm(features[:, None] - features[chosen][None], axis=2).min(axis=1).mean())

    random = [distance(np.random.default_rng(seed).choice(300, 12, replace=False)) for seed in range(20)]
    assert distance(medoids(features, 12, np.random.default_rng(0))) < min(random)


@pytest.mark.parametrize("count", [1, 5, 12, 40])
def test_gives_different_rows_even_where_rows_are_equal(count: int) -> None:
    """With fewer distinct rows than the count, no row is returned twice and nothing is divided by 0."""
    features = np.repeat(np.array([[0.0, 1.0], [2.0, 3.0], [5.0, 5.0]]), 4, axis=0)
    chosen = medoids(features, count, np.random.default_rng(0), first=(2, 2))
    assert chosen[0] == 2
    assert len(set(chosen.tolist())) == len(chosen) == min(count, 12)


def test_the_same_seed_gives_the_same_rows() -> None:
    """The result depends only on the generator."""
    features = np.random.default_rng(1).normal(size=(100, 3))
    first, second = (medoids(features, 9, np.random.default_rng(5)) for _ in range(2))
    assert first.tolist() == second.tolist()


def test_refuses_a_count_of_none() -> None:
    """The count must be at least 1."""
    with pytest.raises(ValueError, match="must be at least 1, but got 0"):
        medoids(np.zeros((3, 2)), 0, np.random.default_rng(0))

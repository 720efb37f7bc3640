"""The end-to-end comparison: its report, its restarts, and one small real run."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import save

from experiments import compare_end_to_end
from experiments.end_to_end import measuring, searching
from experiments.end_to_end.fronts import report, shares
from experiments.end_to_end.measuring import MeasuredWinner, measure, retrain
from experiments.end_to_end.rivals import LEVELS, TrainedCandidate, scaled_family
from experiments.end_to_end.searching import METHODS, OURS, Chosen, choices_of
from experiments.end_to_end.seed_folder import SeedFolder
from nas.errors import CandidateError
from nas.recipe.recipe import Recipe, read_recipe
from nas.space.layer import total_macs
from nas.space.search_space import SearchSpace, load_space, settle
from nas.space.signature import image_signature
from nas.space.tracing import build_checked, layers_of
from nas.tasks.data_source import DataSource

SHAPE = (1, 28, 28)


def measured(method: str, *points: tuple[float, float]) -> list[MeasuredWinner]:
    """Return winners with these test errors and latencies in milliseconds."""
    return [
        MeasuredWinner(method, {"number": i}, error, ms, ms - 0.01, ms + 0.01) for i, (error, ms) in enumerate(points)
    ]


def test_shares_relate_to_the_hypervolume_of_all_winners() -> None:
    """The reference point is 1.1 times the worst error and latency, here (0.22, 2.2)."""
    found = shares([*measured("ours", (0.1, 1.0)), *measured("random", (0.2, 0.5), (0.15, 2.0))])
    ours, random, both = 0.12 * 1.2, 0.02 * 1.7 + 0.05 * 0.2, 0.12 * 1.2 + 0.02 * 0.5
    assert found == pytest.approx({"ours": 100 * ours / both, "random": 100 * random / both})


def test_the_report_counts_the_seeds_that_ours_wins() -> None:
    """The report shows a front for each seed in order of latency, then one line for each method."""
    better, worse = (0.1, 1.0), (0.2, 2.0)

    def seed(ours: tuple[float, float], random: tuple[float, float]) -> tuple[list[Chosen], list[MeasuredWinner]]:
        choices = [Chosen(method, 7, 60.0, "CPU", ({"number": 0},)) for method in (OURS, "random")]
        return choices, [*measured(OURS, ours), *measured("random", random)]

    lines = report({0: seed(better, worse), 1: seed(worse, better), 2: seed(better, worse)})
    assert any(row.startswith("| random | 60 s | 7 | 20.00 % 2.0000 ms [1.9900, 2.0100]") for row in lines)
    (row,) = [row for row in lines[-2:] if row.startswith("| random")]
    assert row.split("|")[-2].strip() == "2"


def test_the_hand_made_family_scales_width_and_depth() -> None:
    """The members are distinct, and the largest has 20 times the work of the smallest."""
    space = load_space("mobilenet", {}, input_shape=SHAPE, classes=10)
    family = scaled_family(space)
    assert len(set(family)) == len(family) <= len(LEVELS) ** 2
    macs = sorted(total_macs(layers_of(space, member, image_signature(SHAPE, 10))) for member in family)
    assert macs[-1] > 20 * macs[0]
    assert {member["stem.width"] for member in family} >= {min(space.choices[0].options), max(space.choices[0].options)}


def test_finished_work_is_not_repeated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The report, the JSON file and the plot come from the files of an earlier start."""
    folder = tmp_path / "out" / "seed0"
    folder.mkdir(parents=True)
    for method in METHODS:
        (folder / f"{method}.json").write_text(json.dumps(asdict(Chosen(method, 3, 60.0, "CPU", ({"number": 0},)))))
    found = [each for n, method in enumerate(METHODS) for each in measured(method, (0.1 + 0.01 * n, 1.0 + n))]
    (folder / f"measured-{'-'.join(METHODS)}.json").write_text(json.dumps([asdict(each) for each in found]))
    out, plot = tmp_path / "out.json", tmp_path / "out.svg"
    options = ["--recipe", "experiments/digits.toml", "--seeds", "1", "--out", str(tmp_path / "out")]
    changes = ["search_time_s=900", "trials=40"]  # another number of trials does not matter
    (folder / "recipe.toml").write_text(read_recipe(Path("experiments/digits.toml"), changes).to_toml())
    assert compare_end_to_end.main([*options, "--json", str(out), "--plot", str(plot)]) == 0
    printed = capsys.readouterr().out
    assert "| ours | 100.0 | – |" in printed
    kept: dict[str, Any] = json.loads(out.read_text())
    assert len(kept["seeds"]["0"]["measured"]) == len(METHODS)
    assert ">nsga2<" in plot.read_text()
    with pytest.raises(SystemExit):
        compare_end_to_end.main([*options, "--time", "1min"])
    assert "search_time_s was 900.0 and is 60.0 now. Choose another --out." in capsys.readouterr().err


@pytest.mark.parametrize(("took_s", "time_s"), [(75.0, 75.0), (50.0, 60.0)], ids=["longer", "shorter"])
def test_the_others_get_the_time_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, took_s: float, time_s: float
) -> None:
    """The others get what ours took in an earlier start, and at least the time of the recipe."""
    asked: list[float] = []

    def rival(
        recipe: Recipe, space: SearchSpace, source: DataSource, workers: int, time_s: float
    ) -> list[TrainedCandidate]:
        asked.append(time_s)
        return [TrainedCandidate(settle(space, lambda choice: choice.options[0]), 0.1, 1.0)]

    monkeypatch.setattr(searching, "RIVALS", {"random": rival})
    setting = SeedFolder(read_recipe(Path("experiments/digits.toml"), ["search_time_s=60"]), tmp_path / "seed0")
    (setting.folder / "ours.json").write_text(json.dumps(asdict(Chosen(OURS, 1, took_s, "CPU", ()))))
    choices_of(setting, ["random"])
    assert [choice.method for choice in choices_of(setting, ["random", OURS])] == ["random", OURS]
    assert asked == [time_s]


def test_a_winner_that_fails_to_retrain_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its reason is kept, it is not tried again, and the others are measured even after a kill."""
    recipe = read_recipe(
        Path("experiments/digits.toml"), ["search_time_s=60", "measuring.rounds=2", "measuring.max_rounds=2"]
    )
    setting = SeedFolder(recipe, tmp_path / "seed0")
    rng = np.random.default_rng(0)
    good, bad = (settle(setting.space, lambda choice: choice.options[rng.integers(len(choice.options))]) for _ in "ab")
    tried: list[str] = []

    class Executor:
        def __init__(self, workers: int, resources: object) -> None: ...
        def __enter__(self) -> Executor:
            return self

        def __exit__(self, *_: object) -> None: ...
        def run(self, task: Any, source: Any, *, time_limit_s: float) -> None:
            while (job := source.next_job()) is not None:
                tried.append(job["id"])
                if job["id"] == bad.id:
                    source.on_failure(job, CandidateError("training", "the loss is not finite."))
                else:
                    module = build_checked(setting.space, good, setting.data.signature)
                    source.on_end(job, {"weights": save(module.state_dict())})

    monkeypatch.setattr(measuring, "RayExecutor", Executor)
    (setting.folder / "deployed" / good.id).mkdir(parents=True)  # left by a kill during measuring
    choices = [Chosen("ours", 2, 60.0, "CPU", (dict(good), dict(bad)))]
    (winner,) = measure(setting, choices)
    assert winner.architecture == dict(good)
    assert setting.failure(bad).read_text() == "the loss is not finite."
    retrain(setting, [good, bad])
    assert sorted(tried) == sorted([good.id, bad.id])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_small_comparison(tmp_path: Path) -> None:
    """Methods search for three seconds, and their winners are retrained and measured together.

    The random search is left out: it differs from NSGA-II in the sampler that Optuna is given.
    """
    methods = ("ours", "nsga2", "scaled")
    out, recipe = tmp_path / "out.json", tmp_path / "recipe.toml"
    changes = ["training.epochs=1", "retraining.epochs=1", "retraining.winners=1", "measuring.initial=5"]
    changes += ["measuring.rounds=2", "measuring.max_rounds=2", "execution.executor=inline"]
    recipe.write_text(read_recipe(Path("experiments/digits.toml"), changes).to_toml())
    options = ["--recipe", str(recipe), "--time", "3s", "--seeds", "1", "--out", str(tmp_path / "out")]
    options += ["--methods", ",".join(methods)]
    assert compare_end_to_end.main([*options, "--search-only"]) == 0
    assert sorted(path.name for path in (tmp_path / "out").rglob("*.json") if path.stem in METHODS) == [
        f"{method}.json" for method in sorted(methods)
    ]
    assert not list((tmp_path / "out").rglob("measured.json"))
    assert compare_end_to_end.main([*options, "--json", str(out)]) == 0
    found = json.loads(out.read_text())["seeds"]["0"]
    assert [choice["method"] for choice in found["choices"]] == list(methods)
    for choice in found["choices"]:
        assert len(choice["found"]) == (0 if choice["method"] == OURS else choice["trained"])
        winners = [each for each in found["measured"] if each["method"] == choice["method"]]
        assert [each["architecture"] for each in winners] == choice["winners"]
        assert 1 <= len(winners) <= choice["trained"]
        # Ours ends where the time that is left suffices for no further training.
        assert choice["searched_s"] > (1 if choice["method"] == OURS else 3)
        assert all(0 <= each["test_error"] <= 1 for each in winners)
        assert all(0 < each["lower_ms"] <= each["latency_ms"] <= each["upper_ms"] for each in winners)

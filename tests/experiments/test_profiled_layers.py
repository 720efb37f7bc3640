"""The study of profiles compares the same samples with and without them, and measures only what its file lacks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import nas
from experiments import profiled_layers
from experiments.profiled_layers import Measured, Place, main, measured
from nas.hardware.latency_rounds import BenchSettings
from nas.space.layer import Layer
from nas.space.search_space import sample
from nas.values.layer_times import LayerTime
from nas.values.measurement import Measurement
from nas.values.profiled_network import profile_of, profiled_network

PRODUCTS = ("conv", "depthwise_conv", "linear")


def cost_ms(layer: Layer, precision: str) -> float:
    """In int8, a depthwise convolution takes as long as in fp32, and other products a third of it."""
    if layer.kind == "depthwise_conv":
        return 0.01 + 5e-6 * layer.macs
    return 0.01 + (1e-6 if precision == "fp32" else 3e-7) * layer.macs


def made_up(place: Place, count: int, settings: BenchSettings) -> Measured:
    """Return networks on a device whose products cost a formula, and whose other layers are merged."""
    space = nas.load_space(place.space, input_shape=place.shape, classes=10)
    describer = nas.describer_of(space, nas.image_signature(place.shape, 10))
    rng, found = np.random.default_rng(0), {}
    for architecture in [sample(space, rng) for _ in range(count)]:
        layers = describer.layers(architecture)
        ran = [layer for layer in layers if layer.kind in PRODUCTS]
        costs = [cost_ms(each, place.precisions[0]) for each in ran]
        operators = [LayerTime("", "Conv", ms, each.output_elements) for ms, each in zip(costs, ran, strict=True)]
        conditions = {**profile_of(layers, operators), "executed_operators": {"Conv": len(ran)}}
        found[architecture] = Measurement("latency_ms", place.precisions[0], ((sum(costs),),), conditions)
    return found


def rows_of(text: str) -> dict[tuple[str, str, str], list[float]]:
    """Return the table's figures by place, samples and profiles."""
    lines = [[cell.strip() for cell in each.strip("| ").split("|")] for each in text.splitlines()[2:]]
    return {(a, b, c): [float(each.removesuffix("%")) for each in rest] for a, b, c, *rest in lines}


def test_profiles_are_compared_on_the_same_samples(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where products alone take time, profiles of five samples are better than none, and another size adds to them."""
    monkeypatch.setattr(profiled_layers, "measured", made_up)
    out = tmp_path / "profiled.json"
    asked = ["--spaces", "mobilenet:1x8x8,mobilenet:1x12x12", "--precisions", "fp32", "--networks", "40"]
    asked += ["--samples", "5", "--earlier", "10", "--seeds", "2", "--out", str(out)]
    main(asked)
    first = capsys.readouterr().out
    found = rows_of(first)
    small, large = "mobilenet, 1×8×8, fp32", "mobilenet, 1×12×12, fp32"
    assert list(found) == [
        *((small, "5", kind) for kind in ("none", "own", "own and 10 earlier")),
        *((large, "5", kind) for kind in ("none", "own", "own and 10 earlier", "own and other spaces")),
    ]
    assert found[small, "5", "own"][1] > found[small, "5", "none"][1]
    assert found[small, "5", "own and 10 earlier"][1] > found[small, "5", "none"][1]
    assert found[large, "5", "own and other spaces"][1] >= found[large, "5", "none"][1]
    monkeypatch.setattr(profiled_layers, "measured", lambda *rest: pytest.fail("it was measured again"))
    main(asked)
    assert capsys.readouterr().out == first
    assert set(json.loads(out.read_text())) == {"processor", small, large}


def test_a_choice_of_precision_is_learned_from_all_of_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each precision has costs of its own, which profiles tell with fewer samples."""
    monkeypatch.setattr(profiled_layers, "measured", made_up)
    asked = ["--spaces", "mobilenet:1x8x8", "--precisions", "fp32,int8", "--networks", "40", "--samples", "10"]
    main([*asked, "--earlier", "10", "--seeds", "2", "--out", str(tmp_path / "profiled.json")])
    found = rows_of(capsys.readouterr().out)
    both = "mobilenet, 1×8×8, fp32 or int8"
    assert [place for place, _, kind in found if kind == "own"] == [
        "mobilenet, 1×8×8, fp32",
        "mobilenet, 1×8×8, int8",
        both,
    ]
    assert found[both, "10", "own"][1] > found[both, "10", "none"][1]


@pytest.mark.slow
def test_networks_are_measured_here_with_their_profiles() -> None:
    settings = BenchSettings(rounds=2, max_rounds=2, precision=100.0, seconds_per_round=0.01, min_samples=3)
    found = measured(Place("mobilenet", (1, 8, 8), ("fp32",)), 3, settings)
    assert len(found) == 3
    assert all(profiled_network(each, None, is_of_run=True) is not None for each in found.values())


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            ["--networks", "60"],
            "--networks must be more than the most samples and earlier networks, 60, but got 60",
        ),
        (["--spaces", "mobilenet"], "must be spaces with shapes, such as mobilenet:1x28x28, but got 'mobilenet'"),
        (["--samples", "4,10"], "must be numbers of at least 5, such as 5,10, but got '4,10'"),
    ],
)
def test_mistakes_are_told(given: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([*given, "--out", str(tmp_path / "out.json")])
    assert told in capsys.readouterr().err

"""Measuring a target's profile: its sittings, its peaks, and runtimes that refuse a part of it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from own_runtime import REFERENCE_MS, REFUSED, slow_down, write_unread
from quick_profile import QUICK_PROFILE

from nas.errors import CandidateError, TargetError
from nas.hardware.kept_profiles import profile_of
from nas.hardware.target_profile import TargetProfile
from nas.values.target import Target


@pytest.fixture(name="own_home")
def fresh_home(acting: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home."""
    monkeypatch.setenv("NAS_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def nothing_exported(monkeypatch: pytest.MonkeyPatch) -> None:
    """The acting runtime does not read the reference models and probes, so they are not exported."""
    monkeypatch.setattr("nas.formats.export.export_model", write_unread)


def profile(target: Target) -> TargetProfile:
    return profile_of(target, settings=QUICK_PROFILE)


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_exported")
def test_says_why_there_are_no_peaks(own_home: Path) -> None:
    """A runtime that refuses the probes has a profile with the reason and without peaks."""
    found = profile(Target("own_runtime:Unprobed"))
    assert found.reference_ms == pytest.approx(REFERENCE_MS)
    assert (found.peak_macs_per_s, found.bandwidth_bytes_per_s, found.ridge_macs_per_byte) == (None, None, None)
    assert found.why_no_peaks == (
        "pointwise convolutions: own_runtime:Unprobed refused the model: "
        "ValueError: no operator is a convolution of this shape"
    )


@pytest.mark.usefixtures("nothing_exported")
def test_needs_the_reference_model(own_home: Path) -> None:
    """A runtime that refuses the reference model raises an error and leaves no incomplete profile."""
    with pytest.raises(TargetError, match=r"own_runtime:Picky:.* must run its reference model, but: .* not a model"):
        profile(Target("own_runtime:Picky"))
    assert list((own_home / "targets").iterdir()) == []


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_exported")
def test_whose_two_sittings_differ_is_doubtful(acting: Target, own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The faster one counts: what else runs only ever slows a machine down."""
    monkeypatch.setattr("nas.hardware.target_probing.is_disturbed", lambda *arguments: False)

    def slowed(*arguments: object) -> dict[str, float]:
        slow_down(1.1)
        return {}

    monkeypatch.setattr("nas.hardware.target_probing._peaks", slowed)
    found = profile_of(acting, settings=replace(QUICK_PROFILE, unsteady=0.05))
    assert found.doubtful == "the machine's speed changed by 10 % while it was measured"
    assert found.reference_ms == pytest.approx(REFERENCE_MS)
    assert found.reference_doubt == found.larger_doubt == pytest.approx(math.log(1.1), rel=1e-2)


def test_the_onnx_runtimes_peaks_are_plausible(onnx_profile: TargetProfile) -> None:
    """The peak lies between a microcontroller's and a large server's, and memory is faster than 10 MB/s."""
    assert onnx_profile.why_no_peaks == ""
    assert onnx_profile.peak_macs_per_s is not None
    assert onnx_profile.bandwidth_bytes_per_s is not None
    assert 1e8 < onnx_profile.peak_macs_per_s < 1e14
    assert 1e7 < onnx_profile.bandwidth_bytes_per_s < 1e13
    assert 0.01 < onnx_profile.reference_ms < 1000


@pytest.mark.slow
def test_a_runtime_that_refuses_the_larger_reference_when_opening_it_has_the_small_one_alone(
    acting: Target, own_home: Path
) -> None:
    """As one does that refuses it when deploying it; the medium one goes with it."""
    (own_home / REFUSED).write_text("large")
    found = profile(acting)
    assert found.large_reference is found.large_reference_ms is None
    assert found.medium_reference is found.medium_reference_ms is None
    assert found.reference_ms == pytest.approx(REFERENCE_MS)


def test_a_larger_reference_that_cannot_be_exported_is_no_refusal(
    acting: Target, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a profile without it would be kept for a month."""

    def export(module: object, inputs: object, batch: int, path: Path, form: str) -> None:
        if path.parent.name == "large":
            raise CandidateError("export", "torch was in use")
        write_unread(module, inputs, batch, path, form)

    monkeypatch.setattr("nas.formats.export.export_model", export)
    with pytest.raises(TargetError, match="must run its reference model, but: torch was in use"):
        profile(acting)
    assert not [*(own_home / "targets").iterdir()]

"""A target's profile is measured once and kept, and measured again only for another machine or target."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from own_runtime import REFERENCE_MS, crowd, slow_down, write_unread
from quick_profile import QUICK_PROFILE

from nas.hardware import kept_profiles
from nas.hardware.devices.local_device import LocalDevice
from nas.hardware.kept_profiles import FAILED_TRY, profile_of
from nas.hardware.measuring_process import MeasuringProcess
from nas.hardware.reference_models import multiplying_probes
from nas.hardware.target_profile import MODELS, PROFILE, TargetProfile, fingerprint_of, hardware_of
from nas.storage.home import home
from nas.values.target import Target


@pytest.fixture(name="own_home")
def fresh_home(acting: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home."""
    monkeypatch.setenv("NAS_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture(name="known", scope="module")
def known_profile(acting: Target) -> TargetProfile:
    """The acting runtime's profile, in the home of this session."""
    return profile_of(acting)


@pytest.fixture(name="kept", scope="module")
def kept_folder(known: TargetProfile) -> Path:
    """Its folder."""
    return home() / "targets" / known.fingerprint


@pytest.fixture(name="known_home")
def home_that_knows_the_target(kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a copy of the acting runtime's profile."""
    shutil.copytree(kept, tmp_path / "home" / "targets" / kept.name)
    monkeypatch.setenv("NAS_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(name="conditions", scope="module")
def known_conditions(acting: Target) -> Mapping[str, Any]:
    """What a measuring process tells of the acting runtime and this machine."""
    with MeasuringProcess(acting, 30.0) as process:
        return process.conditions


STRICT = replace(QUICK_PROFILE, busy_share=-1.0)
"""Counts every machine as busy. The acting runtime has a clock of its own, which does not see through that."""


@pytest.fixture
def nothing_exported(monkeypatch: pytest.MonkeyPatch) -> None:
    """The acting runtime does not read the reference models and probes, so they are not exported."""
    monkeypatch.setattr("nas.formats.export.export_model", write_unread)


@pytest.fixture
def nothing_measured(
    known: TargetProfile, kept: Path, conditions: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new profile is a copy of the known one: measuring takes seconds, and these tests are about what is kept.

    With ``STRICT`` settings it is doubtful.
    """

    def find(target: Target, device: object, hardware: object, folder: Path, settings: object) -> TargetProfile:
        shutil.copytree(kept, folder, dirs_exist_ok=True)
        (folder / PROFILE).unlink()
        paths = {name: folder / getattr(known, name).relative_to(kept) for name in MODELS}
        doubt = "the machine was busy" if settings == STRICT else ""
        return replace(known, doubtful=doubt, large_doubtful=doubt, **paths)

    process = contextlib.nullcontext(SimpleNamespace(conditions=conditions))
    monkeypatch.setattr("nas.hardware.kept_profiles.speeds_now", lambda *arguments: {"reference": 1.0})
    monkeypatch.setattr(LocalDevice, "process", lambda *arguments: process)
    monkeypatch.setattr("nas.hardware.kept_profiles.find_profile", find)


def profile(target: Target, **changes: object) -> tuple[TargetProfile, list[str]]:
    """Return a target's profile and the progress messages, which are empty for a kept profile."""
    said: list[str] = []
    return profile_of(target, said.append, settings=QUICK_PROFILE, **changes), said  # type: ignore[arg-type]


@pytest.mark.usefixtures("nothing_exported")
def test_is_found_once(acting: Target, own_home: Path) -> None:
    """The second call reads the same figures and the same reference model from disk."""
    first, said = profile(acting)
    assert said == [f"measuring the reference speed and peaks of {acting}, once for this machine"]
    assert first.reference_ms == pytest.approx(REFERENCE_MS)
    assert first.peak_macs_per_s == max(probe.work for probe in multiplying_probes()) / (REFERENCE_MS / 1000)
    assert first.bandwidth_bytes_per_s == 2 * QUICK_PROFILE.max_stream_bytes / (REFERENCE_MS / 1000)
    assert first.cache_bandwidth_bytes_per_s == first.bandwidth_bytes_per_s  # each probe takes as long here
    assert first.ridge_macs_per_byte == first.peak_macs_per_s / first.bandwidth_bytes_per_s
    assert first.reference.is_file()
    assert first.reference.is_relative_to(own_home)
    again, said = profile(acting)
    assert said == []
    assert again == first
    slow_down(1.4)  # a slower machine is still the same one; drift accounts for it
    assert profile(acting) == (first, [])


@pytest.mark.usefixtures("nothing_exported")
def test_is_found_anew_when_that_is_asked_for(acting: Target, known_home: Path) -> None:
    """A renewed profile replaces the old one completely."""
    first, said = profile(acting)
    assert said == []
    slow_down(2.0)
    renewed, said = profile(acting, renew=True)
    assert len(said) == 1
    assert renewed.reference_ms == pytest.approx(2 * REFERENCE_MS)
    assert renewed.fingerprint == first.fingerprint
    assert profile(acting) == (renewed, [])
    assert len(list((known_home / "targets").iterdir())) == 1


DAMAGES = {
    "a list": [],
    "a text for a speed": {"reference_ms": "fast"},
    "a speed below zero": {"reference_ms": -1.0},
    "a truth for a peak": {"peak_macs_per_s": True},
    "one peak alone": {"bandwidth_bytes_per_s": None},
    "a number for a time": {"recorded": 3},
    "hardware of another kind": {"hardware": "fast"},
    "a reference that is a number": {"reference": 3},
    "a reference elsewhere": {"reference": "../../../other"},
    "another reference": {"reference_sha256": "0" * 64},
}


@pytest.mark.usefixtures("nothing_measured")
@pytest.mark.parametrize(
    "damage", ["half", "no text", "another shape", "no reference", "empty reference", "a folder", "gone", *DAMAGES]
)
def test_is_found_anew_where_it_cannot_be_read(acting: Target, known_home: Path, damage: str) -> None:
    """A damaged profile is measured again."""
    first, said = profile(acting)
    assert said == []
    (folder,) = (known_home / "targets").iterdir()
    text = (folder / PROFILE).read_text()
    match damage:
        case "half":
            (folder / PROFILE).write_text(text[: len(text) // 2])
        case "no text":
            (folder / PROFILE).write_bytes(b"\xff\xfe")
        case "empty reference":
            first.reference.write_bytes(b"")
        case "a folder":
            (folder / PROFILE).unlink()
            (folder / PROFILE).mkdir()
        case name if name in DAMAGES:
            changed = DAMAGES[name]
            (folder / PROFILE).write_text(
                json.dumps({**json.loads(text), **changed} if isinstance(changed, dict) else changed)
            )
        case "another shape":
            (folder / PROFILE).write_text(json.dumps({**json.loads(text), "speed": 3}))
        case "no reference":
            first.reference.unlink()
        case "gone":
            shutil.rmtree(folder)
    again, said = profile(acting)
    assert len(said) == 1
    assert again.reference.is_file()
    assert again.reference_ms == pytest.approx(first.reference_ms)


@pytest.mark.usefixtures("nothing_measured")
def test_of_batches_is_one_but_their_fingerprints_are_two(acting: Target, known_home: Path) -> None:
    """Two batch sizes share the reference speed, but have different fingerprints."""
    one, _ = profile(acting)
    eight, said = profile(replace(acting, batch=8))
    assert said == []
    assert replace(eight, fingerprint=one.fingerprint) == one
    assert eight.fingerprint != one.fingerprint
    assert len(list((known_home / "targets").iterdir())) == 1


def recorded(folder: Path, age_s: float, **changes: object) -> None:
    """Make the profile in ``folder`` as old as that, and change it."""
    then = datetime.datetime.now().astimezone() - datetime.timedelta(seconds=age_s)
    values = json.loads((folder / PROFILE).read_text())
    values |= {"recorded": then.isoformat(timespec="seconds"), **changes}
    (folder / PROFILE).write_text(json.dumps(values))


@pytest.mark.usefixtures("nothing_exported")
def test_of_a_busy_machine_is_kept_for_an_hour(acting: Target, own_home: Path) -> None:
    """It is doubtful, which is told once; then it is measured again."""
    said: list[str] = []
    found = profile_of(acting, said.append, settings=STRICT)
    assert said[1] == (
        "the reference speed is doubtful, because the machine was busy with other work while it was measured; it will "
        "be measured again in an hour"
    )
    assert found.doubtful
    assert not found.is_sound
    assert found.reference_ms == pytest.approx(REFERENCE_MS)
    assert profile(acting) == (found, [])
    (folder,) = (own_home / "targets").iterdir()
    recorded(folder, 3700)
    then = json.loads((folder / PROFILE).read_text())["recorded"]
    again, said = profile(acting)
    assert said == [
        f"measuring the reference speed and peaks of {acting}, because that of {then} is doubtful",
    ]
    assert again.is_sound


@pytest.mark.usefixtures("nothing_measured")
def test_that_is_doubtful_takes_no_sound_ones_place(acting: Target, known_home: Path) -> None:
    """A sound profile is used on, and measuring is tried again an hour later."""
    known = profile(acting)[0]
    said: list[str] = []
    assert profile_of(acting, said.append, renew=True, settings=STRICT) == known
    assert said[1].endswith(f"that of {known.recorded} is used")
    assert profile(acting) == (known, [])


@pytest.mark.usefixtures("nothing_measured")
@pytest.mark.parametrize(("age_s", "is_measured"), [(20 * 86400, False), (31 * 86400, True), (-86400, True)])
def test_older_than_a_month_is_measured_again(
    acting: Target, known_home: Path, age_s: float, *, is_measured: bool
) -> None:
    """So is one from the future, which a clock that stepped back has left."""
    (folder,) = (known_home / "targets").iterdir()
    recorded(folder, age_s)
    said = profile(acting)[1]
    assert len(said) == is_measured
    assert all("because that of" in text and text.endswith("is not of the last month") for text in said)


@pytest.mark.usefixtures("nothing_exported")
@pytest.mark.parametrize(
    ("factor", "is_measured"), [(1.4, False), (1.6, True), (0.97, False), (0.9, True), (0.6, True)]
)
def test_of_another_speed_is_measured_again_first(
    acting: Target, known_home: Path, monkeypatch: pytest.MonkeyPatch, factor: float, *, is_measured: bool
) -> None:
    """The machine became slower by half or more, which is no drift, or is faster than when its speed was recorded."""
    monkeypatch.setattr("nas.hardware.target_probing.is_disturbed", lambda *arguments: False)
    known = profile(acting)[0]
    slow_down(factor)
    found, said = profile(acting)
    if not is_measured:
        assert (found, said) == (known, [])
        return
    word = {1.6: "1.6 times slower", 0.9: "1.11 times faster", 0.6: "1.67 times faster"}[factor]
    assert said == [
        f"measuring the reference speed and peaks of {acting}, because the machine is {word} than on {known.recorded}"
    ]
    assert found.reference_ms == pytest.approx(factor * known.reference_ms)


@pytest.mark.usefixtures("nothing_exported")
def test_of_a_crowded_cache_is_measured_again_when_that_is_faster(
    acting: Target, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neighbours that share the host's caches are seen by no clock, but later by how much faster the machine is."""
    monkeypatch.setattr("nas.hardware.target_probing.is_disturbed", lambda *arguments: False)
    crowd(1.16)
    slow = profile(acting)[0]
    crowd(1.0)
    found, said = profile(acting)
    assert said[0].endswith(f"because the machine is 1.16 times faster than on {slow.recorded}")
    assert slow.large_reference_ms == pytest.approx(1.16 * found.large_reference_ms)
    crowd(1.1)  # that is drift
    assert profile(acting) == (found, [])


@pytest.mark.usefixtures("nothing_measured")
def test_that_is_no_faster_takes_no_faster_ones_place(
    acting: Target, known_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine was faster for a moment, which is not tried again within an hour."""
    known = profile(acting)[0]
    factors = {"reference": 1.0, "large_reference": 0.9}
    monkeypatch.setattr("nas.hardware.kept_profiles.speeds_now", lambda *arguments: factors)
    found, said = profile(acting)
    assert found == known
    assert said[1] == f"the machine was faster for a moment only; that of {known.recorded} is used"
    assert profile(acting) == (known, [])


@pytest.mark.usefixtures("nothing_measured")
def test_of_another_speed_corrects_on_where_it_cannot_be_measured(
    acting: Target, known_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that is too busy for a new profile keeps the sound one, and the next try is an hour later."""
    known = profile(acting)[0]
    said: list[str] = []
    monkeypatch.setattr("nas.hardware.kept_profiles.speeds_now", lambda *arguments: {"reference": 2.0})
    assert profile_of(acting, said.append, settings=STRICT) == known
    assert said[1].endswith(f"that of {known.recorded} is used")
    assert profile_of(acting, said.append, settings=STRICT) == known
    assert len(said) == 2
    (folder,) = (known_home / "targets").iterdir()
    os.utime(folder / FAILED_TRY, (time.time() - 3700,) * 2)
    assert profile_of(acting, said.append, settings=STRICT) == known
    assert len(said) == 4


@pytest.mark.usefixtures("nothing_exported")
def test_an_interrupted_one_leaves_nothing(acting: Target, known_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interruption or a full disk leaves no incomplete profile, and keeps an older one."""
    before = profile(acting)

    def stop(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("nas.hardware.target_probing._peaks", stop)
    with pytest.raises(KeyboardInterrupt):
        profile(acting, renew=True)
    assert len(list((known_home / "targets").iterdir())) == 1
    assert profile(acting) == before


def test_fingerprints_are_of_target_and_hardware(acting: Target, conditions: Mapping[str, Any]) -> None:
    """The fingerprint covers everything that latencies depend on, and nothing that changes from hour to hour."""
    facts = LocalDevice().facts
    hardware = hardware_of(conditions, facts)
    assert json.loads(json.dumps(hardware, allow_nan=False)) == hardware
    usual = fingerprint_of(acting, hardware)
    assert usual == fingerprint_of(acting, hardware_of({**conditions, "clock_mhz": 1.0, "pinned_to_cores": [9]}, facts))
    others = [
        fingerprint_of(replace(acting, precision="int8"), hardware),
        *(
            fingerprint_of(acting, hardware_of({**conditions, name: "another"}, facts))
            for name in ("processor", "cores", "runtime", "governor", "device")
        ),
    ]
    assert len({usual, *others}) == 1 + len(others)


@pytest.mark.usefixtures("nothing_measured")
def test_folders_that_killed_processes_left_are_removed(known_home: Path, acting: Target) -> None:
    """Those of the last hour may belong to a process that is measuring now."""
    targets = known_home / "targets"
    for name in (".new-old", ".old-old", ".new-now"):
        (targets / name).mkdir()
        (targets / name / "model.onnx").touch()
    for name in (".new-old", ".old-old"):
        os.utime(targets / name, (1, 1))
    _, said = profile(acting)
    assert said == []
    assert [path.name for path in targets.glob(".*")] == [".new-now"]


@pytest.mark.usefixtures("nothing_measured")
def test_of_an_earlier_version_is_found_anew(acting: Target, known_home: Path) -> None:
    """It has not all reference models, and does not say which clock they were read by."""
    (folder,) = (known_home / "targets").iterdir()
    values = json.loads((folder / PROFILE).read_text())
    for key in ("medium_reference", "medium_reference_ms", "clock", "doubtful", "large_doubtful"):
        del values[key]
    (folder / PROFILE).write_text(json.dumps(values))
    found, said = profile(acting)
    assert len(said) == 1
    assert found.medium_reference_ms is not None


def test_two_that_finish_at_once_are_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process puts its profile in place, or takes the older one away, at any moment. The last one stays."""
    folder, made, other = (tmp_path / name for name in ("folder", "made", "other"))
    for path in (folder, made, other):
        path.mkdir()
        (path / PROFILE).write_text(path.name)
    replace_now = os.replace

    def replaced(source: Path, place: Path) -> None:
        if source == folder:
            shutil.rmtree(folder)
        elif other.exists():
            replace_now(other, folder)
        replace_now(source, place)

    monkeypatch.setattr(os, "replace", replaced)
    assert kept_profiles._put_in_place(made, folder) == folder
    assert (folder / PROFILE).read_text() == "made"

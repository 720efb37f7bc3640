"""What several test modules share. That it lies here also puts this folder on the path, for Ray's workers too."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import own_runtime
import pytest
from quick_profile import QUICK_PROFILE, known_profile, used_for_an_hour
from spaces_here import take_for_the_project_s

from nas.hardware.cooling import warmth_of
from nas.hardware.kept_profiles import profile_of
from nas.hardware.target_profile import TargetProfile
from nas.space.architecture import Architecture
from nas.storage.home import home
from nas.storage.measurement_store import STORE
from nas.tasks.images.images import Images
from nas.tasks.images.loading import load_data
from nas.values.target import Target

_ENDING = [getattr(signal, name) for name in ("SIGHUP", "SIGQUIT") if hasattr(signal, name)]  # Windows has neither


def pytest_configure() -> None:
    """Signals end programs as usual, even where a shell or nohup started the tests and ignores them."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in _ENDING:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


@pytest.fixture(scope="session", autouse=True)
def _home_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing touches the user's home: measuring processes and Ray's workers inherit another one.

    Environments of runtimes take minutes to install, so those that the user has are found there, by links.
    """
    own = tmp_path_factory.mktemp("home")
    installed = home() / "environments"
    (own / "environments").mkdir()
    for environment in installed.glob("[!.]*"):
        (own / "environments" / environment.name).symlink_to(environment)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NAS_HOME", str(own))
        patch.setenv("NAS_DEVICE_LOCK", str(own / "device.lock"))  # tests that run beside each other do not wait
        yield


@pytest.fixture(autouse=True)
def _nothing_measured_before(_home_of_its_own: None) -> None:
    """No test finds what another one has measured, or it would depend on their order."""
    for part in home().glob(f"{STORE}*"):  # SQLite keeps files of its own beside it
        part.unlink()
    warmth_of.cache_clear()


@pytest.fixture(name="acting", scope="session")
def acting_runtime() -> Iterator[Target]:
    """The target of ``own_runtime``, which measuring processes find too. Its profile is known."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(own_runtime.__file__).parent), prepend=os.pathsep)
        target = Target("own_runtime:Acting")
        with pytest.MonkeyPatch.context() as exporting:
            exporting.setattr("nas.formats.export.export_model", own_runtime.write_unread)
            profile_of(target, settings=QUICK_PROFILE)
        yield target


@pytest.fixture(scope="session")
def onnx_profile() -> TargetProfile:
    """The profile of ``onnxruntime-cpu``, so that no test waits for a thorough one."""
    return known_profile(Target("onnxruntime-cpu"))


@pytest.fixture(scope="session")
def int8_profile() -> TargetProfile:
    """The profile of ``onnxruntime-cpu`` in int8, for tests whose programs measure in it."""
    return known_profile(Target("onnxruntime-cpu", "int8"))


@pytest.fixture(autouse=True)
def _profile_known_to_slow_tests(request: pytest.FixtureRequest) -> None:
    """Slow tests start commands and programs that measure winners, each of which would profile first."""
    if request.node.get_closest_marker("slow"):
        used_for_an_hour(request.getfixturevalue("onnx_profile"))


@pytest.fixture
def small_spaces_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands take two small spaces for some of the project: a process for each takes seconds."""
    take_for_the_project_s(monkeypatch)


@pytest.fixture(name="digits", scope="session")
def digits_data() -> Images:
    """1,797 handwritten digits of 1×8×8."""
    return load_data("digits")


@pytest.fixture(name="rng")
def fresh_rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def latency_by_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake bench takes any choices that are numbers: more of each is slower and larger."""
    import fake_bench

    def value(architecture: Architecture) -> float:
        return 0.5 + fake_bench.size_by_choices(architecture) / 100

    monkeypatch.setattr(fake_bench, "VALUES", dict.fromkeys(fake_bench.VALUES, value))
    monkeypatch.setattr(fake_bench, "weight_bytes", fake_bench.size_by_choices)


@pytest.fixture
def quick_export(monkeypatch: pytest.MonkeyPatch) -> None:
    """Candidates are not exported, because the fake bench does not open them; winners are."""
    from quick_runs import EXPORT, write_any_model

    monkeypatch.setattr(EXPORT, write_any_model)

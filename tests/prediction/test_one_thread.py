"""BLAS and OpenMP have one thread while small matrices are used, and other work has its threads back afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from types import ModuleType

import numpy as np
import pytest
import torch
from made_up_search import CELLS, CLASSES, SHAPE, cost
from scipy import linalg
from threadpoolctl import ThreadpoolController

import nas.prediction.one_thread as module
from nas.prediction.one_thread import one_thread
from nas.prediction.predictor import load_predictor
from nas.space.search_space import sample
from nas.space.signature import image_signature
from nas.space.tracing import describer_of
from predictors.features import FeatureMap


@pytest.fixture(name="two", autouse=True)
def two_threads() -> Iterator[None]:
    """BLAS and OpenMP have two threads, whatever the environment says."""
    with ThreadpoolController().limit(limits=2):
        yield


def threads(user_api: str = "blas") -> set[int]:
    """Return the numbers of threads of all loaded libraries of one kind."""
    return {found["num_threads"] for found in ThreadpoolController().info() if found["user_api"] == user_api}


def test_blas_has_one_thread_inside_and_its_own_afterwards() -> None:
    """NumPy's and SciPy's libraries are separate ones, and both count."""
    linalg.cholesky(np.eye(3))
    assert threads() == {2}
    with one_thread():
        assert threads() == {1}
    assert threads() == {2}


def test_uses_nest_and_functions_are_decorated() -> None:
    """The outermost use gives the threads back, also after an exception."""

    @one_thread()
    def inner(fails: bool) -> set[int]:
        """Say what it sees."""
        if fails:
            raise ValueError("as asked")
        return threads()

    with one_thread():
        assert inner(False) == {1}
        assert threads() == {1}
    with pytest.raises(ValueError, match="as asked"):
        inner(True)
    assert threads() == {2}
    assert inner.__doc__ == "Say what it sees."


def test_overlapping_uses_of_two_threads_give_everything_back() -> None:
    """One begins first and ends first. If each restored what it had found, one thread would be left for ever."""
    begun, may_end = threading.Event(), threading.Event()
    seen: list[set[int]] = []

    def other() -> None:
        with one_thread():
            begun.set()
            may_end.wait(10)
            seen.append(threads())

    with one_thread():
        second = threading.Thread(target=other)
        second.start()
        begun.wait(10)
    assert threads() == {1}  # the other one has not ended
    may_end.set()
    second.join()
    assert seen == [{1}]
    assert threads() == {2}


def test_other_threads_may_set_their_limits_afterwards() -> None:
    """threadpoolctl lets one thread at a time set a shared pool, and forgets it when that is over."""
    with one_thread():
        pass
    seen: list[set[int]] = []

    def other() -> None:
        with ThreadpoolController().limit(limits=3, user_api="blas"):
            seen.append(threads())

    second = threading.Thread(target=other)
    second.start()
    second.join()
    assert seen == [{3}]
    assert threads() == {2}


def test_openmp_of_torch_is_limited_in_this_thread_alone() -> None:
    """OpenMP's number of threads belongs to the calling thread, so that a training in another one keeps its own."""
    if not threads("openmp"):
        pytest.skip("torch has no OpenMP here")
    torch.set_num_threads(2)
    assert torch.get_num_threads() == 2  # torch sets it in each thread when it is first asked there
    elsewhere: list[int] = []
    with one_thread():
        assert torch.get_num_threads() == 1
        other = threading.Thread(target=lambda: (torch.set_num_threads(2), elsewhere.append(torch.get_num_threads())))
        other.start()
        other.join()
    assert elsewhere == [2]
    assert torch.get_num_threads() == 2


def test_what_other_code_sets_meanwhile_stays() -> None:
    """A user who gives BLAS other threads while a proposal is made gets those."""
    with one_thread():
        ThreadpoolController().select(user_api="blas").limit(limits=3)
    assert threads() == {3}


class Library:
    """A library with a pool of threads, that counts how often it is asked."""

    user_api = "blas"

    def __init__(self, count: int) -> None:
        self.count = count
        self.calls = 0

    def get_num_threads(self) -> int:
        self.calls += 1
        return self.count

    def set_num_threads(self, count: int) -> None:
        self.calls += 1
        self.count = count


def test_libraries_are_looked_for_again_only_after_an_import(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking takes milliseconds, so it is not done in each proposal; a library that is loaded later counts too."""
    loaded, looks = [Library(4)], []

    class Controller:
        def __init__(self) -> None:
            looks.append(len(loaded))
            self.lib_controllers = list(loaded)

    monkeypatch.setattr(module, "ThreadpoolController", Controller)
    pools = module._Pools()
    for _ in range(3):
        pools.enter()
        pools.leave()
    assert looks == [1]
    loaded.append(Library(8))
    monkeypatch.setitem(sys.modules, "a_new_library", ModuleType("a_new_library"))
    pools.enter()
    assert [library.count for library in loaded] == [1, 1]
    pools.leave()
    assert looks == [1, 2]
    assert [library.count for library in loaded] == [4, 8]


def test_an_inner_use_asks_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fit is made of many small steps that are limited too."""
    library = Library(4)
    monkeypatch.setattr(module, "ThreadpoolController", lambda: type("Found", (), {"lib_controllers": [library]})())
    pools = module._Pools()
    pools.enter()
    before = library.calls
    for _ in range(10):
        pools.enter()
        pools.leave()
    assert library.calls == before
    pools.leave()


PROPOSING = """
import sys, time
import numpy as np
sys.path.insert(0, "tests")
from made_up_search import CELLS, CLASSES, SHAPE, both, costs, search
from nas.space.signature import image_signature
from nas.space.tracing import describer_of
from predictors.samplers.surrogate_sampler import SurrogateSampler
sampler = SurrogateSampler(describer_of(CELLS, image_signature(SHAPE, CLASSES)), seed=0, known={1: costs})
search(sampler, 8, both)
began_s, busy_s = time.perf_counter(), time.process_time()
search(sampler, 60, both)
print((time.process_time() - busy_s) / (time.perf_counter() - began_s))
"""


@pytest.mark.slow
def test_proposals_keep_one_core_busy_where_no_variable_is_set(pytestconfig: pytest.Config) -> None:
    """As a user runs it. With a thread for each core, two cores spent 1.9 s of work a second on proposals."""
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    command = [sys.executable, "-W", "ignore", "-c", PROPOSING]
    done = subprocess.run(command, env=environment, cwd=pytestconfig.rootpath, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 1.2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["additive", "gp", "stacked", "transfer", "trees"])
def test_every_predictor_fits_and_predicts_on_one_thread(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each number of threads that a product or a factorisation saw was 1."""
    seen: list[int] = []

    def counting(call):  # type: ignore[no-untyped-def]
        def counted(*arguments, **named):  # type: ignore[no-untyped-def]
            seen.extend(threads())
            return call(*arguments, **named)

        return counted

    rng = np.random.default_rng(0)
    architectures = list({sample(CELLS, rng) for _ in range(24)})
    describer = describer_of(CELLS, image_signature(SHAPE, CLASSES))
    for owner, method in ((np.linalg, "solve"), (linalg, "cholesky"), (np.linalg, "svd"), (FeatureMap, "of")):
        monkeypatch.setattr(owner, method, counting(getattr(owner, method)))
    values = np.array([cost(architecture) for architecture in architectures])
    predictor = load_predictor(name)(describer, architectures, values, target="t", seed=0)
    fitted = len(seen)
    predictor.predict(architectures[:3])
    assert len(seen) > fitted > 0
    assert set(seen) == {1}
    assert threads() == {2}

"""The first look at an architecture: its layers, or why it cannot be built, found where its code can do no harm."""

from __future__ import annotations

import base64
import json
import os
import queue
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol, final

import nas
from nas.errors import CandidateError, NasError, RecipeError, SpaceError
from nas.line_process import LineProcess
from nas.space.architecture import Architecture
from nas.space.layer import Layer
from nas.space.look_worker import LOADED, START_LIMIT_S, StrandedSpaceError
from nas.space.plug_ins import is_own, plug_in_path
from nas.space.rebuilding import BUILDS, COMPARED
from nas.space.search_space import SearchSpace, choices_hash, load_space
from nas.space.signature import Signature
from nas.space.stepping import step_seconds
from nas.space.tracing import check_fits, layers_of
from nas.space.unread import unread_text

TELL_EVERY_S = 5.0
"""Somebody who waits hears of it after these seconds, and again each time that the wait has doubled."""
DEFAULT_LIMIT_S = 60.0
"""The time limit for a user's code to import, or to build an architecture once, where no recipe sets another."""
MOST_LATE = 10
"""Architectures that may exceed the time limit, or be lost before any comes back, before the run stops."""
COMPARING_S = 20.0
"""No further build is compared after these seconds."""
_BEGIN = "import sys; sys.path.append(sys.argv.pop()); from nas.space.look_worker import main; main()"


class FirstLook(Protocol):
    """Looks at architectures of one space before anything else does."""

    def layers(self, architecture: Architecture) -> tuple[Layer, ...]:
        """Return the layers. Raises CandidateError if the architecture cannot be built."""

    def check_build(self, architecture: Architecture) -> None:
        """Check that an architecture can be built, before this process builds it. Raises CandidateError if not."""

    def step_seconds(self, architecture: Architecture, batch: int, threads: int) -> float:
        """Return the seconds of a training step on ``batch`` images. Raises CandidateError if that fails."""

    def close(self) -> None:
        """Release what the look holds."""


@final
class LookHere:
    """Looks in this process, for spaces that come with the project. ``clock`` times steps of a training."""

    def __init__(
        self,
        space: SearchSpace,
        signature: Signature,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._space = space
        self._signature = signature
        self._clock = clock

    def layers(self, architecture: Architecture) -> tuple[Layer, ...]:
        return layers_of(self._space, architecture, self._signature)

    def check_build(self, architecture: Architecture) -> None:
        """Do nothing: building fails here as it would anywhere."""

    def step_seconds(self, architecture: Architecture, batch: int, threads: int) -> float:
        return step_seconds(self._space, architecture, self._signature, batch, threads, self._clock)

    def close(self) -> None:
        """Do nothing: nothing is held."""


@final
class LookApart:
    """Looks in a process of its own, which may exit, hang or crash: then one architecture has failed.

    The process starts at once, and loads torch while this one does other things. ``name`` is that of the space;
    ``pickled`` is a space, or its class, where no name leads to it. ``say`` tells people who wait.
    """

    def __init__(self, name: str, limit_s: float, say: Callable[[str], None], pickled: bytes | None = None) -> None:
        self._name = name
        self._pickled = None if pickled is None else base64.b64encode(pickled).decode()
        self._limit_s = limit_s
        self._say = say
        self._make: dict[str, Any] = {}
        self._builds = True
        self._gives_layers = False
        self._choices = ""
        self._late = self._lost = 0
        self._returned = False
        self._looks = 0
        self._looked_s = 0.0
        self._told_s = TELL_EVERY_S
        self._layers: dict[Architecture, tuple[Layer, ...] | CandidateError] = {}
        self._built: set[Architecture] = set()
        self._process: LineProcess | None = None
        self._start()

    def make(
        self,
        options: Mapping[str, Any],
        signature: Signature,
        *,
        is_class: bool = True,
        builds: bool = True,
    ) -> None:
        """Make the space there, check its rules, and build a few architectures several times.

        Without ``is_class`` it is made already. Without ``builds``, as in a table, nothing is built but to find layers.

        Raises:
            RecipeError: the space cannot be found or made.
            StrandedSpaceError: an object that was sent along cannot be loaded there.
            SpaceError: it breaks the rules, its builds differ, or it ends or holds up the process.
        """
        self._make = {"options": dict(options), "signature": signature.to_json(), "is_class": is_class}
        self._builds = builds
        self._prepare()
        if builds:
            self._compare_builds()
            self._tell_unread()

    def check_same(self, space: SearchSpace) -> None:
        """Check that the space as it is here has the choices that it has there. Raises SpaceError if not."""
        if choices_hash(space) != self._choices:
            raise SpaceError(
                f"a space must be the same in all processes, but {self._name} has other choices in a new one. If its "
                "module was edited since this Python imported it, restart Python, or call importlib.reload."
            )

    def layers(self, architecture: Architecture) -> tuple[Layer, ...]:
        if architecture not in self._layers:
            try:
                self._layers[architecture] = self._look(architecture, builds=False)
            except CandidateError as error:
                self._layers[architecture] = error
        found = self._layers[architecture]
        if isinstance(found, CandidateError):
            raise CandidateError(found.kind, found.reason)
        return found

    def check_build(self, architecture: Architecture) -> None:
        self.layers(architecture)
        if architecture in self._built or not self._builds or not self._gives_layers:
            return
        self._built.add(architecture)
        try:
            self._look(architecture, builds=True)
        except CandidateError as error:
            self._layers[architecture] = error
            raise

    def step_seconds(self, architecture: Architecture, batch: int, threads: int) -> float:
        reply = self._reply("train", architecture, batch=batch, threads=threads)
        return float(reply["seconds"])

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.end()
        self._process = None

    def _look(self, architecture: Architecture, *, builds: bool) -> tuple[Layer, ...]:
        began = time.monotonic()
        try:
            reply = self._reply("look", architecture, builds=builds)
        finally:
            self._tell_pace(time.monotonic() - began)
        return tuple(
            Layer(kind, tuple(inputs), tuple(outputs), *counts) for kind, inputs, outputs, *counts in reply["layers"]
        )

    def _reply(self, op: Literal["look", "train"], architecture: Architecture, **request: Any) -> dict[str, Any]:
        """Return the reply to a request about an architecture, from a new process if the last one has ended.

        Raises:
            CandidateError: the architecture fails, ends the process or exceeds the time limit.
            SpaceError: too many have exceeded it, or all have ended the process.
        """
        if self._process is None:
            self._start()
            self._prepare()
        what = {"look": "build", "train": "a training step"}[op]
        doing = {"look": "building", "train": "trying to train"}[op]
        try:
            reply = self._exchange(f"{doing} {architecture.short}", op, architecture=dict(architecture), **request)
        except _LostError as error:
            self._late += error.is_late
            self._lost += 1
            if self._late >= MOST_LATE:
                raise SpaceError(
                    f"search space {self._name!r}: {self._late} architectures did not come back within "
                    f"{self._limit_s:g} s, so the run stops. The last one was {architecture.short}. Mend that, or "
                    "raise execution.first_look_limit_s if it only needs more time."
                ) from None
            if self._lost >= MOST_LATE and not self._returned:
                raise SpaceError(
                    f"search space {self._name!r}: none of {self._lost} architectures came back. With the last one, "
                    f"{architecture.short}, {what} {error}"
                ) from None
            raise CandidateError("timeout" if error.is_late else "build", f"{what} {error}") from None
        self._returned = True
        if not reply["ok"]:
            raise CandidateError(reply.get("kind", "build"), reply["reason"])
        return reply

    def _tell_pace(self, seconds: float) -> None:
        """Tell how long looks take, once they have taken long, and again each time that this has doubled."""
        self._looks += 1
        self._looked_s += seconds
        if self._looked_s >= self._told_s and self._looks > 1:
            self._told_s = 2 * self._looked_s
            self._say(
                f"building architectures takes its time: {self._looks} in {self._looked_s:.0f} s so far, "
                f"{self._looked_s / self._looks:.2g} s each"
            )

    def _prepare(self) -> None:
        """Find the space and make it, in a process that has just begun."""
        path = [entry or os.getcwd() for entry in sys.path]
        self._at_start("importing it", "find", name=self._name, pickled=self._pickled, path=path)
        made = self._at_start("making the space", "make", name=self._name, **self._make)
        self._gives_layers, self._choices = made["gives_layers"], made["choices"]
        if self._builds or not self._gives_layers:
            self._at_start("loading torch", "load")

    def _compare_builds(self) -> None:
        """Build a few architectures several times. Those that end the process are left out, unless all of them do.

        Raises:
            SpaceError: builds differ, share tensors, or end the process whatever is built.
        """
        began, lost = time.monotonic(), 0
        for place in range(COMPARED):
            for _ in range(BUILDS):
                if time.monotonic() - began > COMPARING_S:
                    return
                try:
                    reply = self._exchange("building an architecture to compare", "rebuild", place=place)
                except _LostError as error:
                    lost += 1
                    if lost == COMPARED:
                        raise SpaceError(f"search space {self._name!r}: build {error}") from None
                    self._start()
                    self._prepare()
                    break
                if not reply["ok"]:
                    raise SpaceError(reply["reason"])

    def _tell_unread(self) -> None:
        """Say which choices no build reads. Architectures that end the process are found one by one later."""
        try:
            reply = self._exchange("building architectures to see which choices matter", "unread")
        except _LostError:
            self._start()
            self._prepare()
            return
        if names := reply.get("unread"):
            self._say(f"warning: {unread_text(names)}")

    def _at_start(self, doing: str, op: str, **request: Any) -> dict[str, Any]:
        try:
            reply = self._exchange(f"{self._name}: {doing}", op, **request)
        except _LostError as error:
            raise SpaceError(
                f"search space {self._name!r}: {doing} {error} Its code must come back. Mend that, or raise "
                "execution.first_look_limit_s if it only needs more time."
            ) from None
        if not reply["ok"]:
            kinds: dict[str, type[NasError]] = {
                kind.__name__: kind for kind in (RecipeError, SpaceError, StrandedSpaceError)
            }
            raise kinds.get(reply["error"], SpaceError)(reply["reason"])
        return reply

    def _start(self) -> None:
        folder = str(Path(nas.__file__).parent.parent)
        command = [sys.executable, "-P", "-c", _BEGIN, folder]
        self._process = LineProcess(command, {**os.environ, "PYTHONPATH": _python_path()})
        self._is_loaded = False

    def _exchange(self, doing: str, op: str, **request: Any) -> dict[str, Any]:
        """Send one request and return its reply; ``doing`` names the work to people who wait for it.

        Raises:
            _LostError: the process ended, or did not answer in time and was ended.
        """
        assert self._process is not None
        try:
            self._process.send({"op": op, "limit_s": self._limit_s, **request})
            line = self._wait(self._process, doing, START_LIMIT_S if op == "load" else self._limit_s)
        except BrokenPipeError:
            line = ""
        if line is None:
            self.close()
            raise _LostError(f"must come back within {self._limit_s:g} s, but did not.", is_late=True)
        if not line:
            code = self._process.wait()
            self.close()
            raise _LostError(f"ended its process with {_ending(code)}.", is_late=False)
        reply: dict[str, Any] = json.loads(line)
        return reply

    def _wait(self, process: LineProcess, doing: str, limit_s: float) -> str | None:
        """Return the next line of the process, "" once it has ended, or None after ``limit_s``.

        Until the process has loaded torch, its time does not count, since the user's code may wait for that too.
        """
        began = counted = time.monotonic()
        told_s = TELL_EVERY_S
        while True:
            now = time.monotonic()
            left_s = counted + limit_s + (0.0 if self._is_loaded else START_LIMIT_S) - now
            if left_s <= 0:
                return None
            if now - began >= told_s:
                told_s *= 2
                self._say(f"{doing} takes longer than {now - began:.0f} s; it is given up after {limit_s:g} s")
            try:
                line = process.line(min(began + told_s - now, left_s))
            except queue.Empty:
                continue
            if line.strip() != LOADED:
                return line
            self._is_loaded, counted = True, time.monotonic()


def load_space_apart(
    name: str,
    options: Mapping[str, Any],
    signature: Signature,
    *,
    say: Callable[[str], None],
    limit_s: float = DEFAULT_LIMIT_S,
    builds: bool = True,
) -> tuple[SearchSpace, FirstLook]:
    """Return the space called ``name``, and what looks at its architectures. The look must be closed.

    A space of the user's own is first made in a process of its own. Without ``builds``, nothing is built but to find
    layers.

    Raises:
        RecipeError: as ``load_space``.
        SpaceError: it breaks the rules, or ends or holds up its process.
    """
    plug_in_path("nas.search_spaces", name, "search space")
    if not is_own("nas.search_spaces", name):
        space = load_space(name, options, signature)
        if builds:
            check_fits(space, name, signature)
        return space, LookHere(space, signature)
    look = LookApart(name, limit_s, say)
    try:
        look.make(options, signature, builds=builds)
        space = load_space(name, options, signature)
        look.check_same(space)
        return space, look
    except BaseException:
        look.close()
        raise


class _LostError(Exception):
    """The process is gone. ``is_late`` is True if it was ended because it did not answer in time."""

    def __init__(self, text: str, *, is_late: bool) -> None:
        super().__init__(text)
        self.is_late = is_late


def _python_path() -> str:
    """Return ``PYTHONPATH`` without empty parts, which would put the current folder before Python's own modules."""
    return os.pathsep.join(part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part)


def _ending(code: int) -> str:
    """Describe how a process ended, and what usually ends one so."""
    if code < 0:
        return f"signal {-code}" + (", probably for lack of memory" if code == -9 else "")
    return f"exit code {code}, as os._exit does"

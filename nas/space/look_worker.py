"""The process in which a user's space runs first: it reads one JSON request a line and answers with one JSON line.

The space's code may exit, hang or crash here without harm. Only ``nas.space.first_look`` starts this process.
"""

from __future__ import annotations

import base64
import builtins
import contextlib
import faulthandler
import importlib
import json
import os
import pickle
import queue
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TextIO, final

from nas.errors import CandidateError, NasError, SpaceError, raised_text
from nas.space.architecture import Architecture
from nas.space.layer import fault_of
from nas.space.own_code import own_code
from nas.space.plug_ins import load_plug_in
from nas.space.rules import check_space
from nas.space.search_space import HasLayers, SearchSpace, choices_hash, make_space
from nas.space.signature import Signature, image_signature

if TYPE_CHECKING:
    from nas.space.rebuilding import Rebuilder

LOADED = "loaded"
"""The line that is no reply: torch is loaded."""
START_LIMIT_S = 120.0
"""More time for the process to start, and to load torch, which is no code of the user's."""
SPARE_S = 5.0
"""After its time limit and these seconds a request ends this process, also where nobody is left to end it."""


class StrandedSpaceError(SpaceError):
    """A space object, or its class, could not be loaded in this process. It may still be sound."""


@final
class LookServer:
    """Answers requests about one space."""

    def __init__(self, replies: TextIO) -> None:
        # Most mistakes in a space are found without torch, which takes seconds to load.
        self._loading = threading.Thread(target=_load_torch, args=(replies,), daemon=True)
        _wait_before_importing_torch(self._loading)
        self._loading.start()
        self._found: object = None
        self._space: SearchSpace | None = None
        self._rebuilder: Rebuilder | None = None
        self._signature = image_signature((1, 1, 1), 1)

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return the reply to one request. Its ``op`` is find, make, load, rebuild, unread, look or train."""
        match request["op"]:
            case "find":
                self._find(request)
            case "make":
                self._make(request)
                assert self._space is not None
                return {"gives_layers": isinstance(self._space, HasLayers), "choices": choices_hash(self._space)}
            case "load":
                self._load()
            case "rebuild":
                self._rebuild(request["place"])
            case "unread":
                return {"unread": self._unread()}
            case "look":
                return {"layers": self._look(Architecture(request["architecture"]), request["builds"])}
            case "train":
                return {"seconds": self._train(Architecture(request["architecture"]), request)}
        return {}

    def _find(self, request: Mapping[str, Any]) -> None:
        """Import the space by its name, or unpickle it."""
        sys.path[:] = request["path"]
        if request["pickled"] is None:
            self._found = load_plug_in("nas.search_spaces", request["name"], "search space")
            return
        self._loading.join()
        try:
            with own_code():
                self._found = pickle.loads(base64.b64decode(request["pickled"]))  # noqa: S301 from the driver
        except Exception as error:
            raise StrandedSpaceError(raised_text(error)) from None

    def _make(self, request: Mapping[str, Any]) -> None:
        self._signature = Signature.from_json(request["signature"])
        if request["is_class"]:
            self._space = make_space(self._found, request["name"], request["options"], self._signature)
        else:
            check_space(self._found)
            self._space = self._found  # type: ignore[assignment]

    def _load(self) -> None:
        """Wait for torch, and trace a network: the first trace imports much more."""
        self._loading.join()
        import torch

        from nas.space.tracing import trace_layers

        torch.set_num_threads(1)
        trace_layers(torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1), torch.nn.Flatten()), image_signature((1, 1, 1), 2))

    def _rebuild(self, place: int) -> None:
        from nas.space.rebuilding import Rebuilder

        if self._rebuilder is None:
            assert self._space is not None
            self._rebuilder = Rebuilder(self._space, self._signature)
        self._rebuilder.build(place)

    def _unread(self) -> list[str]:
        """Return the choices that the space's code never reads. Building draws random numbers, which are put back."""
        import torch

        from nas.space.unread import unread_choices

        assert self._space is not None
        with torch.random.fork_rng(devices=[]):
            return unread_choices(self._space)

    def _look(self, architecture: Architecture, builds: bool) -> list[list[Any]]:
        """Return the layers of an architecture as plain data. With ``builds``, it is built even if they are given."""
        from nas.space.parts.own_inputs import signature_of
        from nas.space.tracing import build_checked, layers_of, trace_layers

        assert self._space is not None
        layers = layers_of(self._space, architecture, self._signature)
        if builds and isinstance(self._space, HasLayers):
            module = build_checked(self._space, architecture, self._signature)
            trace_layers(module, signature_of(self._space, architecture, self._signature))
        if fault := next((fault for layer in layers if (fault := fault_of(layer))), None):
            raise CandidateError("build", fault)
        return [list(vars(layer).values()) for layer in layers]

    def _train(self, architecture: Architecture, request: Mapping[str, Any]) -> float:
        from nas.space.stepping import step_seconds

        assert self._space is not None
        return step_seconds(self._space, architecture, self._signature, request["batch"], request["threads"])


def _load_torch(replies: TextIO) -> None:
    importlib.import_module("torch")
    replies.write(f"{LOADED}\n")


def _wait_before_importing_torch(loading: threading.Thread) -> None:
    """Let each import statement of torch wait for the thread that loads it.

    Two threads that import parts of torch at once wait for each other, and Python then hands out half a module.
    """
    original = builtins.__import__

    def waiting(name: str, *arguments: Any, **options: Any) -> Any:
        if name.partition(".")[0] == "torch" and threading.current_thread() is not loading:
            loading.join()
        return original(name, *arguments, **options)

    builtins.__import__ = waiting


@contextlib.contextmanager
def _ended_after(seconds: float) -> Iterator[None]:
    """End this process if the context lasts longer, even in code that never comes back to the interpreter."""
    with open(os.devnull, "w") as sink:
        faulthandler.dump_traceback_later(seconds, exit=True, file=sink)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()


def _requests() -> Iterator[dict[str, Any]]:
    """Yield the requests. Once the driver is gone, this process ends, whatever it is doing."""
    lines: queue.Queue[str] = queue.Queue()
    source = os.fdopen(os.dup(0), encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # code that asks for input gets none

    def read() -> None:
        for line in source:
            lines.put(line)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    while True:
        yield json.loads(lines.get())


def _plain(value: object) -> Any:
    """Return a number of numpy as one of Python. Raises TypeError for anything else."""
    item = getattr(value, "item", None)
    if item is None:
        raise TypeError(f"layers must hold plain numbers, but got {value!r:.80}")
    return item()


def main() -> None:
    """Answer requests until the driver ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the driver, which then ends this process
    replies = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)  # what a space prints must not come between the replies
    server = LookServer(replies)
    for request in _requests():
        try:
            with _ended_after(request["limit_s"] + START_LIMIT_S + SPARE_S):
                reply = json.dumps({"ok": True, **server.answer(request)}, default=_plain)
        except CandidateError as error:
            reply = json.dumps({"ok": False, "error": "CandidateError", "kind": error.kind, "reason": error.reason})
        except NasError as error:
            reply = json.dumps({"ok": False, "error": type(error).__name__, "reason": str(error)})
        except Exception as error:
            reason = f"looking at the space raised {raised_text(error)}"
            reply = json.dumps({"ok": False, "error": "CandidateError", "kind": "build", "reason": reason})
        replies.write(reply + "\n")


if __name__ == "__main__":
    main()

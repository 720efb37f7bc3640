"""Watching the head of a cluster while jobs run there. Ray itself is silent for a minute, and then ends the process."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import final

from nas.errors import TargetError
from nas.jobs.ray_address import why_not
from nas.signals import end_at_once

EVERY_S = 1.0
MISSES = 3
"""The head is lost when so many questions in a row got no answer. It may be slow, and a connection may break."""
PATIENCE_S = 2.0
"""How long one question waits. Behind a cut cable nobody refuses it, and the user is to know within 15 s."""
GRACE_S = 4.0
"""How long this process may take to end its work in order once the head is lost; Ray may block it for a minute."""


@final
class HeadWatch:
    """Asks the head at ``address`` every second, in a thread, from ``begin`` to ``end``.

    If it is lost, ``check`` raises. If nobody calls ``end`` soon after that, the process tells how to go on and ends:
    Ray would end it too, without a word.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._host, _, self._port = address.rpartition(":")
        self._over = threading.Event()
        self._lost: str | None = None
        self._thread = threading.Thread(target=self._watch, name="nas_head_watch", daemon=True)

    def begin(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def end(self) -> None:
        """Stop watching."""
        self._over.set()

    def check(self) -> None:
        """Do nothing while the head answers. Raises TargetError once it is lost."""
        if self._lost is not None:
            raise TargetError(self._lost)

    def _watch(self) -> None:
        misses = 0
        host = _answering(self._host.strip("[]"), self._port)
        while misses < MISSES:
            if self._over.wait(EVERY_S):
                return
            reason = why_not(host, self._port, PATIENCE_S)
            misses = 0 if reason is None else misses + 1
        self._lost = (
            f"the head of the cluster at {self._address} is lost: {reason}, {MISSES} times in a row. All finished work "
            "is kept. Start the head again and resume, or go on without it: add --executor inline."
        )
        if not self._over.wait(GRACE_S):
            end_at_once(self._lost, 1)


def _answering(host: str, port: str) -> str:
    """Return the address of a host that answers: to look up a name takes long where the name server is lost too."""
    with contextlib.suppress(OSError, UnicodeError):
        for *_, place in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            if why_not(str(place[0]), port, PATIENCE_S) is None:
                return str(place[0])
    return host

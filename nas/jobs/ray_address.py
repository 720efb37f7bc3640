"""The address of a Ray cluster, checked before any work begins: Ray itself would wait for minutes for nobody."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import socket
import threading

from nas.errors import TargetError

PATIENCE_S = 4.0
"""How long connecting may take, and the answer to the greeting."""
MOST_S = 8.0
"""How long everything may take, with the system's search for the host."""
_SETTINGS = b"\0\0\0\4\0\0\0\0\0"
"""An empty HTTP/2 frame of the type 4, settings, the first that either side sends (RFC 9113, sections 3.4 and 6.5)."""
_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _SETTINGS


def check_address(address: str) -> None:
    """Check that the head of a Ray answers at ``host:port``.

    Raises:
        TargetError: nobody listens there, or it does not speak gRPC, as Ray does.
    """
    host, _, port = address.rpartition(":")
    answers: queue.Queue[str | None] = queue.Queue()
    # In a thread, because looking up a name takes as long as the system likes.
    asking = threading.Thread(target=lambda: answers.put(why_not(host.strip("[]"), port, PATIENCE_S)), daemon=True)
    asking.start()
    reason: str | None = f"there is no answer within {MOST_S:g} s"
    with contextlib.suppress(queue.Empty):
        reason = answers.get(timeout=MOST_S)
    if reason is not None:
        raise TargetError(
            f"--ray-address takes the head of a running Ray, but at {address} {reason}. "
            "Start one there with: ray start --head. Or leave the address out, to train on this machine."
        )


def why_not(host: str, port: str, patience_s: float) -> str | None:
    """Return why this is not the head of a Ray, or None if it may be one.

    It waits ``patience_s`` seconds for a connection, and as many for an answer.
    """
    if re.fullmatch("[0-9]{1,5}", port) is None or int(port) >= 2**16:
        return "there is no port"
    try:
        with socket.create_connection((host, int(port)), timeout=patience_s) as connection:
            if os.environ.get("RAY_USE_TLS", "0") not in ("", "0"):
                return None  # its greeting would be encrypted
            connection.settimeout(patience_s)
            connection.sendall(_GREETING)
            answer = connection.recv(len(_SETTINGS))
    except TimeoutError:
        return f"there is no answer within {patience_s:g} s"
    except (OSError, UnicodeError) as error:  # the latter for a name that no host can have
        return f"nobody answers ({error})"
    return None if len(answer) > 3 and answer[3] == _SETTINGS[3] else "something else than Ray answers"

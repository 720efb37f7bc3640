"""An address is checked before any work begins: nobody, somebody else, and somebody who says nothing."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from nas.errors import TargetError
from nas.jobs import ray_address
from nas.jobs.ray_address import check_address

SETTINGS = b"\0\0\0\4\0\0\0\0\0"


@contextlib.contextmanager
def somebody(answer: bytes | None) -> Iterator[str]:
    """Give the address of a server that answers each greeting in this way; None says nothing."""
    over = threading.Event()

    def serve(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(1000)
            if answer is None:
                over.wait()
            else:
                connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as server:
        serving = threading.Thread(target=serve, args=(server,), daemon=True)
        serving.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        over.set()
        serving.join()


def test_who_speaks_as_ray_does_is_accepted() -> None:
    """Ray's head answers the greeting of HTTP/2 with its settings."""
    with somebody(SETTINGS) as address:
        check_address(address)


@pytest.mark.parametrize(
    "answer", [b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", b""], ids=["ssh", "http", "nothing"]
)
def test_somebody_else_is_refused(answer: bytes) -> None:
    """Another server is no Ray, and Ray would not find that out for minutes."""
    with somebody(answer) as address, pytest.raises(TargetError, match="something else than Ray answers"):
        check_address(address)


def test_who_says_nothing_is_refused_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that accepts but never answers, as behind some firewalls, does not hold up the command."""
    monkeypatch.setattr(ray_address, "PATIENCE_S", 0.5)
    began = time.monotonic()
    with somebody(None) as address, pytest.raises(TargetError, match=r"there is no answer within 0\.5 s"):
        check_address(address)
    assert time.monotonic() - began < 5


def test_a_name_that_takes_for_ever_is_refused_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking up a name has no time limit of its own."""
    monkeypatch.setattr(ray_address, "MOST_S", 0.3)

    def find_slowly(*given: object, **more: object) -> None:
        time.sleep(20)
        raise OSError("not found")

    monkeypatch.setattr(socket, "getaddrinfo", find_slowly)
    began = time.monotonic()
    with pytest.raises(TargetError, match="there is no answer within"):
        check_address("slow.invalid:6379")
    assert time.monotonic() - began < 10

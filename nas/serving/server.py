"""A web server for this machine alone, which answers questions about runs and changes nothing."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import Any, final

from nas.errors import RecipeError
from nas.serving.answers import Answer, Answers
from nas.serving.pages import message_page
from nas.serving.watching import Watch
from nas.signals import heed

LOOPBACK = "127.0.0.1"
PORT = 8321
PATIENCE_S = 30.0
"""A connection that says nothing for so long is closed."""


@final
class Server(ThreadingHTTPServer):
    """Listens on the loopback address only, and answers from ``answers``.

    Raises:
        RecipeError: the port is taken, or not allowed.
    """

    daemon_threads = True
    allow_reuse_address = os.name == "posix"  # on Windows it would take the port of a program that listens
    allow_reuse_port = False

    def __init__(self, answers: Answers, port: int) -> None:
        self.answers = answers
        try:
            super().__init__((LOOPBACK, port), _Handler)
        except OSError as error:
            raise _refused(port, error) from error
        self.hosts = frozenset(self._hosts())

    @property
    def address(self) -> str:
        """The address of the first page."""
        return f"http://{LOOPBACK}:{self.server_port}/"

    def server_bind(self) -> None:
        """Bind to the address. The class above would look up its name, which may ask a server of names."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = LOOPBACK, int(self.server_address[1])

    def _hosts(self) -> Iterator[str]:
        for name in (LOOPBACK, "localhost"):
            yield f"{name}:{self.server_port}"
            if self.server_port == 80:
                yield name

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a browser that closes a connection is no failure. Others are answered with status 500."""


class _Handler(BaseHTTPRequestHandler):
    server: Server
    server_version, sys_version = "nas", ""
    timeout = PATIENCE_S

    def do_GET(self) -> None:
        self._send(with_body=True)

    def do_HEAD(self) -> None:
        self._send(with_body=False)

    def log_message(self, *args: Any) -> None: ...

    def _send(self, *, with_body: bool) -> None:
        with contextlib.suppress(ConnectionError, TimeoutError):  # nobody waits for the answer any more
            answer = self._answer()
            if answer.file is None:
                self._begin(answer, len(answer.body))
                if with_body:
                    self.wfile.write(answer.body)
                return
            try:
                stream = answer.file.open("rb")
            except OSError as error:
                self._begin(Answer(HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8"), 0)
                self.log_error("%s", error)
                return
            with stream:
                self._begin(answer, os.fstat(stream.fileno()).st_size)
                if with_body:
                    shutil.copyfileobj(stream, self.wfile)

    def _answer(self) -> Answer:
        """Return the answer, or why there is none.

        A page of a stranger can send a browser to any name that leads to the loopback address, and read what comes
        back as its own (DNS rebinding). The name is then in the request's Host.
        """
        if self.headers.get("Host", "").lower() not in self.server.hosts:
            sentence = f"This server answers requests to {LOOPBACK}:{self.server.server_port} and localhost only."
            return Answer(HTTPStatus.FORBIDDEN, "text/plain; charset=utf-8", sentence.encode())
        try:
            return self.server.answers.answer(self.path)
        except Exception as error:
            text = message_page("This page cannot be made", f"{type(error).__name__}: {error}")
            return Answer(HTTPStatus.INTERNAL_SERVER_ERROR, "text/html; charset=utf-8", text.encode(errors="replace"))

    def _begin(self, answer: Answer, length: int) -> None:
        self.send_response(answer.status)
        policy = answer.policy or "frame-ancestors 'none'"
        for name, value in {
            "Content-Type": answer.kind,
            "Content-Length": str(length),
            "Content-Security-Policy": policy,
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cache-Control": "no-store",
            **answer.headers,
        }.items():
            self.send_header(name, value)
        self.end_headers()


@contextlib.contextmanager
def serving(folder: Path, port: int = PORT) -> Iterator[Server]:
    """Yield a server for the runs in ``folder``, which watches them in the background until the block ends.

    Raises:
        RecipeError: no such folder, or a port that is taken or not allowed.
    """
    if not folder.is_dir():
        what = "is no folder" if folder.exists() else "does not exist"
        raise RecipeError(
            f"nas serve takes a folder that holds run folders, or the folder of a run, but {folder} {what}."
        )
    watch, over = Watch(folder), threading.Event()
    with Server(Answers(watch), port) as server:
        watcher = threading.Thread(target=watch.keep_looking, args=(over,), daemon=True)
        watcher.start()
        try:
            yield server
        finally:
            over.set()
            watch.wake()


def serve(folder: Path, port: int, say: Callable[[str], None]) -> None:
    """Serve the runs in ``folder`` until a signal asks to stop; ``say`` is told the address.

    Raises:
        RecipeError: as in ``serving``.
    """
    with serving(folder, port) as server:
        say(f"Runs in {folder}: {server.address}")
        say("Only this machine can open it. Press Ctrl-C to stop.")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            heed()


def _refused(port: int, error: OSError) -> RecipeError:
    if error.errno in (errno.EADDRINUSE, getattr(errno, "WSAEADDRINUSE", errno.EADDRINUSE)):
        why = f"port {port} of this machine is taken by another program"
    elif error.errno in (errno.EACCES, getattr(errno, "WSAEACCES", errno.EACCES)):
        why = f"port {port} of this machine is not for programs of yours"
    else:
        why = f"port {port} of this machine cannot be opened: the system says {error}"
    return RecipeError(f"{why}. Choose another one, such as --port {PORT + 1}, or --port 0 for any that is free.")

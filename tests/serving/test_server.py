"""The server: it listens on the loopback address alone, and answers only requests that name it."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from served_runs import runs_folder

from nas.errors import RecipeError
from nas.serving import server as server_module
from nas.serving.server import LOOPBACK, Server, serve, serving


@pytest.fixture(name="server")
def running_server(tmp_path: Path) -> Iterator[Server]:
    """A server in a thread."""
    import threading

    with serving(runs_folder(tmp_path), 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def asked(
    server: Server, target: str = "/", method: str = "GET", host: str | None = None
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(LOOPBACK, server.server_port, timeout=10)
    connection.putrequest(method, target, skip_host=host is not None)
    if host:
        connection.putheader("Host", host)
    connection.endheaders()
    with connection.getresponse() as response:
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()


def test_it_listens_on_the_loopback_address_alone(server: Server) -> None:
    assert server.server_address[0] == "127.0.0.1"
    assert server.socket.family == socket.AF_INET
    assert server.address == f"http://127.0.0.1:{server.server_port}/"


def test_pages_and_data_are_answered(server: Server) -> None:
    status, headers, body = asked(server)
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert b"Runs in" in body
    status, _, body = asked(server, "/live.json")
    assert status == 200
    assert "runs" in json.loads(body)


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "", "localhost.evil:{port}", "[::1]:{port}"],
)
def test_a_request_that_names_another_host_is_refused(server: Server, host: str) -> None:
    """So that a stranger's page cannot read runs by a name of its own that leads to this machine."""
    status, _, body = asked(server, "/live.json", host=host.format(port=server.server_port) or " ")
    assert status == 403
    assert b"runs" not in body
    assert b"localhost only" in body


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "LOCALHOST:{port}"])
def test_its_own_names_are_answered(server: Server, host: str) -> None:
    assert asked(server, host=host.format(port=server.server_port))[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_it_changes_nothing(server: Server, method: str) -> None:
    assert asked(server, method=method)[0] == 501


def test_no_other_page_may_frame_or_embed_it(server: Server) -> None:
    for target in ("/", "/runs/finished/report", "/runs/finished/recipe.toml"):
        status, headers, _ = asked(server, target)
        assert status == 200
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"


def test_a_file_is_sent_whole_as_a_download(server: Server, tmp_path: Path) -> None:
    status, headers, body = asked(server, "/runs/finished/recipe.toml")
    assert (status, headers["content-type"]) == (200, "application/octet-stream")
    assert body == (tmp_path / "runs" / "finished" / "recipe.toml").read_bytes()
    status, headers, body = asked(server, "/runs/finished/recipe.toml", method="HEAD")
    assert (status, body) == (200, b"")
    assert int(headers["content-length"]) > 0


def test_a_page_that_cannot_be_made_is_a_sentence(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(target: str) -> None:
        raise RuntimeError(f"no <b>{target}</b>")

    monkeypatch.setattr(server.answers, "answer", broken)
    status, _, body = asked(server, "/x")
    assert status == 500
    assert b"RuntimeError: no &lt;b&gt;/x" in body
    assert b"Traceback" not in body


def test_a_taken_port_is_told_in_a_sentence(server: Server, tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as error, serving(tmp_path, server.server_port):
        pass
    assert str(error.value) == (
        f"port {server.server_port} of this machine is taken by another program. Choose another one, such as --port "
        "8322, or --port 0 for any that is free."
    )


def test_a_port_that_is_not_allowed_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def denied(self: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(server_module.TCPServer, "server_bind", denied)
    with pytest.raises(RecipeError, match="is not for programs of yours"):
        serve(tmp_path, 80, print)

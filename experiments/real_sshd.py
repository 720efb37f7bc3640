"""A real ssh server on the loopback for experiments and tests, with keys of its own, and an ssh that knows it."""

from __future__ import annotations

import contextlib
import getpass
import os
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

SSHD = shutil.which("sshd", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))
IS_THERE = SSHD is not None and shutil.which("ssh-keygen") is not None and sys.platform == "linux"
HOST, CONNECTS_WITHIN_S = "127.0.0.1", 10.0


@contextlib.contextmanager
def serving(
    folder: Path, host: str = HOST, inside: Sequence[str] = (), *, passwords: bool = False
) -> Iterator[tuple[str, str]]:
    """Serve until the end of the block. Give the address, and a search path on which ssh knows the server and a key.

    ``inside`` is what the server's command begins with, such as to run in another network. There it starts again when
    it is killed. With ``passwords`` it takes these too.
    """
    assert SSHD is not None
    port = free_port()  # free in another network, too
    make_keys(folder)
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress {host}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/user.pub\n"
        f"PidFile {folder}/pid\nStrictModes no\nPermitRootLogin yes\nUsePAM no\n"
        f"PasswordAuthentication {'yes' if passwords else 'no'}\n"
        "PermitUserEnvironment no\nAcceptEnv NAS_* PYTHONPATH\n"
    )
    path = path_with_ssh(folder, port, host)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where it locks itself in before a login
    command = [SSHD, "-D", "-e", "-f", str(folder / "sshd_config")]
    if inside:
        command = [*inside, "/bin/sh", "-c", f"while :; do {shlex.join(command)}; sleep 0.3; done"]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)  # noqa: S603 this server
    try:
        _wait_for(host, port, server)
        yield f"ssh://{getpass.getuser()}@{host}:{port}", path
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def free_port() -> int:
    """Return a port of the loopback that nothing listens to."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    return port


def make_keys(folder: Path) -> None:
    """Write the keys ``host`` and ``user`` into a folder."""
    for name in ("host", "user"):
        command = [shutil.which("ssh-keygen") or "", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(command, check=True)  # noqa: S603 the program of OpenSSH


def path_with_ssh(folder: Path, port: int, host: str = HOST) -> str:
    """Return a search path on which ssh uses the keys of a folder, and knows the server at a host and a port."""
    host_key = (folder / "host.pub").read_text().split()[:2]
    (folder / "known_hosts").write_text(f"[{host}]:{port} {' '.join(host_key)}\n")
    (folder / "ssh_config").write_text(
        f"Host *\n  IdentityFile {folder}/user\n  IdentitiesOnly yes\n  UserKnownHostsFile {folder}/known_hosts\n"
        "  SendEnv NAS_* PYTHONPATH\n"
    )
    wrapper = folder / "ssh"
    wrapper.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {folder}/ssh_config "$@"\n')
    wrapper.chmod(wrapper.stat().st_mode | stat.S_IXUSR)
    return os.pathsep.join([str(folder), os.environ["PATH"]])


def _wait_for(host: str, port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + CONNECTS_WITHIN_S
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
            return
        time.sleep(0.05)
    raise OSError("sshd must serve on the loopback, but does not")

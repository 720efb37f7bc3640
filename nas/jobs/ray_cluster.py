"""Checking a Ray cluster before any work begins for it: its address, and the token that its head asks for."""

from __future__ import annotations

import contextlib
import subprocess
import sys

from nas.errors import TargetError
from nas.jobs import ray_greeting
from nas.jobs.ray_address import check_address
from nas.jobs.ray_environment import set_tune_variables

TOKEN_S = 30.0
"""How long the head may take to refuse a token; the import of Ray takes most of it on a busy machine."""


def check_cluster(address: str) -> None:
    """Check that a Ray answers at ``address`` and takes this process's token; ``auto`` is the Ray of this machine.

    Raises:
        TargetError: there is none, or it asks for another token. Joining it would take minutes to find out.
    """
    if address == "auto":
        set_tune_variables()
        from ray._private.services import canonicalize_bootstrap_address

        found = None
        with contextlib.suppress(ConnectionError, ValueError):
            found = canonicalize_bootstrap_address("auto")
        if found is None:  # also where RAY_ADDRESS is "local"
            raise TargetError(
                "--ray-address auto joins the Ray of which this machine is a node, but there is none. Start one with: "
                "ray start --head. Or leave the address out, to train on this machine."
            )
        address = found
    check_address(address)
    if _refuses_token(address):
        raise TargetError(
            f"the Ray at {address} asks for a token, but this process has none or another one. Set RAY_AUTH_MODE=token "
            "and RAY_AUTH_TOKEN to those with which its head was started, and try again."
        )


def _refuses_token(address: str) -> bool:
    """Return True if the head refuses this process's token. What it says else is found out when it is joined."""
    program = [sys.executable, "-P", ray_greeting.__file__, address]
    with contextlib.suppress(subprocess.TimeoutExpired):
        done = subprocess.run(program, capture_output=True, text=True, timeout=TOKEN_S, check=False)  # noqa: S603
        return done.stdout.endswith(ray_greeting.REFUSED)
    return False

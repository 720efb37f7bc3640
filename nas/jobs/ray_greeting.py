"""Ask the head of a Ray whether it takes this process's token, and print ``token`` if it does not.

It is a program of its own, because Ray's own library writes warnings that no setting silences.

Run it as: ray_greeting.py HOST:PORT
"""

from __future__ import annotations

import sys

REFUSED = "token"


def main(address: str) -> None:
    """Print what the head refuses; nothing if it takes the token, or says something else."""
    from ray._raylet import GcsClient  # type: ignore[attr-defined]
    from ray.exceptions import AuthenticationError

    try:
        GcsClient(address=address)
    except AuthenticationError:
        sys.stdout.write(REFUSED)


if __name__ == "__main__":
    main(*sys.argv[1:])

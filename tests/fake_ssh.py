"""An ssh for tests: it runs the command of a device in a shell of this machine, or fails as the real one does."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

SAYS, GREETS = "FAKE_SSH_SAYS", "FAKE_SSH_GREETS"
"""Environment variables: the words of a failure, and what the shell of the device prints at a login."""


def put_on_path(folder: Path, before: str) -> str:
    """Write the program into a folder, and return a search path that begins with it."""
    program = folder / "ssh"
    program.write_text(f"#!{sys.executable}\n{Path(__file__).read_text()}")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return os.pathsep.join([str(folder), before])


def main() -> None:
    """Act as ssh does with ``-T -o … -- destination command``."""
    if SAYS in os.environ:
        print(os.environ[SAYS], file=sys.stderr)
        sys.exit(255)
    place = sys.argv.index("--")
    print(os.environ.get(GREETS, ""), end="", flush=True)
    assert "BatchMode=yes" in sys.argv[:place], "it must not ask"
    os.execv("/bin/sh", ["/bin/sh", "-c", " ".join(sys.argv[place + 2 :])])


if __name__ == "__main__":
    main()

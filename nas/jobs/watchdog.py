"""A process that outlives a search with a local Ray, and removes what it leaves: Ray's processes and temporary files.

It reads a pipe whose other end only the search holds, so the pipe ends with the search, even if that is killed. Only
``nas.jobs.ray_cleanup`` starts it. It runs as a script, and imports nothing but Python's own library, so that it is
there before Ray.

Run it as: watchdog.py PID_OF_THE_SEARCH FOLDER_OF_RAY [FOLDER ...]
"""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import time

GOODBYE, TOLD = "goodbye", "told"
"""The last line from a search that ends well, or that has told the user how to go on. The lines before it say how."""
ENDED_EARLY = "The search ended early: it was killed, or lost a process of Ray. All finished work is kept."
GRACE_S = 2.0
"""How long Ray's processes may take to end by themselves after a goodbye."""
MOST_S = 10.0
QUIET_S = 0.5
"""No process of Ray must appear for this long. One that is just being started has no open files yet."""
STEP_S = 0.05


def main(search: int, ray_folder: str, *others: str) -> None:
    """Wait for the end of the search, then end Ray's processes and remove the folders."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    lines = sys.stdin.buffer.read().decode("utf-8", "replace").splitlines()
    ended_well = GOODBYE in lines
    if not ended_well and TOLD not in lines:
        sys.stderr.write("\n".join([ENDED_EARLY, *lines]) + "\n")
        sys.stderr.flush()
    end_processes(ray_folder, search, GRACE_S if ended_well else 0.0)
    for folder in (ray_folder,) if ended_well else (ray_folder, *others):
        if folder in others and os.path.exists(f"{folder}.lock"):
            os.unlink(f"{folder}.lock")
        shutil.rmtree(folder, ignore_errors=True)


def end_processes(folder: str, search: int, grace_s: float) -> None:
    """Kill the processes that write their output into ``folder``, but not the search, after they had ``grace_s``."""
    began = quiet_since = time.monotonic()
    while time.monotonic() - began < MOST_S and time.monotonic() - quiet_since < QUIET_S:
        found = writers(folder) - {search, os.getpid()}
        if found:
            quiet_since = time.monotonic()
        if time.monotonic() - began >= grace_s:
            for process in found:
                try:
                    os.kill(process, signal.SIGKILL)
                except (ProcessLookupError, PermissionError):
                    continue
        time.sleep(STEP_S)


def writers(folder: str) -> set[int]:
    """Return the processes that have a file in ``folder`` open for writing, as Ray's processes and their children do.

    Their titles and environments may be overwritten, so those tell nothing. A user who reads a log is left alone.
    """
    if sys.platform == "win32":  # Ray's processes are one job there, and the system ends them together
        return set()
    if not os.path.isdir("/proc/self/fd"):
        listed = subprocess.run(["/bin/ps", "-axo", "pid=,command="], capture_output=True, text=True, check=False)
        rows = [line.split(None, 1) for line in listed.stdout.splitlines() if f"={folder}/" in line]
        return {int(row[0]) for row in rows}
    real = os.path.realpath(folder)  # the temporary folder may be a link; the names of open files are never
    return {int(name) for name in os.listdir("/proc") if name.isdigit() and _writes_into(name, real)}


def _writes_into(process: str, folder: str) -> bool:
    try:
        links = [entry.path for entry in os.scandir(f"/proc/{process}/fd")]
    except OSError:  # it has ended, or belongs to another user
        return False
    for link in links:
        try:
            if os.readlink(link).startswith(f"{folder}/") and os.lstat(link).st_mode & stat.S_IWUSR:
                return True
        except OSError:  # it has just been closed
            continue
    return False


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])

"""The command ``nas``, also as ``python -m nas``. It is ready for Ctrl-C before anything else is imported."""

import os
import sys


def run() -> None:
    """Run the command and end this process with its exit status."""
    try:
        _put_current_folder_last()
        import signal

        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            # Before the work begins, and while Python cleans up after it, Ctrl-C ends this process without a word.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
    except KeyboardInterrupt:  # while Python imports what handles it
        sys.exit(130)
    from nas.signals import Stopped, stopping

    try:
        with stopping(ends_process=True):
            from nas.cli.main import main

            main()
    except Stopped as stopped:  # while Python imports the command
        sys.stderr.write("Stopped. To go on, run the same command again.\n")
        sys.exit(stopped.status)


def _put_current_folder_last() -> None:
    """Move the current folder, which ``python -m`` puts first, to the end of the path, as for the installed command.

    A file there such as json.py must not hide a module of Python. Where this package itself lies there, it stays first.
    """
    ours = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    first = sys.path[0] if sys.path else ours
    if first != ours and os.path.isdir(os.curdir) and os.path.abspath(os.curdir) == os.path.abspath(first):
        sys.path.append(sys.path.pop(0))


if __name__ == "__main__":
    run()

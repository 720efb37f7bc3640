"""The command is not disturbed by files in the folder where it is typed."""

from __future__ import annotations

from pathlib import Path

from commands import path_with_the_tests, run_nas


def test_a_file_in_the_current_folder_hides_no_module(tmp_path: Path) -> None:
    """``python -m nas`` looks there last, as the installed command does: json.py there is somebody's own."""
    for module in ("json", "signal", "socket", "typer", "numpy", "statistics"):
        (tmp_path / f"{module}.py").write_text("raise ImportError('from the current folder')")
    done = run_nas("list", cwd=tmp_path, PYTHONPATH=path_with_the_tests())
    assert done.returncode == 0, done.stderr
    assert "mobilenet" in done.stdout

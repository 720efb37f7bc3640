"""The first program on a board: frames, what it finds, and folders that appear whole."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from nas.hardware.devices import first_steps
from nas.hardware.devices.first_steps import look_around, main, read_frame, remove, unpack, write_frame


def archive(**files: str) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as made:
        for name, content in files.items():
            made.writestr(f"{name}.py", content)
    return written.getvalue()


def test_frames_come_back_as_they_were_written() -> None:
    stream = io.BytesIO()
    write_frame(stream, {"op": "a"}, b"\n\x00{")
    write_frame(stream, {"op": "b", "text": "µ\n"})
    stream.seek(0)
    assert read_frame(stream) == ({"op": "a", "size": 3}, b"\n\x00{")
    assert read_frame(stream) == ({"op": "b", "text": "µ\n", "size": 0}, b"")
    assert read_frame(stream) is None


def test_a_long_frame_is_heard_in_parts() -> None:
    """A link that takes minutes for a model is not a silent one."""
    stream = io.BytesIO()
    write_frame(stream, {"op": "a"}, bytes(3 * first_steps.PART_BYTES + 1))
    stream.seek(0)
    heard: list[int] = []
    found = read_frame(stream, lambda: heard.append(stream.tell()))
    assert found is not None
    assert len(found[1]) == 3 * first_steps.PART_BYTES + 1
    assert len(heard) == 5


@pytest.mark.parametrize("cut", [1, 8, 20])
def test_a_frame_that_is_cut_off_is_the_end(cut: int) -> None:
    stream = io.BytesIO()
    write_frame(stream, {"op": "a"}, b"123")
    assert read_frame(io.BytesIO(stream.getvalue()[:-cut])) is None


def test_it_runs_in_old_pythons() -> None:
    """No syntax after 3.6, or it could not say that a Python is too old."""
    compile(Path(first_steps.__file__).read_text(encoding="utf-8"), "first_steps", "exec", dont_inherit=True)
    import ast

    ast.parse(Path(first_steps.__file__).read_text(encoding="utf-8"), feature_version=(3, 6))


def test_what_it_finds(tmp_path: Path) -> None:
    found = look_around(str(tmp_path), ["numpy", "no-such-package"])
    assert found["folder"] == str(tmp_path / "nas-device")
    assert set(found["packages"]) == {"numpy"}
    assert found["free_bytes"] > 0
    assert found["have"] == []
    assert found["bits"] == 64


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "file" in look_around(str(tmp_path / "file"), [])["problem"]


def test_folders_appear_whole_and_once(tmp_path: Path) -> None:
    unpack(str(tmp_path), "code/0123abcd", archive(a="1"))
    unpack(str(tmp_path), "code/0123abcd", archive(a="2"))
    assert (tmp_path / "code" / "0123abcd" / "a.py").read_text() == "1"
    assert [path.name for path in tmp_path.iterdir()] == ["code"]
    with pytest.raises(zipfile.BadZipFile):
        unpack(str(tmp_path), "sites/0123abcd", b"no archive")
    assert [path.name for path in (tmp_path / "sites").iterdir()] == []


@pytest.mark.parametrize(
    "name", ["../code/0123abcd", "code/..", "models/0123abcd", "code/0123abcd/x", "/code/0123abcd"]
)
def test_other_places_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="an unknown kind of folder"):
        unpack(str(tmp_path), name, archive(a="1"))


def test_it_removes_only_what_it_has_put_there(tmp_path: Path) -> None:
    unpack(str(tmp_path), "code/0123abcd", archive(a="1"))
    (tmp_path / "mine.txt").write_text("")
    remove(str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_request_that_fails_is_answered(tmp_path: Path) -> None:
    """The connection goes on."""
    asked, told = io.BytesIO(), io.BytesIO()
    write_frame(asked, {"folder": str(tmp_path)})
    write_frame(asked, {"op": "unpack", "name": "code/.."}, archive(a="1"))
    write_frame(asked, {"op": "unpack", "name": "code/0123abcd"}, archive(a="1"))
    asked.seek(0)
    main(asked, told)
    told.seek(0)
    assert [told.readline(), told.readline()] == [b"\n", first_steps.BEGIN + b"\n"]
    replies = []
    while (found := read_frame(told)) is not None:
        replies.append(found[0])
    assert replies[0]["problem"] == ""
    assert [reply["ok"] for reply in replies[1:]] == [False, True]

"""The agent keeps models by their content, takes no command, and holds the board's lock."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nas.errors import CandidateError, TargetError
from nas.hardware.devices.agent import Agent, Models, digest_of
from nas.hardware.devices.device_lock import lock_path
from nas.storage.file_lock import HeldElsewhereError, take, turn_of

FILES = [("model.bin", 3), ("beside/weights.bin", 2)]
CONTENT = b"abcde"
KEY = digest_of(FILES, CONTENT)


class TestModels:
    def test_files_lie_together_as_they_were(self, tmp_path: Path) -> None:
        models = Models(tmp_path)
        assert models.lacking([KEY]) == [KEY]
        for _ in range(2):
            models.put(KEY, FILES, CONTENT)
        assert models.lacking([KEY]) == []
        assert models.path(KEY, "model.bin").read_bytes() == b"abc"
        assert models.path(KEY, "beside/weights.bin").read_bytes() == b"de"

    def test_what_arrives_changed_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="arrived changed"):
            Models(tmp_path).put(KEY, FILES, b"abcdX")
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "", "a\\b"])
    def test_names_stay_in_their_folder(self, name: str, tmp_path: Path) -> None:
        files = [(name, 1)]
        with pytest.raises(ValueError, match="must stay in its folder"):
            Models(tmp_path).put(digest_of(files, b"a"), files, b"a")
        with pytest.raises(ValueError, match="a key has 64 hexadecimal digits"):
            Models(tmp_path).path(f"../{'a' * 61}", "x")

    def test_those_used_longest_ago_make_room(self, tmp_path: Path) -> None:
        models = Models(tmp_path, most_bytes=100)
        keys = []
        for number in range(3):
            content = bytes([number]) * 40
            files = [("model", 40)]
            keys.append(digest_of(files, content))
            models.put(keys[-1], files, content)
            os.utime(tmp_path / keys[-1], (number, number))
            if number == 1:
                models.path(keys[0], "model")  # it was used again
        assert models.lacking(keys) == [keys[1]]


class TestAgent:
    def test_takes_no_command(self, tmp_path: Path) -> None:
        agent = Agent(tmp_path)
        meter = {"kind": "command", "command": ["touch", str(tmp_path / "ran")]}
        with pytest.raises(TargetError, match="runs on this machine only"):
            agent.answer({"op": "meter", "meter": meter}, b"")
        with pytest.raises(ValueError, match="an unknown request: 'run'"):
            agent.answer({"op": "run", "command": ["true"]}, b"")
        assert not (tmp_path / "ran").exists()

    def test_holds_the_lock_until_it_closes(self, tmp_path: Path) -> None:
        agent = Agent(tmp_path)
        assert agent.answer({"op": "lock"}, b"")[0] == {"held": True}
        with pytest.raises(HeldElsewhereError):
            take(lock_path(), for_all=True)
        other = Agent(tmp_path)
        assert other.answer({"op": "lock"}, b"")[0]["held"] is False
        other.close()
        agent.close()
        take(lock_path(), for_all=True).close()

    def test_who_waits_for_the_lock_gets_it_before_who_had_it(self, tmp_path: Path) -> None:
        """However short the time between two measurements of the same run is."""
        first, second = Agent(tmp_path), Agent(tmp_path)
        for _ in range(3):
            assert first.answer({"op": "lock"}, b"")[0] == {"held": True}
            assert second.answer({"op": "lock"}, b"")[0]["held"] is False
            first.answer({"op": "unlock"}, b"")
            assert first.answer({"op": "lock"}, b"")[0]["held"] is False
            assert second.answer({"op": "lock"}, b"")[0] == {"held": True}
            first, second = second, first
            second.close()
        first.close()
        take(turn_of(lock_path()), for_all=True).close()

    def test_a_process_that_has_ended_is_told(self, tmp_path: Path) -> None:
        request = {"op": "exchange", "process": "1", "target": "onnxruntime-cpu", "request": {}, "results": {}}
        with pytest.raises(CandidateError, match="the measuring process has ended"):
            Agent(tmp_path).answer(request, b"")

"""Files of weights: whole ones are read, damaged ones and pickles of code are refused with their own reasons."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

from nas.errors import RecipeError
from search_spaces.tensor_files import tensors_in


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_file_that_breaks_off_is_damaged(tmp_path: Path, is_zip: bool) -> None:
    """Wherever it does: nobody is told that it needs to run code, which it does not."""
    whole, cut = tmp_path / "whole.pt", tmp_path / "cut.pt"
    torch.save({"a": torch.ones(300)}, whole, _use_new_zipfile_serialization=is_zip)
    assert list(tensors_in(whole, ())) == ["a"]
    content = whole.read_bytes()
    for size in (*range(8), *range(8, len(content), 97)):
        cut.write_bytes(content[:size])
        with pytest.raises(RecipeError, match=r"weights in .*cut\.pt cannot be read: .") as told:
            tensors_in(cut, ())
        assert "Errno" not in str(told.value)


@pytest.mark.parametrize("content", [b"hello world", b"\xff\xfe weights", b"a,b\n1,2\n"])
def test_a_file_of_another_kind_is_no_traceback(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "text.pt").write_bytes(content)
    with pytest.raises(RecipeError, match="cannot be read: it is damaged, or no file of weights"):
        tensors_in(tmp_path / "text.pt", ())


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickle_of_other_objects_needs_to_run_code(tmp_path: Path, protocol: int) -> None:
    (tmp_path / "plain.pt").write_bytes(pickle.dumps({"a": tmp_path}, protocol))
    torch.save({"a": tmp_path}, tmp_path / "zip.pt")
    for name in ("plain.pt", "zip.pt"):
        with pytest.raises(RecipeError, match="is a pickle that needs to run code, which is refused"):
            tensors_in(tmp_path / name, ())

"""CSV files: their encoding and their delimiter are found, or a sentence says what to do."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from nas.tasks.deployed.csv_file import CsvForm, form_of, lines_of
from nas.tasks.deployed.inputs import InputError

TEXT = "Stadt;Größe;Preis\nKöln;1,5;2\nUlm;3,0;4\n"
ROWS = [["Stadt", "Größe", "Preis"], ["Köln", "1,5", "2"], ["Ulm", "3,0", "4"]]


def rows_of(path: Path, given: CsvForm | None = None) -> list[list[str]]:
    return [cells for _, cells in (lines_of(path) if given is None else lines_of(path, given))]


@pytest.mark.parametrize(
    "encoding",
    ["utf-8", "utf-8-sig", "cp1252", "latin-1", "utf-16", "utf-16-le", "utf-16-be", "utf-32"],
)
@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_encodings(tmp_path: Path, encoding: str, name: str) -> None:
    """Files in UTF-8, UTF-16 and Windows-1252 give the same rows, packed or not."""
    content = TEXT.encode(encoding)
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    assert rows_of(tmp_path / name) == ROWS
    assert form_of(tmp_path / name).example == ("Größe" if encoding in ("cp1252", "latin-1") else "")


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("город;x\nМосква;1\n", "cp1251"),
        ("πόλη;x\nΑθήνα;1\n", "cp1253"),
        ("miasto;x\nWrocław;1\nŁódź;2\n", "cp1250"),
        ("都市,x\n東京,1\n", "cp932"),
        ("城市,x\n北京,1\n", "gbk"),
        ("도시,x\n서울,1\n", "cp949"),
    ],
)
def test_other_encodings_must_be_named(tmp_path: Path, text: str, encoding: str) -> None:
    """Text in another old encoding is refused with advice, instead of being read as other letters."""
    path = tmp_path / "a.csv"
    path.write_bytes(text.encode(encoding))
    with pytest.raises(InputError, match=r"must be text in UTF-8, but line \d is not. Save it as UTF-8"):
        form_of(path)
    wanted = [line.replace(";", ",").split(",") for line in text.split()]
    assert rows_of(path, CsvForm(encoding=encoding)) == wanted


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("a,b\n1,2\n", [["a", "b"], ["1", "2"]]),
        ("a|b\n1|2\n", [["a", "b"], ["1", "2"]]),
        ("a\tb\n1,5\t2,5\n", [["a", "b"], ["1,5", "2,5"]]),
        ("a b   c\n1  2 3\n 4 5 6 \n", [["a", "b", "c"], ["1", "2", "3"], ["4", "5", "6"]]),
        ("sep=;\na;b\n1;2\n", [["a", "b"], ["1", "2"]]),
        ("x, in €;y, in m;z, in s\n1,5;2,5;3\n", [["x, in €", "y, in m", "z, in s"], ["1,5", "2,5", "3"]]),
        ("x;y,z\n1;2,5\n3;4,5\n", [["x", "y,z"], ["1", "2,5"], ["3", "4,5"]]),
        ('a, b\n"x, y", "5"\n', [["a", "b"], ["x, y", "5"]]),
        ("a;b;\n1;2;\n;;\n3;4;\n", [["a", "b", ""], ["1", "2", ""], ["3", "4", ""]]),
        ("a;b\n1;2;\n3;4;\n", [["a", "b"], ["1", "2"], ["3", "4"]]),
        ('a;b\n"1;2";"say ""x"""\n', [["a", "b"], ["1;2", 'say "x"']]),
        ('a,b\r\n"two\r\nlines",2\r\n', [["a", "b"], ["two\r\nlines", "2"]]),
        ("a,b\r1,2\r", [["a", "b"], ["1", "2"]]),
        ("a\n1\n2\n", [["a"], ["1"], ["2"]]),
        ("body mass\n1\n", [["body mass"], ["1"]]),
    ],
)
def test_delimiters(tmp_path: Path, text: str, rows: list[list[str]]) -> None:
    """The delimiter is what gives all rows as many cells; a decimal comma, quotes and empty rows are no trouble."""
    path = tmp_path / "a.csv"
    path.write_bytes(text.encode())
    assert rows_of(path) == rows


def test_lines_are_those_of_the_file(tmp_path: Path) -> None:
    """Lines count from 1, with those that are left out."""
    (tmp_path / "a.csv").write_text("sep=;\na;b\n\n1;2\n;\n3;4\n")
    assert [line for line, _ in lines_of(tmp_path / "a.csv")] == [2, 4, 6]


def test_a_long_file_is_looked_at_only_at_its_beginning(tmp_path: Path) -> None:
    """A quoted cell that lies where the look ends does not change the delimiter."""
    cell = '"' + "x;,\n" * 999 + '"'
    (tmp_path / "a.csv").write_text("a;b\n" + f"{cell};1,5\n" * 99)
    assert len(rows_of(tmp_path / "a.csv")) == 100

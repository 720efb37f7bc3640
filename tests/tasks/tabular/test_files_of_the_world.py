"""CSV files as spreadsheets and programs of many countries write them are read as a person would read them."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas.tasks.loading import Loading
from nas.tasks.tabular.loading import load_tables
from nas.tasks.tabular.tabular import Tabular

ROWS = 80
Amount = Callable[[float, int], str]
Date = Callable[[datetime.date], str]


def grouped(decimal: str, thousands: str) -> Amount:
    """Return what writes a number with a decimal sign and a sign between thousands."""

    def write(value: float, decimals: int) -> str:
        return f"{value:,.{decimals}f}".replace(",", "_").replace(".", decimal).replace("_", thousands)

    return write


def indian(value: float, decimals: int) -> str:
    """Return a number with its last three digits in a group, and pairs before them."""
    whole, _, rest = f"{value:.{decimals}f}".partition(".")
    sign, whole = ("-", whole[1:]) if whole.startswith("-") else ("", whole)
    groups, start = [whole[-3:]], whole[:-3]
    while start:
        groups, start = [start[-2:], *groups], start[:-2]
    return sign + ",".join(groups) + (f".{rest}" if rest else "")


@dataclass(frozen=True)
class Style:
    """How a spreadsheet writes a table."""

    delimiter: str
    amount: Amount
    date: str
    price: str = "{}"
    missing: str = ""
    encoding: str = "utf-8"
    cities: tuple[str, ...] = ("Ulm", "Bonn", "Kiel")
    quote: str = ""
    end: str = "\n"
    start: str = ""


POINT, COMMA, SPACE = grouped(".", ","), grouped(",", "."), grouped(",", "\u00a0")
STYLES = {
    "Germany": Style(";", COMMA, "%d.%m.%Y", "{} €", "k.A.", "cp1252", ("Köln", "München", "Fürth")),
    "Austria": Style(";", COMMA, "%d.%m.%y", "€ {}", "-", "utf-8-sig", ("Wien", "Linz", "Völs")),
    "Switzerland": Style(";", grouped(".", "’"), "%d.%m.%Y", "CHF {}", "#NV", cities=("Zürich", "Genève", "Bern")),
    "France": Style(";", grouped(",", "\u202f"), "%d/%m/%Y", "{} €", "n.d.", "utf-16", ("Orléans", "Nîmes", "Lyon")),
    "Italy": Style(";", COMMA, "%d/%m/%Y", "{}", "", "latin-1", ("Forlì", "Roma", "Cefalù")),
    "Spain": Style(";", COMMA, "%d-%m-%Y", "{}€", "s/d", cities=("Cádiz", "Málaga", "León")),
    "Brazil": Style(";", COMMA, "%d/%m/%Y", "R$ {}", "--", "utf-8-sig", ("São Paulo", "Belém", "Rio")),
    "Netherlands": Style(";", COMMA, "%d-%m-%Y", "€ {}", "?"),
    "Sweden": Style(";", SPACE, "%Y-%m-%d", "{} kr", "", "utf-8", ("Malmö", "Gävle", "Lund"), end="\r\n"),
    "Poland": Style(";", grouped(",", " "), "%d.%m.%Y", "{} zł", "n.a.", cities=("Łódź", "Kraków", "Gdańsk")),
    "Czechia": Style(";", SPACE, "%d. %m. %Y", "{} Kč", "–", "utf-16-le", ("Plzeň", "Brno", "Zlín")),
    "Russia": Style("\t", SPACE, "%d.%m.%Y", "{} ₽", "н/д", "utf-16", ("Москва", "Казань", "Омск")),
    "Hungary": Style(";", SPACE, "%Y.%m.%d.", "{} Ft", "NA", cities=("Győr", "Pécs", "Eger")),
    "Britain": Style(",", POINT, "%d/%m/%Y", "£{}", "n/a", quote='"'),
    "United States": Style(",", POINT, "%m/%d/%Y", "${}", "N/A", quote='"'),
    "India": Style(",", indian, "%d-%b-%Y", "₹ {}", "NIL", quote='"'),
    "Japan": Style(",", grouped(".", ""), "%Y年%m月%d日", "¥{}", "", "utf-8-sig", ("東京", "大阪", "札幌")),
    "South Korea": Style(",", POINT, "%Y. %m. %d.", "₩{}", "-", cities=("서울", "부산", "대구"), quote='"'),
    "China": Style("\t", grouped(".", ""), "%Y/%m/%d", "{}", "NULL", cities=("北京", "上海", "广州")),
    "South Africa": Style(";", SPACE, "%Y/%m/%d", "{}", "#N/A", start="sep=;\r\n", end="\r\n"),
    "Turkey": Style(";", COMMA, "%d.%m.%Y", "{} TL", "", cities=("İzmir", "Muğla", "Bursa")),
    "a database": Style("|", grouped(".", ""), "%Y-%m-%d 00:00:00", "{}", "\\N"),
    "pandas": Style(",", grouped(".", ""), "%Y-%m-%d", "{}", "", cities=("a, b", 'the "c"', "d"), quote='"'),
}


def truth() -> dict[str, Any]:
    """Return the columns that every file holds, as numbers, dates and text."""
    rng = np.random.default_rng(3)
    days = [datetime.date(2019, 1, 1) + datetime.timedelta(days=int(each)) for each in rng.integers(0, 1500, ROWS)]
    score = np.round(rng.normal(0, 12, ROWS), 1)
    score[rng.random(ROWS) < 0.2] = np.nan
    return {
        "price": np.round(rng.lognormal(9, 2, ROWS), 2),
        "score": score,
        "rate": rng.integers(-40, 99, ROWS).astype(np.float64),
        "count": rng.integers(1, 40_000, ROWS).astype(np.float64),
        "when": days,
        "city": rng.integers(0, 3, ROWS),
    }


def written(style: Style, known: dict[str, Any], path: Path) -> None:
    """Write the columns in a style, and the target, which is the price above or below its middle."""

    def cell(text: str) -> str:
        return f"{style.quote}{text.replace(style.quote, 2 * style.quote)}{style.quote}" if style.quote else text

    lines = [[*known, "target"]]
    for row in range(ROWS):
        price, score, rate, count, when, city = (known[name][row] for name in known)
        lines.append(
            [
                style.price.format(style.amount(price, 2)),
                style.missing if np.isnan(score) else style.amount(score, 1),
                f"{rate:.0f} %",
                style.amount(count, 0),
                when.strftime(style.date),
                style.cities[city],
                "dear" if price > np.median(known["price"]) else "cheap",
            ]
        )
    text = style.end.join(style.delimiter.join(map(cell, line)) for line in lines) + style.end
    path.write_bytes((style.start + text).encode(style.encoding))


@pytest.mark.parametrize("country", STYLES)
def test_every_country_writes_the_same_table(tmp_path: Path, country: str) -> None:
    """Numbers, dates, cities and missing values are those of the table, in training as in a bundle."""
    style, known = STYLES[country], truth()
    written(style, known, tmp_path / "table.csv")
    task = load_tables("table.csv", Loading(folder=tmp_path), target="target")
    numbers, categories = task.preparation.read(tmp_path / "table.csv")
    found = dict(zip(task.preparation.names, [*numbers.T, *categories.T], strict=True))
    for name in ("price", "score", "rate", "count"):
        np.testing.assert_array_equal(found[name], known[name], err_msg=name)
    days = [(each - datetime.date(1970, 1, 1)).days for each in known["when"]]
    np.testing.assert_array_equal(found["when (days)"], days)
    np.testing.assert_array_equal(found["when (month)"], [each.month for each in known["when"]])
    np.testing.assert_array_equal(found["when (weekday)"], [each.weekday() for each in known["when"]])
    values = task.preparation.categories[0].values
    assert [values[code - 2] for code in found["city"]] == [style.cities[each] for each in known["city"]]
    assert sorted(task.classes) == ["cheap", "dear"]
    same_as_trained(task, numbers, categories)


def same_as_trained(task: Tabular, numbers: Any, categories: Any) -> None:
    """Check that the rows of a file are those of all splits, to the last bit, in some order."""
    splits = [task.train.raw, task.validation.raw, task.test.raw]
    for place, mine in ((0, numbers), (1, categories)):
        rows = np.concatenate([raw[place] for raw in splits])
        assert sorted(map(bytes, map(np.ascontiguousarray, rows))) == sorted(
            map(bytes, map(np.ascontiguousarray, mine))
        )

"""In a real browser: what a search teaches, several runs, live pages, and the latency by layer in a card."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from opened_report import IN_BROWSER
from report_page import hostile_record
from run_record_example import LAYERS, example_record
from served_runs import HOSTILE, runs_folder

from nas.reports.comparison import render_comparison
from nas.reports.report import render_report
from nas.results.winner import Winner
from nas.serving.server import serving

pytestmark = IN_BROWSER


@pytest.fixture
def tab(browser: Any) -> Iterator[Any]:
    """A tab in which nothing may go wrong."""
    context = browser.new_context()
    page = context.new_page()
    faults: list[str] = []
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    yield page
    assert faults == []
    assert page.evaluate("window.hit") is None
    context.close()


def opened(tab: Any, folder: Path, text: str) -> None:
    path = folder / "page.html"
    path.write_text(text, encoding="utf-8")
    tab.goto(path.as_uri())
    tab.wait_for_function("!document.querySelector('.section-chart:not(.drawn)')")


def is_sound(tab: Any) -> None:
    """Check that nothing scrolls sideways, also on a phone, and that axe finds nothing serious."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    found = axe.run(tab).response["violations"]
    serious = [each for each in found if each["impact"] in ("serious", "critical")]
    assert [(each["id"], each["nodes"][0]["html"]) for each in serious] == [], json.dumps(serious, indent=1)[:3000]
    tab.set_viewport_size({"width": 390, "height": 800})
    tab.wait_for_timeout(80)
    assert tab.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_a_report_draws_its_sections(tab: Any, tmp_path: Path) -> None:
    """A choice is picked from a list, and by a click or Enter on its bar; the table follows."""
    opened(tab, tmp_path, render_report(example_record()))
    assert tab.locator(".section-chart.drawn").count() == 4
    tab.select_option("#matters-metric-0", label="Error")
    tab.select_option("#matters-choice-0", label="width")
    assert tab.inner_text("#matters-effect-title-0") == "Error along width"
    assert tab.locator("#matters-options-0 tr").count() > 3
    tab.focus("#matters-importance-0 .stage")
    tab.keyboard.press("ArrowRight")
    told = tab.inner_text("#matters-importance-0 [role=status]")
    tab.keyboard.press("Enter")
    assert tab.input_value("#matters-choice-0") in told
    options = tab.locator("#scaling-fit-0 option").count()
    tab.select_option("#scaling-fit-0", index=options - 1)
    assert tab.inner_text("#scaling-caption-0")
    is_sound(tab)


def test_several_runs_are_drawn(tab: Any, tmp_path: Path) -> None:
    other = replace(example_record(), name="again", target="another device")
    opened(tab, tmp_path, render_comparison([example_record(), other]))
    assert tab.locator("#runs-fronts-0-0.drawn").count() == 1
    assert tab.locator("#runs-pair-0-0.drawn").count() == 1
    is_sound(tab)


def test_hostile_names_are_text(tab: Any, tmp_path: Path) -> None:
    opened(tab, tmp_path, render_comparison([hostile_record(), replace(hostile_record(), name="again")]))
    assert tab.locator("img").count() == 0


def names_shown(tab: Any) -> list[str]:
    names: list[str] = tab.locator("#rows tr:not([hidden]) th").all_inner_texts()
    return names


def test_many_runs_are_found_and_sorted(tab: Any, tmp_path: Path) -> None:
    """Words of names, states and results find runs; a chosen run stays chosen; columns sort in both orders."""
    runs = runs_folder(tmp_path)
    for number in range(200):
        (runs / f"series-{number}").mkdir()
        (runs / f"series-{number}" / "recipe.toml").write_text("", encoding="utf-8")
    with serving(runs, 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            tab.goto(server.address)
            tab.wait_for_function("() => document.getElementById('count').textContent === '205 of 205 runs'")
            tab.wait_for_selector("#rows svg.spark")
            tab.wait_for_function("() => !/being read/.test(document.getElementById('rows').innerText)")
            newest = names_shown(tab)
            tab.check('input[value="finished"]')
            tab.fill("#find", "SERIES-19 unreadable")
            assert names_shown(tab) == [name for name in newest if name.startswith("series-19")]
            assert tab.inner_text("#count") == "11 of 205 runs, and 1 chosen that are not shown"
            tab.press("#find", "Enter")
            assert tab.url == server.address
            tab.click("[data-sort=name]")
            assert names_shown(tab) == ["series-19", *(f"series-{number}" for number in range(190, 200))]
            tab.click("[data-sort=name]")
            assert names_shown(tab)[0] == "series-199"
            assert tab.get_attribute("th:has([data-sort=name])", "aria-sort") == "descending"
            tab.click("[data-sort=name]")
            assert names_shown(tab) == [name for name in newest if name.startswith("series-19")]
            tab.fill("#find", "<img")
            assert names_shown(tab) == [HOSTILE]
            tab.fill("#find", "no such run")
            assert tab.is_visible("text=No run has all of these words")
            tab.fill("#find", "")
            tab.click("[data-sort=evaluations]")
            assert set(names_shown(tab)[:2]) == {"finished", HOSTILE}
            assert tab.is_checked('input[value="finished"]')
            is_sound(tab)
        finally:
            server.shutdown()
            thread.join()


def test_runs_are_shown_live(tab: Any, tmp_path: Path) -> None:
    """The first page fills itself, a run's page shows its hypervolume, and the keys reach everything."""
    with serving(runs_folder(tmp_path), 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            tab.goto(server.address)
            tab.wait_for_selector("#rows svg.spark")
            told = "document.querySelector('#rows').innerText"
            tab.wait_for_function(f"() => /cannot|newer version/.test({told})")  # runs are read one after the other
            assert tab.locator("img").count() == 0
            tab.check('input[value="finished"]')
            tab.wait_for_timeout(2500)
            assert tab.is_checked('input[value="finished"]')
            is_sound(tab)
            tab.click("text=finished >> nth=0")
            tab.wait_for_selector("#growth svg path")
            assert "finished" in tab.inner_text("#tiles")
            is_sound(tab)
            tab.click("text=Report of what there is now")
            tab.wait_for_selector("html.whole", state="attached")
            tab.goto(f"{server.address}runs/{quote(HOSTILE, safe='')}/")
            tab.wait_for_selector("#growth svg")
            assert tab.inner_text("h1") == HOSTILE
            tab.click("text=Report of what there is now")
            tab.wait_for_selector("html.whole", state="attached")
            assert HOSTILE in tab.inner_text(".kicker")
            assert tab.locator("img").count() == 0
        finally:
            server.shutdown()
            thread.join()


def show_card(tab: Any, winner: Winner) -> None:
    tab.evaluate("(id) => Page.change({ card: Page.run.place(id) })", winner.architecture.id)


def test_a_card_divides_the_latency_among_layers(tab: Any, tmp_path: Path) -> None:
    """A table with bars in the order of the model, or the largest first by a key; else a sentence says why not."""
    front = example_record().front
    (many,) = (winner for winner in front if winner.layer_times == LAYERS)
    opened(tab, tmp_path, render_report(example_record()))
    show_card(tab, many)
    cells = tab.locator("#card .times tbody tr").evaluate_all(
        "rows => rows.map((row) => [...row.cells].map((c) => c.innerText.trim()))"
    )
    assert [cell[0] for cell in cells] == [*(layer.name for layer in LAYERS.layers), "5 other operators"]
    milliseconds = [*(layer.ms for layer in LAYERS.layers), LAYERS.others_ms]
    assert [float(cell[2]) for cell in cells] == pytest.approx(milliseconds, rel=5e-3)
    scaled = [LAYERS.scaled(ms, many.value("latency_ms")) for ms in milliseconds]
    assert [float(cell[3]) for cell in cells] == pytest.approx(scaled, rel=5e-3)
    assert [cell[4] for cell in cells] == [f"{100 * LAYERS.share(ms):.1f} %" for ms in milliseconds]
    widths = tab.locator("#card .times .share").evaluate_all(
        "bars => bars.map((bar) => bar.getBoundingClientRect().width)"
    )
    assert np.argmax(widths) == np.argmax(milliseconds)
    tab.focus("#card button:text('Largest share first')")
    tab.keyboard.press("Enter")
    sorted_names = tab.locator("#card .times tbody th").all_inner_texts()
    assert sorted_names[0] == LAYERS.longest(1)[0].name
    assert sorted(sorted_names) == sorted(cell[0] for cell in cells)
    tab.keyboard.press("Space")
    assert tab.locator("#card .times tbody th").all_inner_texts() == [cell[0] for cell in cells]
    for winner in front:
        show_card(tab, winner)
        told = " ".join(tab.inner_text("#card").split())
        if winner.layer_times is None:
            assert "This run did not record how the latency divides among layers." in told
        elif winner.layer_times.reason:
            assert f"is not known: {winner.layer_times.reason}" in told

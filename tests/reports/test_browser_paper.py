"""The report in a real browser, as it is printed."""

from __future__ import annotations

from opened_report import IN_BROWSER, Opened

pytestmark = IN_BROWSER


def test_a_report_can_be_read_in_the_dark_and_on_paper(opened: Opened) -> None:
    """Plots take the colours of the scheme, and paper is white."""
    tab = opened.tab
    paper = "() => getComputedStyle(document.body).backgroundColor"
    light = tab.evaluate(paper)
    tab.emulate_media(color_scheme="dark")
    assert tab.evaluate(paper) != light
    tab.emulate_media(media="print", color_scheme="dark")
    assert tab.evaluate(paper) == "rgb(255, 255, 255)"
    assert len(tab.pdf()) > 10_000


def test_a_printed_plot_keeps_its_points_in_their_places(opened: Opened) -> None:
    """Plots are drawn in the width of the paper. If it is another, points, axes and limits shrink together."""
    tab = opened.tab
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    widths = tab.evaluate("[...Charts.plots].map((plot) => plot.stage.clientWidth)")
    assert widths
    assert all(0 < width <= 688 for width in widths)
    parts = "['back', 'front'].map((name) => Page.frontPlot[name])"
    assert (
        tab.evaluate(f"{parts}.map((svg) => svg.getAttribute('viewBox'))")
        == [f"0 0 {tab.evaluate('Page.frontPlot.width')} {tab.evaluate('Page.frontPlot.height')}"] * 2
    )
    assert tab.evaluate(f"{parts}.map((svg) => svg.getAttribute('preserveAspectRatio'))") == ["none"] * 2
    tab.emulate_media(media="print")
    assert tab.evaluate("[...Charts.plots].map((plot) => plot.stage.clientWidth)") == widths
    boxes = "[...document.querySelectorAll('.stage > {}')].map((each) => JSON.stringify(each.getBoundingClientRect()))"
    assert tab.evaluate(boxes.format("img")) == tab.evaluate(boxes.format("svg:last-of-type"))
    assert not tab.is_visible(".stage > canvas")
    tab.emulate_media(media="screen")
    tab.evaluate("dispatchEvent(new Event('afterprint'))")
    assert tab.evaluate("Page.frontPlot.width") != 688
    assert tab.locator(".stage > img").count() == 0
    assert tab.is_visible(".stage > canvas")


def test_nothing_is_wider_than_the_paper(opened: Opened) -> None:
    """A wide table made everything smaller, and labels of the parallel coordinates lay upon what follows them."""
    tab = opened.tab
    tab.set_viewport_size({"width": 688, "height": 900})
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    tab.emulate_media(media="print")
    assert tab.evaluate("document.documentElement.scrollWidth") <= 690
    bottom = "Math.max(...[...document.querySelectorAll(name)].map((each) => each.getBoundingClientRect().bottom))"
    labels, stage = tab.evaluate(f"(names) => names.map((name) => {bottom})", [".lines .labels > *", ".lines"])
    assert labels <= stage
    assert not tab.is_visible("text=Choose two to five architectures")

"""A report in a real browser, for tests."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from nas.reports.report import render_report
from nas.results.run import Run

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)
IN_BROWSER = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed"),
]
WATCH = "window.broken = []; addEventListener('securitypolicyviolation', (e) => broken.push(e.violatedDirective));"


class Opened:
    """A report in a browser's tab, and what went wrong in it."""

    def __init__(self, browser: Any, folder: Path, record: Run, **options: Any) -> None:
        self.path = folder / "report.html"
        self.path.write_text(render_report(record), encoding="utf-8")
        self.context = browser.new_context(offline=True, **options)
        self.tab = self.context.new_page()
        self.faults: list[str] = []
        self.asked: list[str] = []
        self.tab.add_init_script(WATCH)
        self.tab.on("console", lambda message: self.faults.append(message.text) if message.type == "error" else None)
        self.tab.on("pageerror", lambda error: self.faults.append(str(error)))
        self.tab.on("request", lambda request: self.asked.append(request.url))
        self.open()

    def open(self, address: str = "") -> None:
        self.tab.goto("about:blank")
        self.tab.goto(f"{self.path.as_uri()}{address}")
        self.tab.wait_for_selector("html.whole", state="attached")

    @property
    def address(self) -> str:
        """What stands behind # in the address, once it is written."""
        self.tab.wait_for_timeout(220)
        return str(self.tab.url.partition("#")[2])

    def text(self, selector: str) -> str:
        return " ".join(self.tab.inner_text(selector).split())

    def is_sound(self) -> None:
        """Check that nothing was asked for but the page, and that nothing went wrong."""
        assert self.faults == []
        assert self.tab.evaluate("broken") == []
        assert all(url.startswith((self.path.as_uri(), "data:", "about:", "blob:")) for url in self.asked)


def first_column(opened: Opened) -> list[str]:
    return list(opened.tab.locator("#all-architectures tbody th").all_inner_texts())

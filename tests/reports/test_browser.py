"""The report in a real browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from report_page import OUTCOMES

from nas.reports.report import render_report

PROBE = """<script>
window.addEventListener("load", () => setTimeout(() => {
  const ids = () => Array.from(document.querySelectorAll("#winners tbody tr"), (row) => row.cells[0].dataset.sort);
  const button = document.querySelectorAll("#winners th button")[2];
  button.click();
  const up = ids();
  const sort = button.parentElement.getAttribute("aria-sort");
  button.click();
  const found = {
    up, down: ids(), sort, hit: window.hit ?? 0, errors: window.errors,
    plots: document.querySelectorAll(".chart .main-svg").length,
    wide: document.documentElement.scrollWidth > document.documentElement.clientWidth,
  };
  document.body.innerHTML = "<pre id=found></pre>";
  document.getElementById("found").textContent = JSON.stringify(found);
}, 500));
</script>"""


CATCH = "<script>window.errors=[];window.addEventListener('error',(event)=>window.errors.push(event.message))</script>"


@pytest.mark.parametrize("outcome", ["example", "hostile", "four objectives", "energy"])
def test_a_browser_draws_and_sorts_without_an_error(outcome: str, tmp_path: Path) -> None:
    """Plots are drawn, headings sort both ways, no hostile script runs, and the page never scrolls sideways."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("chromium is not installed")
    record = OUTCOMES[outcome]()
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', CATCH, render_report(record), count=1)
    page = tmp_path / "report.html"
    page.write_text(text.replace("</body>\n</html>", f"{PROBE}</body></html>"), encoding="utf-8")
    found = json.loads(dumped(chromium, page, tmp_path))
    assert found["errors"] == []
    assert found["hit"] == 0
    assert found["plots"] >= 2
    assert not found["wide"]
    by_error = [w.architecture.id for w in sorted(record.front, key=lambda winner: winner.test_error)]
    assert (found["up"], found["down"], found["sort"]) == (by_error[::-1], by_error, "ascending")


def dumped(chromium: str, page: Path, folder: Path) -> str:
    """Return the text that the page wrote into its element ``found``; skip if the browser does not work."""
    arguments = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
    quiet = ("--disable-component-update", "--disable-sync", f"--user-data-dir={folder / 'profile'}")
    command = [chromium, *arguments, *quiet, "--virtual-time-budget=8000", "--dump-dom", page.as_uri()]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("chromium did not answer in 90 s")
    if done.returncode != 0 or not done.stdout:
        pytest.skip(f"chromium does not work here: {done.stderr[-200:]}")
    match = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert match is not None
    return match[1].replace("&gt;", ">").replace("&lt;", "<").replace("&amp;", "&")

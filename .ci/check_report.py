"""Open a report in headless Chromium: it renders, without an error on the console and without asking the network.

    python .ci/check_report.py REPORT.html SCREENSHOT.png

First the check is tried on a page that breaks both rules; what it does not catch there it could not catch in a report.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--hide-scrollbars",
    "--window-size=1280,2400",
    "--virtual-time-budget=10000",
    "--enable-logging=stderr",
    "--log-level=0",
)
BAD_PAGE = """<!doctype html><title>bad</title><p>text</p>
<img src="http://external.invalid/picture.png"><script>console.error("shouted"); undefinedFunction();</script>"""
# The browser's own traffic, which no flag stops altogether.
OWN_HOSTS = re.compile(r"^https?://([\w.-]+\.)?(google|googleapis|gstatic|gvt1|chromium)\.(com|org)(:\d+)?/")


@dataclass(frozen=True)
class Rendering:
    """What the browser did with a page."""

    console: list[str]
    requests: list[str]
    screenshot_bytes: int
    dom: str


def render(page: Path, screenshot: Path) -> Rendering:
    """Open a page, look at it and listen."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        raise SystemExit("no Chromium: apt-get install chromium")
    with tempfile.TemporaryDirectory() as place:
        log = Path(place) / "net.json"
        common = [browser, *FLAGS, f"--user-data-dir={place}/profile"]
        seen = _run([*common, f"--log-net-log={log}", f"--screenshot={screenshot}", page.resolve().as_uri()])
        requests = sorted(_urls(json.loads(log.read_text())))
        dom = _run([*common, "--dump-dom", page.resolve().as_uri()]).stdout
    console = re.findall(r":CONSOLE[:(]\S* (.*)", seen.stderr)
    return Rendering(console, requests, screenshot.stat().st_size, dom)


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        raise SystemExit(f"Chromium ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return done


def _urls(log: dict) -> set[str]:
    urls = {event.get("params", {}).get("url", "") for event in log["events"]}
    return {url for url in urls if re.match(r"(https?|wss?|ftp)://", url) and not OWN_HOSTS.match(url)}


def main() -> None:
    report, screenshot = map(Path, sys.argv[1:])
    with tempfile.TemporaryDirectory() as place:
        bad, blank = Path(place) / "bad.html", Path(place) / "blank.html"
        bad.write_text(BAD_PAGE)
        blank.write_text("<!doctype html><title>blank</title>")
        caught = render(bad, Path(place) / "bad.png")
        assert len(caught.console) >= 2, f"errors on the console were not noticed: {caught.console}"
        assert caught.requests == ["http://external.invalid/picture.png"], f"requests noticed: {caught.requests}"
        blank_bytes = render(blank, Path(place) / "blank.png").screenshot_bytes
    seen = render(report, screenshot)
    assert seen.console == [], f"the report writes to the console: {seen.console}"
    assert seen.requests == [], f"the report asks the network: {seen.requests}"
    assert seen.screenshot_bytes > 5 * blank_bytes, f"the screenshot has {seen.screenshot_bytes} bytes: nearly blank"
    for piece in ("<table", "<svg"):
        assert piece in seen.dom, f"the rendered report holds no {piece}>"
    print(
        f"report: {report.stat().st_size:,} bytes of HTML, {seen.screenshot_bytes:,} of screenshot; no console "
        "messages, no requests"
    )


if __name__ == "__main__":
    main()

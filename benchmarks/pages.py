"""How long the pages of the Dagster UI take in a real browser, on a workspace with a long history.

Starts the webserver on a workspace that `benchmarks/backfill.py --keep FOLDER` has left, opens each page in headless
Chromium and waits until what a person came for is there. `--shots FOLDER` keeps a picture of each. Beside the seconds
stand the CPU seconds of the servers and of the browser: what a machine with nothing else to do would wait for.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from websockets.asyncio.client import ClientConnection, connect

TARGET_SECONDS = 3.0
REPOSITORY = Path(__file__).parents[1]
PAGES = {
    # name: path after the server, a text that is on the page once it is of use
    "asset, overview": ("/assets/{dataset}/analyzer_results?view=overview", "Latest materialization"),
    "asset, partitions": ("/assets/{dataset}/analyzer_results?view=partitions", "Materialized"),
    "asset, events": ("/assets/{dataset}/analyzer_results?view=events", " materialized"),
    "asset, checks": ("/assets/{dataset}/analyzer_results?view=checks", "Checks"),
    "asset, lineage": ("/assets/{dataset}/analyzer_results?view=lineage", "analyzer_results"),
    "asset graph": ("/asset-groups", "{dataset}"),
    "backfills": ("/runs?view=backfills", "Backfill"),
    "runs": ("/runs", "Runs"),
    "sensors": ("/automation", "data_readiness"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="each page once")
    parser.add_argument("--home", type=Path, help="a workspace with a Dagster instance in dagster/ or dg/")
    parser.add_argument("--dataset", default="visits")
    parser.add_argument("--shots", type=Path, help="keep a picture of each page here")
    arguments = parser.parse_args()
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None or arguments.home is None:
        why = "needs --home" if browser else "needs Chromium"
        print(json.dumps({"benchmark": "pages", "skipped": why}))
        return
    with webserver(arguments.home) as (url, server):
        times = 1 if arguments.quick else 3
        found = asyncio.run(visit(browser, url, server, arguments.dataset, times, arguments.shots))
    table = Table(
        "page", "first visit", f"seconds (target {TARGET_SECONDS:g})", "server CPU", "browser CPU", ""
    )
    for name, (first, *later) in found.items():
        usual = median(later or [first])
        figures = (first.seconds, usual.seconds, usual.server, usual.browser)
        met = "met" if usual.seconds <= TARGET_SECONDS else "MISSED"
        table.add_row(name, *(f"{figure:.2f}" for figure in figures), met)
    Console().print(table)
    shown = {
        name: [[one.seconds, one.server, one.browser] for one in visits] for name, visits in found.items()
    }
    print(json.dumps({"benchmark": "pages", "dataset": arguments.dataset, "seconds, server, browser": shown}))


@dataclass(frozen=True)
class Visit:
    """What one look at a page took: seconds on the clock, and CPU seconds of the servers and of the browser."""

    seconds: float
    server: float
    browser: float


def median(visits: list[Visit]) -> Visit:
    return sorted(visits, key=lambda one: one.seconds)[len(visits) // 2]


def cpu_seconds(root: int) -> float:
    """CPU seconds so far of a process and all its descendants, the ones that have ended included."""
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        parents[int(entry.name)] = int(fields[1])
        ticks[int(entry.name)] = sum(map(int, fields[11:15]))
    family = {root}
    while more := {child for child, parent in parents.items() if parent in family} - family:
        family |= more
    return sum(ticks.get(member, 0) for member in family) / os.sysconf("SC_CLK_TCK")


@contextmanager
def webserver(home: Path) -> Iterator[tuple[str, int]]:
    """The Dagster webserver on the workspace, until the end of the context: its address and process."""
    port = free_port()
    environment = os.environ | {"MONITORING_HOME": str(home), "DAGSTER_HOME": str(instance_of(home))}
    server = subprocess.Popen(
        [
            str(Path(sys.executable).parent / "dagster-webserver"),
            *("-w", str(REPOSITORY / "workspace.yaml"), "-p", str(port)),
        ],
        env=environment,
        cwd=home,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(f"{url}/server_info", seconds=120)
        yield url, server.pid
    finally:
        server.terminate()
        server.wait(timeout=30)


def instance_of(home: Path) -> Path:
    """The folder with the instance's `dagster.yaml`; one is written where the instance is a plain local one."""
    for name in ("dg", "dagster"):
        if (home / name).is_dir():
            file = home / name / "dagster.yaml"
            if not file.exists() or not file.read_text():
                file.write_text("telemetry: {enabled: false}\nnux: {enabled: false}\n")
            return home / name
    raise SystemExit(f"{home} has no Dagster instance")


async def visit(
    browser: str, url: str, server: int, dataset: str, times: int, shots: Path | None
) -> dict[str, list[Visit]]:
    """What each page takes until it is of use, visit by visit; the browser's cache is filled by another page before."""
    found: dict[str, list[Visit]] = {}
    async with tab(browser) as page:
        await page.until(f"{url}/assets", "Assets", seconds=60)
        for name, (path, text) in PAGES.items():
            found[name] = []
            for _ in range(times):
                before = cpu_seconds(server), cpu_seconds(page.process)
                seconds = await page.until(url + path.format(dataset=dataset), text.format(dataset=dataset))
                after = cpu_seconds(server), cpu_seconds(page.process)
                found[name].append(
                    Visit(round(seconds, 2), *(round(b - a, 2) for a, b in zip(before, after, strict=True)))
                )
                await asyncio.sleep(1)  # what a page still asks for is not the next one's
            if shots is not None:
                await asyncio.sleep(2)
                shots.mkdir(parents=True, exist_ok=True)
                await page.picture(shots / f"{name.replace(', ', '-').replace(' ', '-')}.png")
    return found


class Page:
    """One tab of the browser, spoken to over its debugging protocol."""

    def __init__(self, connection: ClientConnection, process: int) -> None:
        self.connection = connection
        self.process = process
        self.numbers = count(1)

    async def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """One command and its answer."""
        number = next(self.numbers)
        await self.connection.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(await self.connection.recv())
            if answer.get("id") == number:
                return answer.get("result", {})

    async def until(self, url: str, text: str, *, seconds: float = 30) -> float:
        """Open a page and wait until it shows a text; the seconds it took."""
        await self.call("Page.navigate", url="about:blank")
        began = time.perf_counter()
        await self.call("Page.navigate", url=url)
        script = f"!!document.body && document.body.innerText.includes({json.dumps(text)})"
        while time.perf_counter() - began < seconds:
            answer = await self.call("Runtime.evaluate", expression=script)
            if answer.get("result", {}).get("value"):
                return time.perf_counter() - began
            await asyncio.sleep(0.02)
        return float("inf")

    async def picture(self, path: Path) -> None:
        """What the tab shows, as PNG."""
        shot = await self.call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(shot["data"]))


@asynccontextmanager
async def tab(browser: str) -> AsyncIterator[Page]:
    """A headless browser with one tab."""
    port = free_port()
    with tempfile.TemporaryDirectory() as profile:
        running = subprocess.Popen(
            [
                *(browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
                *(f"--remote-debugging-port={port}", f"--user-data-dir={profile}", "--window-size=1600,1000"),
                "about:blank",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_for(f"http://127.0.0.1:{port}/json/version", seconds=60)
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as answer:
                [target, *_] = [one for one in json.load(answer) if one["type"] == "page"]
            async with connect(target["webSocketDebuggerUrl"], max_size=None) as connection:
                page = Page(connection, running.pid)
                await page.call("Page.enable")
                yield page
        finally:
            running.terminate()
            running.wait(timeout=30)


def wait_for(url: str, *, seconds: float) -> None:
    """Until something answers."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - on this machine
                return
        except OSError:
            time.sleep(0.2)
    raise SystemExit(f"nothing answers at {url}")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


if __name__ == "__main__":
    main()

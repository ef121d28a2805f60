"""What the web process costs."""

import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import psutil

from benchmarks.box import ROOT, environment, free_port
from benchmarks.report import Row, spread

HEAVY = "{'torch', 'transformers', 'peft', 'celery'}"


def measure() -> list[Row]:
    """Memory and start of the web process; that it loads no torch."""
    with tempfile.TemporaryDirectory() as home:
        command = [sys.executable, "-m", "app.cli", "db", "upgrade"]
        subprocess.run(command, cwd=ROOT, env=environment(home), check=True)
        first, *pairs = [_start(home) for _ in range(6)]
    loaded = subprocess.run(
        [sys.executable, "-c", f"import app.main as m, sys; m.create_app(); print({HEAVY} & set(sys.modules) or 'none')"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    return [
        Row("start to first answer", spread([p[0] for p in pairs], "s"), "1.5 s", "`bunsen web` to /healthz"),
        Row("the very first start", f"{first[0]:.3g} s", "–", "also registers what is bundled"),
        Row("memory after 200 pages", spread([p[1] for p in pairs], "MB", 1e-6), "150 MB", "resident, /login"),
        Row("heavy packages loaded", loaded, "none", "sys.modules after create_app()"),
    ]  # fmt: skip


def _start(home: str) -> tuple[float, float]:
    port, began = free_port(), time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "app.cli", "web", "--port", str(port)],
        cwd=ROOT, env=environment(home),
    )  # fmt: skip
    try:
        _wait(f"http://127.0.0.1:{port}/healthz")
        seconds = time.perf_counter() - began
        for _ in range(200):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/login").read()
        return seconds, psutil.Process(process.pid).memory_info().rss
    finally:
        process.terminate()
        process.wait(20)


def _wait(url: str) -> None:
    for _ in range(1000):
        try:
            urllib.request.urlopen(url, timeout=5).read()
            return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.01)
    raise TimeoutError(url)

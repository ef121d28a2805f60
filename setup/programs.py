"""Where the programs are that no Python package is: on the machine, else where a wheel put them."""

import os
import shutil
import sys
from pathlib import Path

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_redis() -> str | None:
    """The machine's redis-server, else the one that a wheel put into the environment."""
    beside = Path(sys.executable).with_name("redis-server")
    return shutil.which("redis-server") or (str(beside) if beside.exists() else None)


def find_browser() -> str | None:
    """The machine's Chromium or Chrome, else the one that playwright has fetched."""
    for name in BROWSERS:
        if found := shutil.which(name):
            return found
    return playwright_browser()


def playwright_browser() -> str | None:
    home = Path(os.environ.get("PLAYWRIGHT_BROWSERS_PATH") or Path.home() / ".cache/ms-playwright")
    patterns = ("chromium-*/chrome-linux*/chrome", "chromium-*/chrome-mac*/**/MacOS/*")
    return next((str(path) for pattern in patterns for path in sorted(home.glob(pattern))), None)

"""`bunsen test`: everything a fresh machine needs for the whole suite, then the suite."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from setup import environment
from setup.commands import run
from setup.environment import BASE, CUDA, LOG, REQUIREMENTS, ROOT
from setup.say import SetupFailed, Step

TEST = REQUIREMENTS / "test.txt"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHINESE_FONTS = "fonts-noto-cjk"
# pytest's exit codes beside 0 (passed): failed, interrupted, its own error, wrong use, no tests.
MEANING = {0: 0, 1: 1, 2: 1, 3: 1, 4: 2, 5: 1}


def run_tests(arguments: Sequence[str]) -> int:
    try:
        prepare()
    except SetupFailed as error:
        sys.stderr.write(f"{error}\n")
        return 3
    command = [sys.executable, "-m", "pytest", *arguments]
    try:
        code = subprocess.call(command, cwd=ROOT)
    except KeyboardInterrupt:  # pytest got it as well and has said its last line
        code = 2
    return MEANING.get(code, 1)


def prepare() -> None:
    locks = (BASE, CUDA, TEST)
    if environment.is_current("test", *locks) and find_browser():
        return
    with environment.only_one_setup():
        if not environment.is_current("test", *locks):
            environment.install("test tools", TEST)
            environment.mark_current("test", *locks)
        if not find_browser():
            get_browser()


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


def get_browser() -> None:
    if os.geteuid() == 0 and shutil.which("apt-get"):
        with Step("Installing Chromium with apt-get") as step:
            apt(step, "update")
            apt(step, "install", "chromium", CHINESE_FONTS)
    else:
        with Step("Fetching Chromium with playwright") as step:
            run(step, [sys.executable, "-m", "playwright", "install", "chromium"], LOG)
    if not find_browser():
        raise SetupFailed(
            "The browser tests need Chromium. Install it (Debian: apt-get install chromium; "
            "Ubuntu, macOS: google-chrome) and start ./bunsen test again."
        )


def apt(step: Step, verb: str, *packages: str) -> None:
    command = ["apt-get", verb, "--yes", "--quiet", "--no-install-recommends", *packages]
    run(step, ["env", "DEBIAN_FRONTEND=noninteractive", *command], LOG)

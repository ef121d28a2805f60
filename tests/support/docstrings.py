"""A few thousand real rows: the docstrings of Python's own standard library.

Read from the sources, never imported: some modules do things when they are.
"""

import ast
import json
import re
import sysconfig
from collections.abc import Iterator
from pathlib import Path

LEFT_OUT = {"test", "tests", "idlelib", "lib2to3", "site-packages", "turtledemo", "__pycache__"}
INSTRUCTION = "Say in one sentence what this does."
SHORTEST, LONGEST = 20, 200

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def write_rows(file: Path, most: int = 3000) -> int:
    """Write Alpaca rows, name and signature to first sentence; returns how many."""
    rows = dict(_pairs())  # one row for each signature
    lines = [
        json.dumps({"instruction": INSTRUCTION, "input": signature, "output": said})
        for signature, said in sorted(rows.items())[:: max(1, len(rows) // most)]
    ]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return len(lines)


def _pairs() -> Iterator[tuple[str, str]]:
    library = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(library.rglob("*.py")):
        inside = path.relative_to(library)
        if LEFT_OUT.isdisjoint(inside.parts):
            yield from _of_module(path, ".".join(inside.with_suffix("").parts))


def _of_module(path: Path, module: str) -> Iterator[tuple[str, str]]:
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, Definition):
            said = _first_sentence(ast.get_docstring(node) or "")
            if SHORTEST <= len(said) <= LONGEST:
                yield f"{module}.{node.name}{_arguments(node)}", said


def _first_sentence(docstring: str) -> str:
    paragraph = " ".join(docstring.partition("\n\n")[0].split())
    return re.split(r"(?<=\.)\s", paragraph)[0]


def _arguments(node: Definition) -> str:
    if isinstance(node, ast.ClassDef):
        return ""
    return f"({', '.join(argument.arg for argument in node.args.args)})"

"""Under which licence a model was published, as its own folder says."""

import re
from pathlib import Path

CARD = "README.md"
FILES = ("LICENSE", "LICENSE.md", "LICENSE.txt", "LICENCE")
# Both name their licence at the top; neither is ever shown.
READ_BYTES = 64 << 10
LONGEST = 60
STATED = re.compile(r"^license(?:_name)?:[ \t]*(?:\n[ \t]*-[ \t]*)?\[?[\"']?([\w .+-]+)", re.M)
# What a licence's text says of itself, and its short name.
TITLES = {
    r"Apache License\s+Version 2\.0": "apache-2.0",
    r"\bMIT License\b": "mit",
    r"GNU GENERAL PUBLIC LICENSE\s+Version 3": "gpl-3.0",
    r"LLAMA ([\d.]+) COMMUNITY LICENSE": "llama{0}",
    r"Gemma Terms of Use": "gemma",
}


def license_of(folder: Path) -> str:
    """The licence that the model card's heading or the licence file names; empty where neither does.

    Raises:
        OSError: If a file cannot be read.
    """
    heading = re.match(r"\A---\s*\n(.*?)\n---\s*$", _beginning(folder / CARD), re.S | re.M)
    stated = [found.strip() for found in STATED.findall(heading[1])] if heading else []
    named = next((each for each in stated if each and each.lower() != "other"), "")
    return named[:LONGEST] or _by_text(folder)


def _by_text(folder: Path) -> str:
    text = next((found for name in FILES if (found := _beginning(folder / name))), "")
    for title, name in TITLES.items():
        if said := re.search(title, text, re.I):
            return name.format(*said.groups())
    return ""


def _beginning(path: Path) -> str:
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return file.read(READ_BYTES).decode("utf-8", "replace").replace("\r\n", "\n")

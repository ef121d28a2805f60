"""The theory of a lab: its Markdown as HTML, with formulas as MathML and code in colours."""

import re
from functools import cache
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.rules_inline import StateInline
from markupsafe import Markup
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

from app.catalogue.mathml import mathml
from labs import registry
from labs.contract import Lab

FILES = {"zh-Hant": "theory.zh-Hant.md"}


def theory(lab: Lab, language: str) -> Markup:
    """A lab's theory in a language, or in English where it has none; empty without a file."""
    folder = registry.folder(lab)
    paths = [folder / FILES.get(language, "theory.md"), folder / "theory.md"]
    return next((rendered(path) for path in paths if path.is_file()), Markup())


@cache
def rendered(path: Path) -> Markup:
    """The HTML of a file of theory, without its title: the page has one."""
    text = path.read_text(encoding="utf-8")
    return Markup(_markdown().render(re.sub(r"\A\s*# [^\n]*\n", "", text)))


def _markdown() -> MarkdownIt:
    # Raw HTML stays off: theory is text, and what looks like a tag in it is shown.
    made = MarkdownIt("commonmark", {"html": False, "highlight": _highlight}).enable("table")
    made.inline.ruler.before("escape", "formula", _formula)
    return made


def _formula(state: StateInline, silent: bool) -> bool:
    """`$…$` in a line, `$$…$$` on a line of its own."""
    mark = "$$" if state.src.startswith("$$", state.pos) else "$"
    start = state.pos + len(mark)
    end = state.src.find(mark, start)
    if not state.src.startswith(mark, state.pos) or end <= start:
        return False
    if not silent:
        token = state.push("html_inline", "", 0)
        token.content = mathml(state.src[start:end], block=mark == "$$")
    state.pos = end + len(mark)
    return True


def _highlight(code: str, language: str, attributes: str) -> str:
    try:
        lexer = get_lexer_by_name(language)
    except ClassNotFound:
        return ""
    coloured: str = highlight(code, lexer, HtmlFormatter(nowrap=True))
    return coloured

"""TeX formulas of the theory pages as MathML: the part of TeX that the labs use."""

import re
from collections.abc import Callable, Iterator
from html import escape

TOKEN = re.compile(
    r"\\(?:text|mathrm|operatorname)\{[^{}]*\}|\\[A-Za-z]+|\\.|\d+(?:\.\d+)?|\S", re.ASCII
)
SIGNS = {"-": "−", "*": "∗", "'": "′"}

LETTERS = dict(
    zip(
        [
            "alpha",
            "beta",
            "gamma",
            "delta",
            "epsilon",
            "varepsilon",
            "zeta",
            "eta",
            "theta",
            "kappa",
            "lambda",
            "mu",
            "nu",
            "xi",
            "pi",
            "rho",
            "sigma",
            "tau",
            "phi",
            "varphi",
            "chi",
            "psi",
            "omega",
            "Gamma",
            "Delta",
            "Theta",
            "Lambda",
            "Xi",
            "Pi",
            "Sigma",
            "Phi",
            "Psi",
            "Omega",
            "ell",
            "infty",
            "partial",
            "nabla",
        ],
        "αβγδϵεζηθκλμνξπρστϕφχψωΓΔΘΛΞΠΣΦΨΩℓ∞∂∇",
        strict=True,
    )
)
OPERATORS = {
    "cdot": "⋅", "times": "×", "div": "÷", "pm": "±", "le": "≤", "leq": "≤", "ge": "≥", "geq": "≥",
    "neq": "≠", "ne": "≠", "approx": "≈", "sim": "∼", "in": "∈", "notin": "∉", "subset": "⊂",
    "to": "→", "rightarrow": "→", "leftarrow": "←", "gets": "←", "Rightarrow": "⇒", "mapsto": "↦",
    "odot": "⊙", "oplus": "⊕", "otimes": "⊗", "top": "⊤", "mid": "∣", "ll": "≪", "gg": "≫",
    "ldots": "…", "dots": "…", "cdots": "⋯", "propto": "∝", "equiv": "≡", "cup": "∪", "cap": "∩",
    "forall": "∀", "exists": "∃", "lfloor": "⌊", "rfloor": "⌋", "lceil": "⌈", "rceil": "⌉",
    "langle": "⟨", "rangle": "⟩", "|": "‖", "lVert": "‖", "rVert": "‖", "{": "{", "}": "}",
    "%": "%", "_": "_", "prime": "′", "ast": "∗", "star": "⋆", "circ": "∘", "lvert": "|", "rvert": "|",
}  # fmt: skip
BIG = {"sum": "∑", "prod": "∏", "int": "∫"}
NAMES = frozenset(
    [
        "log",
        "exp",
        "max",
        "min",
        "arg",
        "argmax",
        "argmin",
        "softmax",
        "det",
        "rank",
        "sign",
        "clip",
        "dim",
        "sup",
        "inf",
    ]
)
ACCENTS = {"hat": "^", "bar": "¯", "tilde": "~", "vec": "→", "overline": "¯", "dot": "˙"}
SPACES = {",": ".17em", ";": ".28em", ":": ".22em", " ": ".3em", "quad": "1em", "qquad": "2em"}
STYLES = {"mathbb": "double-struck", "mathcal": "script", "mathbf": "bold", "boldsymbol": "bold"}
SILENT = frozenset({"left", "right", "big", "Big", "bigl", "bigr", "displaystyle", "!", "limits"})
BASES = {"double-struck": "𝔸", "script": "𝒜", "bold": "𝐀"}
DOUBLE_STRUCK = {"C": "ℂ", "N": "ℕ", "P": "ℙ", "Q": "ℚ", "R": "ℝ", "Z": "ℤ"}
SCRIPT = {"B": "ℬ", "E": "ℰ", "F": "ℱ", "H": "ℋ", "I": "ℐ", "L": "ℒ", "M": "ℳ", "R": "ℛ"}


def mathml(tex: str, block: bool = False) -> str:
    """A formula as a `<math>` element; what is not known is shown as it was written."""
    body = _row(Tokens(TOKEN.findall(tex)), until=None)
    display = ' display="block"' if block else ""
    return f'<math xmlns="http://www.w3.org/1998/Math/MathML"{display}>{body}</math>'


class Tokens:
    """The tokens of a formula, with one look ahead."""

    def __init__(self, found: list[str]) -> None:
        self._rest = found[::-1]

    def peek(self) -> str | None:
        return self._rest[-1] if self._rest else None

    def take(self) -> str:
        return self._rest.pop() if self._rest else ""

    def take_raw_group(self) -> str:
        """The letters between braces, as for `\\mathbf{…}`."""
        if self.peek() != "{":
            return self.take()
        self.take()
        parts: list[str] = []
        while self.peek() not in (None, "}"):
            parts.append(self.take())
        self.take()
        return "".join(parts)


def _row(tokens: Tokens, until: str | None) -> str:
    return f"<mrow>{''.join(_scripted(tokens, until))}</mrow>"


def _scripted(tokens: Tokens, until: str | None) -> Iterator[str]:
    while tokens.peek() is not None and tokens.peek() != until:
        large = (tokens.peek() or "").removeprefix("\\") in BIG
        base = _atom(tokens)
        if base:
            yield _with_scripts(base, tokens, large)
    tokens.take()


def _with_scripts(base: str, tokens: Tokens, large: bool) -> str:
    below = above = ""
    while tokens.peek() in ("_", "^"):
        if tokens.take() == "_":
            below = _atom(tokens)
        else:
            above = _atom(tokens)
    kind = ("munder", "mover", "munderover") if large else ("msub", "msup", "msubsup")
    if below and above:
        return f"<{kind[2]}>{base}{below}{above}</{kind[2]}>"
    if below:
        return f"<{kind[0]}>{base}{below}</{kind[0]}>"
    return f"<{kind[1]}>{base}{above}</{kind[1]}>" if above else base


def _atom(tokens: Tokens) -> str:
    token = tokens.take()
    if token == "{":
        return _row(tokens, "}")
    if token.endswith("}") and token.startswith("\\"):
        return _words(token)
    if token.startswith("\\"):
        return _command(token[1:], tokens)
    if token[:1].isdigit():
        return f"<mn>{token}</mn>"
    if token.isalpha():
        return f"<mi>{escape(token)}</mi>"
    return f"<mo>{escape(SIGNS.get(token, token))}</mo>"


def _words(token: str) -> str:
    command, _, words = token[1:-1].partition("{")
    kind = "mi" if command == "operatorname" else "mtext"
    return f"<{kind}>{escape(words)}</{kind}>"


def _command(name: str, tokens: Tokens) -> str:
    if name in LETTERS:
        return f"<mi>{LETTERS[name]}</mi>"
    if name in OPERATORS or name in BIG:
        return f"<mo>{escape(OPERATORS.get(name) or BIG[name])}</mo>"
    if name in NAMES:
        return f"<mi>{name}</mi><mo>&#x2061;</mo>"  # function application: a thin space
    if name in SPACES:
        return f'<mspace width="{SPACES[name]}"></mspace>'
    if name in SILENT:
        return ""
    if name in ACCENTS:
        return f'<mover accent="true">{_atom(tokens)}<mo>{ACCENTS[name]}</mo></mover>'
    if name in STYLES:
        return f"<mi>{escape(_styled(tokens.take_raw_group(), STYLES[name]))}</mi>"
    return _structure(name, tokens)


def _structure(name: str, tokens: Tokens) -> str:
    builders: dict[str, Callable[[], str]] = {
        "frac": lambda: f"<mfrac>{_atom(tokens)}{_atom(tokens)}</mfrac>",
        "sqrt": lambda: f"<msqrt>{_atom(tokens)}</msqrt>",
        "underbrace": lambda: f'<munder>{_atom(tokens)}<mo stretchy="true">⏟</mo></munder>',
    }
    return builders.get(name, lambda: f"<mtext>{escape(name)}</mtext>")()


def _styled(text: str, style: str) -> str:
    """Letters of the mathematical alphabets; browsers no longer read `mathvariant`."""
    exceptions = {"double-struck": DOUBLE_STRUCK, "script": SCRIPT}.get(style, {})
    return "".join(exceptions.get(letter) or _shifted(letter, BASES[style]) for letter in text)


def _shifted(letter: str, capital_a: str) -> str:
    if "A" <= letter <= "Z":
        return chr(ord(capital_a) + ord(letter) - ord("A"))
    if "a" <= letter <= "z":
        return chr(ord(capital_a) + 26 + ord(letter) - ord("a"))
    return letter

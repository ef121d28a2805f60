"""What the form of a scoreboard holds, and what a sent one says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import uuid4

from starlette.datastructures import FormData, QueryParams

from app.catalogue.sent import read_seed
from app.scoreboards.plan import BUDGET, METHODS, RATES, Wanted

# Of a form that was sent, where a box that is missing is not ticked.
CHOSEN, WISHED = "chosen", "wished"


@dataclass(frozen=True, slots=True)
class Entered:
    """The texts of the form's fields and its ticked methods; None before anybody chose.

    `wished` are those that could not be ticked for the base or dataset that was chosen last.
    """

    texts: Mapping[str, str] = field(default_factory=dict)
    methods: Sequence[str] | None = None
    wished: Sequence[str] = ()
    key: str = field(default_factory=lambda: uuid4().hex)

    @property
    def alone(self) -> bool:
        return self.methods is None or self.texts.get("alone") == "true"


def read_form(sent: FormData | QueryParams) -> Entered:
    """What somebody sent, as a form or in an address."""
    texts = {name: _clean(value) for name, value in sent.items() if isinstance(value, str)}
    chosen, wished = (
        [each for each in sent.getlist(name) if isinstance(each, str)] for name in (METHODS, WISHED)
    )
    return Entered(
        texts=texts,
        methods=chosen if CHOSEN in texts or chosen else None,
        wished=wished,
        key=texts.get("idempotency_key", "")[:128] or uuid4().hex,
    )


def wanted_of(entered: Entered) -> Wanted:
    """The sent form as a scoreboard.

    Raises:
        InvalidInput: If the seed is no number.
    """
    texts, chosen = entered.texts, entered.methods or ()
    rates = {slug: texts.get(f"{RATES}.{slug}", "").strip() for slug in chosen}
    return Wanted(
        methods=chosen,
        base_model=texts.get("base_model") or None,
        dataset=texts.get("dataset") or None,
        budget={name: texts[name].strip() for name in BUDGET if name in texts},
        rates={slug: text for slug, text in rates.items() if text},
        seed=read_seed(texts.get("seed", "")),
        name=texts.get("name", ""),
        alone=entered.alone,
    )


def _clean(text: str) -> str:
    """No database takes a NUL character."""
    return text.replace("\0", "")

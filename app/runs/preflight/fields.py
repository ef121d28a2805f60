"""What a submission says in plain fields, and what a lab says of its parameters."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from app.errors import FieldError, InvalidInput
from app.i18n import N_
from labs import registry
from labs.contract import Lab, LabError, Params
from labs.models import ModelFacts

if TYPE_CHECKING:
    from app.runs.submit import Submission

LARGEST_SEED = 2**31 - 1
NAME_LENGTH = 120
KEY_LENGTH = 128


def find_lab(slug: str) -> Lab:
    """The lab of that name; `InvalidInput` names the nearest ones."""
    try:
        return registry.get(slug)
    except LabError as error:
        raise InvalidInput([told("lab", error)]) from error


def check_stages(
    lab: Lab, wanted: Sequence[str] | None
) -> tuple[tuple[str, ...], list[FieldError]]:
    """The stages to carry out: the first ones of the lab, without a gap, as each needs the last."""
    known = tuple(stage.name for stage in lab.stages)
    if wanted is None:
        return known, []
    for name in wanted:
        try:
            lab.stage(name)
        except LabError as error:
            return known, [told("stages", error)]
    if not wanted:
        return known, [FieldError("stages", N_("Choose at least one stage."))]
    last = max(known.index(name) for name in wanted)
    missing = [name for name in known[: last + 1] if name not in wanted]
    if missing:
        sentence = N_(
            "The stage “{stage}” builds on the ones before it. Choose these too: {missing}."
        )
        values = {"stage": known[last], "missing": ", ".join(missing)}
        return known, [FieldError("stages", sentence, values)]
    return known[: last + 1], []


def check_plain(submission: "Submission") -> list[FieldError]:
    """Seed, name and key."""
    errors = []
    if submission.seed is not None and not 0 <= submission.seed <= LARGEST_SEED:
        sentence = N_("The seed {seed} does not fit: allowed is 0 to {largest}.")
        values = {"seed": submission.seed, "largest": LARGEST_SEED}
        errors.append(FieldError("seed", sentence, values))
    if len(submission.name) > NAME_LENGTH or "\0" in submission.name:
        sentence = N_("A name has at most {limit} characters.")
        errors.append(FieldError("name", sentence, {"limit": NAME_LENGTH}))
    key = submission.idempotency_key
    if key is not None and not (0 < len(key) <= KEY_LENGTH and key.isprintable()):
        sentence = N_("An idempotency key has 1 to {limit} printable characters.")
        errors.append(FieldError("", sentence, {"limit": KEY_LENGTH}))
    return errors


def refused(lab: Lab, facts: ModelFacts, params: Params) -> list[FieldError]:
    """Why the lab does not take this model with these parameters: at most one sentence."""
    refusal = lab.accepts.refuse(facts, params)
    return [told(refusal.parameter or "base_model", refusal)] if refusal else []


def refused_format(lab: Lab, form: str, params: Params) -> list[FieldError]:
    """Why the lab does not take rows of this format with these parameters."""
    refusal = lab.accepts.refuse_format(form, params)
    return [told(refusal.parameter or "dataset", refusal)] if refusal else []


def told(field: str, error: LabError) -> FieldError:
    """A lab's sentence at a field of the form."""
    return FieldError(field, error.message, error.values)

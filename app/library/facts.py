"""What a row of the library stores of a model, and back to the facts that labs judge by."""

from dataclasses import asdict, fields, replace
from typing import Any

from app.models import LanguageModel
from labs.models import Matrix, ModelFacts

Json = dict[str, Any]
NAMES = frozenset(field.name for field in fields(ModelFacts))


def facts_json(facts: ModelFacts) -> Json:
    """Facts as they are stored: sets as sorted lists."""
    return {**asdict(facts), "sublayers": sorted(facts.sublayers)}


def facts_of(model: LanguageModel) -> ModelFacts | None:
    """The stored facts under the model's name in the library; None where an earlier release, which
    knew fewer, wrote them, and while a model is on its way."""
    stored = model.facts
    if not stored.keys() >= NAMES:
        return None
    matrices = {name: Matrix(**each) for name, each in stored["matrices"].items()}
    given = {name: stored[name] for name in NAMES}
    facts = ModelFacts(
        **{**given, "matrices": matrices, "sublayers": frozenset(stored["sublayers"])}
    )
    return replace(facts, name=model.name)

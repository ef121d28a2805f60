"""What submissions that come together have in common, looked up once for all of them."""

from collections.abc import Callable, Hashable
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from app.errors import FieldError
from app.models import Artifact, Dataset, LanguageModel, User
from app.runs.costs import Pricing
from app.runs.preflight.inputs import find_base_model, find_dataset, find_parent
from labs.contract import Lab
from labs.estimate import Lengths
from labs.models import ModelFacts


class Shared:
    """Looks up for one person, in one transaction: each thing once."""

    def __init__(self, session: Session, actor: User) -> None:
        self._session, self._actor = session, actor
        self._found: dict[Hashable, Any] = {}

    def base_model(
        self, lab: Lab, wanted: str | None
    ) -> tuple[LanguageModel | None, ModelFacts | None, list[FieldError]]:
        key = ("base_model", wanted or lab.default_model)
        model, facts, errors = self._once(key, lambda: find_base_model(self._session, lab, wanted))
        return model, facts, list(errors)

    def dataset(self, lab: Lab, wanted: str | None) -> tuple[Dataset | None, list[FieldError]]:
        key = ("dataset", lab.slug, wanted)
        found, errors = self._once(
            key, lambda: find_dataset(self._session, self._actor, lab, wanted)
        )
        return found, list(errors)

    def parent(self, lab: Lab, wanted: UUID | None) -> tuple[Artifact | None, list[FieldError]]:
        key = ("parent", lab.slug, wanted)
        found, errors = self._once(
            key, lambda: find_parent(self._session, self._actor, lab, wanted)
        )
        return found, list(errors)

    def pricing(
        self, lab: Lab, facts: ModelFacts, model: LanguageModel, lengths: Lengths | None
    ) -> Pricing:
        """Devices and earlier runs are asked for once for each lab on each model."""
        key = ("pricing", lab.slug, model.id, lengths)
        made: Pricing = self._once(key, lambda: Pricing(self._session, lab, facts, model, lengths))
        return made

    def _once(self, key: Hashable, look: Callable[[], Any]) -> Any:
        if key not in self._found:
            self._found[key] = look()
        return self._found[key]

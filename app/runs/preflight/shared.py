"""What submissions that come together have in common, looked up once for all of them."""

from collections.abc import Callable, Hashable
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from app.errors import FieldError
from app.models import Dataset, User
from app.runs.costs import Pricing
from app.runs.preflight.inputs import find_dataset
from app.runs.preflight.resources import Named, find_resources
from app.runs.preflight.start import Start, find_start
from labs.contract import Lab, Params, resource_kinds
from labs.estimate import Lengths


class Shared:
    """Looks up for one person, in one transaction: each thing once."""

    def __init__(self, session: Session, actor: User) -> None:
        self._session, self._actor = session, actor
        self._found: dict[Hashable, Any] = {}

    def start(
        self, lab: Lab, wanted: str | None, parent_run: UUID | None
    ) -> tuple[Start | None, list[FieldError]]:
        key = ("start", lab.accepts.parents, wanted or lab.default_model, parent_run)
        found, errors = self._once(
            key, lambda: find_start(self._session, self._actor, lab, wanted, parent_run)
        )
        return found, list(errors)

    def resources(self, lab: Lab, params: Params) -> tuple[list[Named], list[FieldError]]:
        named = tuple(getattr(params, name) for name in resource_kinds(lab.params))
        found, errors = self._once(
            ("resources", lab.slug, named),
            lambda: find_resources(self._session, self._actor, lab, params),
        )
        return list(found), list(errors)

    def dataset(self, lab: Lab, wanted: str | None) -> tuple[Dataset | None, list[FieldError]]:
        key = ("dataset", lab.slug, wanted)
        found, errors = self._once(
            key, lambda: find_dataset(self._session, self._actor, lab, wanted)
        )
        return found, list(errors)

    def pricing(self, lab: Lab, start: Start, lengths: Lengths | None) -> Pricing:
        """Devices and earlier runs are asked for once for each lab on each model."""
        key = ("pricing", lab.slug, start.folder, lengths)
        made: Pricing = self._once(
            key, lambda: Pricing(self._session, lab, start.facts, start.model, lengths)
        )
        return made

    def _once(self, key: Hashable, look: Callable[[], Any]) -> Any:
        if key not in self._found:
            self._found[key] = look()
        return self._found[key]

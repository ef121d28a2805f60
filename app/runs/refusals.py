"""What is wrong with runs that come together, told once for each field."""

from collections.abc import Iterator
from contextlib import contextmanager

from app.errors import FieldError, InvalidInput
from app.i18n import N_, gettext, number, sentence

# More names than these are counted.
NAMED = 4


class Refusals:
    """Collects what each of these runs was refused for, and refuses them as a whole."""

    def __init__(self, runs: int) -> None:
        self._runs = runs
        self._found: dict[str, list[tuple[str, FieldError]]] = {}

    @contextmanager
    def noted(self, name: str) -> Iterator[None]:
        """Note what is wrong with the run of that name instead of raising it."""
        try:
            yield
        except InvalidInput as refusal:
            for error in refusal.errors:
                self._found.setdefault(error.field, []).append((name, error))

    def tell(self) -> None:
        """Raise `InvalidInput` if anything was noted: each field once, with the runs it is about."""
        if self._found:
            raise InvalidInput([self._told(found) for found in self._found.values()])

    def _told(self, found: list[tuple[str, FieldError]]) -> FieldError:
        """The first sentence; with the names of its runs where it is not for all of them alike."""
        first = found[0][1]
        if len(found) == self._runs and all(error == first for _name, error in found):
            return first
        values = {
            "runs": named(list(dict.fromkeys(name for name, _error in found))),
            "told": sentence(first.message, first.values),
        }
        return FieldError(first.field, N_("{runs}: {told}"), values)


def named(names: list[str]) -> str:
    """The first of these names, and how many more there are."""
    more = len(names) - NAMED
    shown = "; ".join(names[:NAMED])
    if more <= 0:
        return shown
    return gettext(N_("%(shown)s and %(count)s more")) % {"shown": shown, "count": number(more)}

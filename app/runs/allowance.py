"""How many more runs each person and class may have on devices now. Pure."""

from collections import Counter
from collections.abc import Sequence

from app.runs.places import Place, Rules, Waiting


class Allowance:
    """Counts the runs on devices against the limits of people and classes."""

    def __init__(self, places: Sequence[Place], rules: Rules) -> None:
        self._rules = rules
        live = [run for place in places for run in place.runs]
        self._people = Counter((run.owner, run.classroom) for run in live)
        self._classes = Counter(run.classroom for run in live)

    def allows(self, run: Waiting) -> bool:
        return self.person_limit(run) is None and self.class_limit(run) is None

    def person_limit(self, run: Waiting) -> int | None:
        """The limit of its owner that keeps the run from starting now, if any."""
        most = self._rules.running_per_person.get(run.classroom)
        reached = most is not None and self._people[run.owner, run.classroom] >= most
        return most if reached else None

    def class_limit(self, run: Waiting) -> int | None:
        """The limit of its class that keeps the run from starting now, if any."""
        most = self._rules.running_per_class.get(run.classroom) if run.classroom else None
        return most if most is not None and self._classes[run.classroom] >= most else None

    def count(self, run: Waiting) -> None:
        """One more of them is on a device."""
        self._people[run.owner, run.classroom] += 1
        self._classes[run.classroom] += 1

"""Text cut before a stop sequence, whatever pieces it comes in. Imports no torch."""

from collections.abc import Sequence


class StopCutter:
    """Lets text through up to the first stop sequence that is complete.

    The end of a text that may be the beginning of a stop sequence is held back until it is known.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._held = ""
        self.stopped = False

    def put(self, text: str) -> str:
        """Take more text; gives what can be shown."""
        if self.stopped:
            return ""
        self._held += text
        found = [(self._held.find(stop), stop) for stop in self._stops if stop in self._held]
        if found:
            self.stopped = True
            # The one that is complete first counts; of several at once, the longest.
            start, _ = min(found, key=lambda each: (each[0] + len(each[1]), each[0]))
            return self._take(start)
        return self._take(len(self._held) - self._uncertain())

    def rest(self) -> str:
        """What was held back when nothing more comes."""
        return "" if self.stopped else self._take(len(self._held))

    def _take(self, count: int) -> str:
        shown, self._held = self._held[:count], self._held[count:]
        return shown

    def _uncertain(self) -> int:
        """Length of the longest end that begins a stop sequence."""
        longest = max(map(len, self._stops), default=1) - 1
        for length in range(min(longest, len(self._held)), 0, -1):
            if any(stop.startswith(self._held[-length:]) for stop in self._stops):
                return length
        return 0

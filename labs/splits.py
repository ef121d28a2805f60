"""Where a dataset's splits lie, and who goes into which. Imports no torch."""

import hashlib
import json
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labs.formats import Example

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SPLITS = ("train", "validation", "test")
HELD_OUT_SHARE = 0.1
SPLIT_COLUMN = "split"
# What people call them.
SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
KEY_BYTES = 8
LAST_KEY = (1 << 8 * KEY_BYTES) - 1


def split_files(path: Path) -> dict[str, Path]:
    """The file of each split; a single file goes under “all”."""
    if path.is_file():
        return {"all": path}
    files = {split: path / f"{split}.jsonl" for split in SPLITS}
    return {split: file for split, file in files.items() if file.is_file()}


def label_names(path: Path) -> tuple[str, ...]:
    """The names of numbered labels, if dataset.json lists them."""
    described = path / "dataset.json"
    if not described.is_file():
        return ()
    try:
        labels = json.loads(described.read_text(encoding="utf-8")).get("labels", [])
    except (ValueError, AttributeError):
        return ()
    return tuple(map(str, labels)) if isinstance(labels, list) else ()


def combined(digests: dict[str, str]) -> str:
    """One hash for a dataset out of the hash of each of its files."""
    if set(digests) == {"all"}:
        return digests["all"]
    lines = "".join(f"{split} {digest}\n" for split, digest in digests.items())
    return hashlib.sha256(lines.encode()).hexdigest()


def stated_split(row: Mapping[str, Any]) -> str:
    """The split that a row's column “split” names, or nothing."""
    stated = row.get(SPLIT_COLUMN)
    return SPLIT_NAMES.get(stated.strip().lower(), "") if isinstance(stated, str) else ""


class Dealing:
    """Who of a single file goes into which split; nine bytes a row.

    Rows go where they say. Where none of them says so, or all say the same, they are dealt by
    the order of their prompts' hashes, 80 : 10 : 10, so that equal prompts stay together.
    """

    def __init__(self) -> None:
        self._keys = array("Q")
        self._stated = bytearray()

    def add(self, key: int, stated: str) -> None:
        """Note a row: the hash of its prompt, and the split that it names, if any."""
        self._keys.append(key)
        self._stated.append(SPLITS.index(stated) if stated else len(SPLITS))

    @property
    def follows_rows(self) -> bool:
        """Whether the rows say where they go."""
        return len(set(self._stated)) > 1 and len(SPLITS) not in self._stated

    def cuts(self) -> tuple[int, int] | None:
        """The first key that is not for training, and the first for testing.

        With three or more different prompts, no split goes empty; with fewer, all is for
        training. None where the rows say where they go.
        """
        if self.follows_rows:
            return None
        keys = different(self._keys)
        if len(keys) < len(SPLITS):
            return LAST_KEY, LAST_KEY
        held = max(1, round(len(keys) * HELD_OUT_SHARE))
        return int(keys[-2 * held]), int(keys[-held])

    def places(self) -> "NDArray[np.uint8]":
        """For each row in order, the place of its split in `SPLITS`."""
        import numpy as np

        cuts = self.cuts()
        if cuts is None:
            return np.frombuffer(bytes(self._stated), dtype=np.uint8)
        keys = np.frombuffer(self._keys, dtype=np.uint64)
        limits = np.array(cuts, dtype=np.uint64)
        return np.searchsorted(limits, keys, side="right").astype(np.uint8)

    def different_prompts(self) -> int:
        """How many prompts there are."""
        return len(different(self._keys))

    def leaked_prompts(self) -> int:
        """Prompts in more than one split; none where they were dealt."""
        import numpy as np

        if not self.follows_rows:
            return 0
        keys, places = np.frombuffer(self._keys, dtype=np.uint64), self.places()
        found = [np.unique(keys[places == place]) for place in range(len(SPLITS))]
        _keys, times = np.unique(np.concatenate(found), return_counts=True)
        return int(np.count_nonzero(times > 1))


def different(keys: "array[int]") -> "NDArray[np.uint64]":
    """The different keys, in order."""
    import numpy as np

    return np.unique(np.frombuffer(keys, dtype=np.uint64)) if keys else np.empty(0, np.uint64)


def deal(examples: Sequence[Example], stated: Sequence[str], seed: int) -> dict[str, list[Example]]:
    """Deal rows into splits; `stated` is the split that each of them names, if any."""
    dealing = Dealing()
    for example, split in zip(examples, stated, strict=True):
        dealing.add(prompt_key(example, seed), split)
    parts: dict[str, list[Example]] = {name: [] for name in SPLITS}
    for place, example in zip(dealing.places(), examples, strict=True):
        parts[SPLITS[place]].append(example)
    return parts


def prompt_key(example: Example, seed: int = 0) -> int:
    """What decides the split: the prompt, or the text of a row that has none."""
    asked = [message.content for message in example.prompt] or [example.answer]
    return _digest(str(seed), *asked)


def row_key(example: Example) -> int:
    """Equal for rows that say the same."""
    return _digest(*(m.content for m in example.prompt), "\0", example.answer, example.rejected)


def _digest(*texts: str) -> int:
    digest = hashlib.blake2b(digest_size=16)
    for text in texts:
        digest.update(text.encode() + b"\0")
    return int.from_bytes(digest.digest()[:KEY_BYTES], "big")

"""Where a dataset's splits lie, and who goes into which. Imports no torch."""

import hashlib
import json
from pathlib import Path

from labs.formats import Example

SPLITS = ("train", "validation", "test")
HELD_OUT_SHARE = 0.1


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


def deal(examples: list[Example], seed: int) -> dict[str, list[Example]]:
    """Deal prompts by the order of their hashes, so that equal prompts stay together."""
    keys = [prompt_key(example, seed) for example in examples]
    place = places(sorted(set(keys)))
    parts: dict[str, list[Example]] = {name: [] for name in SPLITS}
    for key, example in zip(keys, examples, strict=True):
        parts[place[key]].append(example)
    return parts


def places(keys: list[bytes]) -> dict[bytes, str]:
    """80 : 10 : 10 of the distinct prompts; with three or more, nobody goes empty."""
    count = len(keys)
    held = max(1, round(count * HELD_OUT_SHARE)) if count >= 3 else 0
    train = count - 2 * held
    names = ["train"] * train + ["validation"] * held + ["test"] * held
    return dict(zip(keys, names, strict=True))


def prompt_key(example: Example, seed: int = 0) -> bytes:
    """What decides the split: the prompt, or the text of a row that has none."""
    asked = [message.content for message in example.prompt] or [example.answer]
    return _digest(str(seed), *asked)


def row_key(example: Example) -> bytes:
    """Equal for rows that say the same."""
    return _digest(*(m.content for m in example.prompt), "\0", example.answer, example.rejected)


def _digest(*texts: str) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for text in texts:
        digest.update(text.encode() + b"\0")
    return digest.digest()

"""Take a stranger's file in: find its kind, check it, and write its rows as JSON Lines.

`python -m labs.intake` does it as a process of its own that may take only so much memory and
time: what a file makes its reader do then harms nobody else. Imports no torch.
"""

import json
import os
import resource
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from labs.dataset_check import Notice
from labs.datasets import LARGEST_ROWS, LISTED_PROBLEMS, Verdict, inspect
from labs.files.keeper import Keeper
from labs.files.kinds import kind_of
from labs.files.rows import MIB, Bad, Problem
from labs.formats import Example, Message
from labs.orphaned import end_with_parent
from labs.profile import Profile

Json = dict[str, Any]
MEMORY_ENDED, DISK_ENDED = 3, 4
# Beyond the interpreter and what it imports. A file of 2 GB needs about a third of it.
MEMORY_BYTES = 2 << 30
PROCESSOR_SECONDS = 1800
# Of a packed file: how many times its size its rows may take, and what they always may.
MOST_REPEATED, LEAST_LIMIT_BYTES = 100, 64 * MIB
NICER = 5
# To be ended before the web server when the machine runs out of memory (from -1000 to 1000).
OOM_SCORE = "500"


@dataclass(frozen=True, slots=True)
class Order:
    """What to take in: a file and what it is called, and where its rows go as JSON Lines.

    `kept` is not written for a file that is JSON Lines already, nor where it is empty.
    `limit_bytes` bounds it.
    """

    path: str
    name: str
    kept: str
    limit_bytes: int
    max_rows: int = LARGEST_ROWS
    memory_bytes: int = MEMORY_BYTES


def take(order: Order) -> Verdict:
    """The verdict on a file, whose rows lie at `order.kept` then, or at `order.path`."""
    path = Path(order.path)
    try:
        is_kept = bool(order.kept) and kind_of(path, order.name).name != "jsonl"
    except Bad:
        is_kept = False  # the check says the same again, as a problem
    if not is_kept:
        return inspect(path, LISTED_PROBLEMS, order.max_rows, name=order.name)
    # A small file that holds a large one says the same again and again.
    unpacked = min(order.limit_bytes, max(MOST_REPEATED * path.stat().st_size, LEAST_LIMIT_BYTES))
    with Keeper(Path(order.kept), unpacked) as keeper:
        return inspect(path, LISTED_PROBLEMS, order.max_rows, name=order.name, keeper=keeper)


def told(verdict: Verdict) -> str:
    """A verdict as JSON."""
    return json.dumps({**asdict(verdict), "profile": verdict.profile.stored()}, ensure_ascii=True)


def heard(text: str) -> Verdict:
    """What `told` wrote."""
    found: Json = json.loads(text)
    return Verdict(
        **{
            **found,
            "problems": tuple(Problem(**each) for each in found["problems"]),
            "warnings": tuple(Notice(**each) for each in found["warnings"]),
            "preview": tuple(_example(each) for each in found["preview"]),
            "profile": Profile.read(found["profile"]),
        }
    )


def _example(stored: Json) -> Example:
    prompt = tuple(Message(**message) for message in stored["prompt"])
    return Example(prompt, stored["answer"], stored["rejected"])


def _limit_this_process(order: Order) -> None:
    end_with_parent()
    os.nice(NICER)
    if sys.platform == "linux":
        Path("/proc/self/oom_score_adj").write_text(OOM_SCORE, encoding="ascii")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (PROCESSOR_SECONDS, PROCESSOR_SECONDS))
    resource.setrlimit(resource.RLIMIT_FSIZE, (order.limit_bytes + MIB,) * 2)
    resource.setrlimit(resource.RLIMIT_AS, (order.memory_bytes,) * 2)


def main() -> int:
    """Read an order from standard input, write the verdict to standard output."""
    order = Order(**json.load(sys.stdin))
    _limit_this_process(order)
    try:
        sys.stdout.write(told(take(order)))
    except MemoryError:
        return MEMORY_ENDED
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return DISK_ENDED
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # Without a teardown, in which the next look at the parent would end us as by a signal.
    os._exit(code)

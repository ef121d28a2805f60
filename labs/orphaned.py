"""An end for the process that trainers are forked from when its worker is gone. Imports no torch.

By itself it would stay: it ends when nobody can ask it for a child any more, and each trainer
could. Linux's parent-death signal is no help, since it means the thread that made a process.
"""

import os
import signal
from types import FrameType

LOOK_SECONDS = 1.0


def end_with_parent() -> None:
    """From now on, end within a second of the parent. Children that are forked do not inherit it."""
    parent = os.getppid()

    def look(number: int, frame: FrameType | None) -> None:
        if os.getppid() != parent:
            os._exit(0)

    signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, LOOK_SECONDS, LOOK_SECONDS)

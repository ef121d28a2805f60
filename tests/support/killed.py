"""A child process that kills itself in the middle of what it does."""

import os
import signal
from collections.abc import Callable


def count_in_a_child(act: Callable[[int], int], last: int) -> int:
    """Act in a forked process; returns how many bytes it wrote, one for each deed.

    Args:
        act: Gets the descriptor to write to, and gives the exit code.
        last: Whether, and at which deed, it kills itself; 0 for never.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os._exit(act(writing))
    os.close(writing)
    with os.fdopen(reading) as told:
        count = len(told.read())
    _pid, status = os.waitpid(pid, 0)
    assert status == (signal.SIGKILL if last else 0)
    return count

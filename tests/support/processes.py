"""Whether a process still does anything."""

import psutil


def is_alive(process: psutil.Process) -> bool:
    """A zombie has ended; that nobody has read its exit code yet is not its doing."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False

"""A throw-away Redis on a Unix socket, from the same binaries as `bunsen up`."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.embedded import embedded_broker
from app.settings import Settings
from setup.commands import die_with_parent


@contextmanager
def running_redis(home: Path) -> Iterator[str]:
    """Yields its broker URL."""
    broker = embedded_broker(Settings(home=home))
    assert broker.command, "no redis-server here, and no wheel brought one"
    with (broker.folder / "redis.log").open("w") as log:
        process = subprocess.Popen(
            broker.command, stdout=log, stderr=log, preexec_fn=die_with_parent
        )
    try:
        deadline = time.monotonic() + 10
        while not broker.answers():
            assert time.monotonic() < deadline, (broker.folder / "redis.log").read_text()
            time.sleep(0.01)
        yield broker.url
    finally:
        process.terminate()
        process.wait(timeout=10)

"""What the process that trainers are forked from does: import what they need, and wait."""

import gc
import signal

import labs.preload  # noqa: F401
from labs.orphaned import end_with_parent

# Who stops a device worker signals its whole group. The worker then asks each trainer to save;
# were this process gone by then, they would all have died with it.
signal.signal(signal.SIGTERM, signal.SIG_IGN)
end_with_parent()

# What is imported stays. A collector that walks it would copy its pages into every trainer.
gc.collect()
gc.freeze()

"""What the process that trainers are forked from does: import what they need, and wait."""

import gc
import signal

import labs.preload  # noqa: F401
from labs import registry
from labs.orphaned import end_with_parent

# Who stops a device worker signals its whole group. The worker then asks each trainer to save;
# were this process gone by then, they would all have died with it.
signal.signal(signal.SIGTERM, signal.SIG_IGN)
end_with_parent()

# The labs too: reading their specs in each trainer took longer than starting it. The version that
# a run records is taken with them, so that it is of the code that runs.
for lab in registry.all_labs():
    registry.code_version(lab.slug)
    for stage in lab.stages:
        stage.load()

# What is imported stays. A collector that walks it would copy its pages into every trainer.
gc.collect()
gc.freeze()

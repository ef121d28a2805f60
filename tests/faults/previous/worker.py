"""`python -m tests.faults.previous.worker cpu` is a device worker of this release.

Its trainers are those of the recorded run, forked from a process that has not imported torch.
"""

import sys
from collections.abc import Mapping

from tests.workers import scripted
from workers import device
from workers.trainers import Forge


def forge(environment: Mapping[str, str]) -> Forge:
    return Forge(environment, scripted.train, preload=("tests.faults.preload",))


if __name__ == "__main__":
    from tests.faults.previous import worker

    sys.exit(device.serve(sys.argv[1], worker.forge))

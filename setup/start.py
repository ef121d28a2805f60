"""What `./bunsen` does: see that everything is installed, then become the command in the environment."""

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from setup import environment, frontend
from setup.commands import clean_environment
from setup.environment import BASE, CUDA, PYTHON, ROOT
from setup.say import SetupFailed

MISSING_HERE = 3
INTERRUPTED = 130


def main(arguments: Sequence[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        from app.cli import main as command_line  # needs nothing installed for its help

        return command_line(arguments)
    try:
        prepare()
    except SetupFailed as error:
        sys.stderr.write(f"{error}\n")
        return MISSING_HERE
    except KeyboardInterrupt:
        sys.stderr.write("Stopped. Start ./bunsen again; it goes on from here.\n")
        return INTERRUPTED
    become(arguments)


def prepare() -> None:
    """A second start finds both stamps and does nothing else."""
    if environment.is_current("base", BASE, CUDA) and frontend.is_current():
        return
    with environment.only_one_setup():
        if not environment.is_current("base", BASE, CUDA):
            environment.make()
            environment.mark_current("base", BASE, CUDA)
        if not frontend.is_current():
            frontend.make()


def become(arguments: Sequence[str]) -> NoReturn:
    """Replaces this process. Only the project is on the path, whatever folder a person stands in."""
    ours = {**clean_environment(), "PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1"}
    os.execve(PYTHON, [str(PYTHON), "-m", "app.cli", *arguments], ours)

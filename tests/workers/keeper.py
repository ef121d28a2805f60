"""`python -m tests.workers.keeper` is the housekeeper in a process of its own."""

import sys

from workers.housekeeper import serve

if __name__ == "__main__":
    sys.exit(serve())

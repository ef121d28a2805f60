"""`python -m tests.workers.real cpu` is a device worker as people start it."""

import sys

from workers.device import serve

if __name__ == "__main__":
    sys.exit(serve(sys.argv[1]))

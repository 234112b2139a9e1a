"""`python -m sweeper.tracking <sweep folder>`."""

import sys
from pathlib import Path

from sweeper.tracking.process import main

if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

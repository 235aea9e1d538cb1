"""`python -m rltemp.experiments` is `rltemp`."""

import sys

from rltemp.experiments.cli import main

if __name__ == "__main__":
    sys.exit(main())

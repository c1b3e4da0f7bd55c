"""`python -m vidnb` runs the command line `vidnb`."""

import sys

from vidnb.cli import main

if __name__ == "__main__":
    sys.exit(main())

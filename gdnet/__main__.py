"""`python -m gdnet` is the command `gdnet`."""

import sys

from gdnet.cli import main

if __name__ == "__main__":
    sys.exit(main())

"""`python -m gdnet.cli`."""

import sys

from gdnet.cli import main

sys.exit(main())

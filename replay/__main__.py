"""`python -m replay`: the same as `deleverage`."""

import sys

from replay.cli import main

sys.exit(main())

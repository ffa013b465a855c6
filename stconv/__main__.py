"""`python -m stconv` is the `stconv` command."""

import sys

from stconv.cli.main import main

sys.exit(main())

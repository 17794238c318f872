"""`python -m identity_kit` is the `idkit` command."""

import sys

from identity_kit.cli import main

if __name__ == "__main__":
    sys.exit(main())

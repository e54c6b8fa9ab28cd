"""The command line as ``python -m fermiac``."""

from __future__ import annotations

import sys

from fermiac.cli import main

if __name__ == "__main__":
    sys.exit(main())

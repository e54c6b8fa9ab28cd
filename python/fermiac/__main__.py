"""``python -m fermiac`` is the command line."""

from __future__ import annotations

import sys

from fermiac.cli import main

if __name__ == "__main__":
    sys.exit(main())

"""The time that calls of walks spend on steps."""

from __future__ import annotations

import time
from typing import Any

from fermiac.walks import run as core


class Engine:
    """The CPU-seconds that calls spend on steps, while it is entered."""

    def __enter__(self) -> Engine:
        self.spent, self._walk_to = 0.0, core.walk_to

        def timed(*args: Any) -> Any:
            before = time.process_time()
            try:
                return self._walk_to(*args)
            finally:
                self.spent += time.process_time() - before

        core.walk_to = timed
        return self

    def __exit__(self, *_: object) -> None:
        core.walk_to = self._walk_to

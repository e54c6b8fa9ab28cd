"""The file of a run that can be resumed: whose it is, and when it is to be written."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from os import PathLike
from typing import Any

from fermiac import _store
from fermiac._checkpoint import Checkpoint
from fermiac.errors import CheckpointError

__all__ = ["Kept"]

#: Writing takes at most this share of the time, however large the file has become.
_SHARE = 0.05


class Kept:
    """The checkpoint of a run of some kind."""

    def __init__(self, given: Checkpoint | str | PathLike[str], kind: str) -> None:
        self.checkpoint = given if isinstance(given, Checkpoint) else Checkpoint(given)
        self.path = self.checkpoint.path
        self._kind = kind
        self._node: dict[str, Any] = {}
        self._tensors: _store.Tensors = {}
        self._written = time.monotonic()
        self._cost = 0.0
        try:
            self.resumed = self.path.exists()
        except OSError as error:
            raise CheckpointError(f"{self.path}: it could not be read: {error}") from error
        if self.resumed:
            self._node, self._tensors = _store.read(self.path, kind)

    @property
    def seed(self) -> int | None:
        """The seed of the run that the file belongs to."""
        return self._node["identity"]["seed"] if self.resumed else None

    def begin(self, identity: Mapping[str, Any]) -> None:
        """Check that the file belongs to this run, if there is one."""
        given = json.loads(json.dumps(identity), parse_constant=str)
        if self.resumed:
            stored = self._node["identity"]
            for field in [*given, *stored]:
                here, there = given.get(field), stored.get(field)
                if here != there:
                    raise CheckpointError(
                        f"{self.path}: it belongs to another run: its {field} is {there!r}, that "
                        f"of this call is {here!r}; use another path, or remove the file to start "
                        "anew"
                    )
        self._node["identity"] = given

    def wait(self) -> float:
        """Seconds until the file is to be written again."""
        pause = max(self.checkpoint.every, self._cost / _SHARE)
        return max(self._written + pause - time.monotonic(), 0.0)

    def put(self, start: float, tensors: _store.Tensors, **more: Any) -> None:
        """Write the file, with what has been gathered since `start`."""
        _store.write(self.path, self._kind, {**self._node, **more}, tensors)
        self._written = time.monotonic()
        self._cost = self._written - start

    def discard(self) -> None:
        """Remove the file of a call that came to nothing."""
        if not self.resumed:
            self.path.resolve().unlink(missing_ok=True)

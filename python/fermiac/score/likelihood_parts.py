"""Rows of `fermiac.score.log_likelihood` in parts: on workers, by jobs, and in a store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fermiac._base.plan import alone
from fermiac._base.tensors import to_numpy
from fermiac._base.validate import key_of, numbers, shown, whole
from fermiac.errors import ArgumentError
from fermiac.results.result import Finding
from fermiac.results.reweight import PARTS
from fermiac.runs.parts import identity_of_call
from fermiac.runs.rows import in_order, missing_rows
from fermiac.score.rows import of_blocks, rows_of_block
from fermiac.score.split import Split

if TYPE_CHECKING:
    from fermiac._base.progress import Report
    from fermiac.score.likelihood import Likelihood

__all__ = ["OF_CALL", "joined", "likelihood_in_parts", "missing"]

#: Arguments of the call that a block of rows does not take.
OF_CALL = (
    "model", "x", "rng", "first_row", "plan", "where",
)  # fmt: skip


class _Block:
    """A block of rows, as the work of a unit."""

    progress: bool | Report | None = False

    def __init__(
        self,
        call: Callable[..., Likelihood],
        model: Any,
        x: NDArray[np.float64],
        settings: Mapping[str, Any],
        seed: int,
        first: int,
        digest: str,
    ) -> None:
        self._call, self._target, self._x, self._settings = call, model, x, dict(settings)
        self._seed, self._first, self._digest = seed, first, digest

    def __call__(self, block: int) -> Likelihood:
        """Return the block with this number."""
        n = len(self._x)
        size = rows_of_block(n)
        return self.rows(block * size, min((block + 1) * size, n))

    def rows(self, start: int, stop: int) -> Likelihood:
        """Return some rows."""
        made = self._call(
            self._target,
            self._x[start:stop],
            **self._settings,
            rng=self._seed,
            first_row=self._first + start,
            plan=alone(progress=self.progress),
        )
        address = {"call": self._digest, "n_rows": len(self._x), "blocks": ((start, stop),)}
        return replace(made, settings={**made.settings, PARTS: address})


def likelihood_in_parts(
    call: Callable[..., Likelihood],
    model: Any,
    x: Any,
    settings: dict[str, Any],
    split: Split,
    first_row: Any,
) -> Likelihood:
    """Return rows of a call of `fermiac.score.log_likelihood`, which is `call`, in blocks."""
    points = numbers("x", to_numpy(x))
    if points.ndim < 2 or not len(points):
        raise ArgumentError(
            f"x: shape {points.shape} was given with executor=, part= or store=; (n, d) or (n, "
            "*event) is needed, with at least one row"
        )
    key, n = key_of(split.rng), len(points)
    first = whole("first_row", first_row, 0, 2**48)
    given = {**settings, "first_row": first}
    digest = identity_of_call("score.log_likelihood", given, key, model, points)
    work = _Block(call, model, points, settings, key, first, digest)
    return of_blocks(
        work, n, joined, split, digest=digest, label="log-likelihood", name="blocks of rows"
    )


def joined(parts: Sequence[Likelihood]) -> Likelihood:
    """Return the rows of parts of one call, in the order of the call."""
    first = parts[0]
    addresses: list[Any] = [part.settings.get(PARTS) for part in parts]
    for i, (part, address) in enumerate(zip(parts, addresses, strict=True)):
        of_one = address is not None and addresses[0] is not None
        if not of_one or any(address[name] != addresses[0][name] for name in ("call", "n_rows")):
            raise ArgumentError(
                f"merge: likelihood {i} ({shown(part)}) and likelihood 0 are not parts of one "
                "call; parts come from part= of fermiac.score.log_likelihood"
            )
    pieces, blocks = in_order([address["blocks"] for address in addresses])

    def rows(name: str) -> Any:
        if getattr(first, name) is None:
            return None
        return np.concatenate([getattr(parts[i], name)[at] for i, at in pieces])

    return replace(
        first,
        settings={**first.settings, PARTS: {**addresses[0], "blocks": blocks}},
        n_evals=sum(part.n_evals for part in parts),
        wall_time=sum(part.wall_time for part in parts),
        status=next((part.status for part in parts if part.status != "complete"), "complete"),
        warnings=tuple(dict.fromkeys(text for part in parts for text in part.warnings)),
        log_density=rows("log_density"),
        stderr=rows("stderr"),
        latent=rows("latent"),
        n_row_evals=rows("n_row_evals"),
    )


def missing(likelihood: Likelihood) -> list[Finding]:
    """Return the warning that rows of a call are missing."""
    address = likelihood.settings.get(PARTS)
    return [] if address is None else missing_rows(address["blocks"], int(address["n_rows"]))

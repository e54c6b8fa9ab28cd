"""Sequences of `first_hitting` and `unmask` in parts: on workers, by jobs, and in a store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fermiac._base.plan import alone
from fermiac._base.validate import key_of, shown, taken
from fermiac.errors import ArgumentError
from fermiac.results.result import Finding
from fermiac.results.reweight import PARTS
from fermiac.runs.parts import identity_of_call
from fermiac.runs.rows import in_order, missing_rows
from fermiac.score.rows import of_blocks, rows_of_block
from fermiac.score.split import Split

if TYPE_CHECKING:
    from fermiac._base.progress import Report
    from fermiac.score.masked import Unmasked

__all__ = ["OF_CALL", "WHOLE", "joined", "missing", "sequences_in_parts"]

#: Arguments of the call that a block of sequences does not take.
OF_CALL = (
    "logits", "n", "tokens", "rng", "plan", "where",
)  # fmt: skip
#: The first sequence of the present call, and the largest number of masks of a sequence, where it
#: is a block of another call.
WHOLE: ContextVar[tuple[int, int | None]] = ContextVar("fermiac_sequences", default=(0, None))


class _Block:
    """A block of sequences, as the work of a unit."""

    progress: bool | Report | None = False

    def __init__(
        self,
        call: Callable[..., Unmasked],
        logits: Any,
        n: int,
        tokens: Any,
        settings: Mapping[str, Any],
        seed: int,
        most: int,
        digest: str,
    ) -> None:
        self._call, self._target, self._n, self._tokens = call, logits, n, tokens
        self._settings, self._seed, self._most = dict(settings), seed, most
        self._digest = digest

    def __call__(self, block: int) -> Unmasked:
        """Return the block with this number."""
        size = rows_of_block(self._n)
        return self.rows(block * size, min((block + 1) * size, self._n))

    def rows(self, start: int, stop: int) -> Unmasked:
        """Return some sequences."""
        tokens = self._tokens
        if tokens is not None and tokens.ndim == 2:
            tokens = tokens[start:stop]
        token = WHOLE.set((start, self._most))
        try:
            made = self._call(
                self._target,
                stop - start,
                **self._settings,
                tokens=tokens,
                rng=self._seed,
                plan=alone(progress=self.progress),
            )
        finally:
            WHOLE.reset(token)
        address = {"call": self._digest, "n_rows": self._n, "blocks": ((start, stop),)}
        return replace(made, settings={**made.settings, PARTS: address})


def sequences_in_parts(
    call: Callable[..., Unmasked],
    logits: Any,
    n: int,
    tokens: Any,
    settings: Mapping[str, Any],
    split: Split,
) -> Unmasked:
    """Return sequences of a call, made in blocks.

    Parameters
    ----------
    call : callable
        `fermiac.score.first_hitting` or `fermiac.score.unmask`.
    logits, n, tokens
        Its arguments.
    settings : mapping
        Its other arguments.
    split : Split
    """
    name = call.__name__
    given = None if tokens is None else taken("tokens", tokens)
    # Without sequences it checks the other arguments.
    none = given[:0] if given is not None and given.ndim == 2 else given
    mask = call(logits, 0, **settings, tokens=none, rng=0, plan=alone(progress=False)).mask
    if not n:
        raise ArgumentError(
            "n: 0 given with executor=, part= or store=; at least one sequence is needed"
        )
    length = settings["length"]
    if given is not None and given.ndim == 2 and given.shape != (n, length):
        raise ArgumentError(
            f"tokens: shape {given.shape} was given; ({length},) or ({n}, {length}) is needed"
        )
    most = length if given is None else int((given == mask).sum(axis=-1).max())
    key = key_of(split.rng)
    of_call = {**settings, "n": n, "tokens": given}
    digest = identity_of_call(f"score.{name}", of_call, key, logits)
    work = _Block(call, logits, n, given, settings, key, most, digest)
    return of_blocks(work, n, joined, split, digest=digest, label=name, name="blocks of sequences")


def joined(parts: Sequence[Unmasked]) -> Unmasked:
    """Return the sequences of parts of one call, in the order of the call."""
    first = parts[0]
    addresses: list[Any] = [part.settings.get(PARTS) for part in parts]
    for i, (part, address) in enumerate(zip(parts, addresses, strict=True)):
        of_one = address is not None and addresses[0] is not None
        if not of_one or any(address[name] != addresses[0][name] for name in ("call", "n_rows")):
            raise ArgumentError(
                f"merge: result {i} ({shown(part)}) and result 0 are not parts of one call; parts "
                "come from part= of fermiac.score.first_hitting or fermiac.score.unmask"
            )
    pieces, blocks = in_order([address["blocks"] for address in addresses], "sequence")

    def rows(name: str) -> Any:
        return np.concatenate([getattr(parts[i], name)[at] for i, at in pieces])

    # The calls of a whole run are those of the sequence that needs most of them.
    n_calls, tokens = max(part.n_calls for part in parts), rows("tokens")
    # Each part has its reasons in the order of those of the call with the most.
    bias = max((part.bias for part in parts), key=len)
    return replace(
        first,
        settings={**first.settings, PARTS: {**addresses[0], "blocks": blocks}},
        n_evals=n_calls * len(tokens),
        wall_time=sum(part.wall_time for part in parts),
        status=next((part.status for part in parts if part.status != "complete"), "complete"),
        tokens=tokens,
        times=rows("times"),
        n_calls=n_calls,
        bias=bias,
    )


def missing(result: Unmasked) -> list[Finding]:
    """Return the warning that sequences of a call are missing."""
    address = result.settings.get(PARTS)
    if address is None:
        return []
    return missing_rows(address["blocks"], int(address["n_rows"]), "sequences")

"""The inputs of a sensitivity analysis: groups of coordinates that do not depend on each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from fermiac._base.validate import listed, shown, whole
from fermiac.distributions import Law
from fermiac.errors import ArgumentError
from fermiac.random import sobol

__all__ = ["Groups", "groups_of", "refuse_dependence"]

Groups: TypeAlias = (
    "Sequence[Sequence[int | str] | int | str] | Mapping[str, Sequence[int | str] | int | str]"
)


def groups_of(
    groups: Any, names: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[tuple[int, ...], ...]]:
    """Return the names and the coordinates of the inputs."""
    if groups is None:
        return names, tuple((i,) for i in range(len(names)))
    needed = (
        "a sequence of lists of coordinates (numbers or names), or a mapping from names to them, "
        "is needed"
    )
    if isinstance(groups, Mapping):
        given_names = tuple(str(name) for name in list(groups)[: len(names) + 1])
        members: Any = list(groups.values())[: len(names) + 1]
    else:
        members = listed(groups, len(names))
        given_names = ()
    if not members or len(members) > len(names):
        raise ArgumentError(f"groups: {shown(groups)} given; {needed}")
    places = []
    for member in members:
        single = isinstance(member, str | int | np.integer) and not isinstance(member, bool)
        found = [member] if single else listed(member, len(names))
        if not found:
            raise ArgumentError(f"groups: {shown(member)} given as a group; {needed}")
        places.append(tuple(_place(item, names) for item in found))
    flat = [i for group in places for i in group]
    missing = [names[i] for i in range(len(names)) if i not in flat]
    if len(set(flat)) < len(flat) or missing:
        what = f"{missing[0]!r} is in none" if missing else "a coordinate comes twice"
        raise ArgumentError(
            f"groups: {shown(groups)} given, in which {what}; each of the {len(names)} coordinates "
            "must be in one group"
        )
    if not given_names:
        given_names = tuple("+".join(names[i] for i in group) for group in places)
    return given_names, tuple(places)


def _place(item: Any, names: tuple[str, ...]) -> int:
    """Return the position of a coordinate that is given by number or name."""
    if isinstance(item, str):
        if item not in names:
            raise ArgumentError(
                f"groups: {shown(item)} given, which is not a name of a coordinate; the names are "
                f"{', '.join(names[:20])}"
            )
        return names.index(item)
    return whole("groups", item, 0, len(names) - 1)


def refuse_dependence(
    law: Law, groups: tuple[tuple[int, ...], ...], names: tuple[str, ...]
) -> None:
    """Raise an error if a coordinate of a law depends on the uniform numbers of another group."""
    u = sobol(64, 2 * law.dim, 0)
    a, b = u[:, : law.dim].copy(), u[:, law.dim :].copy()
    before = np.array(law.from_unit(a), np.float64)
    for group in groups:
        mixed = a.copy()
        mixed[:, list(group)] = b[:, list(group)]
        others = np.ones(law.dim, bool)
        others[list(group)] = False
        after = np.asarray(law.from_unit(mixed), np.float64)
        scale = 1e-9 * np.abs(before).max(axis=0)
        moved = (np.abs(after - before) > scale).any(axis=0) & others
        if moved.any():
            i, j = group[0], int(np.argmax(moved))
            raise ArgumentError(
                f"law: the inputs {names[i]!r} and {names[j]!r} of this {type(law).__name__} "
                "depend on each other, and the shares of inputs of the variance are defined for "
                "independent ones; put inputs that depend on each other into one group: "
                f"groups=[[{i}, {j}], ...]"
            )

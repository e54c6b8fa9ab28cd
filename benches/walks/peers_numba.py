"""Walkers compiled by numba, as good as we can write them: alone, or interleaved in groups.

A lone walker is a chain of loads that wait for each other. A group moves in stages: each stage
prefetches what the next one reads, so that the misses of all its walkers overlap. A node is one
word (offset and degree), a walker's history is its own, and a step takes one 64-bit word: its upper
half chooses the neighbour, its lower half decides. Nodes are uint64 inside, for then an index is
never tested for its sign.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

HALF = np.uint64(32)
LOW = np.uint64(0xFFFFFFFF)
ONE = np.uint64(1)
TWO = np.uint64(2)
LINE = np.uint64(16)  # neighbours in a cache line
TO_UNIT = 2.0**-32
TABLE = 4096  # visits whose power is looked up
_S17, _S23, _S41, _S45, _S19 = (np.uint64(k) for k in (17, 23, 41, 45, 19))


@intrinsic
def prefetch(typing_context, array, index):  # type: ignore[no-untyped-def]
    """Ask for the cache line of array[index]."""

    def build(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        kind = signature.args[0]
        made = context.make_array(kind)(context, builder, arguments[0])
        place = cgutils.get_item_pointer(
            context, builder, kind, made, [arguments[1]], wraparound=False
        )
        i32 = ir.IntType(32)
        byte = place.type if place.type.is_opaque else ir.IntType(8).as_pointer()
        call = ir.FunctionType(ir.VoidType(), [byte, i32, i32, i32])
        name = "llvm.prefetch.p0" if place.type.is_opaque else "llvm.prefetch.p0i8"
        function = cgutils.get_or_insert_function(builder.module, call, name)
        if not place.type.is_opaque:
            place = builder.bitcast(place, byte)
        builder.call(function, [place, i32(0), i32(3), i32(1)])
        return context.get_dummy_value()

    return types.void(array, index), build


def pack(indptr: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Offset and degree of each node in one word."""
    return (indptr[:-1].astype(np.uint64) << HALF) | np.diff(indptr).astype(np.uint64)


def lanes(seed: int, n: int) -> NDArray[np.uint64]:
    """States of n xoshiro256++ generators, (4, n)."""
    words = np.random.SeedSequence(seed).generate_state(4 * n, np.uint64)
    return np.ascontiguousarray(words.reshape(n, 4).T)


@njit(inline="always")
def _rotate(x, k):  # type: ignore[no-untyped-def]
    return (x << k) | (x >> (np.uint64(64) - k))


@njit
def fill(state, out):  # type: ignore[no-untyped-def]
    """A word of each lane; the loop becomes vector code."""
    s0, s1, s2, s3 = state[0], state[1], state[2], state[3]
    for w in range(out.size):
        a, b, c, d = s0[w], s1[w], s2[w], s3[w]
        out[w] = _rotate(a + d, _S23) + a
        t = b << _S17
        c ^= a
        d ^= b
        s1[w] = b ^ c
        s0[w] = a ^ d
        s2[w] = c ^ t
        s3[w] = _rotate(d, _S45)


@njit(inline="always")
def _slot(record, word):  # type: ignore[no-untyped-def]
    """Where a random neighbour of this node stands."""
    return (record >> HALF) + (((word >> HALF) * (record & LOW)) >> HALF)


@njit
def srw_lone(node, indices, start, n_steps, state, visits, paths):  # type: ignore[no-untyped-def]
    """One walker after another."""
    word = np.empty(64, np.uint64)
    for w in range(start.size):
        at = start[w]
        if paths.size:
            paths[w, 0] = at
        for t in range(n_steps):
            if t & 63 == 0:
                fill(state, word)
            at = np.uint64(indices[_slot(node[at], word[t & 63])])
            if visits.size:
                visits[at] += 1
            if paths.size:
                paths[w, t + 1] = at


@njit
def srw_group(node, indices, start, n_steps, state, visits, paths):  # type: ignore[no-untyped-def]
    """Groups of as many walkers as there are lanes."""
    size = state.shape[1]
    word, slot = np.empty(size, np.uint64), np.empty(size, np.uint64)
    at = np.empty(size, np.uint64)
    for first in range(0, start.size, size):
        n = min(size, start.size - first)
        for w in range(n):
            at[w] = start[first + w]
            if paths.size:
                paths[first + w, 0] = at[w]
        for t in range(n_steps):
            fill(state, word)
            for w in range(n):
                slot[w] = _slot(node[at[w]], word[w])
                prefetch(indices, slot[w])
            for w in range(n):
                at[w] = indices[slot[w]]
                prefetch(node, at[w])
            if visits.size:
                for w in range(n):
                    visits[at[w]] += 1
            if paths.size:
                for w in range(n):
                    paths[first + w, t + 1] = at[w]


@njit(inline="always")
def _power(table, visits, alpha):  # type: ignore[no-untyped-def]
    """(1 + visits)^alpha: the pseudo-count of every node is one."""
    if visits < TABLE:
        return table[visits]
    return (1.0 + visits) ** alpha


@njit
def hdt_lone(node, indices, start, n_steps, state, table, alpha, counts):  # type: ignore[no-untyped-def]
    """MHRW to the uniform law under HDT, each walker with its own row of counts."""
    word = np.empty(64, np.uint64)
    for w in range(start.size):
        count = counts[w]
        at = start[w]
        record, seen = node[at], np.uint64(count[at])
        # A move goes to weight 1/(degree * power) over itself; what is kept is the inverse.
        here = (record & LOW) * _power(table, seen, alpha)
        for t in range(n_steps):
            if t & 63 == 0:
                fill(state, word)
            x = word[t & 63]
            to = np.uint64(indices[_slot(record, x)])
            theirs, met = node[to], np.uint64(count[to])
            there = (theirs & LOW) * _power(table, met, alpha)
            if ((x & LOW) + 0.5) * TO_UNIT * there < here:
                at, record, seen = to, theirs, met
            seen += ONE
            here = (record & LOW) * _power(table, seen, alpha)
            count[at] = seen


@njit
def hdt_group(node, indices, start, n_steps, state, table, alpha, counts):  # type: ignore[no-untyped-def]
    """As hdt_lone, in groups; counts is flat, walker after walker."""
    size, n_nodes = state.shape[1], np.uint64(node.size)
    word, slot = np.empty(size, np.uint64), np.empty(size, np.uint64)
    at, to, record = np.empty(size, np.uint64), np.empty(size, np.uint64), np.empty(size, np.uint64)
    seen, here = np.empty(size, np.uint64), np.empty(size)
    for first in range(0, start.size, size):
        n = min(size, start.size - first)
        base = np.uint64(first) * n_nodes
        fill(state, word)
        for w in range(n):
            at[w] = base + np.uint64(w) * n_nodes + start[first + w]
            record[w] = node[start[first + w]]
            seen[w] = counts[at[w]]
            here[w] = (record[w] & LOW) * _power(table, seen[w], alpha)
            slot[w] = _slot(record[w], word[w])
        for _ in range(n_steps):
            own = base
            for w in range(n):
                v = np.uint64(indices[slot[w]])
                to[w] = v
                prefetch(node, v)
                prefetch(counts, own + v)
                own += n_nodes
            own = base
            for w in range(n):
                theirs, place = node[to[w]], own + to[w]
                met = np.uint64(counts[place])
                there = (theirs & LOW) * _power(table, met, alpha)
                move = ((word[w] & LOW) + 0.5) * TO_UNIT * there < here[w]
                # Selections, for no predictor knows which moves are accepted.
                at[w] = place if move else at[w]
                record[w] = theirs if move else record[w]
                now = (met if move else seen[w]) + ONE
                seen[w] = now
                counts[at[w]] = now
                here[w] = (record[w] & LOW) * _power(table, now, alpha)
                own += n_nodes
            fill(state, word)
            for w in range(n):
                slot[w] = _slot(record[w], word[w])
                prefetch(indices, slot[w])


@njit(inline="always")
def _repel(visits, degree, mean_degree, alpha, whole):  # type: ignore[no-untyped-def]
    """((pseudo-count + visits) / degree)^-alpha, one before the first visit."""
    y = 1.0 + visits * mean_degree / degree
    if whole >= 0:
        power, factor, left = 1.0, y, whole
        while left:
            if left & 1:
                power *= factor
            factor *= factor
            left >>= 1
        return 1.0 / power
    return y**-alpha


@njit(inline="always")
def _choose(running, degree, u):  # type: ignore[no-untyped-def]
    """The first neighbour whose running sum passes u of the whole."""
    target, k = u * running[degree - 1], 0
    for e in range(degree - 1):
        k += running[e] <= target
    return k


@njit
def srrw_lone(node, indices, start, n_steps, state, mean_degree, alpha, whole, r, counts):  # type: ignore[no-untyped-def]
    """SRRW on the simple walk; r (float32) and counts (uint32) lie beside each other."""
    word, running = np.empty(64, np.uint64), np.empty(_most(node))
    for w in range(start.size):
        own = np.uint64(w) * np.uint64(node.size)
        record = node[start[w]]
        for t in range(n_steps):
            if t & 63 == 0:
                fill(state, word)
            offset, degree, total = record >> HALF, np.int64(record & LOW), 0.0
            for e in range(degree):
                total += r[TWO * (own + indices[offset + np.uint64(e)])]
                running[e] = total
            k = _choose(running, degree, ((word[t & 63] >> HALF) + 0.5) * TO_UNIT)
            to = np.uint64(indices[offset + np.uint64(k)])
            record, place = node[to], TWO * (own + to)
            seen = np.uint64(counts[place + ONE]) + ONE
            counts[place + ONE] = seen
            r[place] = _repel(seen, record & LOW, mean_degree, alpha, whole)


@njit
def srrw_group(node, indices, start, n_steps, state, mean_degree, alpha, whole, r, counts):  # type: ignore[no-untyped-def]
    """As srrw_lone, in groups."""
    size, n_nodes = state.shape[1], np.uint64(node.size)
    word, running = np.empty(size, np.uint64), np.empty(_most(node))
    record, to = np.empty(size, np.uint64), np.empty(size, np.uint64)
    for first in range(0, start.size, size):
        n = min(size, start.size - first)
        base = np.uint64(first) * n_nodes
        for w in range(n):
            record[w] = node[start[first + w]]
        for _ in range(n_steps):
            fill(state, word)
            own = base
            for w in range(n):
                offset, degree = record[w] >> HALF, record[w] & LOW
                for e in range(degree):
                    prefetch(r, TWO * (own + indices[offset + np.uint64(e)]))
                own += n_nodes
            own = base
            for w in range(n):
                offset, degree, total = record[w] >> HALF, np.int64(record[w] & LOW), 0.0
                for e in range(degree):
                    total += r[TWO * (own + indices[offset + np.uint64(e)])]
                    running[e] = total
                k = _choose(running, degree, ((word[w] >> HALF) + 0.5) * TO_UNIT)
                to[w] = indices[offset + np.uint64(k)]
                prefetch(node, to[w])
                own += n_nodes
            own = base
            for w in range(n):
                record[w], place = node[to[w]], TWO * (own + to[w])
                offset, degree = record[w] >> HALF, record[w] & LOW
                for e in range(np.uint64(0), degree, LINE):
                    prefetch(indices, offset + e)
                seen = np.uint64(counts[place + ONE]) + ONE
                counts[place + ONE] = seen
                r[place] = _repel(seen, degree, mean_degree, alpha, whole)
                own += n_nodes


@njit
def _most(node):  # type: ignore[no-untyped-def]
    most = np.int64(1)
    for i in range(node.size):
        most = max(most, np.int64(node[i] & LOW))
    return most


def power_table(alpha: float) -> NDArray[np.float64]:
    return (1.0 + np.arange(TABLE)) ** alpha


def history(n_walkers: int, n_nodes: int) -> tuple[Any, Any]:
    """Two views of one block, (repellence, visits) of each node: as float32 and as uint32."""
    block = np.zeros(2 * n_walkers * n_nodes, np.float32)
    block[::2] = 1.0
    return block, block.view(np.uint32)

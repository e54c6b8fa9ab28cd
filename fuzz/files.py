"""Damages files of results, checkpoints and folders, and loads them in processes of their own.

    python fuzz/files.py --n 5000 --seed 0 [--seconds 60] [--cases walk]

Some of the damage leaves the digest wrong, like an accident. The rest corrects the digest, like an
attacker. A load must end in a `CheckpointError` or give a usable object. Reports list crashes,
hangs, other errors of a load, loaded files with wrong digests, and plain Python errors of the
loaded object. Crashes, hangs, internal errors and wrong digests make the program fail; with
``--strict`` all findings do. A report names the seed and the number of the file, which ``--only``
makes again.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import os
import resource
import select
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np

import fermiac as fm
from fermiac import _core
from fermiac.errors import ArgumentError, CheckpointError, FermiacError, InternalError
from saved_objects import CASES, Case, used

#: Seconds after which a file hangs, and bytes of memory of a process.
_PATIENCE, _MEMORY = 60.0, 24 * 2**30
#: Files of a process.
_BATCH = 2000
_MARK = b'"digest":"'
_DIGITS = 32
#: Outcomes that are right.
_RIGHT = ("refused", "loaded", "unchanged", "run failed")

Rng = np.random.Generator


# The damage


def flipped(data: bytes, rng: Rng) -> bytes:
    """Bytes with a few changed bits."""
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 4)) if out else 0):
        out[rng.integers(len(out))] ^= 1 << int(rng.integers(8))
    return bytes(out)


def cut(data: bytes, rng: Rng) -> bytes:
    """Bytes that end too soon, or too late."""
    if rng.random() < 0.2:
        return data + bytes(int(rng.integers(1, 100)))
    return data[: int(rng.integers(len(data)))] if data else data


def shuffled(data: bytes, rng: Rng) -> bytes:
    """Bytes with a part that is overwritten by another."""
    if len(data) < 2:
        return data
    n = int(rng.integers(1, min(len(data), 64)))
    a, b = rng.integers(len(data) - n, size=2)
    return data[:b] + data[a : a + n] + data[b + n :]


_BYTES: tuple[Callable[[bytes, Rng], bytes], ...] = (flipped, flipped, cut, shuffled)
_ODD: tuple[Any, ...] = (
    None, True, 0, 1, -1, 2, 7, 2**31, 2_000_000_000, 2**32 - 1, 2**63, 2**64, 10**30, 1.5, -0.0,
    1e308, "", "x", "nan", "float", "result", "<f8", "|O", "<U4", "|u1", [], {}, [[]],
    {"tuple": []}, {"float": "nan"}, {"float": "inf"}, {"mapping": []}, {"mapping": [[[], 1]]},
    {"array": "draws", "dtype": "<f8"}, {"number": "draws", "dtype": "<i8"},
    {"result": "Sample", "fields": {}}, {"complex": [1.0, 2.0]},
)  # fmt: skip
_NUMBERS = {
    "f": (np.nan, np.inf, -np.inf, 0.0, -1.0, 1e308, 1e-308, 2.0**31, 0.5),
    "i": (0, -1, 1, 8, 9, 2**31 - 1, 2_000_000_000, 2**62, -(2**63), 2**63 - 1),
    "u": (0, 1, 8, 9, 255, 2**31, 2_000_000_000, 2**32, 2**63, 2**64 - 1),
}


def _places(node: Any) -> Iterator[tuple[Any, Any]]:
    """Every place within JSON, as a container and a key."""
    if isinstance(node, dict | list):
        for key in list(node) if isinstance(node, dict) else range(len(node)):
            yield node, key
            yield from _places(node[key])


def rewritten(text: str, rng: Rng) -> str:
    """Text of JSON with something changed in it."""
    if rng.random() < 0.1:
        return shuffled(text.encode(), rng).decode(errors="replace")
    if rng.random() < 0.01:
        return "[" * 100_000
    node = json.loads(text)
    for _ in range(int(rng.integers(1, 3))):
        places = list(_places(node))
        if not places:
            return text
        (box, key), (other, its) = (places[int(i)] for i in rng.integers(len(places), size=2))
        how = rng.random()
        if how < 0.5:
            box[key] = _ODD[int(rng.integers(len(_ODD)))]
        elif how < 0.7:
            # A copy, as a thing cannot hold itself.
            box[key] = json.loads(json.dumps(other[its]))
        elif how < 0.85:
            del box[key]
        elif isinstance(box, dict):
            box[str(rng.choice(["x", "array", "paths", "_state", "nodes"]))] = box.pop(key)
        else:
            box.append(box[key])
    return json.dumps(node)


Stored = tuple[str, str, list[int], np.ndarray[Any, Any]]
_NUMPY = {"F64": "<f8", "I64": "<i8", "U64": "<u8", "U8": "|u1"}


def _number(tensor: Stored, rng: Rng) -> Stored:
    """Change some numbers, most by little or to something special."""
    name, kind, shape, data = tensor
    types = [_NUMPY[kind]]
    if kind == "U8" and shape and shape[-1] in (4, 8):
        # An array of another type, as the format writes it.
        types = [f"<{k}{shape[-1]}" for k in "iuf"]
    dtype = np.dtype(str(rng.choice(types)))
    values = data.copy().view(dtype)
    if not values.size:
        return tensor
    at = rng.integers(values.size, size=int(rng.integers(1, 4)))
    how = rng.random()
    with np.errstate(all="ignore"):
        if how < 0.6:
            odd = _NUMBERS[dtype.kind][int(rng.integers(len(_NUMBERS[dtype.kind])))]
            values[at] = np.array(odd).astype(dtype)
        elif how < 0.8:
            values[at] = values[at] + np.array(1 if rng.random() < 0.5 else -1).astype(dtype)
        elif how < 0.9:
            values[:] = values[int(at[0])]
        else:
            values[:] = values[::-1].copy()
    return name, kind, shape, values.view(np.uint8)


def _reshaped(tensor: Stored, rng: Rng) -> Stored:
    """Change the shape or the type, so that the bytes still fit."""
    name, kind, shape, data = tensor
    how = rng.random()
    if how < 0.3 and shape and shape[0]:
        n = int(rng.integers(shape[0]))
        row = len(data) // shape[0]
        return name, kind, [n, *shape[1:]], data[: n * row]
    if how < 0.5:
        return name, kind, shape[::-1], data
    if how < 0.65:
        return name, kind, [*shape, 1], data
    if how < 0.75:
        size = int(np.prod(shape)) if shape else 1
        return name, kind, [size], data
    if how < 0.85:
        return name, kind, [0, *shape[1:], 2**40], data[:0]
    other = str(rng.choice(["F64", "I64", "U64"]))
    if kind == "U8":
        return name, "U8", [len(data)], data
    return name, other, shape, data


def altered(path: Path, kind: str, rng: Rng) -> None:
    """Change the content of a file, and write it with the right digest."""
    text, tensors = _core.store_read(str(path), kind)
    tensors = [(name, dtype, list(shape), np.array(data)) for name, dtype, shape, data in tensors]
    for _ in range(int(rng.integers(1, 3))):
        how = rng.random()
        at = int(rng.integers(len(tensors))) if tensors else 0
        if how < 0.4 or not tensors:
            with contextlib.suppress(ValueError, RecursionError):
                text = rewritten(text, rng)
        elif how < 0.75:
            tensors[at] = _number(tensors[at], rng)
        elif how < 0.87:
            tensors[at] = _reshaped(tensors[at], rng)
        elif how < 0.95:
            other = int(rng.integers(len(tensors)))
            a, b = tensors[at], tensors[other]
            tensors[at], tensors[other] = (a[0], *b[1:]), (b[0], *a[1:])
        else:
            del tensors[at]
    with contextlib.suppress(FermiacError, UnicodeEncodeError):
        _core.store_write(str(path), kind, text, tensors)


def signed(path: Path) -> None:
    """Make the digest of a file right, wherever its bytes were changed."""
    data = path.read_bytes()
    at = data.find(_MARK)
    if at < 0:
        return
    at += len(_MARK)
    path.write_bytes(data[:at] + b"0" * _DIGITS + data[at + _DIGITS :])
    digest = _core.store_digest(str(path), None).encode()
    path.write_bytes(data[:at] + digest + data[at + _DIGITS :])


def kind_of(path: Path) -> str:
    """The kind of a file, as its header has it."""
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return str(header["__metadata__"]["kind"])


def damaged(path: Path, rng: Rng) -> bool:
    """Damage a file; return whether its digest was made right."""
    if rng.random() < 0.6:
        altered(path, kind_of(path), rng)
        return True
    data = path.read_bytes()
    path.write_bytes(_BYTES[int(rng.integers(len(_BYTES)))](data, rng))
    right = rng.random() < 0.3
    if right:
        signed(path)
    return right


def damaged_folder(path: Path, rng: Rng) -> bool:
    """Damage the files of a folder; return whether their digests were made right."""
    for _ in range(int(rng.integers(1, 3))):
        files = sorted(path.iterdir())
        if not files:
            break
        file = files[int(rng.integers(len(files)))]
        how = rng.random()
        if how < 0.05:
            file.unlink()
        elif how < 0.15:
            shutil.copy(files[int(rng.integers(len(files)))], path / f".{file.name}")
            (path / f".{file.name}").replace(file)
        elif file.suffix == ".json" and how < 0.8:
            with contextlib.suppress(ValueError, RecursionError):
                file.write_text(rewritten(file.read_text(), rng), errors="replace")
        elif file.suffix == ".npy" and how < 0.5:
            _damage_array(file, rng)
        else:
            file.write_bytes(_BYTES[int(rng.integers(len(_BYTES)))](file.read_bytes(), rng))
    right = rng.random() < 0.6
    if right:
        _sign_folder(path)
    return right


def _damage_array(file: Path, rng: Rng) -> None:
    """Change numbers, the shape or the type of an array."""
    # The errors of NumPy where the header was damaged before.
    with contextlib.suppress(ValueError, OSError, EOFError, KeyError, SyntaxError, TokenError):
        array = np.load(file)
        _, kind, shape, data = _number(
            ("", {"f": "F64", "i": "I64", "u": "U64"}[array.dtype.kind], list(array.shape),
             array.astype(array.dtype.kind + "8").reshape(-1).view(np.uint8)), rng,
        )  # fmt: skip
        new = data.view(_NUMPY[kind]).reshape(shape)
        how = rng.random()
        if how < 0.6:
            new = new.astype(array.dtype)
        elif how < 0.8:
            new = new.astype(array.dtype)[..., :-1]
        np.save(file, new)


def _sign_folder(path: Path) -> None:
    """Make the digests in the index of a folder right."""
    from fermiac._base.folders import facts

    for index in path.glob("*.json"):
        with contextlib.suppress(ValueError, OSError, RecursionError, FermiacError):
            content = json.loads(index.read_text())
            if isinstance(content, dict) and "files" in content:
                content["files"] = facts(path, [file.stem for file in path.glob("*.npy")])
                index.write_text(json.dumps(content))


# The processes


def judged(case: Case, path: Path, right: bool, same: bool) -> str:
    """The outcome for a file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            loaded = case.load(path)
        except CheckpointError:
            return "refused"
        except FermiacError as error:
            # A run that goes on from another state may fail as any run may.
            if isinstance(error, InternalError | ArgumentError) or not case.is_run:
                return f"wrong error: {type(error).__name__}: {error}"
            return "run failed"
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            return f"wrong error: {type(error).__name__}: {error}"
        if same:
            return "unchanged"
        if not right:
            return "loaded with a wrong digest"
        try:
            wrong = used(loaded)
        except BaseException as error:
            return f"wrong use: {type(error).__name__}: {error}"
    return f"wrong use: {wrong[0]}" if wrong else "loaded"


def one(i: int, seed: int, cases: list[Case], good: Path, place: Path) -> tuple[str, str]:
    """Make the file of a number and load it; return its case and what came of it."""
    rng = np.random.default_rng([seed, i])
    weights = np.array([case.weight for case in cases])
    case = cases[int(rng.choice(len(cases), p=weights / weights.sum()))]
    source, path = good / case.name, place / f"file{i}"
    if case.folder:
        shutil.copytree(source, path)
        right, same = damaged_folder(path, rng), False
        # A folder has digests of parts; what they do not see is no damage that is found at once.
        right = True if case.folder else right
    else:
        shutil.copy(source, path)
        right = damaged(path, rng)
        same = path.read_bytes() == source.read_bytes()
    try:
        return case.name, judged(case, path, right, same)
    finally:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def child(args: argparse.Namespace) -> None:
    """Go through the files of some numbers, and say of each when it begins and how it ended."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Threads for tiny runs cost more than they save.
    fm.set_num_threads(1)
    cases = chosen(args.cases)
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    with tempfile.TemporaryDirectory(dir=args.good) as place:
        for i in range(args.start, args.stop):
            print(f"begin {i}", file=out)
            name, outcome = one(i, args.seed, cases, Path(args.good), Path(place))
            print("end", json.dumps([i, name, outcome]), file=out)


def chosen(words: str) -> list[Case]:
    """The cases whose names have one of some words, or all."""
    return [c for c in CASES.values() if not words or any(w in c.name for w in words.split(","))]


class Watched:
    """A child that is watched, and what it has said."""

    def __init__(self, args: argparse.Namespace, start: int, stop: int, good: str) -> None:
        command = [
            sys.executable, __file__, "--child", "--seed", str(args.seed), "--start", str(start),
            "--stop", str(stop), "--good", good, "--cases", args.cases,
        ]  # fmt: skip
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.at = start

    def outcomes(self) -> Iterator[tuple[int, str, str]]:
        """Yield what came of each file; a child that dies has a last one."""
        pipe = self.process.stdout
        assert pipe is not None
        begun = None
        while True:
            ready, _, _ = select.select([pipe], [], [], _PATIENCE)
            line = pipe.readline() if ready else None
            if line is None:
                self.process.kill()
            if not line:
                break
            word, rest = line.split(" ", 1)
            if word == "begin":
                begun = int(rest)
                continue
            begun = None
            i, name, outcome = json.loads(rest)
            self.at = i + 1
            yield i, name, outcome
        code = self.process.wait()
        if begun is not None:
            self.at = begun + 1
            yield begun, "?", "crash: hang" if line is None else f"crash: exit code {code}"
        elif code:
            raise SystemExit(f"a child ended with {code} between two files")


def main() -> int:
    """Run, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--n", type=int, default=5000, help="number of files")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="limit of time")
    parser.add_argument("--cases", default="", help="words of names, with commas between")
    parser.add_argument("--only", type=int, help="make and load one file, in this process")
    parser.add_argument(
        "--strict", action="store_true", help="fail at any finding, not only the severe"
    )
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--start", type=int, default=0, help="the number of the first file")
    parser.add_argument("--stop", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--good", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args)
        return 0
    cases, begun = chosen(args.cases), time.monotonic()
    # In memory where possible: every file that is written is synced.
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(prefix="fermiac-fuzz-", dir=memory) as good:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for case in cases:
                case.make(Path(good) / case.name)
        if args.only is not None:
            print(*one(args.only, args.seed, cases, Path(good), Path(good)))
            return 0
        return report(args, good, begun)


def report(args: argparse.Namespace, good: str, begun: float) -> int:
    """Go through all files, in children of some thousands each."""
    counts: collections.Counter[str] = collections.Counter()
    wrong: dict[str, list[str]] = {}
    at, end = args.start, args.start + args.n
    while at < end and time.monotonic() - begun < args.seconds:
        watched = Watched(args, at, min(at + _BATCH, end), good)
        for i, name, outcome in watched.outcomes():
            kind = outcome.split(":")[0]
            counts[kind] += 1
            if kind not in _RIGHT:
                key = f"{name}: {outcome:.110}"
                wrong.setdefault(key, []).append(str(i))
            if time.monotonic() - begun > args.seconds:
                watched.process.kill()
                watched.process.wait()
                break
        at = watched.at
    print(f"{sum(counts.values())} files, seed {args.seed}, {time.monotonic() - begun:.0f} s")
    for kind, n in counts.most_common():
        print(f"{n:8d}  {kind}")
    for key, numbers in sorted(wrong.items(), key=lambda item: -len(item[1])):
        print(f"{len(numbers):6d} x {key}   (files {', '.join(numbers[:3])})")
    return 1 if any(args.strict or severe(key) for key in wrong) else 0


def severe(finding: str) -> bool:
    """Whether a finding is a crash, a file taken as good, or a defect by definition."""
    return any(word in finding for word in ("crash:", "wrong digest", "InternalError", "panic"))


if __name__ == "__main__":
    sys.exit(main())

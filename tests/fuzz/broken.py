"""Targets that misbehave, each in its way, and what the sandbox says of them: ``python -m fuzz.broken``."""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from fuzz.sandbox import examine
from microlith.core.errors import InputError, ModelError, VerificationError


def succeeds(path: Path, out: Path) -> None:
    (out / "part").mkdir(parents=True)
    (out / "part" / "file.c").write_text("int x;")


def refuses(path: Path, out: Path) -> None:
    raise ModelError("the file is not what it should be")


def refuses_without_reason(path: Path, out: Path) -> None:
    raise ModelError("bad")


def refuses_without_name(path: Path, out: Path) -> None:
    raise ModelError("something here is wrong")


def blames_the_arguments(path: Path, out: Path) -> None:
    raise InputError("the file cannot be read")


def blames_itself(path: Path, out: Path) -> None:
    raise VerificationError("two things that agree do not")


def divides_by_zero(path: Path, out: Path) -> None:
    print(1 // 0)


def warns(path: Path, out: Path) -> None:
    import numpy as np

    np.float32(3e38) * np.float32(10)


def recurses(path: Path, out: Path) -> None:
    recurses(path, out)


def allocates(path: Path, out: Path) -> None:
    bytearray(2 << 30)


def crashes(path: Path, out: Path) -> None:
    ctypes.string_at(8)


def hangs(path: Path, out: Path) -> None:
    while True:
        pass


def writes_beside(path: Path, out: Path) -> None:
    (path.parent / "left").write_text("over")


def makes_folder(path: Path, out: Path) -> None:
    (path.parent / "folder").mkdir()


def reads_secret(path: Path, out: Path) -> None:
    (path.parent / "link.bin").read_bytes()


def runs_program(path: Path, out: Path) -> None:
    subprocess.run(["true"], check=True)


def main() -> None:
    """Print ending and place of each as JSON."""
    targets: tuple[Any, ...] = (
        succeeds, refuses, refuses_without_reason, refuses_without_name,
        blames_the_arguments, blames_itself, divides_by_zero, warns, recurses, allocates, crashes,
        hangs, writes_beside, makes_folder, reads_secret, runs_program,
    )  # fmt: skip
    found = {target.__name__: examine(b"x", target=target, time_limit_s=1) for target in targets}
    json.dump({name: [outcome.ending, outcome.place] for name, outcome in found.items()}, sys.stdout)


if __name__ == "__main__":
    main()

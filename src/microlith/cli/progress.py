"""Progress of long work, on stderr: bars on a terminal, a line a task elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """What long work tells on its way.

    Attributes:
        step: called with what is being done, the steps done, and how many there are.
        announce: called with a line of text.
    """

    step: Callable[[str, int, int | None], None]
    announce: Callable[[str], None]


@contextmanager
def progress(*, quiet: bool) -> Iterator[Progress]:
    """Show progress while the block runs.

    Args:
        quiet: show nothing.
    """
    if quiet:
        yield Progress(lambda what, done, total: None, lambda text: None)
    elif sys.stderr.isatty():
        with _bars() as show:
            yield show
    else:
        yield _lines()


@contextmanager
def _bars() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bars

    columns = (
        SpinnerColumn(finished_text="✓"),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    console = Console(stderr=True, markup=False, highlight=False, emoji=False)
    with Bars(*columns, console=console) as bars:
        tasks: dict[str, int] = {}

        def step(what: str, done: int, total: int | None) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)  # type: ignore[arg-type]

        yield Progress(step, lambda text: console.print(_fit(text)))


def _lines() -> Progress:
    begun: dict[str, float] = {}

    def step(what: str, done: int, total: int | None) -> None:
        begun.setdefault(what, time.monotonic())
        if done == total:
            print(f"{what}: {done:,} in {time.monotonic() - begun[what]:.1f} s", file=sys.stderr, flush=True)

    return Progress(step, lambda text: print(_fit(text), file=sys.stderr, flush=True))


def _fit(text: str) -> str:
    from microlith.report.format import clean_lines
    from microlith.report.names import shorten_in

    return shorten_in(clean_lines(text))

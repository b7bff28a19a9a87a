"""Three disjoint parts of the data: one to calibrate on, one to choose by, one to report."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from microlith.core.errors import InputError
from microlith.core.random import generator

MOST_CALIBRATION = 512
FEW_CALIBRATION = 100
MOST_SELECTION = 2000
LEAST_SELECTION = 20
_SHARES = {"calibration": 1, "selection": 1, "report": 4}

Indices = NDArray[np.intp]


@dataclass(eq=False)
class Split:
    """Positions of the samples of each part; ascending, and in no two parts.

    Attributes:
        calibration: for everything that looks at values, such as calibration and training.
        selection: for choosing between candidates; the calibration part where no samples are set aside for it.
        notes: what a reader of the results must know about the parts.
    """

    calibration: Indices
    selection: Indices
    notes: tuple[str, ...]
    _report: Indices
    _read: bool = field(default=False, init=False)

    @classmethod
    def of(
        cls,
        n: int,
        *,
        calibration: int | float | None = None,
        selection: int | float | None = None,
        report: int | float | None = None,
        seed: int = 0,
    ) -> Split:
        """Deal n samples at random.

        Each part is a count (an int), a fraction of n (a float below 1), or None for a default. The parts without a
        count share what the others leave, 1 : 1 : 4; of that, at most 512 samples calibrate and at most 2,000 select
        (none where they were fewer than 20), and the report takes the rest. Small sets calibrate on up to a third, as
        long as that is at most 100 samples.

        Raises:
            InputError: more is asked for than there is, or the calibration or the report part is empty.
        """
        asked = {
            "calibration": _count(calibration, n, "calibration"),
            "selection": _count(selection, n, "selection"),
            "report": _count(report, n, "report"),
        }
        sizes = _fill(asked, n)
        for name in ("calibration", "report"):
            if sizes[name] < 1:
                raise InputError(
                    f"of {n} samples none are left for the {name} part", hint=f"Ask for fewer elsewhere, or --{name} N."
                )
        order = generator(seed, "split").permutation(n)
        ends = np.cumsum([sizes["calibration"], sizes["selection"], sizes["report"]])
        parts = [np.sort(order[start:end]) for start, end in zip((0, *ends[:-1]), ends, strict=True)]
        notes: tuple[str, ...] = ()
        if sizes["selection"] == 0:
            parts[1] = parts[0]
            notes = (
                f"The choice between candidates was made on the {sizes['calibration']} calibration samples, because no "
                "samples were set aside for it; the report part was not read for it.",
            )
        return cls(parts[0], parts[1], notes, parts[2])

    @property
    def sizes(self) -> dict[str, int]:
        """Samples in each part; ``selection`` counts only those set aside for it."""
        own = 0 if self.selection is self.calibration else len(self.selection)
        return {"calibration": len(self.calibration), "selection": own, "report": len(self._report)}

    def report(self) -> Indices:
        """The report part, which is read once, last.

        Raises:
            RuntimeError: it was read before: a choice could have been made by it.
        """
        if self._read:
            raise RuntimeError("the report part of the data was read a second time; it is read once, last")
        self._read = True
        return self._report


def _count(part: int | float | None, n: int, name: str) -> int | None:
    if part is None:
        return None
    if isinstance(part, float):
        if not 0 <= part < 1:
            raise InputError(
                f"the {name} part is {part:g} of the data, expected a fraction of at least 0 and below 1",
                hint="Write a count of samples as a whole number.",
            )
        # A product such as 0.29 * 100 falls just short of the whole number that is meant.
        return math.floor(part * n + 1e-9)
    if part < 0:
        raise InputError(f"the {name} part is {part} samples, expected 0 or more")
    return part


def _fill(asked: dict[str, int | None], n: int) -> dict[str, int]:
    """Sizes of all parts, defaults for those not asked for."""
    stated = {name: size for name, size in asked.items() if size is not None}
    left = n - sum(stated.values())
    if left < 0:
        parts = ", ".join(f"{size} for {name}" for name, size in stated.items())
        raise InputError(
            f"{sum(stated.values())} samples are asked for ({parts}), and the data holds {n}", hint="Ask for fewer."
        )
    shares = sum(_SHARES[name] for name in asked if name not in stated)
    sizes = dict(stated)
    for name, most in (("selection", MOST_SELECTION), ("calibration", MOST_CALIBRATION)):
        if name not in stated:
            sizes[name] = min(most, left * _SHARES[name] // shares)
    if "selection" not in stated and sizes["selection"] < LEAST_SELECTION:
        sizes["selection"] = 0
    if "calibration" not in stated:
        third = (left - (0 if "selection" in stated else sizes["selection"])) // 3
        sizes["calibration"] = max(sizes["calibration"], min(FEW_CALIBRATION, third), min(left, 1))
    if "report" not in stated:
        sizes["report"] = n - sizes["calibration"] - sizes["selection"]
    return sizes

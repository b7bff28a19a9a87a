"""The least that a call can take on an instruction set: its products, results and memory traffic, and nothing else.

In cycles of :mod:`microlith.device.cycle_table` where the core has one, else in instructions:

* a product of integers takes half a cycle with the DSP extension (SMLAD does two), one where MLA exists (Armv7-M) and
  two where it does not (MULS, ADDS on Armv6-M; MUL, ADD on RISC-V); a float product takes two (VMUL, VADD: contraction
  would change bits);
* a result of a sum of products, a sum of tensors or a mean takes 4 more to be requantized in ``fixed`` (two high
  products, a shift, SSAT) and 6 in ``float`` (two moves, two conversions, a product, a saturating sum); a float result
  takes none;
* each byte of activations is read once and each of the result written once, each constant is read once, four bytes a
  cycle (LDM and STM move a word a cycle). As instructions these may be any number of words each, and are left out.

Products are those of the definition. An algorithm with fewer, such as Winograd's, can come closer than a direct one.
"""

from __future__ import annotations

from microlith.device.cycle_table import CORES
from microlith.device.profile import Device
from microlith.program.types import OpCall, Program
from microlith.quant.requantize import FixedRequant

_WORD_BYTES = 4
_FIXED_RESULT = 4
_FLOAT_RESULT = 6


def bound(program: Program, call: OpCall, device: Device, macs: int, const_bytes: int) -> float | None:
    """Cycles, or instructions on a core without a table, below which the call cannot come by this reckoning.

    Args:
        program: holds the call's views.
        call: to be bounded.
        device: that it runs on.
        macs: its products.
        const_bytes: stored constants that it reads.

    Returns:
        None for a host, and for floats without an FPU.
    """
    reads, writes = ([program.view(name) for name in names] for names in (call.reads, call.writes))
    floats = any(view.dtype == "f32" for view in (*reads, *writes))
    if device.is_host or (floats and device.fpu == "none"):
        return None
    results = sum(view.size for view in writes) if call.requant is not None else 0
    least = macs * _product(device, floats)
    least += results * (_FIXED_RESULT if isinstance(call.requant, FixedRequant) else _FLOAT_RESULT)
    if device.core in CORES:
        least += (sum(view.bytes for view in (*reads, *writes)) + const_bytes) / _WORD_BYTES
    return least


def _product(device: Device, floats: bool) -> float:
    if floats:
        return 2.0
    if "dsp" in device.isas:
        return 0.5
    return 2.0 if device.core in ("cortex-m0plus", "rv32imc") else 1.0

"""What a device is, as far as a compiler needs to know."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from microlith.quant.types import Requantization

Core = Literal["host", "cortex-m0plus", "cortex-m3", "cortex-m4f", "cortex-m7", "cortex-m33", "cortex-m55", "rv32imc"]
Isa = Literal["portable", "scalar", "dsp", "thumb1", "mve", "avx2"]


class Region(BaseModel):
    """A memory region.

    Attributes:
        name: ``flash``, ``ram``, or the data sheet's name of another.
        kind: what it can hold.
        start: address.
        bytes: size.
        external: whether it lies outside the chip.
        execute_in_place: whether code and constants can be used where they lie.
        bytes_per_second: read speed, where the source states one.
        data_start: address at which loads and stores find it, where they do not at ``start``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    kind: Literal["flash", "ram"]
    start: int = Field(ge=0)
    bytes: int = Field(gt=0)
    external: bool = False
    execute_in_place: bool = True
    bytes_per_second: float | None = None
    data_start: int | None = Field(default=None, ge=0)


class Device(BaseModel):
    """A device profile; what ``microlith/device/profiles/*.toml`` and a user's own file hold.

    Attributes:
        name: as the user types it.
        title: as the vendor writes it.
        core: processor core.
        fpu: ``none``, ``single`` or ``double``.
        isas: instruction-set extensions that kernels may use; ``portable`` always. ``scalar`` is C as well, for cores
            with many registers that multiply one pair of numbers at a time.
        clock_hz: highest core clock; None for a host.
        regions: memory; empty for a host, which sets no limits.
        joules_per_cycle: published energy; None where no source states it.
        sources: where each figure comes from, by field.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    schema_version: Literal[1] = 1
    name: str
    title: str
    core: Core
    fpu: Literal["none", "single", "double"]
    isas: tuple[Isa, ...] = ("portable",)
    clock_hz: float | None = None
    regions: tuple[Region, ...] = ()
    joules_per_cycle: float | None = None
    sources: dict[str, str] = Field(default_factory=dict)

    @property
    def is_host(self) -> bool:
        """Whether artifacts run as a shared library on this machine."""
        return self.core == "host"

    @property
    def is_riscv(self) -> bool:
        """Whether its core executes RISC-V code."""
        return self.core.startswith("rv")

    @property
    def requantization(self) -> Requantization:
        """The default for models quantized for this device: ``float`` where there is an FPU."""
        return "fixed" if self.fpu == "none" else "float"

    def capacity(self, kind: Literal["flash", "ram"]) -> int | None:
        """Bytes of the internal regions of one kind; None where nothing is limited.

        A device that boots from an external part, and so has no internal region of the kind, is limited by the
        external regions that it can execute in place.
        """
        regions = [region for region in self.regions if region.kind == kind]
        internal = [region.bytes for region in regions if not region.external]
        sizes = internal or [region.bytes for region in regions if region.execute_in_place]
        return sum(sizes) if sizes else None

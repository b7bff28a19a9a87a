"""``manifest.json``: what an artifact consists of, for the tools that run, verify and compare it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from microlith.core.errors import InputError
from microlith.device.profile import Device
from microlith.program.types import DType
from microlith.quant.types import Requantization

PackageKind = Literal["c", "arduino", "platformio", "zephyr", "esp-idf"]
"""Build systems that the library is packaged for; plain C with CMake always."""

PACKAGE_KINDS: tuple[PackageKind, ...] = ("c", "arduino", "platformio", "zephyr", "esp-idf")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Tensor(_Part):
    """An input or output; the C array holds ``shape`` row by row.

    Attributes:
        name: of the graph value.
        dtype: element type.
        shape: extents.
        scale: None where the integers carry no stated meaning, and for floats.
        zero_point: likewise.
        space: memory space of the buffer.
        offset: bytes from the start of the space.
        bytes: size.
    """

    name: str
    dtype: DType
    shape: tuple[int, ...]
    scale: float | None
    zero_point: int | None
    space: str
    offset: int
    bytes: int


class EntryPoint(_Part):
    """A function of the library."""

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


class StateTensor(_Part):
    """A state, as the caller's memory holds it.

    Attributes:
        input: name of the graph input.
        output: name of the graph output that it is in the next run.
        dtype: element type.
        shape: extents, row by row.
        scale: see :class:`Tensor`.
        zero_point: likewise.
        offset: bytes from the start of the state.
        bytes: size.
    """

    input: str
    output: str
    dtype: DType
    shape: tuple[int, ...]
    scale: float | None
    zero_point: int | None
    offset: int
    bytes: int


class StoredConst(_Part):
    """A constant as it is stored."""

    id: str
    segment: str
    offset: int
    bytes: int
    sha256: str
    packing: str
    codec: str


class Segment(_Part):
    """A run of stored constants."""

    name: str
    offset: int
    bytes: int
    sha256: str


class Compiler(_Part):
    """What the figures were obtained with."""

    name: str
    version: str
    flags: str


class Manifest(_Part):
    """The artifact.

    Attributes:
        name: prefix of every symbol.
        abi: version of the C interface.
        artifact_hash: SHA-256 over the library's files.
        device: profile that it was compiled for.
        requantization: the model's.
        entries: functions.
        spaces: bytes of each memory space that the caller provides.
        segments: of constants.
        consts: in the order of the segments.
        layers: C symbols of the layer functions, in order.
        toolchain: None where the figures need none.
        files: SHA-256 by path.
        states: what is kept from run to run, in the space ``state``.
        packages: build systems that the library is packaged for.
    """

    schema_version: Literal[1] = 1
    name: str
    abi: int
    artifact_hash: str
    device: Device
    requantization: Requantization
    entries: tuple[EntryPoint, ...]
    spaces: dict[str, int]
    segments: tuple[Segment, ...]
    consts: tuple[StoredConst, ...]
    layers: tuple[str, ...]
    toolchain: Compiler | None
    files: dict[str, str]
    states: tuple[StateTensor, ...] = ()
    packages: tuple[PackageKind, ...] = ("c",)


def read_manifest(directory: Path) -> Manifest:
    """The manifest of an artifact directory.

    Raises:
        InputError: there is none, or it is not one of ours.
    """
    path = directory / "manifest.json"
    if not path.is_file():
        raise InputError(
            f"{directory} is not an artifact: it has no manifest.json", hint="Make one: microlith compile."
        )
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except (ValidationError, OSError) as error:
        raise InputError(f"{path} is not a manifest of this version: {error}") from error

"""All calls of a list in one program for a microcontroller, with the interface of the flat runner.

Input 0 holds every operand, output 0 every result, each at a multiple of 8 bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from kernels.harness import Array, Case, Library
from microlith.compile.c_text import C_TYPES, array_body
from microlith.device.profile import Device
from microlith.device.support import support_files
from microlith.kernels import header_text, headers_needed
from microlith.kernels.base import Packed, Pointer, RowRange, Runtime
from microlith.program.types import NUMPY

ALIGN = 8


@dataclass
class McuProgram:
    """C text of a program that runs every case once."""

    cases: Sequence[Case]
    lines: list[str] = field(default_factory=list)
    reads: bytearray = field(default_factory=bytearray)
    places: list[int] = field(default_factory=list)
    written: int = 0
    instances: dict[tuple[object, ...], str] = field(default_factory=dict)

    def text(self, directory: Path) -> str:
        """The program without start-up code."""
        library = Library(directory)
        for case in self.cases:
            library.add(case.kernel, case.ctx)
        self.instances = library.instances
        calls = [self._call(index, case, library) for index, case in enumerate(self.cases)]
        includes = "".join(f'#include "{name}"\n' for name in library.headers)
        buffers = f"static ML_ALIGN(8) uint8_t x[{len(self.reads)}];\nstatic ML_ALIGN(8) uint8_t y[{self.written}];\n"
        instances = "".join(f"ML_NOINLINE {text.partition(chr(10))[2]}" for text in library.sources.values())
        declared = "".join(text.partition("\n")[0] + "\n" for text in library.sources.values())
        body = "".join(f"    {call}\n" for call in calls)
        scratch = max(case.kernel.scratch_bytes(case.ctx) for case in self.cases)
        buffers += f"static ML_ALIGN(8) uint8_t scratch[{scratch}];\n"
        return f"{includes}{buffers}{declared}{instances}{''.join(self.lines)}{_RUNNER.replace('@BODY@', body)}"

    def check(self, output: bytes) -> None:
        """Compare every result."""
        for case, place in zip(self.cases, self.places, strict=True):
            write = case.ctx.writes[0]
            case.check(np.frombuffer(output, NUMPY[write.dtype], write.size, place).reshape(write.shape))

    def _call(self, index: int, case: Case, library: Library) -> str:
        packed = case.kernel.pack(case.ctx)
        self._consts(index, packed)
        reads = [self._operand(values) for values in case.inputs]
        self.places.append(self.written)
        write = case.ctx.writes[0]
        results = []
        for item in case.ctx.writes:
            results.append(self.written)
            self.written += -(-item.bytes // ALIGN) * ALIGN
        values: list[str] = []
        for argument in case.kernel.arguments(case.ctx):
            if isinstance(argument, Pointer):
                address = {
                    "write": f"y + {results[int(argument.key)] if argument.source == 'write' else 0}",
                    "const": f"{argument.key}_{index}",
                    "scratch": "scratch",
                    "read": f"x + {reads[int(argument.key)] if argument.source == 'read' else 0}",
                }[argument.source]
                space = "const void *" if argument.ctype.startswith("const") else "void *"
                values.append(f"({argument.ctype})({space})({address})")
            elif isinstance(argument, RowRange):
                values += ["0", str(write.shape[1])]
            elif isinstance(argument, Runtime):
                values.append(argument.value)
        return f"{library.instances[case.kernel.instance_key(case.ctx)]}({', '.join(values)});"

    def _operand(self, values: Array) -> int:
        place = len(self.reads)
        self.reads += np.ascontiguousarray(values).tobytes()
        self.reads += bytes(-len(self.reads) % ALIGN)
        return place

    def _consts(self, index: int, packed: Mapping[str, Packed]) -> None:
        for role, item in packed.items():
            ctype = C_TYPES[item.values.dtype.name]
            self.lines.append(
                f"static const ML_ALIGN({item.align}) {ctype} {role}_{index}[] = {array_body(item.values)};\n"
            )


def write_program(program: McuProgram, device: Device, directory: Path) -> list[Path]:
    """The program, its headers and start-up code as files; returns the C files."""
    files = {"program.c": program.text(directory), **support_files(device)}
    for case in program.cases:
        files.update({name: header_text(name) for name in headers_needed(case.kernel)})
    for name, text in files.items():
        (directory / name).write_text(text, encoding="utf-8")
    return [directory / name for name in files if name.endswith(".c")]


_RUNNER = """
ML_ALIGN(8) uint8_t mlrun_arena[8];

int32_t mlrun_init(void *arena, uint32_t arena_bytes)
{
    return arena == 0 || arena_bytes < sizeof(mlrun_arena);
}

uint32_t mlrun_arena_bytes(void)
{
    return sizeof(mlrun_arena);
}

uint32_t mlrun_inputs(void)
{
    return 1;
}

uint32_t mlrun_outputs(void)
{
    return 1;
}

void *mlrun_input(uint32_t i)
{
    return i == 0 ? x : 0;
}

uint32_t mlrun_input_bytes(uint32_t i)
{
    return i == 0 ? sizeof(x) : 0;
}

void *mlrun_output(uint32_t i)
{
    return i == 0 ? y : 0;
}

uint32_t mlrun_output_bytes(uint32_t i)
{
    return i == 0 ? sizeof(y) : 0;
}

int32_t mlrun_run(void)
{
@BODY@    return 0;
}

int main(void);
int main(void)
{
    return 0;
}
"""

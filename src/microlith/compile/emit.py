"""C text of a planned Program. The emitter decides nothing: kernels, order, offsets and packing are in the Program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from microlith.compile.c_text import C_TYPES, array_body, comment, wrapped
from microlith.compile.context import call_context
from microlith.core.errors import UnsupportedError
from microlith.device.profile import Device
from microlith.kernels import kernel
from microlith.kernels.base import Argument, CallContext, Kernel, Literal, Pointer, RowRange, Runtime
from microlith.program.types import NUMPY, STATE_SPACE, Call, Entry, OpCall, Program, Region, Step, View

SPDX = "/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */"
ABI = 1
ARENA_ALIGN = 16


@dataclass(frozen=True)
class Layer:
    """An emitted layer function: its C symbol and the call that it makes."""

    symbol: str
    call: OpCall


@dataclass
class _Emitter:
    """State of one run: instances by key, layers in order."""

    program: Program
    instances: dict[tuple[object, ...], str] = field(default_factory=dict)
    instance_text: list[str] = field(default_factory=list)
    layer_text: list[str] = field(default_factory=list)
    layers: list[Layer] = field(default_factory=list)
    kernels: dict[str, Kernel] = field(default_factory=dict)

    def entry(self, entry: Entry) -> str:
        body = self._steps(entry.body, "    ")
        return (
            f"int32_t {self.program.name}_{entry.name}({self.program.name}_ctx *ctx)\n{{\n"
            f"    if (ctx == NULL || ctx->weights == NULL) {{\n        return -1;\n    }}\n{body}    return 0;\n}}\n"
        )

    def _steps(self, steps: tuple[Step, ...], indent: str) -> str:
        text = ""
        for step in steps:
            if isinstance(step, Call):
                text += f"{indent}{self._layer(step.op, ranged=False)}(ctx);\n"
            elif isinstance(step, Region):
                text += self._region(step, indent)
            else:
                raise UnsupportedError(f"a {type(step).__name__} step cannot be emitted in C yet")
        return text

    def _region(self, region: Region, indent: str) -> str:
        """Loops over output rows of the last call; each earlier call first makes the rows that are still missing."""
        ops = [step.op for step in region.body if isinstance(step, Call)]
        if len(ops) != len(region.body) or not ops:
            raise UnsupportedError("a Region can hold calls only")
        names = [self._layer(op, ranged=True) for op in ops]
        heights = [self.program.view(op.writes[0]).shape[region.axis] for op in ops]
        done = [f"done_{name.rsplit('_', 1)[1]}" for name in names]
        inner = indent + "    "
        text = f"{indent}{{\n" + "".join(f"{inner}int32_t {name} = 0;\n" for name in done)
        text += f"{inner}while ({done[-1]} < {heights[-1]}) {{\n"
        text += f"{inner}    const int32_t end_{len(ops) - 1} = ml_min({done[-1]} + {region.rows}, {heights[-1]});\n"
        for index in range(len(ops) - 2, -1, -1):
            needs = [f"{inner}    int32_t end_{index} = 0;\n"]
            for later in range(index + 1, len(ops)):
                if ops[index].writes[0] in ops[later].reads:
                    rows = kernel(ops[later].kernel).input_rows(call_context(self.program, ops[later]))
                    if rows is None:
                        raise UnsupportedError(f"{ops[later].kernel} cannot run on a range of rows")
                    last = f"(end_{later} - 1) * {rows.stride} + {rows.last + 1}"
                    needs.append(f"{inner}    end_{index} = ml_max(end_{index}, ml_min({last}, {heights[index]}));\n")
            text += "".join(needs)
        for index, name in enumerate(names):
            call = f"{name}(ctx, {done[index]}, end_{index});"
            text += (
                f"{inner}    if (end_{index} > {done[index]}) {{\n{inner}        {call}\n"
                f"{inner}        {done[index]} = end_{index};\n{inner}    }}\n"
            )
        return text + f"{inner}}}\n{indent}}}\n"

    def _layer(self, call: OpCall, *, ranged: bool) -> str:
        chosen = kernel(call.kernel)
        context = call_context(self.program, call)
        self.kernels[chosen.name] = chosen
        arguments = chosen.arguments(context)
        instance = self._instance(chosen, context, arguments)
        passed = []
        for argument in arguments:
            if isinstance(argument, Pointer):
                passed.append(self._address(argument, call))
            elif isinstance(argument, Runtime):
                passed.append(argument.value)
            elif isinstance(argument, RowRange):
                begin, end = call.rows or (0, context.writes[0].shape[1])
                passed.append("row_begin, row_end" if ranged else f"{begin}, {end}")
        if ranged and not any(isinstance(argument, RowRange) for argument in arguments):
            raise UnsupportedError(f"{call.kernel} cannot run on a range of rows")
        symbol = f"{self.program.name}_layer_{len(self.layers)}"
        parameters = f"const {self.program.name}_ctx *ctx" + (", int32_t row_begin, int32_t row_end" if ranged else "")
        self.layer_text.append(
            f"/* {comment(', '.join(call.source_nodes))}: {call.op} */\n"
            f"ML_NOINLINE void {symbol}({parameters});\n"
            f"ML_NOINLINE void {symbol}({parameters})\n{{\n    {instance}(\n{wrapped(passed, '        ')});\n}}\n"
        )
        self.layers.append(Layer(symbol, call))
        return symbol

    def _instance(self, chosen: Kernel, context: CallContext, arguments: tuple[Argument, ...]) -> str:
        key = chosen.instance_key(context)
        if key in self.instances:
            return self.instances[key]
        name = f"{self.program.name}_{len(self.instances)}_{chosen.name}"
        parameters, passed = [], []
        for argument in arguments:
            if isinstance(argument, Literal):
                passed.append(argument.value)
            elif isinstance(argument, RowRange):
                parameters += ["int32_t row_begin", "int32_t row_end"]
                passed += ["row_begin", "row_end"]
            else:
                space = "" if argument.ctype.endswith("*") else " "
                parameters.append(f"{argument.ctype}{space}{argument.name}")
                passed.append(argument.name)
        self.instance_text.append(
            f"static ML_NOINLINE void {name}(\n{wrapped(parameters, '    ')})\n{{\n"
            f"    {chosen.name}(\n{wrapped(passed, '        ')});\n}}\n"
        )
        self.instances[key] = name
        return name

    def _address(self, argument: Pointer, call: OpCall) -> str:
        if argument.source == "const":
            return self._const_address(argument.key, argument.ctype, call)
        names = {"read": call.reads, "write": call.writes, "scratch": (call.scratch,)}[argument.source]
        name = names[int(argument.key or 0)]
        if name is None:
            return "NULL"
        place = f"(void *){self._place(self.program.view(name))}"
        return place if argument.ctype.strip() == "void *" else f"({argument.ctype.strip()}){place}"

    def _place(self, view: View) -> str:
        buffer = self.program.buffers[view.buffer]
        return f"(ctx->{_base(buffer.space)} + {self.program.offsets[buffer.id] + view.offset})"

    def _const_address(self, role: str, ctype: str, call: OpCall) -> str:
        reference = call.consts[role]
        place = f"ctx->weights->{reference.id}"
        stored = C_TYPES[self.program.storage[reference.id].values.dtype.name]
        if stored not in ctype.split():
            place = f"(({ctype.strip()})(const void *){place})"
        if reference.slice is None:
            return place
        rows = self.program.consts[reference.id].values.shape[0]
        elements = self.program.storage[reference.id].values.size // rows
        return f"{place} + {reference.slice[0] * elements}"


@dataclass(frozen=True)
class Emitted:
    """C files of a library.

    Attributes:
        files: text by path within the package.
        layers: layer functions in order.
        kernels: that the source calls.
        instances: C symbols by the key of what each instance holds.
    """

    files: Mapping[str, str]
    layers: tuple[Layer, ...]
    kernels: tuple[Kernel, ...]
    instances: Mapping[tuple[object, ...], str]


def emit(program: Program, device: Device) -> Emitted:
    """The library's source, weights and header; the same Program always gives the same bytes."""
    emitter = _Emitter(program)
    entries = "\n".join(emitter.entry(entry) for entry in program.entries)
    includes = "".join(
        f'#include "{header}"\n' for header in dict.fromkeys(used.header for used in emitter.kernels.values())
    )
    name = program.name
    source = (
        f'{SPDX}\n#include "{name}.h"\n#include "{name}_weights.h"\n{includes}\n{_guards(device)}\n'
        + "\n".join((*emitter.instance_text, *emitter.layer_text))
        + f"\n{_init(program)}\n{entries}"
    )
    return Emitted(
        {
            f"src/{name}.c": source,
            f"src/{name}_weights.c": _weights_source(program),
            f"src/{name}_weights.h": _weights_header(program),
        },
        tuple(emitter.layers),
        tuple(emitter.kernels.values()),
        emitter.instances,
    )


def _guards(device: Device) -> str:
    """Compile-time refusals where the flags are not those that the figures and the bits were obtained with."""
    checks = []
    if device.core.startswith("cortex"):
        hard = device.fpu != "none"
        condition = "!defined(__ARM_FP)" if hard else "defined(__ARM_FP)"
        wanted = "with the FPU (-mfloat-abi=hard)" if hard else "without an FPU (-mfloat-abi=soft)"
        checks.append((f"defined(__arm__) && {condition}", f"this library was compiled for a core {wanted}"))
    if device.is_riscv:
        checks.append(("defined(__riscv_flen)", "this library was compiled for a core without an FPU (-mabi=ilp32)"))
    if "dsp" in device.isas:
        checks.append(("!defined(__ARM_FEATURE_DSP)", "this library needs the DSP extension of the core"))
    if "avx2" in device.isas:
        checks.append(("!defined(__AVX2__)", "this library needs AVX2 (-mavx2)"))
    return "".join(f'#if {condition}\n#error "{message}"\n#endif\n' for condition, message in checks)


def _base(space: str) -> str:
    return "state->bytes" if space == STATE_SPACE else space


def caller_spaces(program: Program) -> list[str]:
    """The memory spaces whose bytes the caller provides as they come; the state has a type of its own."""
    return [space for space in program.spaces if space != STATE_SPACE]


def init_parameters(program: Program) -> str:
    """Parameters of ``NAME_init`` after the context."""
    spaces = "".join(f", void *{space}, size_t {space}_bytes" for space in caller_spaces(program))
    return spaces + (f", {program.name}_state *state" if program.states else "")


def _init(program: Program) -> str:
    name = program.name
    tests = "".join(
        f" || {space} == NULL || {space}_bytes < {name.upper()}_{space.upper()}_BYTES"
        f" || ((uintptr_t){space} % {ARENA_ALIGN}u) != 0u"
        for space in caller_spaces(program)
    )
    if program.states:
        tests += f" || state == NULL || ((uintptr_t)state % {ARENA_ALIGN}u) != 0u"
    stores = "".join(f"    ctx->{space} = (uint8_t *){space};\n" for space in caller_spaces(program))
    state = f"state;\n    {name}_reset(ctx)" if program.states else "NULL"
    text = (
        f"{_reset(program) if program.states else ''}"
        f"int32_t {name}_init({name}_ctx *ctx{init_parameters(program)})\n{{\n"
        f"    if (ctx == NULL{tests}) {{\n        return -1;\n    }}\n"
        f"{stores}    ctx->weights = &{name}_weights;\n    ctx->read = NULL;\n    ctx->user = NULL;\n"
        f"    ctx->state = {state};\n    return 0;\n}}\n"
    )
    for kind, index, view in io_views(program):
        ctype = C_TYPES[NUMPY[view.dtype]]
        buffer = program.buffers[view.buffer]
        assert buffer.space != STATE_SPACE, "what is kept is no input and no output"
        offset = program.offsets[buffer.id] + view.offset
        text += (
            f"\n{ctype} *{name}_{kind}_{index}(const {name}_ctx *ctx)\n{{\n"
            f"    return ({ctype} *)(void *)(ctx->{buffer.space} + {offset});\n}}\n"
        )
    return text


def _reset(program: Program) -> str:
    """``NAME_reset``: every state becomes what it is before the first run."""
    arrays, fills = "", ""
    for index, slot in enumerate(program.states):
        place = program.offsets[program.view(slot.view).buffer]
        content = np.frombuffer(np.ascontiguousarray(slot.initial).tobytes(), np.uint8)
        value = f"{content[0]}u"
        if (content != content[0]).any():
            source = f"{program.name}_initial_{index}"
            ctype = C_TYPES[slot.initial.dtype.name]
            arrays += f"static const {ctype} {source}[{slot.initial.size}] = {array_body(slot.initial)};\n\n"
            value = f"((const uint8_t *)(const void *){source})[i]"
        fills += (
            f"    for (size_t i = 0u; i < {content.size}u; i++) {{\n"
            f"        ctx->state->bytes[{place}u + i] = {value};\n    }}\n"
        )
    return f"{arrays}void {program.name}_reset(const {program.name}_ctx *ctx)\n{{\n{fills}}}\n\n"


def io_views(program: Program) -> list[tuple[str, int, View]]:
    """(``input`` or ``output``, index, view) of the first entry."""
    entry = program.entries[0]
    inputs = [("input", index, program.view(name)) for index, name in enumerate(entry.inputs)]
    return inputs + [("output", index, program.view(name)) for index, name in enumerate(entry.outputs)]


def _weights_header(program: Program) -> str:
    name = program.name
    fields = "".join(
        f"    ML_ALIGN({storage.align}) {C_TYPES[storage.values.dtype.name]} {storage.const}[{storage.values.size}];\n"
        for storage in program.storage.values()
    )
    if not fields:
        fields = "    uint8_t none[1];\n"
    guard = f"{name.upper()}_WEIGHTS_H"
    return (
        f'{SPDX}\n#ifndef {guard}\n#define {guard}\n\n#include <stdint.h>\n\n#include "ml_common.h"\n\n'
        f"struct {name}_weights {{\n{fields}}};\n\nextern const struct {name}_weights {name}_weights;\n\n#endif\n"
    )


def _weights_source(program: Program) -> str:
    name = program.name
    bodies = ",\n".join(array_body(storage.values) for storage in program.storage.values()) or "{0}"
    return f'{SPDX}\n#include "{name}_weights.h"\n\nconst struct {name}_weights {name}_weights = {{\n{bodies}\n}};\n'

"""The public header of an emitted library, written for its user."""

from __future__ import annotations

from microlith.compile.c_text import C_TYPES, comment, float_literal
from microlith.compile.emit import ABI, ARENA_ALIGN, SPDX, caller_spaces, init_parameters, io_views
from microlith.program.types import NUMPY, STATE_SPACE, Program, View

LF = "\n"


def header(program: Program, title: str) -> str:
    """Text of ``include/NAME.h``; ``title`` says what the library computes, for a comment."""
    name, upper = program.name, program.name.upper()
    spaces = "".join(
        f"/* Bytes of {space} to hand to {name}_init, aligned to {ARENA_ALIGN}. */\n"
        f"#define {upper}_{space.upper()}_BYTES {used}u\n"
        for space, used in program.spaces.items()
        if space != STATE_SPACE
    )
    tensors = "\n".join(_tensor(name, kind, index, view) for kind, index, view in io_views(program))
    fields = "".join(f"    uint8_t *{space};\n" for space in caller_spaces(program))
    keeps = bool(program.states)
    state_field = f"{name}_state *state; /* what the network keeps from run to run */"
    if not keeps:
        state_field = "void *state; /* what the network keeps from run to run; NULL where it keeps nothing */"
    entries = "".join(
        f"/* Runs the network on the inputs; 0 where it ran. The inputs may be overwritten while it runs. */\n"
        f"int32_t {name}_{entry.name}({name}_ctx *ctx);\n"
        for entry in program.entries
    )
    return f"""{SPDX}
/*
 * {comment(title)}
 *
 *     static uint8_t arena[{upper}_ARENA_BYTES] __attribute__((aligned({ARENA_ALIGN})));
{f" *     static {name}_state state;{LF}" if keeps else ""} *     {name}_ctx net;
 *     if ({name}_init(&net, arena, sizeof arena{", &state" if keeps else ""}) == 0) {{
 *         ... fill {name}_input_0(&net) ...
 *         {name}_run(&net);
 *         ... read {name}_output_0(&net) ...
 *     }}
 *
{_keeping(name) if keeps else _KEEPS_NOTHING}
 */
#ifndef {upper}_H
#define {upper}_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

#define {upper}_ABI {ABI}

{spaces}
struct {name}_weights;

{_state(program) if keeps else ""}/* One instance of the network; set up by {name}_init. */
typedef struct {name}_ctx {{
{fields}    const struct {name}_weights *weights; /* where the constants lie */
    /* Reads bytes of a constants segment that is not in the address space; NULL where all are. */
    int32_t (*read)(void *user, uint32_t segment, uint32_t offset, void *to, uint32_t bytes);
    void *user;
    {state_field}
}} {name}_ctx;

/* Sets up a context; 0 where the memory is large enough and aligned, else a negative number. */
int32_t {name}_init({name}_ctx *ctx{init_parameters(program)});
{_reset_declaration(name) if keeps else ""}
{tensors}
{entries}
#ifdef __cplusplus
}}
#endif

#endif
"""


_KEEPS_NOTHING = """\
 * Nothing is allocated and nothing is kept outside the context, so several contexts can run at once, each with an arena
 * of its own. Outputs stay valid until the next run or until an input is filled."""


def _keeping(name: str) -> str:
    return f"""\
 * Each run is the next step of a sequence: {name}_state holds what the network keeps. Nothing is allocated and
 * nothing is kept elsewhere, so that contexts with states of their own are sequences of their own. They can run at
 * once where each has an arena of its own, and can share one where they run one after the other. Outputs stay valid
 * until the next run or until an input is filled."""


def _state(program: Program) -> str:
    """The type of the caller's memory for the state."""
    name, upper = program.name, program.name.upper()
    held = "".join(_slot(program, program.view(slot.view)) for slot in program.states)
    return (
        f"#define {upper}_STATE_BYTES {program.spaces[STATE_SPACE]}u\n\n"
        f"/*\n * What the network keeps from run to run:\n{held} */\n"
        f"typedef struct {name}_state {{\n    uint8_t bytes[{upper}_STATE_BYTES] "
        f"__attribute__((aligned({ARENA_ALIGN})));\n}} {name}_state;\n\n"
    )


def _slot(program: Program, view: View) -> str:
    offset, shape = program.offsets[view.buffer], "x".join(map(str, view.shape))
    return f" *     from byte {offset}: {comment(view.source)}, {NUMPY[view.dtype]} {shape}\n"


def _reset_declaration(name: str) -> str:
    return (
        f"/* Takes the state back to where it was after {name}_init: the next run is the first step of a sequence. */\n"
        f"void {name}_reset(const {name}_ctx *ctx);\n"
    )


def _tensor(name: str, kind: str, index: int, view: View) -> str:
    upper = f"{name.upper()}_{kind.upper()}_{index}"
    shape = "x".join(map(str, view.shape))
    quantization = ""
    meaning = ""
    if view.qparams is not None:
        scale, zero = float_literal(float(view.qparams.scale)), int(view.qparams.zero_point)
        meaning = f"; real value = {upper}_SCALE * (integer - {upper}_ZERO_POINT)"
        quantization = f"#define {upper}_SCALE {scale}\n#define {upper}_ZERO_POINT ({zero})\n"
    return (
        f"/* {kind.capitalize()} {index}, {comment(view.source)}: {NUMPY[view.dtype]} {shape}{meaning}. */\n"
        f"#define {upper}_SIZE {view.size}u\n{quantization}"
        f"{C_TYPES[NUMPY[view.dtype]]} *{name}_{kind}_{index}(const {name}_ctx *ctx);\n"
    )

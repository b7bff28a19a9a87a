"""``selftest/``: golden vectors, a main that prints one result line, a minimal application, and the flat runner ABI."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from microlith.compile.c_text import C_TYPES, array_body
from microlith.compile.emit import ARENA_ALIGN, SPDX, io_views
from microlith.program.types import ITEM_BYTES, NUMPY, Program

GOLDEN_STEPS = 3
"""Golden vectors of a network with state are sequences of so many steps, each after a reset."""

Vector = tuple[Sequence[NDArray[np.generic]], Sequence[NDArray[np.generic]]]
"""Inputs and the outputs that the NumPy specification gives for them, each in the order of the C arrays."""

DIFFERS = """static int differs_f32(float got, float wanted)
{
    const float difference = got > wanted ? got - wanted : wanted - got;
    if (got == wanted || (got != got && wanted != wanted)) { /* infinities, NaN */
        return 0;
    }
    return !(difference <= GOLDEN_TOLERANCE);
}

"""


_NOT_FINITE = """#define ML_INFINITY __builtin_inff()
#define ML_NAN __builtin_nanf("")
"""


def template(name: str, fill: dict[str, str]) -> str:
    """A template of this package with every ``@KEY@`` replaced."""
    text = files("microlith.compile").joinpath("templates", name).read_text()
    for key, value in fill.items():
        text = text.replace(f"@{key}@", value)
    return text


def selftest_files(program: Program, vectors: Sequence[Vector], artifact_hash: str, tolerance: float) -> dict[str, str]:
    """Files of ``selftest/`` that depend on the network.

    Args:
        program: planned.
        vectors: golden vectors; at least one.
        artifact_hash: printed on the result line, so that a log can be tied to an artifact.
        tolerance: largest absolute difference allowed for float outputs; integers must be equal.
    """
    name = program.name
    floats = float_outputs(program)
    fill = {
        "NAME": name,
        "UPPER": name.upper(),
        "ALIGN": str(ARENA_ALIGN),
        "HASH": artifact_hash[:16],
        "IO": _runner_io(program),
        "DIFFERS": DIFFERS if floats else "",
        "COMPARE": _compare(program),
        **memory_fill(program),
    }
    made = {
        f"selftest/{file}": template(file, fill) for file in ("runner.c", "runner.h", "main.c", "minimal.c", "empty.c")
    }
    return made | {"selftest/golden.h": golden_header(program, vectors, tolerance)}


def memory_fill(program: Program) -> dict[str, str]:
    """What the templates say of arena and state; the runner keeps the state behind the arena."""
    name, arena = program.name, f"{program.name.upper()}_ARENA_BYTES"
    if not program.states:
        return {
            "RUN_BYTES": arena,
            "INIT": f"{name}_init(&net, arena, arena_bytes)",
            "RESET_DECLARATION": "",
            "RESET": "",
            "STATE": "",
            "STATE_ARGUMENT": "",
        }
    rounded = f"(({arena} + {ARENA_ALIGN - 1}u) / {ARENA_ALIGN}u * {ARENA_ALIGN}u)"
    behind = f"({name}_state *)(void *)((uint8_t *)arena + {rounded})"
    return {
        "RUN_BYTES": f"{rounded} + sizeof({name}_state)",
        "INIT": f"arena_bytes < mlrun_arena_bytes() ? -1 : {name}_init(&net, arena, {arena}, {behind})",
        "RESET_DECLARATION": "void mlrun_reset(void);\n",
        "RESET": f"void mlrun_reset(void)\n{{\n    {name}_reset(&net);\n}}\n\n",
        "STATE": f"static {name}_state state;\n",
        "STATE_ARGUMENT": ", &state",
    }


def float_outputs(program: Program) -> bool:
    """Whether an output is of float32, and so is compared within a tolerance."""
    return any(view.dtype == "f32" for kind, _, view in io_views(program) if kind == "output")


def golden_header(program: Program, vectors: Sequence[Vector], tolerance: float) -> str:
    """``golden.h``: the vectors as arrays, and the tolerance where an output is of float32."""
    parts = [
        f"{SPDX}\n#ifndef GOLDEN_H\n#define GOLDEN_H\n\n#include <stdint.h>\n\n#define GOLDEN_VECTORS {len(vectors)}u\n"
    ]
    if float_outputs(program):
        parts.append(f"#define GOLDEN_TOLERANCE {tolerance:.9e}f\n")
    for kind, index, view in io_views(program):
        ctype = C_TYPES[NUMPY[view.dtype]]
        rows = ",\n".join(array_body(np.asarray(vector[kind == "output"][index])) for vector in vectors)
        parts.append(f"static const {ctype} golden_{kind}_{index}[GOLDEN_VECTORS][{view.size}] = {{\n{rows}\n}};\n")
    if any("ML_NAN" in part or "ML_INFINITY" in part for part in parts[1:]):
        parts.insert(1, _NOT_FINITE)
    return "\n".join(parts) + "\n#endif\n"


def _runner_io(program: Program) -> str:
    text = ""
    for kind in ("input", "output"):
        members = [(index, view) for what, index, view in io_views(program) if what == kind]
        text += f"uint32_t mlrun_{kind}s(void)\n{{\n    return {len(members)}u;\n}}\n\n"
        places = [(index, f"{program.name}_{kind}_{index}(&net)") for index, _ in members]
        text += f"void *mlrun_{kind}(uint32_t index)\n{_switch(places, 'NULL')}\n"
        sizes = [(index, f"{view.size * ITEM_BYTES[view.dtype]}u") for index, view in members]
        text += f"uint32_t mlrun_{kind}_bytes(uint32_t index)\n{_switch(sizes, '0u')}\n"
    return text


def _switch(cases: Sequence[tuple[int, str]], otherwise: str) -> str:
    body = "".join(f"    case {index}u:\n        return {value};\n" for index, value in cases)
    return f"{{\n    switch (index) {{\n{body}    default:\n        return {otherwise};\n    }}\n}}\n"


def golden_loops(program: Program, kind: str, *, context: str, vector: str, indent: str) -> str:
    """Loops that fill every input from ``golden.h``, or count in ``mismatches`` where an output differs from it.

    Args:
        program: planned.
        kind: ``input`` or ``output``.
        context: C expression of the context's address.
        vector: C expression of the golden vector's index.
        indent: of the loops.
    """
    text = ""
    for index, view in ((index, view) for what, index, view in io_views(program) if what == kind):
        element = f"{program.name}_{kind}_{index}({context})[i]"
        golden = f"golden_{kind}_{index}[{vector}][i]"
        differs = f"differs_f32({element}, {golden})" if view.dtype == "f32" else f"{element} != {golden}"
        body = f"{element} = {golden};" if kind == "input" else f"mismatches += (uint32_t)({differs});"
        text += f"{indent}for (uint32_t i = 0u; i < {view.size}u; i++) {{\n{indent}    {body}\n{indent}}}\n"
    return text


def _compare(program: Program) -> str:
    """Body of the loop over golden vectors."""
    fills, checks = (
        golden_loops(program, kind, context="mlrun_context()", vector="vector", indent="        ")
        for kind in ("input", "output")
    )
    if program.states:
        fills = f"        if (vector % {GOLDEN_STEPS}u == 0u) {{\n            mlrun_reset();\n        }}\n" + fills
    run = "        cycles = ml_cycles();\n        failed |= mlrun_run();\n        cycles = ml_cycles() - cycles;\n"
    return fills + run + checks

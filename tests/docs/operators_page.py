"""Writes docs/operators.md from the tables that loading, quantizing and compiling work by: a program."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import onnx

from microlith.compile.lower import HANDLERS
from microlith.graph.opset import OPSET, oldest_opset
from microlith.graph.passes.expand_functions import FOLDED
from microlith.graph.qdq_rules import RULES
from microlith.ops import OPS
from microlith.train.forms import FORMS, MODULES, REFUSED

PAGE = Path(__file__).parents[2] / "docs" / "operators.md"
GENERAL = frozenset(f"microlith.ops.{name}" for name in ("unary", "base", "nodes", "movement", "elementwise", "plain"))
CONTROL_FLOW = ("If", "Loop", "Scan")

_PAGE = """# Operators

Generated from the code by `make docs`. Opset {opset} is the one that everything works in; a node of an older or newer
opset is brought to it, from the opset that is given here on. Shapes are static. "float32" says that the op is compiled
to C as it stands in the graph, for every device; "int8" that it has an integer form, so that quantization leaves
nothing of it in float; "torch" that it can be trained through, with a gradient or ("computed") without one, as
[training.md](training.md) tells. Which element types each op is tested with is told in
[conformance.md](conformance.md).

{count} ops compile to C, {integer} of them in int8 as well.

| op | from opset | float32 | int8 | torch | notes |
|---|--:|---|---|---|---|
{rows}

## Written out

These have no form of their own. They are replaced by the function by which ONNX defines them, and then compile where
the ops of the function do:
{functions}.

RotaryEmbedding is among them on purpose: it is four products, two sums and four copies of half a head each. A kernel of
its own would go over the heads once instead, which saves little against the products of matrices around them.

## Computed when the model is loaded

What depends on constants and known shapes alone is computed when the model is loaded, with any op whose result does not
depend on rounding; so are {control}: a condition must be constant and the number of turns known.
"""


def page() -> str:
    """The page as it should stand."""
    compiled = sorted(name for name in OPS if name in HANDLERS)
    integer = [name for name in compiled if is_integer(name)]
    rows = [
        f"| {name} | {OPS[name].domain or oldest_opset(name)} | yes | {'yes' * (name in integer)} "
        f"| {in_torch(name)} | {note(name)} |"
        for name in compiled
    ]
    control = f"{', '.join(CONTROL_FLOW[:-1])} and {CONTROL_FLOW[-1]}"
    return _PAGE.format(
        opset=OPSET,
        count=len(compiled),
        integer=len(integer),
        rows="\n".join(rows),
        functions=textwrap.fill(", ".join(functions()), 120),
        control=control,
    )


def is_integer(name: str) -> bool:
    """Whether quantization has a rule for the op, and the op a meaning in integers."""
    op = OPS[name]
    return name in RULES and (op.quantized is not None or op.tables is not None)


def in_torch(name: str) -> str:
    """Whether an op can be trained through, and why not."""
    if name in MODULES:
        return "yes"
    if name not in FORMS:
        return f"no: {REFUSED.get(name, 'it has no form there')}"
    return "yes" if FORMS[name].gradient else "computed"


def note(name: str) -> str:
    """What the file of the op says of itself, where it is of this op alone."""
    module = OPS[name].parse.__module__
    if module in GENERAL:
        return ""
    text = (sys.modules[module].__doc__ or "").strip().partition("\n\n")[0]
    return " ".join(text.split()).replace("|", "/")


def functions() -> list[str]:
    """Ops of the default domain that ONNX defines by others and that have no form of their own."""
    found = {
        schema.name
        for schema in onnx.defs.get_all_schemas()
        if schema.domain == "" and (schema.has_function or schema.has_context_dependent_function)
    }
    return sorted(found - set(OPS) - FOLDED)


if __name__ == "__main__":
    PAGE.write_text(page())

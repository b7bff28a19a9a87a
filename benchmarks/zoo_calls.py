"""How many nodes and kernel calls each network of the zoo becomes, beside the node counts of other graph optimizers.

    python benchmarks/zoo_calls.py [NAME ...]

Everything starts from the graph as Microlith loads it from torch, at full size. "nodes" is after Microlith's passes,
"calls" what the Program runs for one inference, "copies" how many of those only move bytes (order of axes at the
border, parts of a Concat), "transposes" the Transpose nodes that the passes left. ONNX Runtime's count is of the model
that it writes with all optimizations (its layout conversions included), onnxsim's of what it simplifies; that column is
empty where onnxsim is not installed. Where a network cannot be compiled, the operators without a kernel stand in the
last column. `docs/zoo.md` keeps the table.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import onnx
import onnx_ir as ir
import onnxruntime
import torch

import microlith as ml
from microlith import zoo
from microlith.compile.lower import lower
from microlith.program.types import calls
from microlith.search.prepare import optimize_graph

HEADS = ("network", "loaded", "nodes", "calls", "copies", "transposes", "ORT", "onnxsim", "without a kernel")


def runtime_nodes(model: onnx.ModelProto) -> int:
    """Nodes that ONNX Runtime runs on this machine."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "optimized.onnx"
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(path)
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return len(onnx.load(path).graph.node)


def simplified_nodes(model: onnx.ModelProto) -> str:
    """Nodes after onnxsim; empty where it is not installed."""
    if find_spec("onnxsim") is None:
        return ""
    import onnxsim

    simplified, same = onnxsim.simplify(model)
    return str(len(simplified.graph.node)) if same else "wrong"


def row(entry: zoo.ZooModel) -> tuple[str, ...]:
    """One line of the table."""
    graph = ml.load(entry.seeded(), torch.zeros(entry.input_shape))
    proto = ir.to_proto(graph)
    optimized, _ = optimize_graph(graph)
    transposes = sum(node.op_type == "Transpose" for node in optimized.graph)
    obstacles = ml.check(graph, ml.device("host")).forms[0].obstacles
    missing = sorted({text.split()[0] for text in obstacles})
    run = copies = ""
    if not obstacles:
        found = list(calls(lower(optimized, "model").entries[0].body))
        run, copies = str(len(found)), str(sum(call.op == "copy" for call in found))
    counts = (len(graph.graph), len(optimized.graph), run, copies, transposes)
    others = (runtime_nodes(proto), simplified_nodes(proto))
    return (entry.name, *map(str, counts), *map(str, others), ", ".join(missing))


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="networks; all by default")
    names = parser.parse_args().names
    known = [entry.name for entry in zoo.MODELS]
    for name in names:
        if name not in known:
            parser.error(f"the zoo has no {name!r}, only {', '.join(known)}")
    print(" | ".join(HEADS))
    for entry in zoo.MODELS:
        if not names or entry.name in names:
            print(" | ".join(row(entry)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

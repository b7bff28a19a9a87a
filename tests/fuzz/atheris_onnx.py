"""Coverage-guided fuzzing of the bytes of a model: ``python -m fuzz.atheris_onnx CORPUS -max_total_time=300``.

Needs atheris (``pip install atheris``), which finds its way through the loader by coverage, on top of the seeds of the
other fuzzer. Options are those of libFuzzer; ``MICROLITH_FUZZ=tflite`` fuzzes the reader of TensorFlow Lite files,
where CORPUS must hold some. An input that ends in anything but success or a refusal ends the run and is written to a
file.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["microlith.graph", "microlith.ops", "microlith.core"]):
    from fuzz.sandbox import TIME_LIMIT_S
    from fuzz.target import refusal
    from microlith.core.errors import ModelError
    from microlith.graph.load import load_model

from fuzz.seeds import onnx_seeds

SUFFIX = ".tflite" if os.environ.get("MICROLITH_FUZZ") == "tflite" else ".onnx"


def main() -> None:
    """Fill the corpus with the seeds, then hand over to libFuzzer."""
    corpus = next((Path(item) for item in sys.argv[1:] if not item.startswith("-")), None)
    if corpus is not None and SUFFIX == ".onnx":
        corpus.mkdir(parents=True, exist_ok=True)
        for index, data in enumerate(onnx_seeds()):
            (corpus / f"seed{index}").write_bytes(data)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / f"model{SUFFIX}"

        def one_input(data: bytes) -> None:
            path.write_bytes(data)
            try:
                load_model(path)
            except ModelError as error:
                refusal(error)

        atheris.Setup([*sys.argv, f"-timeout={TIME_LIMIT_S}", "-rss_limit_mb=2048", "-max_len=20000"], one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main()

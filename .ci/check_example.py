"""Train the demo's network for one epoch with the example's script, and look at what it wrote.

python .ci/check_example.py DIRECTORY_OF_FASHION_MNIST
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "examples" / "fashion_mnist" / "train.py"
SHIPPED = files("microlith.cli") / "demo_data"
ACCURACY_AFTER_ONE_EPOCH = 75.0


def main() -> None:
    """Fail where the script fails, learns nothing, or would ship other images than the package does."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, SCRIPT, "--data", sys.argv[1], "--epochs", "1", "--out", out]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        print(text, end="")
        accuracy = float(re.search(r"on 10,000 test images: ([\d.]+)%", text)[1])
        assert accuracy > ACCURACY_AFTER_ONE_EPOCH, f"{accuracy}% after one epoch"
        for name in ("images.npz", "LICENSE-fashion-mnist.txt"):
            assert (Path(out) / name).read_bytes() == (SHIPPED / name).read_bytes(), (
                f"{name} differs from the shipped one"
            )
        assert (Path(out) / "model.onnx").stat().st_size == len((SHIPPED / "model.onnx").read_bytes())


if __name__ == "__main__":
    main()

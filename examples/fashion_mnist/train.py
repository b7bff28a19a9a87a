"""Train the demo's network on Fashion-MNIST and write it as float ONNX, with 1,500 test images.

    python examples/fashion_mnist/train.py --out src/microlith/cli/demo_data

Needs the extras [train] and [verify], and the data set (Debian: ``apt install dataset-fashion-mnist``). One thread and
one seed: the same machine and versions give the same file. Nothing is chosen on the test images: they are read once,
after training, and only to print the accuracy of the exported file.
"""

from __future__ import annotations

import argparse
import gzip
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

CLASSES = 10
SHIPPED_IMAGES = 1_500
PARAMETER_LIMIT = 60_000
DATA_LICENSE = """\
The images and labels in images.npz are 1,500 of the 10,000 test images of Fashion-MNIST
(https://github.com/zalandoresearch/fashion-mnist), unchanged, under this license:

The MIT License (MIT)

Copyright (c) 2017 Zalando SE, https://tech.zalando.com

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
"""

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Layer:
    """One 3x3 or 1x1 convolution with BatchNorm and Relu; ``skip`` adds the input of the layer before the Relu."""

    name: str
    inputs: int
    outputs: int
    kernel: int
    stride: int = 1
    depthwise: bool = False
    skip: bool = False


LAYERS = (
    Layer("stem", 1, 16, 3),
    Layer("down1_depthwise", 16, 16, 3, stride=2, depthwise=True),
    Layer("down1_pointwise", 16, 24, 1),
    Layer("residual", 24, 24, 3, skip=True),
    Layer("down2_depthwise", 24, 24, 3, stride=2, depthwise=True),
    Layer("down2_pointwise", 24, 64, 1),
    Layer("wide1_depthwise", 64, 64, 3, depthwise=True),
    Layer("wide1_pointwise", 64, 96, 1),
    Layer("wide2_depthwise", 96, 96, 3, depthwise=True),
    Layer("wide2_pointwise", 96, 128, 1),
)


class Net(nn.Module):
    """Images N,1,28,28 in [0, 1] to logits N,10."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleDict()
        self.norms = nn.ModuleDict()
        for layer in LAYERS:
            groups = layer.inputs if layer.depthwise else 1
            self.convs[layer.name] = nn.Conv2d(
                layer.inputs, layer.outputs, layer.kernel, layer.stride, layer.kernel // 2, groups=groups, bias=False
            )
            self.norms[layer.name] = nn.BatchNorm2d(layer.outputs)
        self.classifier = nn.Linear(LAYERS[-1].outputs, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        for layer in LAYERS:
            y = self.norms[layer.name](self.convs[layer.name](x))
            x = torch.relu(x + y if layer.skip else y)
        logits: Tensor = self.classifier(x.mean(dim=(2, 3)))
        return logits


def read_idx(path: Path) -> Bytes:
    """A gzipped IDX file of unsigned bytes: two zeros, type, rank, big-endian sizes, data."""
    content = gzip.decompress(path.read_bytes())
    if content[:3] != b"\0\0\x08":
        raise SystemExit(f"{path} is not an IDX file of unsigned bytes")
    rank = content[3]
    shape = np.frombuffer(content, ">i4", rank, 4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape)


def augment(images: Tensor, randomness: torch.Generator) -> Tensor:
    """Mirror half of the images and shift each by up to two pixels, keeping the size; black comes in."""
    count, _, height, width = images.shape
    padded = nn.functional.pad(images, (2, 2, 2, 2))
    rows = torch.arange(height) + torch.randint(0, 5, (count, 1), generator=randomness)
    columns = torch.arange(width) + torch.randint(0, 5, (count, 1), generator=randomness)
    mirrored = torch.rand(count, 1, generator=randomness) < 0.5
    columns = torch.where(mirrored, columns.flip(1), columns)
    return padded[torch.arange(count)[:, None, None, None], 0, rows[:, None, :, None], columns[:, None, None, :]]


def train(net: Net, images: Tensor, labels: Tensor, epochs: int, seed: int) -> None:
    """SGD with Nesterov momentum and one learning-rate cycle."""
    batch = 128
    randomness = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=2e-4)
    steps = len(images) // batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.25, total_steps=epochs * steps, pct_start=0.2)
    net.train()
    for epoch in range(epochs):
        start, total = time.perf_counter(), 0.0
        order = torch.randperm(len(images), generator=randomness)
        for step in range(steps):
            chosen = order[step * batch : (step + 1) * batch]
            loss = nn.functional.cross_entropy(net(augment(images[chosen], randomness)), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        elapsed = time.perf_counter() - start
        print(f"epoch {epoch + 1:2}/{epochs}  training loss {total / steps:.4f}  {elapsed:.0f} s", flush=True)
    net.eval()


class Graph:
    """Nodes and weights of an ONNX graph in the making; every node has one output, named like the node."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def constant(self, name: str, tensor: Tensor) -> str:
        self.weights.append(numpy_helper.from_array(tensor.detach().contiguous().numpy(), name))
        return name

    def node(self, op: str, name: str, inputs: list[str], **attributes: object) -> str:
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def layer(self, layer: Layer, net: Net, x: str) -> str:
        conv, norm = net.convs[layer.name], net.norms[layer.name]
        pad = layer.kernel // 2
        y = self.node(
            "Conv",
            f"{layer.name}.conv",
            [x, self.constant(f"{layer.name}.weight", conv.weight)],
            kernel_shape=[layer.kernel] * 2,
            strides=[layer.stride] * 2,
            pads=[pad] * 4,
            group=conv.groups,
        )
        statistics = {"gamma": norm.weight, "beta": norm.bias, "mean": norm.running_mean, "variance": norm.running_var}
        parameters = [self.constant(f"{layer.name}.{name}", tensor) for name, tensor in statistics.items()]
        y = self.node("BatchNormalization", f"{layer.name}.norm", [y, *parameters], epsilon=norm.eps)
        if layer.skip:
            y = self.node("Add", f"{layer.name}.add", [x, y])
        return self.node("Relu", f"{layer.name}.relu", [y])


def to_onnx(net: Net) -> onnx.ModelProto:
    """The network as an ONNX model with batch 1, BatchNorm left as it is."""
    graph = Graph()
    value = "image"
    for layer in LAYERS:
        value = graph.layer(layer, net, value)
    value = graph.node("Flatten", "features", [graph.node("GlobalAveragePool", "pool", [value])])
    weight = graph.constant("classifier.weight", net.classifier.weight)
    bias = graph.constant("classifier.bias", net.classifier.bias)
    graph.node("Gemm", "logits", [value, weight, bias], transB=1)
    proto = helper.make_graph(
        graph.nodes,
        "fashion_mnist_cnn",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 1, 28, 28])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, CLASSES])],
        graph.weights,
    )
    model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", 17)], producer_name="microlith-example")
    model.ir_version = 8
    onnx.checker.check_model(model, full_check=True)
    return model


def correct(model: onnx.ModelProto, images: Bytes, labels: Bytes) -> NDArray[np.bool_]:
    """Whether ONNX Runtime's highest logit is the label, for every image."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    scaled = images.astype(np.float32)[:, None, None] / np.float32(255)
    answers = [session.run(None, {"image": image})[0].argmax() for image in scaled]
    return np.asarray(answers) == labels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("/usr/share/datasets/fashion-mnist"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()

    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(arguments.seed)
    images, labels, test_images, test_labels = (
        read_idx(arguments.data / f"{name}-ubyte.gz")
        for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    )
    net = Net().to(memory_format=torch.channels_last)  # 2.5 times as fast on a CPU
    parameters = sum(p.numel() for p in net.parameters())
    if parameters >= PARAMETER_LIMIT:
        raise SystemExit(f"{parameters} parameters, the demo's limit is {PARAMETER_LIMIT}")
    print(f"{parameters:,} parameters")
    scaled = torch.from_numpy(images.astype(np.float32) / 255)[:, None]
    train(net, scaled, torch.from_numpy(labels.astype(np.int64)), arguments.epochs, arguments.seed)

    model = to_onnx(net)
    right = correct(model, test_images, test_labels)
    shipped = np.sort(np.random.default_rng(arguments.seed).permutation(len(test_images))[:SHIPPED_IMAGES])
    print(f"accuracy on {len(right):,} test images: {right.mean():.2%}")
    print(f"accuracy on the {len(shipped):,} of them in images.npz: {right[shipped].mean():.2%}")

    arguments.out.mkdir(parents=True, exist_ok=True)
    onnx.save(model, arguments.out / "model.onnx")
    np.savez_compressed(arguments.out / "images.npz", x=test_images[shipped][..., None], y=test_labels[shipped])
    (arguments.out / "LICENSE-fashion-mnist.txt").write_text(DATA_LICENSE)


if __name__ == "__main__":
    main()

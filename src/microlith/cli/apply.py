"""``microlith apply``: techniques by themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from microlith.cli import options as opt
from microlith.cli.pages import examples, help_if_alone
from microlith.cli.progress import progress
from microlith.cli.scratch import scratch

if TYPE_CHECKING:
    from microlith.api import Preprocessing
    from microlith.techniques.base import Technique

apply_app = typer.Typer(rich_markup_mode=None)

ModelOut = Annotated[Path, typer.Option("--out", "-o", help="The .onnx or .tflite file to write.")]
Target = Annotated[
    str | None, typer.Option("--device", "-d", help="Device whose arithmetic to quantize for; float by default.")
]
Samples = Annotated[int | None, typer.Option("--samples", min=1, help="Use the first N samples only.")]


@apply_app.callback()
def apply(context: typer.Context) -> None:
    """Apply techniques by themselves: a model in, a standard ONNX model (or a .tflite file) out."""
    help_if_alone(context)


@dataclass(frozen=True)
class _Run:
    """What every technique is given beside the model."""

    out: Path
    data: str | None
    device: str | None
    samples: int | None
    opset: int | None
    shape: list[str] | None
    state: list[str] | None
    seed: int
    quiet: bool
    original: Path | None = None

    def run(self, steps: Sequence[Technique], model: Path, preprocessing: Preprocessing | None) -> None:
        """Apply the steps and write what comes out."""
        from microlith import api
        from microlith.cli.show import print_remarks
        from microlith.core.files import check_parent

        target = None if self.device is None else api.device(self.device)
        check_parent(self.out)
        checkpoint = self.out.with_name(f"{self.out.name}.checkpoint")
        with scratch(), progress(quiet=self.quiet) as show:
            made = api.apply(
                api.load(model, shapes=opt.shapes(self.shape), state=opt.states(self.state)),
                steps,
                data=self.data,
                original=None if self.original is None else api.load(self.original, shapes=opt.shapes(self.shape)),
                target=target,
                preprocessing=preprocessing,
                calibration=self.samples,
                checkpoint=checkpoint,
                seed=self.seed,
                progress=show.step,
            )
        print_remarks(api.save_model(made, self.out, self.opset))
        checkpoint.unlink(missing_ok=True)
        print(f"Wrote {self.out}")


@apply_app.command(
    "ptq",
    short_help="Post-training quantization of weights and activations, or of weights alone.",
    epilog=examples(
        "apply ptq kws.onnx --data kws.npz -o kws_int8.onnx",
        "apply ptq kws.onnx --data kws.npz --device rp2040 --method minmax --per-tensor -o q.onnx",
        "apply ptq kws.onnx --data kws.npz --opset 13 -o q.onnx",
        "apply ptq kws.onnx --data kws.npz -o q.tflite",
        "apply ptq kws.onnx --data kws.npz --weights int4 --set 'overrides=[{layers: first, weights: int8}]' -o q.onnx",
        "apply ptq kws.onnx --activations float --weights int4 --set group_size=32 -o q.onnx",
    ),
)
def apply_ptq(
    model: opt.Model,
    out: ModelOut,
    data: opt.OptionalData = None,
    device: Annotated[
        str | None,
        typer.Option(
            "--device", "-d", help="Device to quantize for; float requantization by default, fixed for .tflite."
        ),
    ] = None,
    calibration_method: Annotated[
        str, typer.Option("--method", help="minmax, moving_average, percentile, entropy, mse or cosine.")
    ] = "mse",
    percentile: Annotated[float, typer.Option(help="For --method percentile.")] = 99.99,
    per_channel: Annotated[
        bool, typer.Option("--per-channel/--per-tensor", help="Scales of weights: one a channel, or one a tensor.")
    ] = True,
    symmetric: Annotated[
        bool, typer.Option("--symmetric/--affine", help="Whether zero points of activations are in the middle.")
    ] = False,
    activations: Annotated[
        str, typer.Option(help="int8, uint8, int16 or int4; float quantizes weights only.")
    ] = "int8",
    weights: Annotated[str, typer.Option(help="int8, int4, int3, int2, ternary or binary.")] = "int8",
    changed: opt.Set = None,
    io: Annotated[str, typer.Option(help="int or float: type of the graph's inputs and outputs.")] = "int",
    float_ops: opt.FloatOps = None,
    samples: Annotated[int | None, typer.Option(min=1, help="Use the first N samples only.")] = None,
    opset: opt.Opset = None,
    input_range: opt.InputRange = None,
    mean: opt.Mean = None,
    std: opt.Std = None,
    layout: opt.Layout = None,
    shape: opt.Shape = None,
    state: opt.State = None,
    seed: opt.Seed = 0,
    quiet: opt.Quiet = False,
) -> None:
    """Post-training quantization: a float model in, a standard ONNX model with Q/DQ out.

    Data is needed unless activations stay float.
    """
    from microlith import api

    named = {
        "calibration": calibration_method,
        "percentile": percentile,
        "per_channel": per_channel,
        "symmetric": symmetric,
        "activations": activations,
        "weights": weights,
        "io": io,
        "float_ops": tuple(float_ops or ()),
    }
    if device is None and api.is_tflite(out):
        named["requantization"] = "fixed"
    step = api.technique("ptq", **named | opt.settings(changed))
    run = _Run(out, data, device, samples, opset, shape, state, seed, quiet)
    run.run([step], model, opt.given_preprocessing(input_range, mean, std, layout))


def _command(name: str, what: str) -> Callable[..., None]:
    """The command of a technique without options of its own."""

    def command(
        model: opt.Model,
        out: ModelOut,
        data: opt.OptionalData = None,
        original: Annotated[
            Path | None, typer.Option("--original", help="The float model, for a technique that compares with it.")
        ] = None,
        device: Target = None,
        changed: opt.Set = None,
        samples: Samples = None,
        opset: opt.Opset = None,
        input_range: opt.InputRange = None,
        mean: opt.Mean = None,
        std: opt.Std = None,
        layout: opt.Layout = None,
        shape: opt.Shape = None,
        state: opt.State = None,
        seed: opt.Seed = 0,
        quiet: opt.Quiet = False,
    ) -> None:
        from microlith import api

        step = api.technique(name, **opt.settings(changed))
        run = _Run(out, data, device, samples, opset, shape, state, seed, quiet, original)
        run.run([step], model, opt.given_preprocessing(input_range, mean, std, layout))

    command.__doc__ = what
    return command


OTHERS = (
    (
        "equalize",
        "Scale channels between layers so that their weights have like ranges.",
        "equalize kws.onnx -o equal.onnx",
        "equalize kws.onnx --set bounded=per_channel -o equal.onnx",
    ),
    (
        "absorb_biases",
        "Move what a channel always adds into the bias of the next layer.",
        "absorb_biases equal.onnx --data kws.npz -o absorbed.onnx",
    ),
    (
        "balance_activations",
        "Scale channels of large values down and the weights that read them up.",
        "balance_activations kws.onnx --data kws.npz -o balanced.onnx",
    ),
    (
        "gptq",
        "Quantize like ptq, with weights by GPTQ.",
        "gptq kws.onnx --data kws.npz --set weights=int4 -o kws_w4.onnx",
    ),
    (
        "adaround",
        "Quantize like ptq, with learned rounding of weights.",
        "adaround kws.onnx --data kws.npz --set weights=int4 -o kws_w4.onnx",
    ),
    (
        "correct_biases",
        "Take off the biases what quantization adds to the mean of each channel.",
        "correct_biases kws_int8.onnx --original kws.onnx --data kws.npz -o corrected.onnx",
    ),
    (
        "mixed_precision",
        "Quantize with the bits that the network needs of each layer's weights.",
        "mixed_precision kws.onnx --data kws.npz -o mixed.onnx",
        "mixed_precision kws.onnx --data kws.npz --set weight_share=0.5 --set 'kinds=[int8, int4, int2]' -o mixed.onnx",
    ),
    (
        "qat",
        "Quantize, then train what is deployed, by the float model and by labels.",
        "qat kws.onnx --data train.npz --device nrf52840 -o kws_int8.onnx",
        "qat kws.onnx --data train.npz --set weights=int4 --set epochs=6 -o kws_int4.onnx",
    ),
)
"""Techniques that have no options of their own: name, what they do, and examples."""

for _name, _what, *_examples in OTHERS:
    _page = examples(*(f"apply {line}" for line in _examples))
    apply_app.command(_name, short_help=_what, epilog=_page)(_command(_name, _what))


@apply_app.command(
    "recipe",
    short_help="The steps of a recipe, in order.",
    epilog=examples("apply recipe kws.onnx --recipe steps.yaml --data kws.npz -o kws_int8.onnx"),
)
def apply_recipe(
    model: opt.Model,
    out: ModelOut,
    recipe: Annotated[Path, typer.Option("--recipe", help="A YAML file with a list of steps.")],
    data: opt.OptionalData = None,
    device: Target = None,
    samples: Samples = None,
    opset: opt.Opset = None,
    input_range: opt.InputRange = None,
    mean: opt.Mean = None,
    std: opt.Std = None,
    layout: opt.Layout = None,
    shape: opt.Shape = None,
    state: opt.State = None,
    seed: opt.Seed = 0,
    quiet: opt.Quiet = False,
) -> None:
    """Apply the steps of a recipe in order; they are checked against each other before anything runs."""
    from microlith import api

    run = _Run(out, data, device, samples, opset, shape, state, seed, quiet)
    steps = api.Recipe.read(recipe).steps
    run.run(steps, model, opt.given_preprocessing(input_range, mean, std, layout))

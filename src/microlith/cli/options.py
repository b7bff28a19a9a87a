"""Options that several commands share, and what becomes of their values."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from microlith.core.errors import InputError

if TYPE_CHECKING:
    from microlith.api import Parts, Preprocessing

Model = Annotated[Path, typer.Argument(help="A .onnx, .tflite or .pt2 file.", show_default=False)]
Out = Annotated[Path, typer.Argument(help="A directory that compile or optimize wrote.", show_default=False)]
DeviceName = Annotated[
    str, typer.Option("--device", "-d", help="A name that 'microlith devices' lists, or your own TOML file.")
]
Shape = Annotated[
    list[str] | None,
    typer.Option("--shape", help="Shape of an input with dynamic dimensions, as NAME=1,3,224,224. May be repeated."),
]
State = Annotated[
    list[str] | None,
    typer.Option("--state", help="An input that is an output of the run before, as IN=OUT. May be repeated."),
]
Json = Annotated[bool, typer.Option("--json", help="Print machine-readable JSON instead of tables.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of everything random; the same seed, the same bytes.")]
Compiler = Annotated[
    str | None,
    typer.Option("--compiler", help="C compiler: zig (the default), or the name or path of a gcc or clang."),
]
Beside = Annotated[
    list[str] | None,
    typer.Option("--beside", help="Another compiler, such as arm-none-eabi-gcc, whose figures are shown beside."),
]
OptLevel = Annotated[
    Literal["size", "balanced", "speed"],
    typer.Option("--opt", help="What kernels are chosen for; speed takes more flash, as for Winograd convolution."),
]
Flash = Annotated[str | None, typer.Option("--flash", help="Most bytes of flash, as 256K.")]
Ram = Annotated[str | None, typer.Option("--ram", help="Most bytes of RAM, as 64K.")]
Name = Annotated[
    str | None, typer.Option("--name", help="Prefix of every C symbol; made from the file name by default.")
]
Package = Annotated[
    list[str] | None,
    typer.Option(
        "--package",
        metavar="KIND",
        help="Write it also as arduino, platformio, zephyr or esp-idf; c, plain C with CMake, always. May be repeated.",
    ),
]
FloatOps = Annotated[
    list[str] | None,
    typer.Option("--float-ops", help="Name or op type of nodes that may stay in float. May be repeated."),
]
Data = Annotated[str, typer.Option("--data", help="FILE.npz (arrays x and y), FILE.npz:X,Y, or MODULE.py:FUNCTION.")]
OptionalData = Annotated[
    str | None, typer.Option("--data", help="FILE.npz (arrays x and y), FILE.npz:X,Y, or MODULE.py:FUNCTION.")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Any setting as in a recipe; the value is YAML. May be repeated."),
]
Opset = Annotated[
    int | None,
    typer.Option("--opset", min=13, max=27, help="Opset of the file that is written; the newest by default."),
]
InputRange = Annotated[
    str | None,
    typer.Option("--input-range", metavar="LOW,HIGH", help="Values that raw 0 and 255 of uint8 data stand for."),
]
Mean = Annotated[str | None, typer.Option("--mean", metavar="M,...", help="Subtracted after the range, a channel.")]
Std = Annotated[str | None, typer.Option("--std", metavar="S,...", help="Divided by after the mean, a channel.")]
Layout = Annotated[
    str | None,
    typer.Option("--layout", metavar="nhwc|nchw", help="Where the channels of the data stand, if not plain to see."),
]


def shapes(items: list[str] | None) -> dict[str, tuple[int, ...]]:
    """Shapes by input name from ``NAME=1,3,32,32``."""
    found = {}
    for item in items or []:
        match = re.fullmatch(r"(.+)=(\d{1,9}(?:,\d{1,9})*)", item)
        if match is None:
            raise InputError(f"--shape is {item!r}, expected an input and its shape", hint="Write it like x=1,3,32,32.")
        found[match[1]] = tuple(int(part) for part in match[2].split(","))
    return found


def states(items: list[str] | None) -> dict[str, str] | None:
    """Outputs by the input that each becomes in the next run, from ``h_in=h_out``; None where nothing is said."""
    if not items:
        return None
    found = {}
    for item in items:
        # An ONNX name may hold anything, and exporters put no "=" into one.
        name, _, output = item.partition("=")
        if not name or not output or name in found:
            raise InputError(
                f"--state is {item!r}, expected an input and the output that it becomes",
                hint="Write it like h_in=h_out, each input once.",
            )
        found[name] = output
    return found


def preprocessing(input_range: str | None, mean: str | None, std: str | None, layout: str | None) -> Preprocessing:
    """What stands between the stored data and the model's input."""
    from microlith.data.preprocess import Preprocessing

    return Preprocessing.parse(input_range=input_range, mean=mean, std=std, layout=layout)


def given_preprocessing(*texts: str | None) -> Preprocessing | None:
    """Like :func:`preprocessing`; None where nothing of it is stated."""
    return None if all(text is None for text in texts) else preprocessing(*texts)


def parts(calibration: str | None, selection: str | None, report: str | None) -> Parts:
    """Sizes of the three parts of the data: counts, or fractions with a point."""
    from microlith.api import Parts

    return Parts(
        _part(calibration, "--calibration"), _part(selection, "--selection"), _part(report, "--report-samples")
    )


def _part(text: str | None, option: str) -> int | float | None:
    if text is None:
        return None
    try:
        return float(text) if "." in text else int(text)
    except ValueError as error:
        raise InputError(
            f"{option} is {text!r}, expected a number of samples or a fraction", hint=f"Write {option} 100 or 0.2."
        ) from error


def symbol(name: str | None, model: Path) -> str:
    """The prefix of C symbols: as given, or made from the file's name."""
    from microlith.compile.c_text import check_identifier, identifier

    return identifier(model.stem) if name is None else check_identifier(name)


def command_line(command: str, model: Path, **given: object) -> str:
    """What the user ran, for the report, without the folders of this machine.

    Args:
        command: its name.
        model: file.
        given: options by name; None, False and what is empty are left out, True has no value. Paths are cut
            to their last part.
    """
    words = ["microlith", command, model.name]
    for name, value in given.items():
        for item in value if isinstance(value, list) else [value]:
            if item is True:
                words += [f"--{name.replace('_', '-')}"]
            elif item is not None and item is not False:
                words += [f"--{name.replace('_', '-')}", item.name if isinstance(item, Path) else str(item)]
    return shlex.join(words)


def settings(changed: Sequence[str] | None) -> dict[str, Any]:
    """Settings of a technique from ``--set``.

    Raises:
        InputError: a text is not ``NAME=VALUE`` with a value in YAML, or names a setting twice.
    """
    import yaml

    found: dict[str, Any] = {}
    for text in changed or ():
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise InputError(f"--set {text!r} is not NAME=VALUE", hint="Write --set weights=int4.")
        if name in found:
            raise InputError(f"--set gives {name!r} twice")
        try:
            found[name] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise InputError(f"the value of --set {text!r} is not YAML: {' '.join(str(error).split())}") from error
    return found

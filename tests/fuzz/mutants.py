"""Mutants: a seed and the mutations that made a hostile or merely odd model of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx

from fuzz import byte_mutations, onnx_mutations, tflite_mutations
from fuzz.byte_mutations import ByteMutation
from fuzz.seeds import onnx_seeds, tflite_seeds, zoo_seeds

_BYTES: tuple[ByteMutation, ...] = (
    byte_mutations.truncated,
    byte_mutations.bits_flipped,
    byte_mutations.bytes_spliced,
)


@dataclass(frozen=True)
class Format:
    """A file format: how mutations that know it see a file, and what they are, by name.

    Attributes:
        suffix: of its files.
        seeds: files to start from.
        parse: to what is mutated in place.
        serialize: back to bytes.
        structured: mutations of what ``parse`` returns.
        raw: mutations of the bytes, which come last.
    """

    suffix: str
    seeds: Callable[[], Sequence[bytes]]
    parse: Callable[[bytes], Any]
    serialize: Callable[[Any], bytes]
    structured: Mapping[str, Callable[[Any, np.random.Generator], None]]
    raw: Mapping[str, ByteMutation] = field(default_factory=dict)


ONNX = Format(
    ".onnx",
    onnx_seeds,
    onnx.ModelProto.FromString,
    onnx.ModelProto.SerializeToString,
    onnx_mutations.MUTATIONS,
    {item.__name__: item for item in (*_BYTES, byte_mutations.nested_deeply)},
)
TFLITE = Format(
    ".tflite",
    tflite_seeds,
    tflite_mutations.parse,
    tflite_mutations.serialize,
    tflite_mutations.MUTATIONS,
    {item.__name__: item for item in (*_BYTES, byte_mutations.word_changed)},
)
FORMATS = (ONNX, TFLITE)


def with_zoo(form: Format) -> Format:
    """The format with the networks of the zoo among its seeds, where it is theirs."""
    return replace(form, seeds=lambda: (*onnx_seeds(), *zoo_seeds())) if form is ONNX else form


@dataclass(frozen=True)
class Mutant:
    """A file with what was done to it: names of mutations, each with the seed that it drew from."""

    format: Format
    data: bytes
    seed: bytes
    steps: tuple[tuple[str, int], ...]


def mutant(run: int, index: int, formats: Sequence[Format] = FORMATS) -> Mutant:
    """The mutant number ``index`` of a run, of the formats in turn; the same numbers give the same bytes."""
    rng = np.random.default_rng([run, index])
    form = formats[index % len(formats)]
    seeds = form.seeds()
    seed = seeds[rng.integers(len(seeds))]
    names = (*form.structured, *form.raw)
    count = int(rng.choice((1, 1, 1, 2, 2, 3, 5)))
    steps = tuple((str(rng.choice(names)), int(rng.integers(1 << 31))) for _ in range(count))
    return Mutant(form, rebuild(form, seed, steps), seed, steps)


def rebuild(form: Format, seed: bytes, steps: Sequence[tuple[str, int]]) -> bytes:
    """The bytes that these steps make of a seed; those on bytes come last, one that does not apply changes nothing."""
    data = seed
    for name, number in steps:
        if name in form.structured:
            # What an earlier step broke may be unreadable for the next, and what it makes may be no file at all.
            with contextlib.suppress(Exception):
                model = form.parse(data)
                form.structured[name](model, np.random.default_rng(number))
                data = form.serialize(model)
    for name, number in steps:
        if name in form.raw:
            data = form.raw[name](data, np.random.default_rng(number))
    return data

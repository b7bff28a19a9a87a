"""Compile kernels and emitted C with strict warnings under several compilers; run emitted C under ASan and UBSan.

    python .ci/check_c.py

Needs gcc, g++, clang, cmake and arm-none-eabi-gcc on the PATH, and the command ``microlith`` beside the interpreter.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.resources import as_file, files
from itertools import product
from pathlib import Path

STRICT = [
    "-std=c99",
    "-Wall",
    "-Wextra",
    "-Wconversion",
    "-Werror",
    "-pedantic",
    "-O2",
    "-ffp-contract=off",
    "-ffreestanding",
]
SANITIZE = ["-std=c99", "-O1", "-g", "-ffp-contract=off", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
M4 = ["-mthumb", "-mcpu=cortex-m4", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"]
M0 = ["-mthumb", "-mcpu=cortex-m0plus", "-mfloat-abi=soft"]
M55 = ["-mthumb", "-mcpu=cortex-m55", "-mfloat-abi=hard", "-mfpu=auto"]
CLANG_ARM = ("clang", "--target=thumb-none-eabi")
GCC_ARM = ("arm-none-eabi-gcc",)
CLANG_RISCV = ("clang", "--target=riscv32-unknown-elf", "-march=rv32imc", "-mabi=ilp32")
# Compilers by the device that they compile for.
COMPILERS = {
    "host": [("gcc", "-mavx2", "-mfma"), ("clang", "-mavx2", "-mfma"), ("gcc",), ("clang",)],
    "nrf52840": [(*GCC_ARM, *M4), (*CLANG_ARM, *M4)],
    "rp2040": [(*GCC_ARM, *M0), (*CLANG_ARM, *M0)],
    "esp32c3": [CLANG_RISCV],
}
# Artifacts are made for the devices above only.
KERNEL_COMPILERS = COMPILERS | {"mps3-an547": [(*GCC_ARM, *M55)]}
KERNELS = files("microlith.kernels") / "c"
DEMO = files("microlith.cli") / "demo_data"


@dataclass(frozen=True)
class Result:
    """One command, and what it printed where it failed."""

    title: str
    errors: str


def run(title: str, *command: str | Path) -> Result:
    """Run a command; its output matters only where it fails."""
    try:
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    except OSError as error:
        return Result(title, str(error))
    return Result(title, "" if done.returncode == 0 else f"{done.stdout}\n{done.stderr}"[-4000:])


def microlith(*arguments: str | Path) -> None:
    """Run a command of ours that must succeed."""
    done = run("", Path(sys.executable).parent / "microlith", *arguments)
    if done.errors:
        raise SystemExit(f"microlith {' '.join(map(str, arguments))}\n{done.errors}")


def needs(header: Path) -> str:
    """The device that a kernel header is for; ``any`` for portable C."""
    stem = header.stem.split("_")
    devices = {"avx2": "host", "dsp": "nrf52840", "mve": "mps3-an547", "thumb1": "rp2040"}
    return next((device for isa, device in devices.items() if isa in stem), "any")


def check_kernels(place: Path, kernels: Path) -> list[Result]:
    """Every header by itself, so that each includes what it uses, for every device that it fits."""
    jobs = []
    for header in sorted(kernels.glob("*.h")):
        unit = place / f"{header.stem}.c"
        unit.write_text(f'#include "{header.name}"\ntypedef int not_empty;\n')
        for device, compilers in KERNEL_COMPILERS.items():
            for compiler in compilers:
                plain_host = needs(header) == "host" and "-mavx2" not in compiler
                if needs(header) in ("any", device) and not plain_host:
                    title = f"{header.name}: {' '.join(compiler)}"
                    jobs.append((title, *compiler, *STRICT, f"-I{kernels}", "-c", unit, "-o", "/dev/null"))
    return run_all(jobs)


def run_all(jobs: list[tuple[str | Path, ...]]) -> list[Result]:
    """Run commands two at a time."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda job: run(*job), jobs))


def make_artifacts(place: Path, demo: Path) -> dict[tuple[str, str], Path]:
    """Artifacts of the demo's network by (device, arithmetic)."""
    made = {}
    for device in COMPILERS:
        quantized = place / f"{device}.onnx"
        data = ("--data", demo / "images.npz", "--samples", "100", "--input-range", "0,1", "--quiet")
        microlith("apply", "ptq", demo / "model.onnx", "--device", device, *data, "-o", quantized)
        models = {"int8": quantized, "float": demo / "model.onnx"}
        if device in ("rp2040", "esp32c3"):
            del models["float"]  # software floats are slow to emulate, and the same C is checked for the nrf52840
        for arithmetic, model in models.items():
            made[device, arithmetic] = place / f"{device}-{arithmetic}"
            microlith("compile", model, "--device", device, "--quiet", "-o", made[device, arithmetic])
    return made


def check_artifact(artifact: Path, device: str) -> list[Result]:
    """Every C file of an artifact under every compiler for its device."""
    sources = sorted([*artifact.glob("src/*.c"), *artifact.glob("selftest/*.c")])
    includes = [f"-I{artifact / name}" for name in ("include", "src", "selftest")]
    # An artifact refuses flags other than its own, so the compilers without AVX2 are not for it.
    guarded = any("__AVX2__" in path.read_text() for path in artifact.glob("src/*.c"))
    compilers = [words for words in COMPILERS[device] if not guarded or "-mavx2" in words]
    jobs = []
    for source, compiler in product(sources, compilers):
        hosted = "ml_board_host" in source.name
        flags = [flag for flag in STRICT if not (hosted and flag == "-ffreestanding")]
        title = f"{artifact.name}/{source.name}: {' '.join(compiler)}"
        jobs.append((title, *compiler, *flags, *includes, "-c", source, "-o", "/dev/null"))
    return run_all(jobs)


def check_sanitized(artifact: Path) -> list[Result]:
    """The self-test of an artifact for the host, under the address and undefined-behaviour sanitizers."""
    program = artifact.parent / f"{artifact.name}.sanitized"
    includes = [f"-I{artifact / name}" for name in ("include", "src", "selftest")]
    sources = [
        *artifact.glob("src/*.c"),
        *(artifact / "selftest" / f"{name}.c" for name in ("main", "runner", "ml_board_host")),
    ]
    title = f"{artifact.name} self-test under ASan and UBSan"
    built = run(f"{title}: build", "gcc", "-mavx2", "-mfma", *SANITIZE, *includes, *sources, "-o", program)
    if built.errors:
        return [built]
    done = subprocess.run([str(program)], capture_output=True, text=True)
    line = re.search(r"vectors=(\d+) mismatches=0 ", done.stdout + done.stderr)
    good = done.returncode == 0 and line is not None and int(line[1]) > 0
    return [built, Result(title, "" if good else f"{done.returncode}\n{done.stdout}\n{done.stderr}"[-4000:])]


def check_sanitizer_works(place: Path) -> list[Result]:
    """A program that writes past an array must be stopped, or the check above means nothing."""
    source, program = place / "overflow.c", place / "overflow"
    source.write_text(
        "__attribute__((noinline)) static void poke(int *p, int i) { p[i] = 1; }\n"
        "static int a[4];\nint main(int n, char **v) { (void)v; poke(a, n + 3); return a[0]; }\n"
    )
    built = run("overflow.c: build", "gcc", *SANITIZE, source, "-o", program)
    stopped = subprocess.run([str(program)], capture_output=True, text=True)
    caught = "AddressSanitizer" in stopped.stderr
    return [built, Result("an overflow is caught by ASan", "" if caught else "it was not")]


CONSUMER = """
#include "one.h"
#include "two.h"
#include <cstdint>
#include <cstring>

alignas(16) static std::uint8_t arena_one[ONE_ARENA_BYTES], arena_two[TWO_ARENA_BYTES];

int main()
{
    one_ctx one;
    two_ctx two;
    if (one_init(&one, arena_one, sizeof arena_one) != 0 || two_init(&two, arena_two, sizeof arena_two) != 0) return 1;
    for (unsigned i = 0; i < ONE_INPUT_0_SIZE; i++)
        one_input_0(&one)[i] = two_input_0(&two)[i] = static_cast<std::int8_t>(i * 37u % 251u - 125u);
    if (one_run(&one) != 0 || two_run(&two) != 0) return 2;
    return std::memcmp(one_output_0(&one), two_output_0(&two), ONE_OUTPUT_0_SIZE) == 0 ? 0 : 3;
}
"""
CONSUMER_CMAKE = """
cmake_minimum_required(VERSION 3.13)
project(consumer C CXX)
add_subdirectory(one)
add_subdirectory(two)
add_executable(consumer main.cpp)
target_compile_options(consumer PRIVATE -Wall -Wextra -Werror -pedantic)
target_link_libraries(consumer one two)
"""


def check_consumer(place: Path, model: Path) -> list[Result]:
    """A C++ program that uses two libraries of different names through their CMake files."""
    place.mkdir()
    for name in ("one", "two"):
        microlith("compile", model, "--device", "host", "--name", name, "--quiet", "-o", place / name)
    (place / "main.cpp").write_text(CONSUMER)
    (place / "CMakeLists.txt").write_text(CONSUMER_CMAKE)
    build = place / "build"
    return [
        run("two libraries in one C++ program: configure", "cmake", "-S", place, "-B", build),
        run("two libraries in one C++ program: build", "cmake", "--build", build),
        run("two libraries in one C++ program: run", build / "consumer"),
    ]


def main() -> int:
    """Run all checks; print what failed and a count."""
    results: list[Result] = []
    with tempfile.TemporaryDirectory() as name, as_file(KERNELS) as kernels, as_file(DEMO) as demo:
        place = Path(name)
        results += check_kernels(place, kernels)
        results += check_sanitizer_works(place)
        for (device, _), artifact in make_artifacts(place, demo).items():
            results += check_artifact(artifact, device)
            if device == "host":
                results += check_sanitized(artifact)
        results += check_consumer(place / "consumer", place / "host.onnx")
    failed = [result for result in results if result.errors]
    for result in failed:
        print(f"FAILED {result.title}\n{result.errors}")
    print(f"strict C: {len(results) - len(failed)} passed, {len(failed)} failed")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())

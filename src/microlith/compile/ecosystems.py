"""The library as a package of other build systems: Arduino, PlatformIO, Zephyr and ESP-IDF.

Each package is a directory of its own, with copies of the library's files and an example that runs the network once on
the golden input and prints the line of the self-test.

Sources:
    Arduino: library specification 1.5 rev. 2.2 and sketch specification,
        https://arduino.github.io/arduino-cli/latest/library-specification/
    PlatformIO: https://docs.platformio.org/en/latest/manifests/library-json/ and the schema of platformio-core,
        platformio/assets/schema/library.json; boards from the development platforms' boards/*.json
    Zephyr: https://docs.zephyrproject.org/latest/develop/modules.html and the schema in scripts/zephyr_module.py
    ESP-IDF: https://docs.espressif.com/projects/esp-idf/en/latest/esp32/api-guides/build-system.html and
        https://docs.espressif.com/projects/idf-component-manager/en/latest/reference/manifest_file.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from microlith.compile.emit import ARENA_ALIGN, io_views
from microlith.compile.emit_selftest import (
    DIFFERS,
    Vector,
    float_outputs,
    golden_header,
    golden_loops,
    memory_fill,
    template,
)
from microlith.compile.manifest import PACKAGE_KINDS, PackageKind
from microlith.core.errors import InputError
from microlith.device.profile import Device
from microlith.program.types import Program

LICENSE = "Apache-2.0 OR MIT-0"
VERSION = "1.0.0"
_FLAGS = ("-O2", "-ffp-contract=off", "-fno-strict-aliasing")

# Evaluation boards with the chip of a profile: PlatformIO's development platform, and its name of the board.
_BOARDS = {
    "esp32c3": ("espressif32", "esp32-c3-devkitm-1"),
    "nrf52840": ("nordicnrf52", "nano33ble"),
    "rp2040": ("raspberrypi", "pico"),
    "stm32f446": ("ststm32", "nucleo_f446re"),
    "stm32f746": ("ststm32", "nucleo_f746zg"),
    "stm32l4r5": ("ststm32", "nucleo_l4r5zi"),
    "stm32u575": ("ststm32", "nucleo_u575zi_q"),
}


def package_kinds(names: Sequence[str], device: Device) -> tuple[PackageKind, ...]:
    """The kinds of package that are asked for, each once and in a fixed order; plain C always.

    Args:
        names: as the user types them.
        device: what the library is compiled for.

    Raises:
        InputError: a kind is not known, or code for this device cannot be built there.
    """
    unknown = [name for name in names if name not in PACKAGE_KINDS]
    if unknown:
        raise InputError(
            f"there is no package of the kind {unknown[0]!r}", hint=f"The kinds are {', '.join(PACKAGE_KINDS)}."
        )
    if "arduino" in names and device.is_host:
        raise InputError(
            f"an Arduino library is for a microcontroller, and {device.name} is none",
            hint="Name the board's microcontroller: --device.",
        )
    foreign = [isa for isa in device.isas if isa not in ("portable", "scalar")]
    if "esp-idf" in names and foreign:
        raise InputError(
            f"an ESP-IDF component runs on RISC-V and Xtensa; the code for {device.name} needs {', '.join(foreign)}",
            hint='Take a device with portable kernels only, such as a profile of your own with isas = ["portable"].',
        )
    return tuple(kind for kind in PACKAGE_KINDS if kind == "c" or kind in names)


def package_place(kind: PackageKind, name: str) -> str:
    """Directory of a package within the artifact; its last part is what the library is called there.

    The prefix keeps a model called ``log`` or ``wifi`` apart from the components of the build system.
    """
    assert kind != "c", "plain C is the artifact itself"
    return f"{kind}/microlith_{name}"


@dataclass(frozen=True)
class _Source:
    """What the packages are made from.

    Attributes:
        program: planned.
        device: what it is for.
        library: text of the plain C library by path.
        golden: text of ``golden.h``, with one vector.
        fill: values of the templates.
    """

    program: Program
    device: Device
    library: Mapping[str, str]
    golden: str
    fill: dict[str, str]

    @property
    def sources(self) -> dict[str, str]:
        """The files of ``src/`` and ``include/``."""
        return {path: text for path, text in self.library.items() if path.startswith(("src/", "include/"))}

    def made(self, name: str, **more: str) -> str:
        """A template with the values filled in."""
        return template(f"packages/{name}", self.fill | more)


def ecosystem_files(
    kinds: Sequence[PackageKind],
    program: Program,
    device: Device,
    library: Mapping[str, str],
    vectors: Sequence[Vector],
    *,
    artifact_hash: str,
    tolerance: float,
    title: str,
) -> dict[str, str]:
    """Files of every package but plain C, by path within the artifact.

    Args:
        kinds: of packages.
        program: planned.
        device: what it is for.
        library: text of the plain C library by path: ``src/``, ``include/``.
        vectors: golden vectors; the first is the example's.
        artifact_hash: printed on the result line.
        tolerance: for float outputs, absolute.
        title: what the library computes.
    """
    fill = _fill(program, device, artifact_hash, title)
    source = _Source(program, device, library, golden_header(program, vectors[:1], tolerance), fill)
    return {
        f"{package_place(kind, program.name)}/{path}": text
        for kind in kinds
        if kind != "c"
        for path, text in _MAKERS[kind](source).items()
    }


def _fill(program: Program, device: Device, artifact_hash: str, title: str) -> dict[str, str]:
    loops = {
        kind: golden_loops(program, kind, context="&net", vector="0", indent="    ") for kind in ("input", "output")
    }
    flags = (*_FLAGS, "-mavx2") if "avx2" in device.isas else _FLAGS
    fill = {
        "NAME": program.name,
        "UPPER": program.name.upper(),
        "ALIGN": str(ARENA_ALIGN),
        "HASH": artifact_hash[:16],
        "LIBRARY": f"microlith_{program.name}",
        "OPTION": f"MICROLITH_{program.name.upper()}",
        "TITLE": plain(title),
        "FLAGS": " ".join(flags),
        **memory_fill(program),
    }
    checks = loops["output"]
    once = template(
        "packages/once.c",
        fill | {"FILLS": loops["input"], "CHECKS": checks, "DIFFERS": DIFFERS if float_outputs(program) else ""},
    )
    # The part's own license line is that of the file which it becomes a part of.
    return fill | {"ONCE": once.partition("\n")[2]}


def plain(text: str) -> str:
    """Text that means the same in a C comment, YAML, JSON, a properties file and Kconfig, without quoting."""
    return re.sub(r"[^A-Za-z0-9 .,()_/+-]", "?", text)


def _arduino(source: _Source) -> dict[str, str]:
    """All sources flat in ``src/``, which is the only directory that is searched for headers."""
    flat = {f"src/{path.rpartition('/')[2]}": text for path, text in source.sources.items()}
    return flat | {
        "library.properties": source.made("library.properties"),
        "keywords.txt": _keywords(source.program),
        "examples/golden/golden.ino": source.made("golden.ino"),
        "examples/golden/golden.h": source.golden,
    }


def _keywords(program: Program) -> str:
    """What the Arduino IDE colors; the columns are separated by tabs."""
    name = program.name
    types = [f"{name}_ctx", *([f"{name}_state"] if program.states else [])]
    functions = [f"{name}_init", *(f"{name}_{entry.name}" for entry in program.entries)]
    functions += [f"{name}_reset"] if program.states else []
    functions += [f"{name}_{kind}_{index}" for kind, index, _ in io_views(program)]
    rows = [f"{word}\tKEYWORD1" for word in types] + [f"{word}\tKEYWORD2" for word in functions]
    rows.append(f"{name.upper()}_ARENA_BYTES\tLITERAL1")
    return f"# SPDX-License-Identifier: {LICENSE}\n" + "\n".join(rows) + "\n"


def _platformio(source: _Source) -> dict[str, str]:
    device, library = source.device, source.fill["LIBRARY"]
    main = "main.c" if device.is_host else "main.cpp"
    manifest = {
        "name": re.sub(r"_+", "-", library).strip("-"),
        "version": VERSION,
        "description": source.fill["TITLE"][:255],
        "keywords": ["neural-network", "tinyml", "inference"],
        "license": LICENSE,
        "frameworks": "*",
        "platforms": "*",
        "headers": f"{source.program.name}.h",
        "examples": [
            {
                "name": "golden",
                "base": "examples/golden",
                "files": ["platformio.ini", f"src/{main}", "src/golden.h"],
            }
        ],
        "build": {"flags": source.fill["FLAGS"].split()},
    }
    return source.sources | {
        "library.json": json.dumps(manifest, indent=2) + "\n",
        "examples/golden/platformio.ini": source.made("platformio.ini", **_platform(device)),
        f"examples/golden/src/{main}": source.made("native.c" if device.is_host else "golden.ino"),
        "examples/golden/src/golden.h": source.golden,
    }


def _platform(device: Device) -> dict[str, str]:
    """The lines of ``platformio.ini`` that name the board."""
    if device.is_host:
        return {"ACTION": "exec", "PLATFORM": "platform = native"}
    arduino = "framework = arduino\nmonitor_speed = 115200"
    known = _BOARDS.get(device.name)
    if known is not None:
        platform, board = known
        return {
            "ACTION": "upload -t monitor",
            "PLATFORM": f"; A board with this chip; 'pio boards' lists others.\nplatform = {platform}\n"
            f"board = {board}\n{arduino}",
        }
    return {
        "ACTION": "upload -t monitor",
        "PLATFORM": "; Of your board, as 'pio boards' calls them; or set them in the environment.\n"
        f"platform = ${{sysenv.PLATFORM}}\nboard = ${{sysenv.BOARD}}\n{arduino}",
    }


def _zephyr(source: _Source) -> dict[str, str]:
    # Zephyr compiles for the FPU only where this option is set.
    fpu = source.device.core.startswith("cortex-m") and source.device.fpu != "none"
    needs = "\tdepends on CPU_HAS_FPU\n\tselect FPU\n" if fpu else ""
    sample = "samples/golden"
    return source.sources | {
        "zephyr/module.yml": source.made("zephyr_module.yml"),
        "zephyr/CMakeLists.txt": source.made("zephyr_CMakeLists.txt"),
        "zephyr/Kconfig": source.made("zephyr_Kconfig", KCONFIG=needs),
        f"{sample}/CMakeLists.txt": source.made("zephyr_sample_CMakeLists.txt"),
        f"{sample}/prj.conf": source.made("zephyr_prj.conf"),
        f"{sample}/sample.yaml": source.made("zephyr_sample.yaml"),
        f"{sample}/src/main.c": source.made("zephyr_main.c"),
        f"{sample}/src/golden.h": source.golden,
    }


def _esp_idf(source: _Source) -> dict[str, str]:
    example = "examples/golden"
    return source.sources | {
        "CMakeLists.txt": source.made("esp_idf_CMakeLists.txt"),
        "idf_component.yml": source.made("idf_component.yml"),
        f"{example}/CMakeLists.txt": source.made("esp_idf_project_CMakeLists.txt"),
        f"{example}/main/CMakeLists.txt": source.made("esp_idf_main_CMakeLists.txt"),
        f"{example}/main/main.c": source.made("esp_idf_main.c"),
        f"{example}/main/golden.h": source.golden,
    }


_MAKERS: dict[PackageKind, Callable[[_Source], dict[str, str]]] = {
    "arduino": _arduino,
    "platformio": _platformio,
    "zephyr": _zephyr,
    "esp-idf": _esp_idf,
}

"""Packages for other build systems: their layout, that library and example compile there, and what examples print."""

from __future__ import annotations

import configparser
import json
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import yaml

import compiled
import models
import state_models
from microlith.compile.ecosystems import package_kinds, package_place, plain
from microlith.compile.manifest import PACKAGE_KINDS
from microlith.compile.package import Package
from microlith.compile.pipeline import compile_graph
from microlith.core.errors import InputError
from microlith.device.build_cache import cache_directory
from microlith.device.compiler_flags import target_flags
from microlith.device.load import device
from microlith.device.toolchain import find_toolchain
from microlith.graph.passes import DEFAULT_PASSES
from microlith.graph.pipeline import run_passes
from microlith.verify.board_log import check_log

STUBS = Path(__file__).parent / "stubs"
SPDX = "SPDX-License-Identifier: Apache-2.0 OR MIT-0"

# What each build system compiles C with, before the package's own flags; from the sources that decision 54 names.
ZEPHYR = """
    -std=c17 -Wall -Wformat -Wformat-security -Wno-format-zero-length -Wno-pointer-sign -Wpointer-arith
    -Wexpansion-to-defined -Werror=implicit-int -fno-common -ffunction-sections -fdata-sections -ffreestanding -Os
    """.split()  # noqa: SIM905
ESP_IDF = """
    -std=gnu17 -ffunction-sections -fdata-sections -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare
    -Wno-enum-conversion -fno-jump-tables -Og
    """.split()  # noqa: SIM905
ARDUINO_C = "-std=gnu11 -Wall -Wextra -ffunction-sections -fdata-sections -Os".split()  # noqa: SIM905
ARDUINO_CPP = "-std=gnu++14 -Wall -Wextra -fno-exceptions -fno-rtti -Os -x c++".split()  # noqa: SIM905
ESP32_C3 = ("-target", "riscv32-freestanding-none", "-mcpu=generic_rv32+m+c")


@lru_cache(maxsize=8)
def made(target: str, kinds: tuple[str, ...] = PACKAGE_KINDS) -> Package:
    """A small int8 network in packages of these kinds; of the RP2040 with kernels that any compiler takes."""
    graph = compiled.prepared(models.tiny_cnn())
    rng = np.random.default_rng(0)
    samples = [{"image": image[None]} for image in models.images(rng, 4)]
    chip = device(target)
    scheme = chip.requantization
    if target == "rp2040":
        chip = chip.model_copy(update={"isas": ("portable",)})
    return compile_graph(compiled.quantized(graph, samples, scheme), chip, name="net", packages=kinds)


def written(package: Package, kind: str, place: Path, name: str = "net") -> Path:
    """The directory of one package, written to a place of its own without the rest of the artifact."""
    prefix = package_place(kind, name) + "/"  # type: ignore[arg-type]
    for path, content in package.files.items():
        if path.startswith(prefix):
            target = place / path.removeprefix(f"{kind}/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
    return place / f"microlith_{name}"


def zig(arguments: Sequence[str | Path]) -> None:
    """zig's clang with warnings as errors; its own cache is the one that microlith uses."""
    kept = str(cache_directory() / "zig")
    environment = {**os.environ, "ZIG_GLOBAL_CACHE_DIR": kept, "ZIG_LOCAL_CACHE_DIR": kept}
    command = [*find_toolchain(device("host")).command, "-Werror", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr


def output_of(program: Path) -> str:
    return subprocess.run([program], capture_output=True, text=True).stdout


def listed(text: str, command: str) -> list[str]:
    """The arguments of a CMake command."""
    found = re.search(rf"{command}\(([^)]*)\)", text)
    assert found, command
    return found[1].split()


# ---- the files


@pytest.mark.parametrize("kind", PACKAGE_KINDS[1:])
def test_a_package_holds_the_library_byte_for_byte(kind: str) -> None:
    files = made("rp2040").files
    prefix = package_place(kind, "net") + "/"  # type: ignore[arg-type]
    library = {path: content for path, content in files.items() if path.startswith(("src/", "include/"))}
    assert len(library) > 4
    for path, content in library.items():
        place = f"src/{Path(path).name}" if kind == "arduino" else path
        assert files[prefix + place] == content
    for path, content in files.items():
        if path.startswith(prefix) and not path.endswith("library.json"):
            assert SPDX in content.decode().splitlines()[0], path


def test_the_manifest_names_the_packages_and_the_hash_stays() -> None:
    alone = made("rp2040", ())
    assert alone.manifest.packages == ("c",)
    assert not any(path.startswith(kind) for path in alone.files for kind in PACKAGE_KINDS[1:])
    everything = made("rp2040")
    assert everything.manifest.packages == PACKAGE_KINDS
    assert everything.manifest.artifact_hash == alone.manifest.artifact_hash
    assert {path: everything.files[path] for path in alone.files if path != "manifest.json"} == {
        path: content for path, content in alone.files.items() if path != "manifest.json"
    }


def test_order_and_repetition_do_not_matter() -> None:
    assert package_kinds(["zephyr", "arduino", "zephyr"], device("rp2040")) == ("c", "arduino", "zephyr")


def test_what_cannot_be_packaged_is_refused() -> None:
    with pytest.raises(InputError, match="no package of the kind 'mbed'"):
        package_kinds(["mbed"], device("rp2040"))
    with pytest.raises(InputError, match="is for a microcontroller"):
        package_kinds(["arduino"], device("host"))
    with pytest.raises(InputError, match="RISC-V and Xtensa; the code for stm32l4r5 needs dsp"):
        package_kinds(["esp-idf"], device("stm32l4r5"))


def test_titles_are_harmless_everywhere() -> None:
    assert plain('A "b" */ $C\\d\n@e@\N{MICRO SIGN}') == "A ?b? ?/ ?C?d??e??"
    named = device("rp2040").model_copy(update={"isas": ("portable",), "title": 'x"; */ $(shell)\n\ttype: 1'})
    graph = compiled.prepared(models.tiny_mlp())
    files = compile_graph(graph, named, name="net", packages=PACKAGE_KINDS).files
    properties = files["arduino/microlith_net/library.properties"].decode()
    assert [line.partition("=")[0] for line in properties.splitlines() if not line.startswith("#")][5:] == [
        "paragraph",
        "category",
        "url",
        "architectures",
        "includes",
    ]
    assert json.loads(files["platformio/microlith_net/library.json"])["description"].startswith("net, compiled for x?")
    manifest = yaml.safe_load(files["esp-idf/microlith_net/idf_component.yml"])
    assert set(manifest) == {"version", "description", "license", "dependencies"}


def test_arduino_layout(tmp_path: Path) -> None:
    root = written(made("stm32l4r5", ("arduino",)), "arduino", tmp_path)
    lines = (root / "library.properties").read_text().splitlines()
    fields = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    required = {"name", "version", "author", "maintainer", "sentence", "paragraph", "category", "url", "architectures"}
    assert required <= fields.keys() and all(fields.values())
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 _.-]*", fields["name"])
    assert re.fullmatch(r"\d+\.\d+\.\d+", fields["version"])
    assert fields["category"] == "Data Processing"
    assert (root / "src" / fields["includes"]).is_file()
    assert all(path.is_file() for path in (root / "src").iterdir()), "flat"
    (sketch,) = (root / "examples").iterdir()
    assert (sketch / f"{sketch.name}.ino").is_file()
    rows = [line.split("\t") for line in (root / "keywords.txt").read_text().splitlines() if not line.startswith("#")]
    header = (root / "src" / "net.h").read_text()
    assert ["net_run", "KEYWORD2"] in rows
    assert all(len(row) == 2 and row[0] in header for row in rows)


def test_platformio_layout(tmp_path: Path) -> None:
    root = written(made("stm32l4r5", ("platformio",)), "platformio", tmp_path)
    manifest = json.loads((root / "library.json").read_text())
    assert {"name", "version", "description", "keywords"} <= manifest.keys()
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", manifest["name"]) and len(manifest["name"]) <= 50
    assert len(manifest["description"]) <= 255
    assert manifest["license"] == "Apache-2.0 OR MIT-0"
    assert (root / "include" / manifest["headers"]).is_file()
    (example,) = manifest["examples"]
    held = {path.relative_to(root / example["base"]).as_posix() for path in (root / example["base"]).rglob("*.*")}
    assert held == set(example["files"])
    settings = configparser.ConfigParser()
    settings.read(root / example["base"] / "platformio.ini")
    environment = settings["env:golden"]
    assert (environment["platform"], environment["board"]) == ("ststm32", "nucleo_l4r5zi")
    target = environment["lib_deps"].partition("symlink://")[2]
    assert (root / example["base"] / target).resolve() == root.resolve()


def test_platformio_asks_for_the_board_where_none_is_known() -> None:
    mine = device("rp2040").model_copy(update={"name": "mine"})
    files = compile_graph(compiled.prepared(models.tiny_mlp()), mine, name="a__b_", packages=["platformio"]).files
    settings = files["platformio/microlith_a__b_/examples/golden/platformio.ini"].decode()
    assert "board = ${sysenv.BOARD}" in settings
    assert json.loads(files["platformio/microlith_a__b_/library.json"])["name"] == "microlith-a-b"


@pytest.mark.parametrize(("target", "fpu"), [("stm32l4r5", True), ("rp2040", False)])
def test_zephyr_layout(tmp_path: Path, target: str, fpu: bool) -> None:
    root = written(made(target, ("zephyr",)), "zephyr", tmp_path)
    module = yaml.safe_load((root / "zephyr" / "module.yml").read_text())
    assert set(module) == {"name", "build", "samples"}
    build = root / module["build"]["cmake"] / "CMakeLists.txt"
    kconfig = (root / module["build"]["kconfig"]).read_text()
    option = re.search(r"^config (\w+)$", kconfig, re.MULTILINE)
    assert option and f"if(CONFIG_{option[1]})" in build.read_text()
    assert ("select FPU" in kconfig) == fpu
    for source in listed(build.read_text(), "zephyr_library_sources"):
        assert Path(source.replace("${CMAKE_CURRENT_SOURCE_DIR}", str(build.parent))).is_file()
    (sample,) = (root / module["samples"][0]).iterdir()
    assert f"CONFIG_{option[1]}=y" in (sample / "prj.conf").read_text().splitlines()
    project = (sample / "CMakeLists.txt").read_text()
    _, extra = listed(project, r"list")[1:]
    assert Path(extra.replace("${CMAKE_CURRENT_SOURCE_DIR}", str(sample))).resolve() == root.resolve()
    assert project.index("ZEPHYR_EXTRA_MODULES") < project.index("find_package(Zephyr") < project.index("project(")
    assert (sample / listed(project, "target_sources")[2]).is_file()
    (scenario,) = yaml.safe_load((sample / "sample.yaml").read_text())["tests"].values()
    (line,) = scenario["harness_config"]["regex"]
    assert check_log(line, made(target, ("zephyr",)).manifest.artifact_hash).passed


def test_esp_idf_layout(tmp_path: Path) -> None:
    root = written(made("rp2040"), "esp-idf", tmp_path)
    component = listed((root / "CMakeLists.txt").read_text(), "idf_component_register")
    for name in component[1 : component.index("INCLUDE_DIRS")]:
        assert (root / name.strip('"')).is_file()
    manifest = yaml.safe_load((root / "idf_component.yml").read_text())
    assert re.fullmatch(r"\d+\.\d+\.\d+", manifest["version"])
    assert manifest["license"] in ("Apache-2.0", "MIT-0"), "the field holds one identifier"
    (project,) = (root / "examples").iterdir()
    text = (project / "CMakeLists.txt").read_text()
    extra = listed(text, "set")[1].strip('"')
    assert Path(extra.replace("${CMAKE_CURRENT_LIST_DIR}", str(project))).resolve() == root.resolve()
    assert text.index("EXTRA_COMPONENT_DIRS") < text.index("project.cmake") < text.index("project(microlith")
    main = listed((project / "main" / "CMakeLists.txt").read_text(), "idf_component_register")
    assert main[main.index("PRIV_REQUIRES") + 1] == root.name
    assert (project / "main" / main[1].strip('"')).is_file()


# ---- the examples, run on this machine


def _line(package: Package, program: Path) -> str:
    result = check_log(output_of(program), package.manifest.artifact_hash)
    assert (result.passed, result.vectors, result.name) == (True, 1, "net")
    return output_of(program)


def test_the_arduino_sketch_runs(tmp_path: Path) -> None:
    package = made("rp2040")
    root = written(package, "arduino", tmp_path)
    sketch, program = tmp_path / "sketch.o", tmp_path / "sketch"
    # Linked as C: the sketch needs no C++ library, which zig would have to build.
    zig([*ARDUINO_CPP, "-DSTUB_HOSTED", f"-I{STUBS}", f"-I{root / 'src'}", "-c", *root.rglob("*.ino"), "-o", sketch])
    zig([*ARDUINO_C, *sorted((root / "src").glob("*.c")), sketch, "-o", program])
    assert "one inference took 0 us" in _line(package, program)


def test_the_zephyr_sample_runs(tmp_path: Path) -> None:
    package = made("rp2040")
    root = written(package, "zephyr", tmp_path)
    sources = [*sorted((root / "src").glob("*.c")), root / "samples/golden/src/main.c"]
    includes = [f"-I{STUBS}", f"-I{root / 'include'}", f"-I{root / 'src'}"]
    zig(["-Wall", "-Wextra", "-DSTUB_HOSTED", *includes, *sources, "-o", tmp_path / "sample"])
    assert "one inference took 0 us" in _line(package, tmp_path / "sample")


def test_the_esp_idf_example_runs(tmp_path: Path) -> None:
    package = made("rp2040")
    root = written(package, "esp-idf", tmp_path)
    sources = [*sorted((root / "src").glob("*.c")), root / "examples/golden/main/main.c", STUBS / "esp_idf_main.c"]
    includes = [f"-I{STUBS}", f"-I{root / 'include'}", f"-I{root / 'src'}"]
    zig(["-Wall", "-Wextra", *includes, *sources, "-o", tmp_path / "example"])
    assert "cycles=7" in _line(package, tmp_path / "example")


def _native(package: Package, place: Path, change: Mapping[str, str]) -> str:
    """What the native PlatformIO example prints, with some text of ``golden.h`` replaced."""
    root = written(package, "platformio", place)
    golden = root / "examples/golden/src/golden.h"
    text = golden.read_text()
    for old, new in change.items():
        assert old in text
        text = text.replace(old, new)
    golden.write_text(text)
    flags = json.loads((root / "library.json").read_text())["build"]["flags"]
    sources = [*sorted((root / "src").glob("*.c")), root / "examples/golden/src/main.c"]
    zig(["-Wall", "-Wextra", *flags, f"-I{root / 'include'}", f"-I{root / 'src'}", *sources, "-o", place / "native"])
    return output_of(place / "native")


def test_the_native_example_runs_a_float_network_with_state_and_counts_differences(tmp_path: Path) -> None:
    graph = state_models.gru_cell()
    run_passes(graph, DEFAULT_PASSES)
    host = device("host").model_copy(update={"isas": ("portable",)})
    package = compile_graph(graph, host, name="net", packages=["platformio"])
    settings = package.files["platformio/microlith_net/examples/golden/platformio.ini"].decode()
    assert "platform = native\n" in settings
    assert " mismatches=0 " in _native(package, tmp_path / "same", {})
    golden = package.files["platformio/microlith_net/examples/golden/src/golden.h"].decode()
    exact = re.search(r"golden_output_0\[GOLDEN_VECTORS\]\[\d+\] = \{\n\{\n([^,]+),", golden)
    assert exact
    assert " mismatches=1 " in _native(package, tmp_path / "changed", {f"{{\n{exact[1]},": "{\n99.0f,"})


# ---- library and example, compiled for the core with the flags of the build system


def _objects(flags: Sequence[str], includes: Sequence[Path], sources: Sequence[Path], place: Path) -> None:
    for source in sources:
        zig([*flags, *(f"-I{path}" for path in includes), "-c", source, "-o", place / f"{source.stem}.o"])


@pytest.mark.mcu
@pytest.mark.parametrize("kind", ["arduino", "platformio"])
def test_arduino_and_platformio_compile_for_the_core(tmp_path: Path, kind: str) -> None:
    root = written(made("stm32l4r5", ("arduino", "platformio", "zephyr")), kind, tmp_path)
    core = target_flags(device("stm32l4r5"), "zig")
    includes = [STUBS, root / "src", root / "include"]
    sources = sorted((root / "src").glob("*.c"))
    own = json.loads((root / "library.json").read_text())["build"]["flags"] if kind == "platformio" else []
    _objects([*core, *ARDUINO_C, *own], includes, sources, tmp_path)
    sketch = root / ("examples/golden/golden.ino" if kind == "arduino" else "examples/golden/src/main.cpp")
    _objects([*core, *ARDUINO_CPP], includes, [sketch], tmp_path)


@pytest.mark.mcu
def test_zephyr_compiles_for_the_core(tmp_path: Path) -> None:
    root = written(made("stm32l4r5", ("arduino", "platformio", "zephyr")), "zephyr", tmp_path)
    core = (*target_flags(device("stm32l4r5"), "zig"), *ZEPHYR)
    own = listed((root / "zephyr/CMakeLists.txt").read_text(), "zephyr_library_compile_options")
    sources = sorted((root / "src").glob("*.c"))
    _objects([*core, *own], [root / "include", root / "src"], sources, tmp_path)
    _objects(core, [STUBS, root / "include"], [root / "samples/golden/src/main.c"], tmp_path)


@pytest.mark.mcu
@pytest.mark.parametrize("target", ["rp2040", "esp32c3"])
def test_esp_idf_compiles_for_an_esp32_c3(tmp_path: Path, target: str) -> None:
    root = written(made(target), "esp-idf", tmp_path)
    own = listed((root / "CMakeLists.txt").read_text(), "target_compile_options")[2:]
    assert "-ffp-contract=off" in own
    sources = sorted((root / "src").glob("*.c"))
    _objects([*ESP32_C3, *ESP_IDF, *own], [root / "include", root / "src"], sources, tmp_path)
    main = root / "examples/golden/main/main.c"
    _objects([*ESP32_C3, *ESP_IDF], [STUBS, STUBS / "freestanding", root / "include"], [main], tmp_path)

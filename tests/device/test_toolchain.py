from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
from pathlib import Path

import pytest

from microlith.core.errors import ToolchainError
from microlith.device import build_cache, toolchain
from microlith.device.compiler_flags import target_flags
from microlith.device.load import device, devices
from microlith.device.support import linker_script
from microlith.device.toolchain import find_toolchain


@pytest.fixture
def source(tmp_path) -> Path:
    path = tmp_path / "sum.c"
    path.write_text('#include "what.h"\nint sum(int a, int b) { return a + b + WHAT + MORE; }\n')
    (tmp_path / "include").mkdir()
    (tmp_path / "include" / "what.h").write_text("#define WHAT 1000\n")
    return path


@pytest.fixture
def own_cache(tmp_path, monkeypatch) -> Path:
    """A cache of its own, but for zig's run-time libraries, which take long to build."""
    common = build_cache.cache_directory() / "zig"
    common.mkdir(exist_ok=True)
    (tmp_path / "cache" / "build").mkdir(parents=True)
    (tmp_path / "cache" / "build" / "zig").symlink_to(common)
    monkeypatch.setattr(build_cache, "user_cache_path", lambda *_args, **_kwargs: tmp_path / "cache")
    return tmp_path / "cache" / "build"


def kept(cache: Path) -> list[Path]:
    return [path for path in cache.iterdir() if path.is_file() and path.suffix != ".lock"]


def build(source: Path, out: Path, **options) -> None:
    find_toolchain(device("host"), **options).compile_shared(
        [source], [source.parent / "include"], out, defines=["MORE=10000"]
    )


def test_shared_library_runs(source, tmp_path):
    build(source, tmp_path / "sum.so")
    assert ctypes.CDLL(str(tmp_path / "sum.so")).sum(2, 3) == 11005


def test_result_is_kept_until_something_that_went_in_changes(source, tmp_path, own_cache, monkeypatch):
    runs = []
    run = toolchain._run
    monkeypatch.setattr(toolchain, "_run", lambda command, title: runs.append(command) or run(command, title))
    out, header = tmp_path / "sum.so", source.parent / "include" / "what.h"
    build(source, out)
    first = out.read_bytes()
    compiled = len(runs)
    build(source, out)
    assert len(runs) == compiled
    assert out.read_bytes() == first
    header.write_text("#define WHAT 2000\n")
    build(source, out)
    assert len(runs) == compiled + 1
    assert ctypes.CDLL(str(out)).sum(2, 3) == 12005
    build(source, out, opt="-O3")
    assert len(runs) == compiled + 2
    assert len(kept(own_cache)) == 3
    build(source, out, use_cache=False)
    build(source, out, use_cache=False)
    assert len(runs) == compiled + 4
    assert len(kept(own_cache)) == 3


def test_what_was_used_longest_ago_goes_when_the_cache_is_full(source, tmp_path, own_cache, monkeypatch):
    out = tmp_path / "sum.so"
    build(source, out)
    (first,) = kept(own_cache)
    build(source, out, opt="-O3")
    (second,) = set(kept(own_cache)) - {first}
    os.utime(second, (1, 1))
    monkeypatch.setattr(build_cache, "_KEPT_BYTES_AT_MOST", 2 * first.stat().st_size + 1000)
    build(source, out)
    build(source, out, opt="-Os")
    assert first.is_file()
    assert not second.exists()
    assert len(kept(own_cache)) == 2


def test_object_files_of_past_weeks_are_dropped(own_cache):
    today = build_cache.object_directory()
    for name in (today.name, "objects-2020-01"):
        (own_cache / name).mkdir()
    assert build_cache.object_directory() == today
    assert today.is_dir()
    assert not (own_cache / "objects-2020-01").exists()


def test_equal_input_gives_equal_bytes(source, tmp_path):
    for name in ("a.so", "b.so"):
        build(source, tmp_path / name, use_cache=False)
    assert (tmp_path / "a.so").read_bytes() == (tmp_path / "b.so").read_bytes()


def test_refused_source_shows_the_compilers_message_and_leaves_nothing(source, tmp_path, own_cache):
    source.write_text("int sum(int a) { return a + missing; }\n")
    with pytest.raises(ToolchainError) as caught:
        build(source, tmp_path / "sum.so")
    assert "zig cc" in caught.value.what
    assert "missing" in caught.value.what
    assert not (tmp_path / "sum.so").exists()
    assert kept(own_cache) == []


def test_long_message_is_cut(source, tmp_path):
    source.write_text("\n".join(f"int f{i}(void) {{ return missing{i}; }}" for i in range(15)))
    with pytest.raises(ToolchainError) as caught:
        build(source, tmp_path / "sum.so")
    assert "missing0" in caught.value.what
    assert "more lines" in caught.value.what.splitlines()[-1]
    assert len(caught.value.what.splitlines()) < 20


def test_missing_source_and_unwritable_output_are_refused(source, tmp_path):
    with pytest.raises(ToolchainError, match="is not there"):
        build(tmp_path / "none.c", tmp_path / "sum.so")
    with pytest.raises(ToolchainError, match="cannot write"):
        build(source, tmp_path / "none" / "sum.so")


def test_without_zig_the_refusal_says_how_to_install_it(monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        toolchain.importlib.util, "find_spec", lambda name: None if name == "ziglang" else find_spec(name)
    )
    for compiler in (None, "zig"):
        with pytest.raises(ToolchainError) as caught:
            find_toolchain(device("nrf52840"), compiler)
        assert 'pip install "microlith[zig]"' in str(caught.value)


def test_absent_compiler_is_refused():
    with pytest.raises(ToolchainError, match="'no-such-gcc' was asked for and is not there"):
        find_toolchain(device("host"), "no-such-gcc")


def fake_compiler(path: Path, banner: str) -> str:
    path.write_text(f"#!/bin/sh\necho '{banner}'\n")
    path.chmod(0o755)
    return str(path)


def test_named_compilers_are_told_apart_by_what_they_say(tmp_path):
    gcc = fake_compiler(tmp_path / "cc", "cc (Somebody 12.2.0-14) 12.2.0")
    clang = fake_compiler(tmp_path / "clang", "Somebody clang version 14.0.6")
    cross = fake_compiler(tmp_path / "arm-none-eabi-gcc", "arm-none-eabi-gcc (15:12.2.rel1-1) 12.2.1 20221205")
    host, board = device("host"), device("nrf52840")
    assert (find_toolchain(host, gcc).family, find_toolchain(host, gcc).title) == ("gcc", "cc 12.2.0")
    assert (find_toolchain(host, clang).family, find_toolchain(host, clang).version) == ("clang", "14.0.6")
    assert find_toolchain(board, cross).title == "arm-none-eabi-gcc 12.2.1"
    assert str(tmp_path) not in find_toolchain(board, cross).flags
    riscv, chip = (
        fake_compiler(tmp_path / "riscv64-unknown-elf-gcc", "riscv64-unknown-elf-gcc () 12.2.0"),
        device("esp32c3"),
    )
    assert "-march=rv32imc_zicsr -mabi=ilp32" in find_toolchain(chip, riscv).flags
    wrong = ((board, gcc), (board, clang), (host, cross), (chip, gcc), (chip, clang), (chip, cross), (board, riscv))
    for target, compiler in (*wrong, (host, riscv)):
        with pytest.raises(ToolchainError) as caught:
            find_toolchain(target, compiler)
        assert "zig cc" in caught.value.hint


def test_flags_are_the_devices_and_hold_no_path():
    for target in devices():
        chain = find_toolchain(target)
        assert "-ffp-contract=off" in chain.flags
        assert "/" not in chain.flags
        assert ("-mavx2" in chain.flags) == ("avx2" in target.isas)
        assert ("-ffreestanding" in chain.flags) == (not target.is_host)
        assert ("eabihf" in chain.flags) == (not target.is_host and target.fpu != "none")
        assert chain.title.startswith("zig cc ")


def test_core_without_what_the_profile_says_is_refused():
    impossible = device("nrf52840").model_copy(update={"fpu": "double"})
    for family in ("zig", "gcc"):
        with pytest.raises(ToolchainError, match="fpu = 'double' is not known"):
            target_flags(impossible, family)
    plain = device("stm32u575").model_copy(update={"isas": ("portable",)})
    assert target_flags(plain, "zig")[-1].endswith("-dsp")
    assert target_flags(plain, "gcc")[0].endswith("+nodsp")


@pytest.mark.mcu
@pytest.mark.parametrize("name", [found.name for found in devices() if not found.is_host])
def test_compiler_has_exactly_what_the_profile_says(tmp_path, name):
    target = device(name)
    claims = {"__ARM_FEATURE_DSP": "dsp" in target.isas, "__ARM_FP": target.fpu != "none"}
    tests = "".join(
        f"#if{'n' if claimed else ''}def {macro}\n#error {macro}\n#endif\n" for macro, claimed in claims.items()
    )
    (tmp_path / "program.c").write_text(tests + 'void Reset_Handler(void) { for (;;) { __asm__ volatile(""); } }\n')
    script = tmp_path / "linker.ld"
    script.write_text(linker_script(target))
    find_toolchain(target).link_elf([tmp_path / "program.c"], [], script, tmp_path / "program.elf")


def test_wrong_kind_of_output_is_refused(source, tmp_path):
    with pytest.raises(ToolchainError, match="the toolchain is for nrf52840"):
        find_toolchain(device("nrf52840")).compile_shared([source], [], tmp_path / "out.so")
    with pytest.raises(ToolchainError, match="for the host"):
        find_toolchain(device("host")).link_elf([source], [], source, tmp_path / "out.elf")


def test_product_and_sum_round_separately(tmp_path):
    """Contracted into one operation, the result would differ in its last bit."""
    path = tmp_path / "fma.c"
    path.write_text("float fma_bait(float a, float b, float c) { return a * b + c; }\n")
    chain = find_toolchain(device("host"))
    chain.compile_shared([path], [], tmp_path / "fma.so")
    bait = ctypes.CDLL(str(tmp_path / "fma.so")).fma_bait
    bait.restype, bait.argtypes = ctypes.c_float, [ctypes.c_float] * 3
    a = 1.0 + 2.0**-12
    assert bait(a, a, -(1.0 + 2.0**-11)) == 0.0


def test_uncacheable_home_is_refused(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(build_cache, "user_cache_path", lambda *_args, **_kwargs: tmp_path / "file")
    with pytest.raises(ToolchainError, match="cannot make the cache directory"):
        build_cache.cache_directory()


def test_tests_need_no_compiler_but_zig(monkeypatch, source, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shutil.which("cc") is None
    build(source, tmp_path / "sum.so", use_cache=False)
    assert ctypes.CDLL(str(tmp_path / "sum.so")).sum(0, 0) == 11000

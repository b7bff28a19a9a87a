from __future__ import annotations

import re
import subprocess
import sys

import pytest

from microlith.core.errors import InputError
from microlith.device import load
from microlith.device.load import PROFILES, device, devices

VALID = """
schema_version = 1
name = "mine"
title = "My board"
core = "cortex-m33"
fpu = "single"
isas = ["portable", "dsp"]
[[regions]]
name = "flash"
kind = "flash"
start = 0x0
bytes = 65536
[[regions]]
name = "ram"
kind = "ram"
start = 0x20000000
bytes = 16384
"""


def test_every_profile_loads_under_its_own_name_with_a_source_for_every_figure():
    for name in PROFILES:
        found = device(name)
        assert found.name == name
        figures = {"core", "fpu", "clock_hz", "regions"} | ({"isas"} if len(found.isas) > 1 else set())
        figures |= {"joules_per_cycle"} if found.joules_per_cycle is not None else set()
        assert figures <= set(found.sources), name
        assert all(len(source) > 10 for source in found.sources.values())
    assert [found.name for found in devices()] == ["host", *PROFILES]


@pytest.mark.parametrize(
    ("name", "core", "flash", "ram"),
    [
        ("nrf52840", "cortex-m4f", 1024 * 1024, 256 * 1024),
        ("stm32f446", "cortex-m4f", 512 * 1024, 128 * 1024),
        ("stm32l4r5", "cortex-m4f", 2048 * 1024, 640 * 1024),
        ("stm32f746", "cortex-m7", 1024 * 1024, 320 * 1024),
        ("stm32u575", "cortex-m33", 2048 * 1024, 768 * 1024),
        ("rp2040", "cortex-m0plus", 2048 * 1024 - 256, 264 * 1024),
        ("esp32c3", "rv32imc", 4096 * 1024 - 8, 384 * 1024),
    ],
)
def test_memory_is_the_data_sheets(name, core, flash, ram):
    found = device(name)
    assert (found.core, found.capacity("flash"), found.capacity("ram")) == (core, flash, ram)
    plain = core in ("cortex-m0plus", "rv32imc")
    assert ("dsp" in found.isas) != plain
    assert found.requantization == ("fixed" if plain else "float")
    assert found.is_riscv == (core == "rv32imc")


def test_energy_per_cycle_of_the_nrf52840_is_what_its_source_says():
    found = device("nrf52840")
    microamps_per_megahertz = float(re.search(r"([\d.]+) uA/MHz", found.sources["joules_per_cycle"])[1])
    assert found.joules_per_cycle == pytest.approx(microamps_per_megahertz * 1e-12 * 3.0)


def test_external_flash_counts_only_where_there_is_none_inside():
    external = {"name": "qspi", "kind": "flash", "start": 0x90000000, "bytes": 4096, "external": True}
    inside = device("stm32l4r5")
    both = inside.model_validate(inside.model_dump() | {"regions": [*inside.model_dump()["regions"], external]})
    assert both.capacity("flash") == inside.capacity("flash")


def test_host_sets_no_limits_and_claims_avx2_only_where_the_processor_has_it(monkeypatch, tmp_path):
    assert device("host").capacity("ram") is None
    assert device("host").is_host
    monkeypatch.setattr(load.platform, "machine", lambda: "x86_64")
    cpuinfo = tmp_path / "cpuinfo"
    monkeypatch.setattr(load, "CPUINFO", cpuinfo)
    for text, has in (
        ("flags\t\t: fpu avx2 fma\n\nflags : avx2 fma\n", True),
        ("flags : avx2\n", False),
        ("flags : avx2 fma\nflags : fma\n", False),
        ("Features : fp asimd\n", False),
    ):
        cpuinfo.write_text(text)
        assert ("avx2" in device("host").isas) == has
    monkeypatch.setattr(load.platform, "machine", lambda: "aarch64")
    cpuinfo.write_text("flags : avx2 fma\n")
    assert device("host").isas == ("portable",)


def test_unknown_name_lists_the_known_and_the_close():
    with pytest.raises(InputError) as caught:
        device("nrf52480")
    assert all(name in caught.value.what for name in ("host", *PROFILES))
    assert "Did you mean nrf52840" in caught.value.hint


def test_own_profile_is_read(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(VALID)
    assert device(path).capacity("ram") == 16384
    assert device(str(path)).core == "cortex-m33"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("schema_version = 1", "schema_version = 2", "schema_version"),
        ('core = "cortex-m33"', 'core = "cortex-m85"', "core"),
        ("bytes = 16384", "bytes = 0", "regions.1.bytes"),
        ("bytes = 65536", "bytes = 0x20000001", "overlap"),
        ("bytes = 65536", "bytes = 65536\ndata_start = 0x20003FFF", "'ram' and 'flash' overlap"),
        (
            'core = "cortex-m33"\nfpu = "single"\nisas = ["portable", "dsp"]',
            'core = "rv32imc"\nfpu = "single"',
            "not go with",
        ),
        ('core = "cortex-m33"\nfpu = "single"', 'core = "rv32imc"\nfpu = "none"', "a rv32imc has no dsp"),
        ('name = "ram"', 'name = "sram"', "no region named 'ram'"),
        ('isas = ["portable", "dsp"]', 'isas = ["portable", "avx2"]', "no avx2"),
        ('core = "cortex-m33"', 'core = "cortex-m0plus"', "no dsp"),
        ('core = "cortex-m33"\nfpu = "single"', 'core = "cortex-m4f"\nfpu = "none"', "does not go with"),
        ("[[regions]]", "[[regions", "not TOML"),
        ('title = "My board"', 'title = "My board"\ncolour = "red"', "colour"),
    ],
)
def test_malformed_profile_is_refused(tmp_path, old, new, message):
    path = tmp_path / "mine.toml"
    assert old in VALID
    path.write_text(VALID.replace(old, new))
    with pytest.raises(InputError) as caught:
        device(path)
    assert message in caught.value.what


def test_unreadable_profile_is_refused(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        device(tmp_path / "none.toml")
    path = tmp_path / "binary.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not UTF-8"):
        device(path)


def test_the_package_is_the_public_function_whatever_was_imported_before():
    for first in ("", "import microlith.device.load", "from microlith import compile"):
        script = f"{first}\nimport microlith as ml\nprint(ml.device('rp2040').core)\nimport microlith.device.elf as e\n"
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        assert done.stdout == "cortex-m0plus\n"

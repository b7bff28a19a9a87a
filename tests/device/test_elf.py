from __future__ import annotations

import pytest

from microlith.core.errors import InputError
from microlith.device.elf import load_segments, sizes, symbols

pytestmark = pytest.mark.mcu

LAYERS = """
#include <stdint.h>
extern volatile int32_t sink;
const volatile uint8_t constants[1000] = {1, 2, 3};
volatile uint8_t initialized[200] = {1};
volatile uint8_t zeroed[300];
int32_t unused_table(void) { static const volatile uint8_t never[5000] = {1}; return never[0]; }
int32_t demo_layer_0(int32_t n) { return n + constants[n & 7] + initialized[0] + zeroed[0]; }
int32_t demo_layer_1(int32_t n) { return n; }
int32_t demo_layer_2(int32_t n) { return n; }
"""


def test_sizes_tell_what_was_put_in(build_elf):
    big = sizes(build_elf("nrf52840", layers=LAYERS))
    small = sizes(
        build_elf("nrf52840", layers=LAYERS.replace("1000", "600").replace("200", "120").replace("300", "60"))
    )
    assert big.rodata - small.rodata == 400
    assert big.data - small.data == 80
    assert big.bss - small.bss == 240
    assert big.ram_static == big.data + big.bss
    assert big.text == small.text
    assert big.flash - small.flash == 480
    assert 0 <= big.flash - (big.text + big.rodata + big.data) < 8


def test_what_nothing_uses_is_dropped(build_elf):
    program = build_elf("nrf52840", layers=LAYERS)
    assert "unused_table" not in symbols(program)
    assert sizes(program).rodata < 5000


def test_symbols_have_addresses_and_sizes(build_elf):
    found = symbols(build_elf("nrf52840", layers=LAYERS))
    assert (found["constants"].bytes, found["constants"].kind) == (1000, "object")
    assert (found["demo_layer_0"].kind, found["demo_layer_0"].address & 1) == ("function", 0)
    assert found["ml_stack_top"].address == 0x20000000 + 256 * 1024
    assert found["ml_stack_limit"].address == found["ml_bss_end"].address


def test_segments_start_with_the_vector_table(build_elf):
    program = build_elf("rp2040", layers=LAYERS)
    (address, code), *_ = load_segments(program)
    assert address == 0x10000100
    assert int.from_bytes(code[:4], "little") == 0x20000000 + 264 * 1024
    assert int.from_bytes(code[4:8], "little") == symbols(program)["Reset_Handler"].address | 1


def test_what_is_no_elf_is_refused(tmp_path):
    path = tmp_path / "text"
    path.write_text("this is not a program")
    with pytest.raises(InputError, match="not an ELF file"):
        sizes(path)
    with pytest.raises(InputError, match="cannot read"):
        sizes(tmp_path / "none")

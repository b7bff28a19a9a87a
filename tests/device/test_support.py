from __future__ import annotations

import re

import pytest

from microlith.core.errors import RunError, ToolchainError
from microlith.device.elf import load_segments, sizes, symbols
from microlith.device.emulator import Emulator
from microlith.device.load import device, devices
from microlith.device.profile import Region
from microlith.device.support import LINKER_SCRIPT, linker_script, support_files
from microlith.device.toolchain import find_toolchain

BOARDS = tuple(found.name for found in devices() if not found.is_host)


@pytest.mark.parametrize("name", BOARDS)
def test_files_are_complete_and_filled_in(name):
    target = device(name)
    files = support_files(target)
    assert set(files) == {f"startup_{target.core}.c", "ml_board.c", "ml_board.h", LINKER_SCRIPT}
    for file, text in files.items():
        assert not re.search(r"@[A-Z]+@", text), file
        assert text.startswith("/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */\n")
    for region in target.regions:
        line = f"ORIGIN = {region.start:#010x}, LENGTH = {region.bytes}"
        assert line in files[LINKER_SCRIPT]


def link(root, target, main: str, defines=()):
    for file, text in (support_files(target) | {"main.c": main}).items():
        (root / file).write_text(text)
    script = root / LINKER_SCRIPT
    find_toolchain(target).link_elf(sorted(root.glob("*.c")), [root], script, root / "out.elf", defines=defines)
    return root / "out.elf"


@pytest.mark.mcu
def test_external_regions_get_sections_of_their_own(tmp_path):
    board = device("stm32l4r5")
    extra = (
        Region(name="qspi", kind="flash", start=0x90000000, bytes=0x10000, external=True),
        Region(name="psram", kind="ram", start=0x60000000, bytes=0x10000, external=True),
    )
    target = board.model_copy(update={"regions": board.regions + extra})
    program = link(
        tmp_path,
        target,
        """
        #include "ml_board.h"
        __attribute__((section(".qspi.table"))) const volatile uint32_t table[4] = {1, 2, 3, 4};
        __attribute__((section(".psram"))) volatile uint32_t scratch[4];
        int main(void) { scratch[1] = table[2]; ml_write_u32(scratch[1]); ml_write("\\n"); return (int)table[3]; }
        """,
    )
    found = symbols(program)
    assert (found["table"].address, found["scratch"].address) == (0x90000000, 0x60000000)
    with Emulator(program, target) as emulator:
        result = emulator.boot()
    assert (result.output, result.exit_code) == ("3\n", 4)


@pytest.mark.mcu
def test_too_much_data_for_the_ram_is_the_linkers_error(tmp_path):
    main = "static volatile char much[%d]; int main(void) { much[1] = 1; return much[0]; }"
    target = device("nrf52840")
    link(tmp_path, target, main % (256 * 1024 - 512))
    with pytest.raises(ToolchainError, match="no room is left for the stack"):
        link(tmp_path, target, main % (256 * 1024 - 504))
    with pytest.raises(ToolchainError, match="ram"):
        link(tmp_path, target, main % (256 * 1024 + 8))


@pytest.mark.mcu
@pytest.mark.parametrize("name", ["nrf52840", "rp2040", "esp32c3"])
def test_memory_functions_and_numbers(tmp_path, name):
    program = link(
        tmp_path,
        device(name),
        """
        #include "ml_board.h"
        #include <stddef.h>
        void *memcpy(void *, const void *, size_t);
        void *memset(void *, int, size_t);
        void *memmove(void *, const void *, size_t);
        static uint8_t a[64], b[64];
        static int check(int from, int to, int n)
        {
            for (int i = 0; i < 64; i++) { a[i] = (uint8_t)(i * 7); b[i] = 0xEE; }
            memcpy(b + to, a + from, (size_t)n);
            for (int i = 0; i < 64; i++) {
                if (b[i] != (i >= to && i < to + n ? (uint8_t)((from + i - to) * 7) : 0xEE)) { return 1; }
            }
            memset(b + to, 0x1A5, (size_t)n);
            for (int i = 0; i < 64; i++) { if (b[i] != (i >= to && i < to + n ? 0xA5 : 0xEE)) { return 2; } }
            memmove(a + to, a + from, (size_t)n);
            for (int i = 0; i < n; i++) { if (a[to + i] != (uint8_t)((from + i) * 7)) { return 3; } }
            return 0;
        }
        int main(void)
        {
            for (int from = 0; from < 8; from++) {
                for (int to = 0; to < 8; to++) {
                    for (int n = 0; n < 40; n++) { if (check(from, to, n) != 0) { return check(from, to, n); } }
                }
            }
            ml_write_u32(0u); ml_write(" "); ml_write_u32(4294967295u);
            return 0;
        }
        """,
    )
    with Emulator(program, device(name)) as emulator:
        result = emulator.boot()
    assert (result.output, result.exit_code) == ("0 4294967295", 0)


@pytest.mark.mcu
def test_a_uart_can_take_the_place_of_the_debugger(tmp_path):
    program = link(
        tmp_path,
        device("nrf52840"),
        """
        #include "ml_board.h"
        void my_putc(char c);
        static char line[8];
        static int at;
        void my_putc(char c) { line[at++] = c; }
        static void semihost(uint32_t r0, const void *r1)
        {
            register uint32_t a __asm__("r0") = r0;
            register const void *b __asm__("r1") = r1;
            __asm__ volatile("bkpt 0xab" : "+r"(a) : "r"(b) : "memory");
        }
        int main(void) { ml_write("ab"); ml_write_u32(12u); semihost(4, line); return 3; }
        """,
        defines=["ML_PUTC=my_putc"],
    )
    with (
        Emulator(program, device("nrf52840"), time_limit_s=0.5) as emulator,
        pytest.raises(RunError, match=r"did not end within 0.5 s; in ml_exit"),
    ):
        emulator.boot()


@pytest.mark.mcu
def test_constants_of_a_flash_with_two_addresses_are_read_where_loads_find_them(tmp_path):
    target = device("esp32c3")
    main = """
        #include "ml_board.h"
        const volatile uint32_t table[3] = {5, 6, 7};
        volatile uint32_t initial = 11;
        int main(void) { return (int)(table[2] * initial); }
        """
    program = link(tmp_path, target, main)
    flash = target.regions[0]
    place = symbols(program)["table"].address
    assert flash.data_start < place < flash.data_start + flash.bytes
    written = dict(load_segments(program))
    physical = place - flash.data_start + flash.start
    start = max(address for address in written if address <= physical)
    assert written[start][physical - start :][:4] == (5).to_bytes(4, "little")
    assert sizes(program).flash == max(address + len(data) for address, data in written.items()) - flash.start
    with Emulator(program, target) as emulator:
        assert emulator.boot().exit_code == 77


@pytest.mark.mcu
def test_a_chips_cycle_counter_is_used_where_it_is_named(tmp_path):
    main = '#include "ml_board.h"\nint main(void) { ml_cycles_start(); return ml_cycles() != 0u; }'
    target = device("esp32c3")
    program = link(tmp_path, target, main, defines=["ML_CYCLE_CSR=0x7E2"])
    # Unicorn's core has no such register.
    with Emulator(program, target) as emulator, pytest.raises(RunError, match="illegal instruction"):
        emulator.boot()


def test_script_keeps_only_the_vector_table():
    for name in BOARDS:
        assert re.findall(r"KEEP\(.*\)", linker_script(device(name))) == ["KEEP(*(.vectors))"]

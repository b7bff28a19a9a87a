from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from microlith.core.errors import InputError, RunError, ToolchainError
from microlith.device.emulator import Emulator
from microlith.device.load import device

pytestmark = pytest.mark.mcu

ALL_CORES = ("nrf52840", "stm32f746", "stm32u575", "rp2040", "esp32c3")
LAYERS = ("demo_layer_0", "demo_layer_1")


@pytest.fixture(scope="module")
def elf(build_elf) -> Path:
    return build_elf("nrf52840")


@pytest.fixture(scope="module")
def riscv_elf(build_elf) -> Path:
    return build_elf("esp32c3")


@pytest.mark.parametrize("name", ALL_CORES)
def test_program_boots_and_infers_on_every_core(build_elf, name):
    with Emulator(build_elf(name), device(name)) as emulator:
        result = emulator.boot()
        assert (result.output, result.exit_code) == ("sum=56 cycles=0\n", 0)
        assert emulator.sizes() == ((2,), (4,))
        assert emulator.infer([bytes([0, 100])]) == [(5051).to_bytes(4, "little")]
        counts = emulator.infer_counted([bytes([0, 10])], LAYERS)
    assert counts.outputs == [(56).to_bytes(4, "little")]
    assert [(layer.symbol, layer.instructions, layer.entries) for layer in counts.layers] == [
        ("demo_layer_0", 33, 1),
        ("demo_layer_1", 8, 1),
    ]
    assert counts.instructions == 33 + 8 + counts.remainder_instructions
    assert (counts.cycles is not None) == (name == "nrf52840")


def test_cycles_follow_the_table(elf):
    with Emulator(elf, device("nrf52840")) as emulator:
        few, many = (emulator.infer_counted([bytes([0, n])], LAYERS) for n in (10, 11))
    first, second = few.layers
    # 33 instructions of one cycle; the loop branches back 9 times, and the return is a branch.
    assert first.cycles == 33 + 2 * 10
    # push of 2, sub, str, bl and what it calls, add, pop of 2: call, return and the pop into pc are branches.
    assert second.cycles == 3 + 1 + 1 + 1 + (1 + 1) + 1 + 3 + 2 * 3
    assert many.instructions - few.instructions == 3
    assert many.cycles - few.cycles == 5
    assert few.cycles == first.cycles + second.cycles + few.remainder_cycles
    assert few.remainder_cycles == many.remainder_cycles


def test_cycle_counter_tells_modelled_cycles(elf):
    with Emulator(elf, device("nrf52840")) as emulator:
        counts = emulator.infer_counted([bytes([0, 10])], LAYERS)
        line = emulator.boot(counted=True).output
    told = int(line.rpartition("=")[2])
    # The two readings and the call between them come on top of what mlrun_run takes.
    assert counts.cycles < told < counts.cycles + 30


def test_stack_high_water_mark_is_exact(build_elf):
    marks = []
    for frame in (64, 192):
        with Emulator(build_elf("nrf52840", frame=frame), device("nrf52840")) as emulator:
            marks.append(emulator.infer_counted([bytes([0, 3])], LAYERS).stack_bytes)
    assert marks[1] - marks[0] == 128
    assert 64 + 8 <= marks[0] < 64 + 8 + 64


def test_stack_and_counts_on_risc_v_are_exact(build_elf):
    marks = []
    for frame in (64, 192):
        with Emulator(build_elf("esp32c3", frame=frame), device("esp32c3")) as emulator:
            few, many = (emulator.infer_counted([bytes([0, n])], LAYERS) for n in (3, 13))
        marks.append(few.stack_bytes)
        assert many.instructions - few.instructions == 3 * 10
    assert marks[1] - marks[0] == 128


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (1, "read from 0x40000000 (4 bytes), which is not memory of nrf52840"),
        (2, "where it may not"),
        (4, "execute 0x60000000"),
        (5, "the stack grew over all of the"),
        (6, "Invalid instruction"),
    ],
)
@pytest.mark.parametrize("counted", [False, True])
def test_fault_names_the_layer(elf, command, message, counted):
    with Emulator(elf, device("nrf52840")) as emulator:
        run = partial(emulator.infer_counted, layers=("demo_layer_2",)) if counted else emulator.infer
        with pytest.raises(RunError) as caught:
            run([bytes([command, 0])])
    assert message in caught.value.what
    assert "in layer demo_layer_2" in caught.value.what
    assert caught.value.node == "demo_layer_2"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (1, "read from 0x40000000 (4 bytes), which is not memory of esp32c3"),
        (2, "write to 0x42"),
        (4, "execute 0x60000000"),
        (5, "the stack grew over all of the"),
        (6, "exception 2 (illegal instruction)"),
    ],
)
def test_fault_on_risc_v_names_the_layer(riscv_elf, command, message):
    with Emulator(riscv_elf, device("esp32c3")) as emulator, pytest.raises(RunError) as caught:
        emulator.infer([bytes([command, 0])])
    assert message in caught.value.what
    assert caught.value.node == "demo_layer_2"


def test_fault_outside_a_layer_names_none_and_the_worker_goes_on(build_elf):
    runner = "#include <stdint.h>\nint32_t mlrun_run(void) { return *(volatile int32_t *)0x50000000; }\n"
    rest = """
    static uint8_t memory[8];
    uint32_t mlrun_arena_bytes(void) { return 8; }
    uint32_t mlrun_inputs(void) { return 1; }
    uint32_t mlrun_outputs(void) { return 1; }
    uint32_t mlrun_input_bytes(uint32_t i) { return i + 1; }
    uint32_t mlrun_output_bytes(uint32_t i) { return i + 1; }
    int32_t mlrun_init(void *arena, uint32_t bytes) { return arena == 0 || bytes == 0; }
    void *mlrun_input(uint32_t i) { return memory + i; }
    void *mlrun_output(uint32_t i) { return memory + i; }
    """
    program = build_elf("nrf52840", runner=runner + rest, layers="typedef int nothing;\n")
    with Emulator(program, device("nrf52840")) as emulator:
        for _ in range(2):
            with pytest.raises(RunError, match="in mlrun_run at 0x") as caught:
                emulator.infer([b"\0"])
            assert caught.value.node is None


def test_a_stack_that_reaches_the_variables_is_an_error_although_nothing_faults(elf):
    with Emulator(elf, device("nrf52840")) as emulator, pytest.raises(RunError, match="the stack grew over all of the"):
        emulator.infer([bytes([7, 0])])


@pytest.mark.parametrize(("name", "faults"), [("nrf52840", {8}), ("rp2040", {8, 10}), ("esp32c3", {8, 10})])
def test_misaligned_access_is_refused_where_the_core_would_fault(build_elf, name, faults):
    with Emulator(build_elf(name), device(name)) as emulator:
        for command in (0, 8, 10):
            run = partial(emulator.infer_counted, [bytes([command, 5])], ("demo_layer_2",), check_alignment=True)
            if command in faults:
                with pytest.raises(RunError, match=r"not a multiple of [24], in layer demo_layer_2") as caught:
                    run()
                assert ("in misaligned" in caught.value.what) == (command == 8)
            else:
                assert run().outputs == emulator.infer([bytes([command, 5])])


def test_endless_loop_ends_at_the_time_limit(elf):
    with Emulator(elf, device("nrf52840"), time_limit_s=0.3) as emulator:
        with pytest.raises(RunError, match=r"did not end within 0.3 s, in layer demo_layer_2"):
            emulator.infer([bytes([3, 0])])
        assert emulator.infer([bytes([0, 1])]) == [(2).to_bytes(4, "little")]


def test_failed_run_and_wrong_inputs_are_refused(elf):
    with Emulator(elf, device("nrf52840")) as emulator:
        with pytest.raises(RunError, match="mlrun_run returned -7"):
            emulator.infer([bytes([9, 0])])
        with pytest.raises(InputError, match=r"inputs of \[3\] bytes were given, and the program takes \[2\]"):
            emulator.infer([b"abc"])
        with pytest.raises(RunError, match="no symbol nothing_layer_0"):
            emulator.infer_counted([bytes(2)], ("nothing_layer_0",))
        many = emulator.infer_many([[bytes([0, n])] for n in range(1, 20)])
    assert [int.from_bytes(out[0], "little") for out in many] == [n * (n + 1) // 2 + 1 for n in range(1, 20)]


def test_counts_do_not_depend_on_what_ran_before(elf):
    with Emulator(elf, device("nrf52840")) as emulator:
        first = emulator.infer_counted([bytes([0, 9])], LAYERS)
        emulator.infer([bytes([0, 200])])
        emulator.boot()
        assert emulator.infer_counted([bytes([0, 9])], LAYERS) == first


def test_a_killed_worker_is_an_error_and_closing_ends_it(elf):
    emulator = Emulator(elf, device("nrf52840"))
    process = emulator._worker._process
    process.kill()
    with pytest.raises(RunError, match="its process was ended by SIGKILL"):
        emulator.boot()
    with pytest.raises(RunError, match="has ended already"):
        emulator.boot()
    with Emulator(elf, device("nrf52840")) as emulator:
        process = emulator._worker._process
        assert process.poll() is None
    assert process.poll() is not None


def test_worker_ends_with_its_parent(elf):
    script = (
        "import os, sys; from pathlib import Path; from microlith.device.load import device\n"
        "from microlith.device.emulator import Emulator\n"
        f"emulator = Emulator(Path({str(elf)!r}), device('nrf52840'))\n"
        "print(emulator._worker._process.pid, flush=True); os._exit(0)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    status = Path(f"/proc/{int(done.stdout)}/status")
    for _ in range(100):
        if not status.exists() or "\nState:\tZ" in status.read_text():
            return
        subprocess.run(["sleep", "0.05"], check=True)
    pytest.fail("the worker is still there 5 s after its parent ended")


def test_main_process_does_not_import_unicorn(elf):
    script = (
        "import sys; from pathlib import Path; from microlith.device.load import device\n"
        "from microlith.device.emulator import Emulator\n"
        f"with Emulator(Path({str(elf)!r}), device('nrf52840')) as emulator:\n"
        "    emulator.boot(); emulator.infer_counted([bytes([0, 3])], ('demo_layer_0',))\n"
        "print([name for name in sys.modules if name.startswith(('unicorn', 'capstone'))])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_program_for_another_device_is_refused(elf):
    with (
        Emulator(elf, device("stm32l4r5")) as emulator,
        pytest.raises(RunError, match="0x00000000, which is not memory of stm32l4r5"),
    ):
        emulator.boot()


def test_host_is_refused(elf):
    with pytest.raises(ToolchainError, match="not emulated"):
        Emulator(elf, device("host"))


def test_missing_packages_are_refused_with_the_command(elf, monkeypatch):
    monkeypatch.setattr("microlith.device.elf.importlib.util.find_spec", lambda _name: None)
    with pytest.raises(ToolchainError) as caught:
        Emulator(elf, device("nrf52840"))
    assert 'pip install "microlith[mcu]"' in str(caught.value)

"""What of running on QEMU needs no QEMU: its absence, memory that it has not, and the protocol of its debugger."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from microlith.core.errors import RunError, TimeLimitError, ToolchainError
from microlith.device import qemu_machine
from microlith.device.emulator import Emulator
from microlith.device.gdb_link import Ended, GdbLink
from microlith.device.load import device
from microlith.device.profile import Region
from microlith.device.qemu_machine import require_qemu


def test_without_qemu_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolchainError, match="qemu-system-arm, which emulates a cortex-m55") as caught:
        Emulator(tmp_path / "program.elf", device("mps3-an547"))
    assert caught.value.hint is not None
    assert "apt-get install qemu-system-arm" in caught.value.hint


def test_memory_that_the_board_has_not_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qemu_machine.shutil, "which", lambda _: "qemu")
    board = device("mps3-an547")
    require_qemu(board)
    beyond = Region(name="ram", kind="ram", start=0x20000000, bytes=0x80001)
    with pytest.raises(ToolchainError, match="'ram' at 0x20000000"):
        require_qemu(board.model_copy(update={"regions": (board.regions[0], beyond)}))


def packet(body: str) -> bytes:
    return f"${body}#{sum(body.encode()) % 256:02x}".encode()


@contextmanager
def stub(directory: Path, answer: Callable[[str], list[bytes]]) -> Iterator[GdbLink]:
    """A debugger's stub that answers each packet with these bytes."""
    path = directory / "gdb"
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(str(path))
    server.listen(1)

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            data = b""
            while part := connection.recv(4096):
                data = (data + part).replace(b"+", b"")
                while len(data) > (end := data.find(b"#")) + 2 and end > 0:
                    body, data = data[1:end].decode(), data[end + 3 :]
                    for piece in [packet("l<target/>")] if body.startswith("qXfer") else answer(body):
                        connection.sendall(piece)
                        time.sleep(0.01)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    link = GdbLink(path, time.monotonic() + 5)
    try:
        yield link
    finally:
        link.close()
        thread.join(5)
        server.close()
    assert not thread.is_alive()


def test_memory_and_registers_go_in_packets_that_may_come_in_pieces(tmp_path: Path) -> None:
    asked: list[str] = []

    def answer(body: str) -> list[bytes]:
        asked.append(body)
        if body.startswith("m"):
            size = int(body.partition(",")[2], 16)
            whole = b"+" + packet("5a" * size)
            return [whole[:5], whole[5:]]
        return [b"+" + packet("78563412" if body.startswith("p") else "OK")]

    with stub(tmp_path, answer) as link:
        assert link.read(0x20000000, 1500) == b"\x5a" * 1500
        link.write(0x10, b"\x01\xff")
        assert link.register(15) == 0x12345678
        link.set_register(14, 0x21)
        link.set_breakpoint(0x44)
        link.clear_breakpoint(0x44)
    assert asked[:2] == ["m20000000,400", "m20000400,1dc"]
    assert asked[2:] == ["M10,2:01ff", "pf", "Pe=21000000", "Z0,44,2", "z0,44,2"]


def test_what_the_stub_refuses_is_an_error(tmp_path: Path) -> None:
    with stub(tmp_path, lambda _: [packet("E14")]) as link:
        with pytest.raises(RunError, match="refused 'm0,4' of its debugger: E14"):
            link.read(0, 4)
        with pytest.raises(RunError, match="refused 'info replay'"):
            link.monitor("info replay")


def test_the_monitor_answers_in_several_packets(tmp_path: Path) -> None:
    said = [packet("O" + text.encode().hex()) for text in ("instruction ", "count = 7")]
    with stub(tmp_path, lambda _: [*said, packet("OK")]) as link:
        assert link.monitor("info replay") == "instruction count = 7"


def test_a_program_that_does_not_stop_is_late(tmp_path: Path) -> None:
    with stub(tmp_path, lambda _: []) as link, pytest.raises(TimeLimitError):
        link.resume(time.monotonic() + 0.05)


def test_the_end_of_the_program_is_told(tmp_path: Path) -> None:
    with stub(tmp_path, lambda _: [packet("W03")]) as link, pytest.raises(Ended):
        link.resume(time.monotonic() + 5)

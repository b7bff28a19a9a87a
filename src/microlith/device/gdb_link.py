"""The remote serial protocol of GDB, as far as running a program in QEMU needs it.

Source: "GDB Remote Serial Protocol", appendix E of Debugging with GDB.
"""

from __future__ import annotations

import socket
import time
from pathlib import Path

from microlith.core.errors import RunError, TimeLimitError

_CHUNK_BYTES = 1024
PC, LR, SP = 15, 14, 13


class Ended(Exception):
    """The other end closed the connection or says that the program is over."""


class GdbLink:
    """A connection to the debugger's stub of an emulator.

    Args:
        path: of the socket.
        deadline: by ``time.monotonic``, to connect.
    """

    def __init__(self, path: Path, deadline: float) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._pending = b""
        while True:
            try:
                self._socket.connect(str(path))
                # QEMU serves single registers only to a debugger that has asked what registers there are.
                self._checked("qXfer:features:read:target.xml:0,800")
                return
            except (FileNotFoundError, ConnectionRefusedError):
                if time.monotonic() > deadline:
                    self._socket.close()
                    raise Ended from None
                time.sleep(0.005)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def read(self, address: int, count: int) -> bytes:
        """Bytes of memory."""
        parts = []
        for start in range(0, count, _CHUNK_BYTES):
            size = min(_CHUNK_BYTES, count - start)
            data = bytes.fromhex(self._checked(f"m{address + start:x},{size:x}"))
            if len(data) != size:
                raise RunError(f"the emulated board has no memory at {address + start:#010x}")
            parts.append(data)
        return b"".join(parts)

    def write(self, address: int, data: bytes) -> None:
        """Set bytes of memory."""
        for start in range(0, len(data), _CHUNK_BYTES):
            part = data[start : start + _CHUNK_BYTES]
            self._checked(f"M{address + start:x},{len(part):x}:{part.hex()}")

    def register(self, number: int) -> int:
        """A core register."""
        value = bytes.fromhex(self._checked(f"p{number:x}"))
        assert len(value) == 4, "a core register has 32 bits"
        return int.from_bytes(value, "little")

    def set_register(self, number: int, value: int) -> None:
        """Set a core register."""
        self._checked(f"P{number:x}={value.to_bytes(4, 'little').hex()}")

    def set_breakpoint(self, address: int) -> None:
        """Stop before the instruction at an address."""
        self._checked(f"Z0,{address:x},2")

    def clear_breakpoint(self, address: int) -> None:
        """Take the breakpoint away."""
        self._checked(f"z0,{address:x},2")

    def resume(self, deadline: float) -> None:
        """Run until something stops the program.

        Raises:
            TimeLimitError: nothing did by then; the program runs on, and QEMU is of no more use.
            Ended: it is over.
        """
        self._send("c")
        try:
            self._stopped(deadline)
        except TimeoutError:
            raise TimeLimitError("the program did not end in time") from None

    def monitor(self, command: str) -> str:
        """What QEMU's monitor answers."""
        self._send(f"qRcmd,{command.encode().hex()}")
        said = b""
        while (answer := self._receive(time.monotonic() + 10)) != "OK":
            if not answer.startswith("O"):
                raise RunError(f"QEMU refused {command!r}: {answer}")
            said += bytes.fromhex(answer[1:])
        return said.decode()

    def _stopped(self, deadline: float) -> None:
        answer = self._receive(deadline)
        if not answer.startswith(("T", "S")):
            raise Ended

    def _checked(self, command: str) -> str:
        self._send(command)
        answer = self._receive(time.monotonic() + 10)
        if answer.startswith("E"):
            raise RunError(f"QEMU refused {command[:24]!r} of its debugger: {answer}")
        return answer

    def _send(self, command: str) -> None:
        data = command.encode()
        try:
            self._socket.sendall(b"$%s#%02x" % (data, sum(data) % 256))
        except OSError:
            raise Ended from None

    def _receive(self, deadline: float) -> str:
        """The next packet; acknowledgements are passed over."""
        while True:
            start = self._pending.find(b"$")
            end = self._pending.find(b"#", start)
            if start >= 0 and end >= 0 and len(self._pending) >= end + 3:
                body, self._pending = self._pending[start + 1 : end], self._pending[end + 3 :]
                self._acknowledge()
                return body.decode("latin-1")
            self._fill(deadline)

    def _fill(self, deadline: float) -> None:
        self._socket.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            part = self._socket.recv(1 << 16)
        except TimeoutError:
            raise
        except OSError:
            raise Ended from None
        if not part:
            raise Ended
        self._pending += part

    def _acknowledge(self) -> None:
        try:
            self._socket.sendall(b"+")
        except OSError:
            raise Ended from None

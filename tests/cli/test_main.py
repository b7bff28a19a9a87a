"""Exit codes and what becomes of errors and interruptions, in processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from cli.running import Inputs
from microlith.cli import commands, main
from microlith.cli.scratch import scratch
from microlith.core.errors import ExitCode, InputError

COMMAND = [sys.executable, "-m", "microlith.cli.main"]


def test_a_bug_is_called_one(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(main, "_invoke", lambda arguments: [][1])
    with pytest.raises(SystemExit) as ended:
        main.run([])
    assert ended.value.code == ExitCode.BUG
    err = capsys.readouterr().err
    assert "IndexError" in err
    assert err.splitlines()[-1].startswith("microlith: this is a bug")


def test_a_full_disk_is_none(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def full(arguments: list[str]) -> None:
        raise OSError(28, "No space left on device", "scratch")

    monkeypatch.setattr(main, "_invoke", full)
    with pytest.raises(SystemExit) as ended:
        main.run([])
    assert ended.value.code == ExitCode.USER
    assert capsys.readouterr().err == "microlith: the system refuses: No space left on device: scratch\n"


def test_control_characters_of_a_file_do_not_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main.run(["check", "a\x1b[31m.onnx", "--device", "host"])
    err = capsys.readouterr().err
    assert "\x1b" not in err
    assert "\\x1b[31m" in err


def test_a_reader_that_has_seen_enough() -> None:
    with subprocess.Popen([*COMMAND, "devices", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0


def test_a_terminal_that_has_no_such_characters() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([*COMMAND, "devices"], env=environment, capture_output=True)
    assert done.returncode == 0
    assert b"nrf52840" in done.stdout
    assert done.stderr == b""


def test_temporary_files_are_gone_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        with scratch():
            tempfile.mkdtemp()
            assert len(list(tmp_path.glob("*/*"))) == 1
            raise KeyboardInterrupt

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert tempfile.tempdir == str(tmp_path)
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(InputError, match="no place for temporary files"), scratch():
        raise AssertionError("the block must not run")


def children(pid: int) -> set[int]:
    """Processes that live and descend from this one."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name, in parentheses, may hold anything; the parent is the second field after it.
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if fields[0] != "Z":
            parents[int(stat.parent.name)] = int(fields[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


@pytest.mark.mcu
@pytest.mark.parametrize("moment", ["calibrate", "verify C on this machine"])
def test_interrupted(inputs: Inputs, tmp_path: Path, moment: str) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    words = ["--device", "nrf52840", "--data", inputs.data, "--calibration", "20", "--selection", "30", "-o", "out"]
    # Progress is a line when a step has ended; the step after this one is then under way.
    process = subprocess.Popen(
        [*COMMAND, "optimize", inputs.model, *words, "--flash", "64K", "--no-resume"],
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stderr is not None and process.stdout is not None
        for line in process.stderr:
            if line.startswith(moment):
                break
        born = children(process.pid)
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
        assert process.wait() == ExitCode.INTERRUPTED, said
        assert process.stdout.read() == ""
    assert said.splitlines()[-1].startswith("microlith: interrupted")
    assert "Traceback" not in said
    deadline = time.monotonic() + 10
    while (left := [pid for pid in born if Path(f"/proc/{pid}").exists()]) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left
    assert not (tmp_path / "out").exists()
    assert not list(temporary.iterdir())
    assert [path.name for path in tmp_path.iterdir()] == ["temporary"]


def test_every_command_is_listed() -> None:
    names = {command.name or command.callback.__name__ for command in commands.app.registered_commands}  # type: ignore[union-attr]
    assert names | {group.name for group in commands.app.registered_groups} == set(commands.ORDER)

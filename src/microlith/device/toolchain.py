"""C compilers: finding one for a device, and building a shared library or an ELF file with it."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Literal

from microlith.core.errors import ToolchainError
from microlith.device import build_cache
from microlith.device.compiler_flags import ARITHMETIC, FREESTANDING, SECTIONS, Family, target_flags
from microlith.device.profile import Device

Optimization = Literal["-O0", "-O2", "-O3", "-Os"]

ZIG_HINT = 'Install one with: pip install "microlith[zig]"'
_TIMEOUT_S = 900
_MESSAGE_LINES = 12


@dataclass(frozen=True)
class Toolchain:
    """A compiler set up for one device.

    Attributes:
        name: of the compiler, such as ``zig cc``; no path.
        version: of the compiler.
        command: how it is started.
        family: whose flags it takes.
        device: what it compiles for.
        opt: optimization level.
        use_cache: whether results are kept by content; zig keeps its own run-time libraries in any case.
    """

    name: str
    version: str
    command: tuple[str, ...]
    family: Family
    device: Device
    opt: Optimization = "-O2"
    use_cache: bool = True

    @property
    def compile_flags(self) -> tuple[str, ...]:
        """Flags of every translation unit."""
        where = () if self.device.is_host else (*SECTIONS, *FREESTANDING)
        return (*target_flags(self.device, self.family), self.opt, *ARITHMETIC, *where)

    @property
    def link_flags(self) -> tuple[str, ...]:
        """Flags of the link, without the linker script."""
        if self.device.is_host:
            return ("-shared", "-fPIC")
        libraries = ("-nostdlib", "-lgcc") if self.family == "gcc" else ()
        return ("-Wl,--gc-sections", "-Wl,--build-id=none", *libraries)

    @property
    def flags(self) -> str:
        """All flags as one text for evidence; it holds no path."""
        return " ".join((*self.compile_flags, *self._check_flags(False), *self.link_flags))

    @property
    def title(self) -> str:
        """Name and version."""
        return f"{self.name} {self.version}"

    def compile_shared(
        self,
        sources: Sequence[Path],
        include_dirs: Sequence[Path],
        out: Path,
        *,
        defines: Sequence[str] = (),
        sanitize: bool = False,
    ) -> None:
        """Build a shared library for the host.

        Args:
            sources: C files.
            include_dirs: searched in order.
            out: the library to write.
            defines: ``NAME`` or ``NAME=VALUE``.
            sanitize: let undefined behaviour end the program, with a message on stderr unless the compiler is a
                plain clang.

        Raises:
            ToolchainError: the compiler refused the sources; the message holds the first of its lines.
        """
        if not self.device.is_host:
            raise ToolchainError(f"a shared library was asked for, but the toolchain is for {self.device.name}")
        self._build(
            sources,
            include_dirs,
            out,
            (*_defines(defines), *self._check_flags(sanitize), *self.link_flags),
            (),
        )

    def link_elf(
        self,
        sources: Sequence[Path],
        include_dirs: Sequence[Path],
        script: Path,
        out: Path,
        *,
        defines: Sequence[str] = (),
        keep: Sequence[str] = (),
    ) -> None:
        """Build an ELF file for the device; sections that nothing needs are dropped.

        Args:
            sources: C files.
            include_dirs: searched in order.
            script: linker script.
            out: the ELF file to write.
            defines: ``NAME`` or ``NAME=VALUE``.
            keep: symbols that stay although nothing calls them.

        Raises:
            ToolchainError: the compiler or the linker refused; the message holds the first of its lines.
        """
        if self.device.is_host:
            raise ToolchainError("an ELF file for a microcontroller was asked for, but the toolchain is for the host")
        keeps = tuple(f"-Wl,-u,{symbol}" for symbol in keep)
        extra = (*_defines(defines), *keeps, *self._check_flags(False), *self.link_flags)
        self._build(sources, include_dirs, out, extra, (script,))

    def _check_flags(self, sanitize: bool) -> tuple[str, ...]:
        if sanitize:
            # clang does not link its run time into a shared library: a trap (SIGILL) has to do instead of a message.
            how = "-fsanitize-trap=undefined" if self.family == "clang" else "-fno-sanitize-recover=all"
            return ("-fsanitize=undefined", how)
        # zig checks by default where others do not.
        return ("-fno-sanitize=all",) if self.family == "zig" else ()

    def _build(
        self,
        sources: Sequence[Path],
        include_dirs: Sequence[Path],
        out: Path,
        extra: tuple[str, ...],
        scripts: tuple[Path, ...],
    ) -> None:
        for path in (*sources, *include_dirs, *scripts):
            if not path.exists():
                raise ToolchainError(f"{path} was to be compiled and is not there")

        def build(target: Path) -> None:
            arguments = [*self.compile_flags, *(f"-I{path}" for path in include_dirs), *map(str, sources)]
            arguments += [*extra, *(f"-Wl,-T,{path}" for path in scripts), "-o", str(target)]
            _run([*self.command, *arguments], self.title)

        if self.use_cache:
            words = (self.name, self.version, *self.compile_flags, *extra)
            build_cache.cached(build_cache.content_key(words, (*sources, *scripts), include_dirs), out, build)
        else:
            build_cache.fresh(out, build)


def find_toolchain(
    device: Device, compiler: str | None = None, *, opt: Optimization = "-O2", use_cache: bool = True
) -> Toolchain:
    """The compiler to use for a device: zig's, or the one asked for.

    Args:
        device: what to compile for.
        compiler: ``zig``, or the name or path of a gcc or clang; None takes zig.
        opt: optimization level.
        use_cache: keep results by content.

    Raises:
        ToolchainError: it is not installed, or cannot build for this device; the hint says what to do.
    """
    if compiler is None or compiler == "zig":
        command, family, name, version = _zig(compiler)
    else:
        command, family, name, version = _named(compiler)
        if family == "gcc" and _compiles_for(name) != _architecture(device):
            wanted = "this machine" if device.is_host else f"bare-metal {_architecture(device)}"
            raise ToolchainError(
                f"{name} does not compile for {wanted}, which {device.name} needs",
                hint=f"Use zig cc, which does. {ZIG_HINT}",
            )
    found = Toolchain(name, version, command, family, device, opt, use_cache)
    target_flags(device, family)
    return found


def _compiles_for(name: str) -> str:
    """The architecture of a gcc, by the target that its name begins with."""
    if name.endswith("-none-eabi-gcc"):
        return "Arm"
    return "RISC-V" if name.startswith("riscv") and name.endswith("-elf-gcc") else "host"


def _architecture(device: Device) -> str:
    if device.is_host:
        return "host"
    return "RISC-V" if device.is_riscv else "Arm"


_Found = tuple[tuple[str, ...], Family, str, str]


def _zig(asked: str | None) -> _Found:
    spec = importlib.util.find_spec("ziglang")
    if spec is None:
        what = "zig cc was asked for and is not installed" if asked else "there is no C compiler that can be used"
        raise ToolchainError(
            what, hint=f'{ZIG_HINT}; or name one that you have, such as compiler="cc" or "arm-none-eabi-gcc".'
        )
    # What ``python -m ziglang`` runs; without Python in between it starts in half the time.
    program = next(
        (path for place in spec.submodule_search_locations or () if (path := Path(place) / "zig").is_file()), None
    )
    command = (sys.executable, "-m", "ziglang", "cc") if program is None else (str(program), "cc")
    clang = _version(command)
    return command, "zig", "zig cc", f"{metadata.version('ziglang')} (clang {clang})"


def _named(compiler: str) -> _Found:
    path = shutil.which(compiler)
    if path is None:
        raise ToolchainError(f"the compiler {compiler!r} was asked for and is not there", hint=ZIG_HINT)
    banner = _banner((path,))
    name = Path(path).name
    family: Family = "clang" if "clang" in banner else "gcc"
    return (path,), family, name, _version((path,))


@lru_cache(maxsize=16)
def _banner(command: tuple[str, ...]) -> str:
    return _run([*command, "--version"], command[-1]).partition("\n")[0]


def _version(command: tuple[str, ...]) -> str:
    banner = _banner(command)
    match = re.search(r"\b\d+\.\d+(\.\d+)?\b", re.sub(r"\([^)]*\)", "", banner))
    if match is None:
        raise ToolchainError(f"cannot read a version from {banner!r}", hint=ZIG_HINT)
    return match[0]


def _defines(defines: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"-D{define}" for define in defines)


def _run(command: Sequence[str], title: str) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", env=_environment(), timeout=_TIMEOUT_S
        )
    except OSError as error:
        raise ToolchainError(f"{title} cannot be started: {error.strerror}", hint=ZIG_HINT) from error
    except subprocess.TimeoutExpired as error:
        raise ToolchainError(f"{title} did not end within {_TIMEOUT_S} s") from error
    if done.returncode != 0:
        raise ToolchainError(f"{title} refused the sources:\n{_first_lines(done.stderr or done.stdout)}")
    return done.stdout


def _environment() -> Mapping[str, str]:
    directories = {
        "ZIG_GLOBAL_CACHE_DIR": str(build_cache.cache_directory() / "zig"),
        "ZIG_LOCAL_CACHE_DIR": str(build_cache.object_directory()),
    }
    return {**os.environ, **directories, "LC_ALL": "C"}


def _first_lines(message: str) -> str:
    lines = [line for line in message.splitlines() if line.strip()]
    start = next((index for index, line in enumerate(lines) if "error" in line), 0)
    shown = lines[start : start + _MESSAGE_LINES]
    rest = len(lines) - start - len(shown)
    return "\n".join((*shown, f"... and {rest} more lines") if rest > 0 else shown)

"""The wheel holds every file that the package reads, and the tree holds nothing that only one machine has."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"
WRITTEN = (SOURCE, *(ROOT / name for name in ("tests", "docs", "examples", ".ci")))
MACHINE_PATH = re.compile(r"(?:^|[^\w.])/(?:work|root|tmp|opt)/\w")
EMITTED_SPDX = "/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */"


def files(top: Path) -> list[Path]:
    """Files of a directory that somebody wrote, sorted."""
    found = (path for path in top.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return sorted(path for path in found if not any(part.endswith("_cache") for part in path.parts))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, freshly built."""
    place = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", place], cwd=ROOT, check=True)
    (path,) = place.glob("*.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    packaged = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert packaged == {path.relative_to(SOURCE).as_posix() for path in files(SOURCE)}


@pytest.mark.parametrize(
    "pattern",
    [
        "microlith/py.typed",
        r"microlith/kernels/c/.+\.h",
        r"microlith/device/profiles/nrf52840\.toml",
        r"microlith/compile/templates/.+",
        r"microlith/report/.+\.(j2|html)",
        "microlith/cli/demo_data/(model.onnx|images.npz|LICENSE-fashion-mnist.txt)",
    ],
)
def test_the_wheel_holds_what_is_read_at_run_time(wheel, pattern):
    assert [name for name in wheel.namelist() if re.fullmatch(pattern, name)]


def test_the_wheel_carries_its_licenses_and_the_command(wheel):
    names = {name.split(".dist-info/")[1] for name in wheel.namelist() if ".dist-info/" in name}
    assert {"licenses/LICENSE", "licenses/LICENSES/MIT-0.txt"} <= names
    (entry_points,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    assert "microlith = microlith.cli.main:run" in wheel.read(entry_points).decode()


def test_everything_emitted_or_copied_into_firmware_states_its_license():
    headers = [path for path in files(SOURCE) if path.suffix in {".h", ".c"}]
    assert headers
    assert [path.name for path in headers if path.read_text().splitlines()[0] != EMITTED_SPDX] == []


def test_no_file_names_a_place_of_one_machine():
    named = []
    for path in (*(path for top in WRITTEN for path in files(top)), *filter(Path.is_file, ROOT.iterdir())):
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        named += [f"{path.relative_to(ROOT)}: {line}" for line in text.splitlines() if MACHINE_PATH.search(line)]
    assert named == []

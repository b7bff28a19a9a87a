from __future__ import annotations

import pytest

from microlith.core.errors import InputError, RunError
from microlith.device.host import HostRunner


@pytest.fixture(scope="module")
def library(build_library):
    return build_library()


def test_infers_one_and_many(library):
    with HostRunner(library) as run:
        assert run.sizes() == ((2,), (4,))
        assert run.infer([bytes([0, 10])]) == [(56).to_bytes(4, "little")]
        many = run.infer_many([[bytes([0, n])] for n in range(50)])
        assert run.infer_many([]) == []
    assert [int.from_bytes(out[0], "little") for out in many] == [n * (n + 1) // 2 + 1 for n in range(50)]


def test_measures_each_repeat(library):
    with HostRunner(library) as run:
        times = run.measure([bytes([0, 10])], 20)
    assert len(times) == 20
    assert all(0 < seconds < 0.1 for seconds in times)


def test_an_overrun_of_the_arena_is_a_crash_with_a_message(library):
    with HostRunner(library) as run, pytest.raises(RunError, match="its process was ended by SIGSEGV"):
        run.infer([bytes([1, 0])])


@pytest.mark.parametrize(("command", "side"), [(2, "after the end"), (4, "before the start")])
def test_a_small_overrun_is_seen_in_the_pattern_around_the_arena(library, command, side):
    with HostRunner(library) as run, pytest.raises(RunError, match=side):
        run.infer([bytes([command, 0])])


def test_an_endless_loop_ends_at_the_time_limit(library, monkeypatch):
    monkeypatch.setattr("microlith.device.worker_process._GRACE_S", 0.1)
    with HostRunner(library, time_limit_s=0.5) as run, pytest.raises(RunError, match="did not end within"):
        run.infer([bytes([3, 0])])


def test_undefined_behaviour_is_reported_where_it_happened(build_library):
    with HostRunner(build_library(sanitize=True)) as run:
        assert run.infer([bytes([0, 3])]) == [(7).to_bytes(4, "little")]
        with pytest.raises(RunError, match=r"undefined behaviour(.|\n)*signed integer overflow(.|\n)*layers\.c"):
            run.infer([bytes([5, 0])])


def test_failed_run_and_wrong_inputs_are_refused(library):
    with HostRunner(library) as run:
        with pytest.raises(RunError, match="mlrun_run returned -7"):
            run.infer([bytes([9, 0])])
        with pytest.raises(InputError, match=r"inputs of \[1\] bytes were given, and the program takes \[2\]"):
            run.infer([b"a"])
        with pytest.raises(InputError, match="inputs, expected one number"):
            run.infer_many([[b"ab"], [b"ab", b"ab"]])
        assert run.infer([bytes([0, 1])]) == [(2).to_bytes(4, "little")]


def test_what_is_no_library_is_refused(tmp_path, build_library):
    with pytest.raises(InputError, match="there is no library"):
        HostRunner(tmp_path / "none.so")
    (tmp_path / "text.so").write_text("no library")
    with pytest.raises(RunError, match="cannot be loaded"):
        HostRunner(tmp_path / "text.so")
    with pytest.raises(RunError, match="mlrun_"):
        HostRunner(build_library(runner="int nothing;\n", layers="int at_all;\n"))
    failing = "#include <stdint.h>\nint32_t mlrun_init(void *a, uint32_t n) { (void)a; (void)n; return 4; }\n"
    rest = "\n".join(
        f"uint32_t mlrun_{name}(uint32_t i) {{ (void)i; return 0; }}"
        for name in ("arena_bytes", "inputs", "outputs", "input_bytes", "output_bytes", "input", "output", "run")
    )
    with pytest.raises(RunError, match="mlrun_init returned 4"):
        HostRunner(build_library(runner=failing + rest, layers="int at_all;\n"))

"""What goes wrong on a device or with its memory, in the simulator and through Apple's host code: Python exceptions
that name the operation; what was computed stays readable, and the next evaluation works.

Each program runs in a process of its own. `MLX_METAL_SIMULATOR_INJECT` lets the n-th command buffer fail, which also
proves that there were so many.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from simulated import DEVICES, environment

BEGIN = """
import gc
import threading
import time
import mlx.core as mx
import numpy as np
assert mx.default_device() == mx.gpu
x = mx.array([1.0, 2.0, 3.0])
before = mx.negative(x)
mx.eval(before)

def error_of(f, kind=RuntimeError):
    try:
        f()
    except kind as error:
        return str(error)
    raise SystemExit("no error")

# Reads its input when it has counted for a while.
slow = mx.fast.metal_kernel("slow", ["x"], ["y"], '''
    uint i = thread_position_in_grid.x;
    volatile uint count = 0;
    if (i == 0) for (uint k = 0; k < 500000000; ++k) count = count + 1;
    y[i] = x[i];
''')
def run(kernel, x, n):
    like_x = {"output_shapes": [x.shape], "output_dtypes": [x.dtype]}
    return kernel(inputs=[x], grid=(n, 1, 1), threadgroup=(min(n, 64), 1, 1), **like_x)[0]
def slowly(x):
    return run(slow, x, x.size)

beyond = mx.fast.metal_kernel("beyond", ["x"], ["y"], "y[thread_position_in_grid.x + 100000000] = x[0];")
def faulty(x):
    return run(beyond, x, 3)
"""
END = """
assert before.tolist() == [-1, -2, -3]
assert mx.floor(x * 1.5).tolist() == [1, 3, 4]
print("as expected")
"""


def run(device: str, program: str, **more: str) -> None:
    command = [sys.executable, "-c", BEGIN + program + END]
    env = environment(device, **more)
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0 and done.stdout == "as expected\n", done.stdout + done.stderr


pytestmark = pytest.mark.parametrize("device", DEVICES)


@pytest.mark.parametrize(("fault", "expected"), [("timeout:2", "time"), ("queue:2", "queue is dead")])
def test_a_device_that_fails_as_a_whole(device, fault, expected):
    program = f"""
failed = mx.floor(x * 1.5)
for _ in range(2):
    error = error_of(lambda: mx.eval(failed))
    assert "floor" in error and {expected!r} in error, error
"""
    run(device, program, MLX_METAL_SIMULATOR_INJECT=fault)


def test_a_kernel_that_does_not_end(device):
    program = """
endless = mx.fast.metal_kernel("endless", ["x"], ["y"], "volatile uint n = 1; while (n) {} y[0] = x[0];")
error = error_of(lambda: mx.eval(run(endless, x, 1)))
assert "endless" in error and "time" in error, error
"""
    run(device, program, MLX_METAL_SIMULATOR_TIMEOUT="1")


def test_failures_that_nobody_waits_for(device):
    """They end no process: not when they happen, not at its end, and who needs the values meets them."""
    program = """
lost = [faulty(x + i) for i in range(3)]
for y in lost:
    mx.async_eval(y)
time.sleep(0.3)
sum_of = lost[0].sum()
for _ in range(2):
    error = error_of(lambda: mx.eval(sum_of + 1))
    assert "beyond" in error and "out of bounds" in error, error
mx.synchronize()
mx.async_eval(faulty(x))
left = faulty(x)
mx.async_eval(left)
"""
    run(device, program)


def test_failures_of_an_earlier_evaluation(device):
    """What was encoded behind it is lost with it, and tells why; what does not need it is computed."""
    program = """
a = slowly(x)
mx.async_eval(a)
bad = faulty(a)
mx.async_eval(bad)
worse = bad + 1
mx.async_eval(worse)
other = slowly(x + 5)
mx.async_eval(other)
for _ in range(2):
    for lost in (worse, bad, worse * 2):
        error = error_of(lambda: mx.eval(lost))
        assert "beyond" in error and "out of bounds" in error, error
assert a.tolist() == [1, 2, 3] and other.tolist() == [6, 7, 8]
assert mx.metal._continued() >= 2
mx.synchronize()
"""
    run(device, program)


def test_work_in_flight_when_the_process_ends(device):
    """Evaluations behind each other, of which the first has not ended."""
    program = """
a = slowly(x)
mx.async_eval(a)
for i in range(20):
    a = mx.sort(a + i)
    mx.async_eval(a)
"""
    run(device, program)


def test_a_queue_that_dies_behind_other_work(device):
    program = """
a = slowly(x)
mx.async_eval(a)
b = a * 2
mx.async_eval(b)
error = error_of(lambda: mx.eval(b + 1))
assert "queue is dead" in error, error
assert a.tolist() == [1, 2, 3]
"""
    run(device, program, MLX_METAL_SIMULATOR_INJECT="queue:3")


def test_evaluations_without_end_are_held_back(device):
    """Sixty arrays of 4 MiB, each an evaluation of its own behind the one before, on a device of 40 MiB."""
    program = """
a = mx.arange(1 << 20)
for i in range(60):
    a = mx.concatenate([a[1:], a[:1]])
    mx.async_eval(a)
assert mx.metal._waits() == {}, mx.metal._waits()
assert np.array_equal(np.array(a), np.roll(np.arange(1 << 20), -60))
"""
    run(device, program, MLX_METAL_SIMULATOR_MEMORY=str(40 << 20))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_process_has_no_gpu(device):
    """Its threads and connections stayed with the first one: an error instead of waiting for ever. The CPU works."""
    program = """
import os, signal
pid = os.fork()
if pid == 0:
    signal.alarm(60)
    try:
        for _ in range(2):
            error = error_of(lambda: mx.eval(x + 1))
            assert "[gpu]" in error and "forked" in error, error
        mx.set_default_device(mx.cpu)
        assert mx.cumsum(before + 1).tolist() == [0, -1, -3]
    except BaseException:
        os._exit(1)
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
"""
    run(device, program)


def test_failures_on_another_thread(device):
    program = """
errors = []
def work():
    errors.append(error_of(lambda: mx.eval(faulty(x) * 2)))
threads = [threading.Thread(target=work) for _ in range(3)]
for t in threads:
    t.start()
for t in threads:
    t.join()
assert len(errors) == 3 and all("beyond" in e for e in errors), errors
"""
    run(device, program)


def test_freed_memory_is_not_used_again_while_the_device_reads_it(device):
    """The CPU frees an operand and fills arrays of its size while the kernel still counts."""
    program = """
n = 4096
for size in (n, 64 * n):  # a piece of a buffer, and a buffer
    a = mx.arange(size, dtype=mx.float32)
    mx.eval(a)
    y = slowly(a)
    mx.async_eval(y)
    time.sleep(0.1)  # the kernel runs
    del a
    gc.collect()
    others = []
    with mx.stream(mx.cpu):
        for i in range(8):
            others.append(mx.arange(size) * -1.0 - i)
            mx.eval(others[-1])
    assert np.array_equal(np.array(y)[1:], np.arange(1, size)), y
    del others, y
"""
    run(device, program)


def test_memory_that_the_cpu_takes_over_is_waited_for(device):
    """The CPU may write into the only buffer of an array: not while the device reads it."""
    program = """
a = mx.arange(4096, dtype=mx.float32)
mx.eval(a)
y = slowly(a)
z = mx.subtract(a, 10000, stream=mx.cpu)
mx.async_eval(y)
time.sleep(0.1)  # the kernel runs
del a
mx.eval(z)
assert np.array_equal(np.array(y)[1:], np.arange(1, 4096))
assert np.array_equal(np.array(z), np.arange(4096) - 10000.0)
"""
    run(device, program)


@pytest.mark.parametrize("n", [7, 40])
def test_many_dispatches_are_several_command_buffers(device, n):
    """Of 64 dispatches each: the n-th is there to fail."""
    program = f"""
def steps(count):
    a = mx.zeros((8,))
    for i in range(count):
        a = mx.concatenate([a[4:], a[:4] + i])  # two dispatches, at least
    return a
error = error_of(lambda: mx.eval(steps(32 * {n})))
assert "time" in error and "concatenate" in error, error
want = np.zeros(8)
for i in range(100):
    want = np.concatenate([want[4:], want[:4] + i])
assert np.array_equal(np.array(steps(100)), want)
"""
    run(device, program, MLX_METAL_SIMULATOR_INJECT=f"timeout:{n}")


def test_large_dispatches_are_several_command_buffers(device):
    """16 MiB read and written by each: more than 64 MiB are another command buffer."""
    program = """
def steps(count):
    a = mx.zeros((1 << 20,))
    for i in range(count):
        a = mx.concatenate([a[5:], a[:5]])
    return a
error = error_of(lambda: mx.eval(steps(32)))
assert "time" in error and "concatenate" in error, error
"""
    run(device, program, MLX_METAL_SIMULATOR_INJECT="timeout:4")


def test_more_than_the_memory_in_one_evaluation(device):
    """Sixty arrays of 4 MiB, of which two live at a time, on a device of 40 MiB."""
    program = """
a = mx.arange(1 << 20)
for i in range(60):
    a = mx.concatenate([a[1:], a[:1]])
    a = mx.roll(a, 3)
want = np.roll(np.arange(1 << 20), 60 * 2)
assert np.array_equal(np.array(a), want)
"""
    run(device, program, MLX_METAL_SIMULATOR_MEMORY=str(40 << 20))


def test_more_memory_than_the_device_has(device):
    program = """
most = mx.device_info()["max_buffer_length"]
error = error_of(lambda: mx.eval(mx.broadcast_to(x[:1], (most // 4 + 10,)) * 2), MemoryError)
assert "[multiply] got no memory for" in error and f"a buffer of the device has at most {most}" in error, error
kept = []
def fill():
    for _ in range(100):
        kept.append(mx.arange(1 << 20))
        mx.eval(kept[-1])
error = error_of(fill, MemoryError)
assert "got no memory for 4194304 bytes" in error and "[arange]" in error, error
assert 10 < len(kept) < 100 and kept[3][-1].item() == (1 << 20) - 1
del kept[:]
"""
    run(device, program, MLX_METAL_SIMULATOR_MEMORY=str(100 << 20))


def test_one_allocation_that_fails(device):
    """Memory that was kept for later goes back, and the device is asked again."""
    program = """
for i in range(40):
    y = mx.sort(mx.arange(10000 + 4096 * i)[::-1])
    assert y[7].item() == 7
"""
    run(device, program, MLX_METAL_SIMULATOR_INJECT="memory:9")


def test_what_does_not_compile(device):
    program = """
nonsense = mx.fast.metal_kernel("nonsense", ["x"], ["y"], "y[0] = nothing_of_this_name;")
good = x * 2
for _ in range(2):
    error = error_of(lambda: mx.eval(good, run(nonsense, x, 1)), ValueError)
    assert "nonsense" in error and "nothing_of_this_name" in error, error
assert good.tolist() == [2, 4, 6]
"""
    run(device, program)


STAND_IN = """
import ctypes, os
library = ctypes.CDLL(os.environ["MLX_METAL_STANDIN"], mode=os.RTLD_NOW | os.RTLD_NOLOAD)
for name in ("wired", "most_wired", "wired_entries", "heap_bytes"):
    getattr(library, "standin_" + name).restype = ctypes.c_size_t
library.standin_faults.restype = ctypes.c_char_p
"""


@pytest.mark.parametrize("elements", [6000, 100_000])
def test_small_arrays_fill_the_memory(device, elements):
    """Pieces of slabs and buffers, both in heaps where the device has these. All of it goes back."""
    program = f"""
kept = []
def fill():
    while True:
        kept.append(mx.arange({elements}) + 1)
        mx.eval(kept[-1])
for _ in range(2):
    error = error_of(fill, MemoryError)
    assert "got no memory for {4 * elements} bytes" in error and "[a" in error, error
    kept.pop()  # which has no value
    assert {4 * elements} * len(kept) > 40 << 20, len(kept)
    assert all(a[-1].item() == {elements} for a in kept)
    kept.clear()
    mx.clear_cache()
    large = mx.arange(10 << 20)
    assert large[-1].item() == (10 << 20) - 1
    del large
    mx.clear_cache()
"""
    if device == "apple":
        program += f"""{STAND_IN}
assert library.standin_heap_bytes() == 8 << 20, library.standin_heap_bytes()  # x lies there
assert library.standin_faults() == b""
"""
    run(device, program, MLX_METAL_SIMULATOR_MEMORY=str(60 << 20))


def test_small_arrays_are_few_entries(device):
    if device != "apple":
        pytest.skip("the simulator has no heaps")
    program = f"""{STAND_IN}
mx.set_wired_limit(100 << 20)
kept = [mx.arange(6000 + i) + 1 for i in range(2000)]
mx.eval(kept)
mx.eval(x + 1)  # what is wired changes with the next command buffer
assert sum(a.nbytes for a in kept) + (8 << 20) > library.standin_heap_bytes() // 2 == library.standin_wired() // 2
assert library.standin_wired_entries() == library.standin_heap_bytes() >> 23, library.standin_wired_entries()
assert library.standin_faults() == b""
"""
    run(device, program)


def test_wired_memory_is_bounded(device):
    program = """
limit = mx.device_info()["max_recommended_working_set_size"]
error = error_of(lambda: mx.set_wired_limit(limit + 1), ValueError)
assert "[set_wired_limit]" in error and str(limit) in error, error
assert mx.set_wired_limit(6 << 20) == 0
kept = []
for i in range(12):
    kept.append(mx.sort(mx.arange(300_000 + i)[::-1]))  # in no heap
    mx.eval(kept[-1])
    if i % 3 == 0:
        kept.pop(0)
        mx.clear_cache()
"""
    if device == "apple":
        program += f"""{STAND_IN}
assert 3_600_000 < library.standin_wired() <= 6 << 20, library.standin_wired()
assert library.standin_most_wired() <= 6 << 20
assert mx.set_wired_limit(0) == 6 << 20
assert library.standin_wired() == 0
assert library.standin_faults() == b""
"""
    run(device, program)

"""What goes wrong between processes: each is an error that says it, never a hang, and the process goes on."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from scripts import run_python
from together import launch, run_together

BROKEN = 'raises(RuntimeError, "cannot be used any more", lambda: D.all_sum(mx.array(1.0)))'


@pytest.mark.parametrize(
    ("one", "other", "part"),
    [
        ("D.all_sum(mx.ones(3))", "D.all_max(mx.ones(3))", "all_max of 3 elements"),
        ("D.all_sum(mx.ones(3))", "D.all_sum(mx.ones(4))", "of 4 elements of float32"),
        ("D.all_sum(mx.ones(9000))", "D.all_sum(mx.ones(9001))", "of 9001 elements"),
        ("D.all_gather(mx.ones(3))", "D.all_gather(mx.ones(3, mx.int32))", "of 3 elements of int32"),
        ("D.recv((2,), mx.float32, 1)", "D.send(mx.ones(3), 0)", "send of 3 elements"),
        ("D.all_sum(mx.ones(2))", "D.all_sum(mx.ones(2), group=g.split(0))", "split"),
    ],
)
def test_processes_that_do_different_things(one, other, part, tmp_path):
    code = f"""
    if rank == 0:
        said = raises(RuntimeError, {part!r}, lambda: {one})
        assert said.startswith("[distributed."), said
        assert "rank 1" in said
    else:
        raises(RuntimeError, "rank 0", lambda: (mx.eval({other}), D.recv((1,), mx.float32, 0)))
    {BROKEN}
    assert mx.sum(mx.ones(5)).item() == 5
    """
    run_together(2, code, tmp_path)


def test_a_process_that_is_gone(tmp_path):
    code = """
    import os, time
    if rank == 1:
        time.sleep(0.3)
        os._exit(0)
    begun = time.time()
    x = mx.arange(5.0)
    raises(RuntimeError, "the process with rank", lambda: D.all_sum(x))
    assert time.time() - begun < 20
    assert x.tolist() == [0, 1, 2, 3, 4]
    raises(RuntimeError, "cannot be used any more", lambda: D.all_sum(x))
    print("met")
    """
    assert launch(3, code, tmp_path).stdout.split() == ["met", "met"]


def test_interrupts_are_answered(tmp_path):
    code = """
    import os, signal, threading, time
    if rank == 1:
        time.sleep(8)
        os._exit(0)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # who runs the tests may ignore it
    threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    begun = time.time()
    try:
        mx.eval(D.all_sum(mx.ones(3)))
    except KeyboardInterrupt:
        print(time.time() - begun < 4)
    raises(RuntimeError, "cannot be used any more", lambda: D.all_sum(mx.ones(3)))
    """
    assert launch(2, code, tmp_path).stdout.split() == ["True"]


def test_a_process_can_end_while_it_waits(tmp_path):
    code = """
    import os, time
    if rank == 1:
        time.sleep(4)
        os._exit(0)
    mx.async_eval(D.all_sum(mx.ones(3)))
    time.sleep(0.3)
    print("ends", flush=True)
    """
    begun = time.monotonic()
    done = launch(2, code, tmp_path)
    assert done.stdout.split() == ["ends"] and done.returncode == 0, done.stderr
    assert time.monotonic() - begun < 60


def test_a_forked_process_is_no_member(tmp_path):
    code = """
    import os
    child = os.fork()
    if child == 0:
        said = raises(RuntimeError, "forked", lambda: D.all_sum(mx.ones(3)))
        os._exit(0 if "no member" in said else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert D.all_sum(mx.array(1)).item() == 2
    """
    run_together(2, code, tmp_path)


def hosts(tmp_path, text: str) -> str:
    file = tmp_path / "hosts.json"
    file.write_text(text)
    return str(file)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "expected a list of addresses for each rank"),
        ("{}", "expected a list of addresses for each rank"),
        ('["127.0.0.1:1"]', "expected a list of addresses for each rank"),
        ("[[], []]", "rank 0 has no address"),
        ('[["127.0.0.1"], ["127.0.0.1:2"]]', "got the address '127.0.0.1', expected HOST:PORT"),
        ('[["127.0.0.1:x"], ["127.0.0.1:2"]]', "expected HOST:PORT"),
        ('[["127.0.0.1:5000"], ["127.0.0.1:5001"]] x', "expected"),
        ('[["127.0.0.1:5000"]]', "got MLX_RANK=1, but the file"),
        ('[["nowhere.invalid:5000"], ["nowhere.invalid:5001"]]', "nowhere.invalid:5001"),
    ],
)
def test_files_of_hosts(text, part, tmp_path):
    code = f"""
    import mlx.core as mx
    for strict in (False, True):
        try:
            mx.distributed.init(strict)
        except RuntimeError as error:
            assert {part!r} in str(error), error
        else:
            raise AssertionError
    """
    run_python(code, MLX_RANK="1", MLX_HOSTFILE=hosts(tmp_path, text))


def test_what_the_environment_says(tmp_path):
    code = """
    import mlx.core as mx
    try:
        print(mx.distributed.init(True, "ring").size())
    except RuntimeError as error:
        print(error)
    """
    two = hosts(tmp_path, '[["127.0.0.1:1"], ["127.0.0.1:2"]]')
    assert "MLX_RANK and the name of a file" in run_python(code)
    assert "MLX_RANK and the name of a file" in run_python(code, MLX_RANK="0")
    assert "cannot be read" in run_python(code, MLX_RANK="0", MLX_HOSTFILE=str(tmp_path / "none"))
    assert "got MLX_RANK='one', expected a number" in run_python(code, MLX_RANK="one", MLX_HOSTFILE=two)
    assert "got MLX_RANK='-1'" in run_python(code, MLX_RANK="-1", MLX_HOSTFILE=two)


def test_a_process_that_does_not_come(tmp_path):
    with socket.socket() as a, socket.socket() as b:
        a.bind(("127.0.0.1", 0))
        b.bind(("127.0.0.1", 0))
        ports = a.getsockname()[1], b.getsockname()[1]
        file = hosts(tmp_path, f'[["127.0.0.1:{ports[0]}"], ["127.0.0.1:{ports[1]}"]]')
        code = """
        import mlx.core as mx
        try:
            mx.distributed.init()
        except RuntimeError as error:
            print(error)
        """
        environment = {"MLX_RANK": "0", "MLX_HOSTFILE": file, "MLX_RING_TIMEOUT": "1"}
        a.listen()
        assert f"cannot listen on 127.0.0.1:{ports[0]}" in run_python(code, **environment)
        a.close()
        assert f"rank 1 does not answer at 127.0.0.1:{ports[1]} for 1 s" in run_python(code, **environment)
        b.listen()
        assert "rank 1 has not come for 1 s" in run_python(code, **environment)


def test_who_knocks_and_is_no_member(tmp_path):
    """A scanner of ports says something else, or nothing, and changes nothing."""
    with socket.socket() as a, socket.socket() as b:
        for s in (a, b):
            s.bind(("127.0.0.1", 0))
        ports = [s.getsockname()[1] for s in (a, b)]
    file = hosts(tmp_path, f'[["127.0.0.1:{ports[0]}"], ["127.0.0.1:{ports[1]}"]]')
    code = "import mlx.core as mx; print(mx.distributed.all_sum(mx.array(3)).item())"
    start = lambda rank: subprocess.Popen(  # noqa: E731
        [sys.executable, "-c", code],
        env={**os.environ, "MLX_RANK": str(rank), "MLX_HOSTFILE": file},
        stdout=subprocess.PIPE,
        text=True,
    )
    first = start(0)
    strangers = []
    deadline = time.monotonic() + 30
    while len(strangers) < 3 and time.monotonic() < deadline:
        try:
            strangers.append(socket.create_connection(("127.0.0.1", ports[0])))
        except ConnectionRefusedError:
            time.sleep(0.05)
    strangers[0].sendall(b"GET / HTTP/1.1\r\n\r\n")
    strangers[1].sendall(b"HX")
    strangers[2].close()
    second = start(1)
    assert [p.communicate(timeout=60)[0].strip() for p in (first, second)] == ["6", "6"]
    for s in strangers:
        s.close()


def test_a_launcher_that_is_stopped_ends_its_processes(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import mlx.core as mx, os, time\ng = mx.distributed.init()\nprint(os.getpid(), flush=True)\ntime.sleep(100)\n"
    )
    for how, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        launcher = subprocess.Popen(
            [sys.executable, "-m", "mlx.launch", "-n", "2", str(program)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": ""},
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # who runs the tests may ignore it
        )
        processes = [int(launcher.stdout.readline()) for _ in range(2)]
        launcher.send_signal(how)
        assert launcher.wait(30) == code
        for process in processes:
            with pytest.raises(ProcessLookupError, match="No such process"):
                os.kill(process, 0)

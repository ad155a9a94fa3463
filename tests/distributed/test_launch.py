"""mlx.launch and mlx.distributed_config, with machines that a program in place of ssh pretends to be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest
from mlx._distributed_utils.common import Host, Hostfile
from mlx._distributed_utils.launch import launch_jaccl, ring_addresses

SHOW = """
import json, os, sys
import mlx.core as mx
g = mx.distributed.init(strict=True)
total = mx.distributed.all_sum(mx.array(g.rank() + 1)).item()
setting, host = os.environ.get("SETTING"), os.environ.get("HOST")
print(json.dumps([g.rank(), g.size(), total, sys.argv[1:], setting, os.getcwd(), host]))
"""
# Runs the command here and says by HOST which machine it would have been.
SSH = """#!/bin/sh
while [ "$1" = -o ]; do shift 2; done
host=$1; shift
case $host in *gone*) exit 255;; esac
echo "$host" >>"$SSH_LOG"
HOST=$host exec sh -c "$*"
"""


@pytest.fixture
def program(tmp_path):
    file = tmp_path / "show it.py"
    file.write_text(SHOW)
    return str(file)


@pytest.fixture
def ssh(tmp_path, monkeypatch):
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "ssh").write_text(SSH)
    (folder / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("SSH_LOG", str(tmp_path / "log"))
    return tmp_path / "log"


def launch(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mlx.launch", *arguments]
    environment = {**os.environ, "PYTHONUNBUFFERED": ""}  # lines are written at once
    return subprocess.run(command, capture_output=True, text=True, timeout=100, env=environment, **options)


def shown(done: subprocess.CompletedProcess[str]) -> list:
    assert done.returncode == 0, done.stdout + done.stderr
    return sorted(json.loads(line) for line in done.stdout.splitlines())


def test_processes_of_this_machine(program, tmp_path):
    done = launch("-n", "3", "--env", "SETTING=a b=c", "--cwd", str(tmp_path), program, "-n", "x y")
    assert shown(done) == [[r, 3, 6, ["-n", "x y"], "a b=c", str(tmp_path), None] for r in range(3)]


def test_programs_by_any_name(program):
    assert [line[1] for line in shown(launch("-n", "2", sys.executable, program))] == [2, 2]
    assert [line[1] for line in shown(launch("-n", "2", "--", sys.executable, program))] == [2, 2]
    done = launch("-n", "2", "-m", "mlx", "--version")
    assert len(done.stdout.split()) == 2, done.stderr
    assert launch("--print-python").stdout.strip() == sys.executable
    assert "expected a program" in launch("-n", "2").stderr
    assert "only 'ring' and 'mpi'" in launch("--backend", "nccl", program).stderr
    assert "got the hosts '127.0.0.1', each 0 times" in launch("-n", "0", program).stderr


def test_mpirun(program, tmp_path):
    """What it is called with; test_exchange.py has the real one where it is installed."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "mpirun").write_text('#!/bin/sh\nprintf "%s " "$@" SETTING="$SETTING"\nexit 5\n')
    (folder / "mpirun").chmod(0o755)
    arguments = ("--backend", "mpi", "--env", "SETTING=a b", "--mpi-arg=--bind-to none", "--cwd", "/", "-n", "2")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        here = launch(*arguments, "prog", "x")
        there = launch(*arguments, "--hosts", "one,two", "prog", "x")
        patch.setenv("PATH", str(tmp_path))
        none = launch("--backend", "mpi", "-n", "2", "prog")
    rest = "--wdir / -x SETTING --bind-to none prog x SETTING=a b "
    assert (here.returncode, here.stdout) == (5, f"-n 2 --oversubscribe {rest}")
    assert there.stdout == f"-n 4 --host one:2,two:2 {rest}"
    assert none.returncode == 2 and "there is no mpirun" in none.stderr


def test_the_first_process_has_the_input():
    read = "import os, sys; print(os.environ['MLX_RANK'], repr(sys.stdin.read()))"
    done = launch("-n", "2", sys.executable, "-c", read, input="hello")
    assert sorted(done.stdout.splitlines()) == ["0 'hello'", "1 ''"]


def test_one_that_fails_ends_all():
    code = "import os, sys, time; time.sleep(0.2 if os.environ['MLX_RANK'] == '1' else 90); sys.exit(7)"
    begun = time.monotonic()
    done = launch("-n", "3", sys.executable, "-c", code)
    assert done.returncode == 7 and "rank 1 ended with code 7" in done.stderr
    assert time.monotonic() - begun < 60


def test_other_machines(program, ssh, tmp_path):
    file = tmp_path / "hosts.json"
    hosts = [{"ssh": "me@one", "ips": ["127.0.0.1"]}, {"ssh": "two", "ips": ["127.0.0.1", "10.0.0.1"]}]
    file.write_text(json.dumps({"backend": "ring", "envs": ['SETTING=it\'s "so" $HOME'], "hosts": hosts}))
    done = launch("--hostfile", str(file), "-p", "41870", "--cwd", str(tmp_path), program, "a'b")
    where = str(tmp_path)
    assert shown(done) == [
        [r, 2, 3, ["a'b"], 'it\'s "so" $HOME', where, name] for r, name in enumerate(["me@one", "two"])
    ]
    assert sorted(ssh.read_text().split()) == ["me@one", "two"]


def test_other_machines_are_told_to_stop(ssh, tmp_path):
    code = (
        "import os, sys, time; open(os.environ['MLX_RANK'], 'w').write(str(os.getpid())); "
        "time.sleep(1 if os.environ['MLX_RANK'] == '1' else 90); sys.exit(3)"
    )
    done = launch("--hosts", "one,two", "--cwd", str(tmp_path), sys.executable, "-c", code)
    assert done.returncode == 3
    for rank in "01":
        process = int((tmp_path / rank).read_text())
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                os.kill(process, 0)
            except ProcessLookupError:
                break
            time.sleep(0.05)
        else:
            raise AssertionError(f"the process of rank {rank} runs on")


def test_files_of_hosts(tmp_path):
    file = tmp_path / "hosts.json"
    file.write_text('[{"ssh": "one", "ips": ["10.0.0.1"]}, {"ssh": "me@two"}, {"ssh": "localhost"}]')
    read = Hostfile.from_file(file)
    assert [(h.rank, h.ssh_hostname, h.ips) for h in read.hosts] == [
        (0, "one", ["10.0.0.1"]),
        (1, "me@two", ["two"]),
        (2, "localhost", ["127.0.0.1"]),
    ]
    assert [h.is_local for h in read.hosts] == [False, False, True] and read.backend == ""
    read.backend, read.envs = "ring", ["A=1"]
    file.write_text(read.to_json())
    assert Hostfile.from_file(file) == read
    for text in ("", "3", '{"a": 1}', '[{"ips": []}]', '[{"ssh": 3}]', '[{"ssh": "-oProxyCommand=x"}]', '["one"]'):
        file.write_text(text)
        with pytest.raises(ValueError, match=r"hosts.json: .*expected a list of hosts"):
            Hostfile.from_file(file)
    with pytest.raises(ValueError, match=r"none\.json"):
        Hostfile.from_file(tmp_path / "none.json")
    with pytest.raises(ValueError, match="got '-oProxyCommand=x', expected the name of a host"):
        Hostfile.from_list("-oProxyCommand=x")


def test_addresses():
    hosts = [Host(0, "a", ["10.0.0.1"]), Host(1, "a", ["10.0.0.1"]), Host(2, "b", ["fe80::1"])]
    assert ring_addresses(hosts, 5000) == [["10.0.0.1:5000"], ["10.0.0.1:5001"], ["[fe80::1]:5000"]]
    here = ring_addresses(Hostfile.from_list("localhost", 3).hosts, None)
    assert len({a for (a,) in here}) == 3


def test_writing_a_file_of_hosts(ssh, tmp_path):
    file = tmp_path / "out.json"
    command = [sys.executable, "-m", "mlx._distributed_utils.config"]
    run = lambda *arguments: subprocess.run([*command, *arguments], capture_output=True, text=True)  # noqa: E731
    assert run("--hosts", "127.0.0.1,one", "--env", "A=1", "--output-hostfile", str(file)).returncode == 0
    written = Hostfile.from_file(file)
    assert [h.ssh_hostname for h in written.hosts] == ["127.0.0.1", "one"]
    assert (written.backend, written.envs) == ("ring", ["A=1"])
    failed = run("--hosts", "one,gone")
    assert failed.returncode == 1 and "gone: not reachable by ssh" in failed.stderr
    left = json.loads(run("--hosts", "gone,one", "--ignore-unreachable").stdout)
    assert [(h["ssh"]) for h in left["hosts"]] == ["one"]


def test_what_this_build_lacks():
    with pytest.raises(RuntimeError, match="no back end 'jaccl'"):
        launch_jaccl(None, [], None, [])

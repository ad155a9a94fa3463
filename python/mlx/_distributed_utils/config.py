"""``mlx.distributed_config``: writes the file of hosts that ``mlx.launch`` reads, after a look at each of them."""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
from pathlib import Path

from .common import Host, Hostfile


def is_reachable(host: Host) -> bool:
    """Can a command be run there, without a password?"""
    if host.is_local:
        return True
    command = ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", host.ssh_hostname, "true"]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True).returncode == 0


def resolved(address: str) -> str:
    """The address behind a name, where this machine knows one."""
    try:
        return str(socket.getaddrinfo(address, None, type=socket.SOCK_STREAM)[0][4][0])
    except OSError:
        return address


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="mlx.distributed_config", description=__doc__)
    parser.add_argument("--verbose", action="store_true", help="say what is looked at")
    parser.add_argument("--hosts", default="127.0.0.1", help="names for ssh, separated by commas")
    parser.add_argument("--hostfile", help="a file of hosts to start from")
    parser.add_argument("--ignore-unreachable", action="store_true", help="leave out hosts that ssh does not reach")
    parser.add_argument("--over", choices=["ethernet"], default="ethernet", help="the network: that of the names")
    parser.add_argument("--backend", choices=["ring"], default="ring", help="the back end")
    parser.add_argument("--env", action="append", default=[], help="NAME=VALUE for all processes; repeatable")
    parser.add_argument("--output-hostfile", help="the file to write; else it is printed")
    args = parser.parse_args(arguments)
    try:
        listed = Hostfile.from_file(args.hostfile) if args.hostfile else Hostfile.from_list(args.hosts)
    except ValueError as error:
        parser.error(str(error))
    hosts = []
    for host in listed.hosts:
        reachable = is_reachable(host)
        if args.verbose or not reachable:
            print(f"{host.ssh_hostname}: {'reachable' if reachable else 'not reachable by ssh'}", file=sys.stderr)
        if reachable:
            hosts.append(Host(len(hosts), host.ssh_hostname, [resolved(ip) for ip in host.ips], host.rdma))
        elif not args.ignore_unreachable:
            sys.exit(1)
    text = Hostfile(hosts, args.backend, [*listed.envs, *args.env]).to_json()
    if args.output_hostfile:
        Path(args.output_hostfile).write_text(text + "\n")
    else:
        print(text)


if __name__ == "__main__":
    main()

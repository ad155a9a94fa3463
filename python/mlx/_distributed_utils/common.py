"""The hosts of a distributed program, and the files that list them."""

from __future__ import annotations

import ipaddress
import json
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Host:
    """One process's machine.

    Args:
      rank: the process's number.
      ssh_hostname: the name by which ``ssh`` finds it.
      ips: where its processes listen, for the others; the first is used.
      rdma: names of RDMA devices, one for each process; kept for back ends that use them.
    """

    rank: int
    ssh_hostname: str
    ips: list[str]
    rdma: list[str | None] = field(default_factory=list)

    @property
    def is_local(self) -> bool:
        return self.ssh_hostname in ("localhost", "127.0.0.1", "::1", socket.gethostname())


@dataclass
class Hostfile:
    """Hosts, the back end that joins them, and environment variables (``NAME=VALUE``) of their processes."""

    hosts: list[Host]
    backend: str = ""
    envs: list[str] = field(default_factory=list)

    @classmethod
    def from_file(cls, name: str | Path) -> Hostfile:
        """Read a file, which is a list of hosts or ``{"backend": ..., "envs": [...], "hosts": [...]}``.

        A host is ``{"ssh": NAME, "ips": [ADDRESS, ...]}``; without ``ips`` it is reached by its name.

        Raises:
          ValueError: the file cannot be read or is something else.
        """
        try:
            content = json.loads(Path(name).read_text())
            if isinstance(content, list):
                content = {"hosts": content}
            hosts = [_host(rank, entry) for rank, entry in enumerate(content["hosts"])]
            return cls(hosts, str(content.get("backend", "")), [str(e) for e in content.get("envs", [])])
        except (OSError, UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f'[Hostfile] {name}: {error}; expected a list of hosts, [{{"ssh": "NAME", "ips": ["ADDRESS"]}}, ...]'
            ) from error

    @classmethod
    def from_list(cls, names: str, repeat: int = 1) -> Hostfile:
        """Hosts by name or address, separated by commas, each ``repeat`` times.

        Raises:
          ValueError: there is none, or ``repeat`` is not positive.
        """
        found = [name.strip() for name in names.split(",") if name.strip()]
        if not found or repeat < 1:
            raise ValueError(f"[Hostfile] got the hosts {names!r}, each {repeat} times; expected at least one")
        all_of_them = [name for name in found for _ in range(repeat)]
        return cls([Host(rank, name, [_address(name)]) for rank, name in enumerate(all_of_them)])

    def to_json(self) -> str:
        hosts = [{"ssh": h.ssh_hostname, "ips": h.ips, "rdma": h.rdma} for h in self.hosts]
        return json.dumps({"backend": self.backend, "envs": self.envs, "hosts": hosts}, indent=2)


def _host(rank: int, entry: dict[str, Any]) -> Host:
    name = entry["ssh"]
    if not isinstance(name, str) or not name or name.startswith("-"):
        raise TypeError(f"rank {rank} has the name {name!r}")
    ips = [str(ip) for ip in entry.get("ips", [])]
    return Host(rank, name, ips or [_address(name)], list(entry.get("rdma") or []))


def _address(name: str) -> str:
    """Where a host listens, if only its name for ssh is known: that of ``user@host`` is the host."""
    if name.startswith("-"):
        raise ValueError(f"[Hostfile] got {name!r}, expected the name of a host")
    host = name.rpartition("@")[2]
    return "127.0.0.1" if host == "localhost" else host


def with_port(address: str, port: int) -> str:
    try:
        if ipaddress.ip_address(address).version == 6:
            return f"[{address}]:{port}"
    except ValueError:
        pass
    return f"{address}:{port}"

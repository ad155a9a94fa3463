"""Tools for people who train models: ``mx.debug`` and ``mx.profile``.

- :func:`record_origins`, :func:`origin`: who built an array;
- :class:`nan_check`: where the first nan comes from;
- :class:`profile`: where the time goes;
- :func:`memory`, :class:`memory_report`: who holds memory at its peak;
- :func:`graph_svg`: a picture of a graph.

While none of them is on, they cost nothing.
"""

from ._memory import Holding, Memory, memory, memory_report
from ._nan_check import NotFiniteError, nan_check
from ._origins import Origin, origin, record_origins
from ._profile import profile
from ._svg import graph_svg

__all__ = [
    "Holding",
    "Memory",
    "NotFiniteError",
    "Origin",
    "graph_svg",
    "memory",
    "memory_report",
    "nan_check",
    "origin",
    "profile",
    "record_origins",
]

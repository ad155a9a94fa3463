"""``charbonnier(a, b, eps)``: a smooth ``|a - b|``, written in C++, for arrays of ``mlx.core``."""

import mlx.core  # noqa: F401  the array type that the extension takes and returns

from ._ext import charbonnier

__all__ = ["charbonnier"]

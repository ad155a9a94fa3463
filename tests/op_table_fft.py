"""Rows of mx.fft."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import numpy as np
from op_row import COMPLEX, Bad, Op, S, f

INPUTS = ("float32", "complex64")
REALS = ("float32",)


def double(function: Any) -> Any:
    """NumPy transforms in double."""

    def call(a: Any, *args: Any, **kw: Any) -> Any:
        a = np.asarray(a)
        return function(a.astype(np.complex128 if a.dtype.kind == "c" else np.float64), *args, **kw)

    return call


def half(function: Any) -> Any:
    """Of complex numbers, the real parts."""
    return double(lambda a, *args, **kw: function(np.real(a), *args, **kw))


def row(name: str, samples: list[S], reference: Any, dtypes: Any) -> Op:
    axis = S(f(4), None, 1) if "n" not in name[-1] and "2" not in name else S(f(4), None, [1])
    return Op(
        f"fft.{name}",
        samples,
        reference,
        dtypes=dtypes,
        eps={"float32": 6, "complex64": 6},
        complex_result=not name.startswith("ir"),
        keeps_bits=False,
        errors=[
            Bad(axis, IndexError, rf"fft.{name}"),
            Bad(S(f(4, 4), norm="none"), ValueError, rf"\[fft.{name}\].*norm"),
        ],
    )


def in_parts(name: str, samples: list[S]) -> Op:
    """The transform as a function of real numbers, for derivatives: parts of complex numbers side
    by side.
    """

    def call(xp: Any) -> Any:
        def run(a: Any, *args: Any, **kw: Any) -> Any:
            x = a if name.startswith("r") else a[0] + 1j * a[1]
            y = getattr(xp.fft, name)(x, *args, **kw)
            return y if name.startswith("ir") else xp.stack([xp.real(y), xp.imag(y)])

        return run

    return Op(
        f"fft.{name}[parts]",
        samples,
        double(call(np)),
        call=call(mx),
        dtypes=REALS,
        eps={"float32": 6},
        diff=True,
        smooth=True,
        batched=False,
        keeps_bits=False,
    )


ONE = [
    S(f(8)),
    S(f(1)),
    S(f(2, 5)),
    S(f(3, 7), 4),
    S(f(3, 4), 9),
    S(f(4, 3), axis=0),
    S(f(2, 6, 3), None, 1),
    S(f(2, 3, 17), norm="ortho"),
    S(f(5, 20), axis=0, norm="forward"),
    S(f(2, 600)),
    S(f(2, 521)),
    S(f(1, 1021), 1024),
    S(f(0, 4)),
]
TWO = [S(f(4, 6)), S(f(2, 3, 5)), S(f(3, 4, 2), [5, 3], [0, 1]), S(f(4, 4), norm="ortho")]
MANY = [
    *TWO,
    S(f(3)),
    S(f(2, 3, 4)),
    S(f(2, 3, 4), axes=[1]),
    S(f(4, 3), [2, 6], [-1, 0], norm="forward"),
]
# Of n / 2 + 1 numbers to n: one number alone has no default length.
HALF = [s for s in ONE if s.leaves()[0].shape != (1,)]

PARTS = [S(f(2, 3, 8)), S(f(2, 3, 5)), S(f(2, 4, 3), 7, 1), S(f(2, 4, 3), 6, 1, norm="ortho")]

OPS: list[Op] = [
    row("fft", ONE, double(np.fft.fft), INPUTS),
    row("ifft", ONE, double(np.fft.ifft), INPUTS),
    row("rfft", ONE, half(np.fft.rfft), REALS),
    row("irfft", HALF, double(np.fft.irfft), COMPLEX),
    row("hfft", HALF, double(np.fft.hfft), COMPLEX),
    row("ihfft", ONE[:-1], half(np.fft.ihfft), REALS),
    *(in_parts(name, PARTS) for name in ("fft", "ifft", "rfft", "irfft")),
    in_parts("irfftn", [S(f(2, 3, 4), [5, 4], [0, 1])]),
    in_parts("rfftn", [S(f(2, 3, 4), [5, 4], [0, 1])]),
    row("fft2", TWO, double(np.fft.fft2), INPUTS),
    row("ifft2", TWO, double(np.fft.ifft2), INPUTS),
    row("rfft2", TWO, half(np.fft.rfft2), REALS),
    row("irfft2", TWO, double(np.fft.irfft2), COMPLEX),
    row("fftn", MANY, double(np.fft.fftn), INPUTS),
    row("ifftn", MANY, double(np.fft.ifftn), INPUTS),
    row("rfftn", MANY, half(np.fft.rfftn), REALS),
    row("irfftn", MANY, double(np.fft.irfftn), COMPLEX),
    Op(
        "fft.fftshift",
        [S(f(5)), S(f(4, 3)), S(f(2, 5), 1), S(f(2, 3, 4), [0, 2]), S(f(0, 2))],
        lambda a, axes=None: np.fft.fftshift(a, axes),
        ulp={},
        diff=True,
        errors=[Bad(S(f(3), 1), IndexError, r"fft.fftshift")],
    ),
    Op(
        "fft.ifftshift",
        [S(f(5)), S(f(4, 3)), S(f(2, 5), 1), S(f(2, 3, 4), [0, 2]), S(f(0, 2))],
        lambda a, axes=None: np.fft.ifftshift(a, axes),
        ulp={},
        diff=True,
        errors=[Bad(S(f(3), 1), IndexError, r"fft.ifftshift")],
    ),
]

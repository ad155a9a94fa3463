"""Why cells of docs/coverage.md say no or fixed. A row: the column, the reason, the functions."""

from __future__ import annotations

ROWS: tuple[tuple[str, str, str], ...] = (
    (
        "empty",
        "no numbers have no such number, as in NumPy",
        "argmax argmin max min minmax nanmax nanmin median logsumexp quantile quantile[picks] percentile "
        "percentile[picks] linalg.cond linalg.norm[spectral]",
    ),
    (
        "empty",
        "a transform needs a length of at least 1, as in NumPy",
        "fft.fft fft.fft2 fft.fftn fft.ifft fft.ifft2 fft.ifftn fft.rfft fft.rfft2 fft.rfftn fft.irfft "
        "fft.irfft2 fft.irfftn fft.hfft fft.ihfft fft.fft[parts] fft.ifft[parts] fft.irfft[parts] "
        "hadamard_transform",
    ),
    (
        "empty",
        "the sample states sizes that must fit its operands",
        "as_strided broadcast_to full reshape slice put_along_axis",
    ),
    (
        "empty",
        "blocks and groups have sizes above 0",
        "block_masked_mm dequantize",
    ),
    (
        "empty",
        "differences, areas and lines need points",
        "gradient interp trapezoid",
    ),
    (
        "empty",
        "steps and sequences can be none, together with the states; such operands are among its values",
        "fast.gru_steps fast.lstm_steps",
    ),
    (
        "empty",
        "between no elements lie none; arrays that are empty along other axes are among its values",
        "fast.resample",
    ),
    (
        "empty",
        "no equations determine nothing",
        "linalg.lstsq",
    ),
    (
        "empty",
        "vectors have two or three elements; no vectors at all are among its values",
        "linalg.cross",
    ),
    (
        "shapeless",
        "the length is a parameter of the transform",
        "fft.fft fft.fft2 fft.fftn fft.ifft fft.ifft2 fft.ifftn fft.rfft fft.rfft2 fft.rfftn fft.irfft "
        "fft.irfft2 fft.irfftn fft.hfft fft.ihfft fft.rfftn[parts] hadamard_transform",
    ),
    (
        "shapeless",
        "where the parts begin and end is computed from the size",
        "fft.fftshift fft.ifftshift roll split unstack",
    ),
    (
        "shapeless",
        "the size of the result, or a position in it, is computed from sizes of operands",
        "broadcast_arrays diag gradient kron meshgrid repeat tile tril triu trapezoid median quantile "
        "quantile[picks] percentile percentile[picks] softmax",
    ),
    (
        "shapeless",
        "the size of the result follows from values, which a trace does not have; a size that is given is fixed",
        "argwhere bincount histogram nonzero unique[sized]",
    ),
    (
        "shapeless",
        "which axes are 1 decides what the result is",
        "squeeze",
    ),
    (
        "shapeless",
        "means divide by a number of observations that is a constant of the graph",
        "cov corrcoef",
    ),
    (
        "shapeless",
        "the tolerance is a constant that follows from the size",
        "linalg.cond linalg.lstsq linalg.pinv",
    ),
    (
        "shapeless",
        "sizes of matrices are constants of the graph",
        "digitize fast.gated_delta_update fast.rnn_steps fast.gru_steps fast.lstm_steps gather_mm linalg.lu",
    ),
    (
        "shapeless",
        "weights follow from the sizes",
        "fast.resample",
    ),
)

REASONS = {(name, column): why for column, why, names in ROWS for name in names.split()}


def reason(name: str, column: str) -> str:
    """Empty where nobody has given one."""
    return REASONS.get((name, column), "")

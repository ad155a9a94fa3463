"""How much arithmetic the operations of a graph are, from their names and shapes.

A multiplication and an addition count separately: a product of (m, k) and (k, n) has 2 m n k
operations. What only moves or selects numbers counts nothing; functions such as ``exp`` count one
per element, like a sum.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import log2, prod

Shape = tuple[int, ...]
# Name, whether it is element-wise, shapes of the inputs and of the outputs.
Operation = tuple[str, bool, tuple[Shape, ...], tuple[Shape, ...]]

_PRODUCTS = {"Matmul", "AddMM", "QuantizedMatmul", "QQMatmul", "GatherMM", "GatherQMM"}
_NO_ARITHMETIC = {"astype", "copy"}
_REDUCTIONS = ("sum", "mean", "prod", "max", "min", "any", "all")
# Operations per element of the first input.
_PER_ELEMENT = {
    **dict.fromkeys(_REDUCTIONS, 1),
    "argmax": 1,
    "argmin": 1,
    "var": 4,
    "logsumexp": 3,
    "softmax": 4,
    "softmax_jacobian": 4,
    "cross_entropy": 4,
    "cross_entropy_vjp": 4,
    "layer_norm": 7,
    "layer_norm_vjp": 14,
    "rms_norm": 4,
    "rms_norm_vjp": 9,
    "rope": 3,
    "cumsum": 1,
    "cumprod": 1,
}


def is_reduction(name: str) -> bool:
    """Whether it may run in the pass of the element-wise operations that it reduces."""
    return name in _REDUCTIONS


def flops(operations: Iterable[Operation]) -> int:
    """The arithmetic operations of all of them."""
    return sum(_flops(*operation) for operation in operations)


def _flops(name: str, elementwise: bool, inputs: tuple[Shape, ...], outputs: tuple[Shape, ...]):
    if name in _PRODUCTS:
        inner = inputs[0][-1] if inputs[0] else 1
        return 2 * prod(outputs[0]) * inner + (name == "AddMM") * prod(outputs[0])
    if name == "Convolution":
        return 2 * prod(outputs[0]) * prod(inputs[1][1:])
    if name == "ConvolutionWeightGradient":
        return 2 * prod(inputs[1]) * prod(outputs[0][1:])
    if name.startswith("ScaledDotProductAttention"):
        queries, keys, values = inputs[:3]
        products = 2 * prod(queries[:3]) * keys[2] * (queries[3] + values[3])
        # Backward: the scores once more, and two products for each of the two of the forward pass.
        return products * 5 // 2 if name.endswith("Gradient") else products
    if name == "fft":
        points = prod(outputs[0])
        return int(5 * points * log2(max(2, outputs[0][-1])))
    if name == "resample":  # each element of the larger side meets two of the other
        return 4 * max(prod(inputs[0]), prod(outputs[0]))
    if elementwise:
        return 0 if name in _NO_ARITHMETIC else prod(outputs[0])
    return _PER_ELEMENT.get(name, 0) * prod(inputs[0]) if inputs else 0

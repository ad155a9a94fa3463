"""What ``python -m mlx.selftest`` runs: an operation, its operands, how far it may be from the reference, its work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import mlx.core as mx

FLOATS = ("float32", "float16", "bfloat16")
ALL = (*FLOATS, "int32", "int64", "uint8", "bool_")
INTEGERS = ("int32", "int64", "uint8")
# The largest error, relative to the largest value of the reference.
BOUND = {"float32": 2e-6, "float16": 2e-3, "bfloat16": 1.6e-2, "complex64": 2e-6}

Shapes = Sequence[tuple[int, ...]]
Function = Callable[..., mx.array]


@dataclass(frozen=True)
class Row:
    """One operation. Sizes are shapes of the operands: `small` for a simulator, `large` for a device."""

    name: str
    family: str
    function: Function
    small: Shapes
    large: Shapes
    dtypes: Sequence[str] = FLOATS
    low: float = -2.0  # operands are uniform in [low, high)
    high: float = 2.0
    wide: bool = True  # the reference is computed in float64
    factor: float = 1.0  # of the bound
    flops: Callable[[Sequence[mx.array]], float] | None = None
    # What comes of the operands on the CPU before anything is measured: others beside them, or in their place.
    prepare: Callable[[list[mx.array]], list[mx.array]] = lambda operands: operands


def elementwise() -> list[Row]:
    def row(name: str, *, operands: int = 1, **options: object) -> Row:
        function = getattr(mx, name)
        return Row(name, "element-wise", function, [(3, 257)] * operands, [(4096, 1024)] * operands, **options)

    positive = {"low": 0.1, "high": 4.0}
    rows = [row(name, dtypes=ALL[:-1]) for name in ("abs", "negative", "square", "sign")]
    rows += [row(name, factor=4) for name in ("exp", "sin", "cos", "tanh", "sigmoid", "erf", "expm1", "arctan")]
    rows += [row(name, factor=4, **positive) for name in ("log", "log1p", "sqrt", "rsqrt", "reciprocal")]
    rows += [row(name) for name in ("floor", "ceil", "round")]
    binary = ("add", "subtract", "multiply", "maximum", "minimum")
    rows += [row(name, operands=2, dtypes=ALL[:-1]) for name in binary]
    rows += [row(name, operands=2, factor=8, **positive) for name in ("divide", "power", "remainder", "arctan2")]
    rows += [row(name, operands=2, dtypes=ALL) for name in ("less", "equal", "logical_and")]
    rows += [row(name, operands=2, dtypes=INTEGERS) for name in ("bitwise_and", "bitwise_xor")]

    def gelu(x: mx.array) -> mx.array:
        return x * 0.5 * (1 + mx.erf(x * 0.7071067811865476))

    def broadcast(a: mx.array, b: mx.array) -> mx.array:
        return a * b + b

    return [
        *rows,
        Row("gelu, written out", "fused", gelu, [(3, 257)], [(4096, 1024)], factor=8),
        Row("a * b + b, broadcast", "fused", broadcast, [(5, 129), (129,)], [(4096, 1024), (1024,)], factor=4),
        Row("where", "fused", lambda a, b: mx.where(a > b, a, b), [(5, 129)] * 2, [(4096, 1024)] * 2, dtypes=ALL[:-1]),
    ]


def movement() -> list[Row]:
    shapes: tuple[Shapes, Shapes] = ([(33, 65)], [(4096, 1024)])

    def row(name: str, function: Function, **options: object) -> Row:
        return Row(name, "copies", function, *shapes, dtypes=options.pop("dtypes", ALL), **options)

    return [
        row("transpose", lambda x: mx.contiguous(x.T)),
        row("slice", lambda x: mx.contiguous(x[1::2, ::-3])),
        row("concatenate", lambda x: mx.concatenate([x, x], axis=1)),
        row("pad", lambda x: mx.pad(x, 3)),
        row("broadcast", lambda x: mx.contiguous(mx.broadcast_to(x[:, None], (x.shape[0], 2, x.shape[1])))),
        row("astype", lambda x: x.astype(mx.float32).astype(mx.float16), dtypes=("float32",), wide=False),
        row("slice update", _updated),
    ]


def _updated(x: mx.array) -> mx.array:
    y = x * 1
    y[1:, 2:] = x[:-1, :-2]
    return y


def rows_and_sums() -> list[Row]:
    shapes: tuple[Shapes, Shapes] = ([(17, 300)], [(4096, 1024)])
    rows = []
    for name in ("sum", "max", "min", "mean", "logsumexp", "argmax"):
        dtypes = ALL[:-1] if name in ("sum", "max", "min", "argmax") else FLOATS
        # What cancels in a sum counts for its error.
        low = 0.0 if name in ("sum", "mean") else -2.0
        for label, axis in (("all", None), ("rows", 1), ("columns", 0)):
            function = partial(getattr(mx, name), axis=axis)
            rows.append(Row(f"{name}, {label}", "reductions", function, *shapes, dtypes=dtypes, low=low))
    for name in ("cumsum", "cummax", "logcumsumexp"):
        function = partial(getattr(mx, name), axis=-1)
        rows.append(Row(name, "scans", function, *shapes, dtypes=("float32",), low=0.0, factor=4))
    for label, axis in (("all", None), ("rows", 1), ("columns", 0)):
        rows.append(Row(f"var, {label}", "reductions", partial(mx.var, axis=axis), *shapes, factor=4))
    rows.append(Row("softmax", "rows", lambda x: mx.softmax(x, axis=-1), *shapes, factor=4))
    weights: tuple[Shapes, Shapes] = ([(17, 384), (384,), (384,)], [(4096, 1024), (1024,), (1024,)])
    norm = lambda x, w, b: mx.fast.layer_norm(x, w, b, 1e-5)  # noqa: E731
    rows.append(Row("layer_norm", "rows", norm, *weights, factor=8))
    rms = lambda x, w, b: mx.fast.rms_norm(x, w, 1e-5)  # noqa: E731
    rows.append(Row("rms_norm", "rows", rms, *weights, factor=8))
    rope = lambda x: mx.fast.rope(x, x.shape[-1], traditional=False, base=10000, scale=1, offset=3)  # noqa: E731
    rows.append(Row("rope", "rows", rope, [(1, 2, 9, 64)], [(1, 32, 1024, 64)], wide=False, factor=16))
    return rows


def cross_entropies() -> list[Row]:
    def with_targets(operands: list[mx.array]) -> list[mx.array]:
        rows, classes = operands[0].shape
        return [*operands, (mx.arange(rows) * 7) % classes]

    def gradient(x: mx.array, t: mx.array) -> mx.array:
        return mx.grad(lambda x: mx.fast.cross_entropy(x, t).sum())(x)

    shapes: tuple[Shapes, Shapes] = ([(17, 300)], [(4096, 32000)])
    options = {"wide": False, "prepare": with_targets}
    return [
        Row("cross_entropy", "rows", mx.fast.cross_entropy, *shapes, factor=4, **options),
        Row("cross_entropy, gradient", "rows", gradient, *shapes, factor=4, **options),
    ]


def gated_delta() -> list[Row]:
    """Keys of unit length and decays below one, as models have them: the state stays bounded."""

    def with_gates(operands: list[mx.array]) -> list[mx.array]:
        q, k, v = operands
        gate, beta = (mx.full(v.shape[:3], x) for x in (0.95, 0.5))
        return [*(x * mx.rsqrt((x * x).sum(-1, keepdims=True)) for x in (q, k)), v, gate, beta]

    def updated(*operands: mx.array) -> mx.array:
        return mx.fast.gated_delta_update(*operands)[0]

    def gradients(*operands: mx.array) -> mx.array:
        given = mx.grad(lambda *x: updated(*x).astype(mx.float32).square().sum(), argnums=range(5))(*operands)
        return mx.concatenate([x.reshape(-1) for x in given])

    shapes: tuple[Shapes, Shapes] = (
        [(1, 9, 1, 40), (1, 9, 1, 40), (1, 9, 2, 13)],
        [(1, 1024, 16, 128), (1, 1024, 16, 128), (1, 1024, 32, 128)],
    )
    options = {"wide": False, "factor": 8, "prepare": with_gates}
    return [
        Row("gated delta rule", "scans", updated, *shapes, **options),
        Row("gated delta rule, gradients", "scans", gradients, *shapes, **options),
    ]


def matrices() -> list[Row]:
    def product_flops(operands: Sequence[mx.array]) -> float:
        a, b = operands[0], operands[1]
        return 2.0 * a.size * b.shape[-1]

    sizes: dict[str, tuple[Shapes, Shapes]] = {
        "square": ([(48, 48), (48, 48)], [(2048, 2048), (2048, 2048)]),
        "odd": ([(33, 17), (17, 70)], [(1023, 1025), (1025, 1027)]),
        "batched": ([(3, 20, 16), (3, 16, 24)], [(32, 512, 64), (32, 64, 512)]),
        "matrix-vector": ([(65, 100), (100, 1)], [(4096, 4096), (4096, 1)]),
        "vector-matrix": ([(1, 100), (100, 65)], [(1, 4096), (4096, 4096)]),
    }
    rows = [
        Row(f"matmul, {label}", "matrices", mx.matmul, *shapes, factor=4, flops=product_flops)
        for label, shapes in sizes.items()
    ]
    transposed = lambda a, b: a.T @ b.T  # noqa: E731
    shapes = ([(40, 33), (50, 40)], [(1024, 1024), (1024, 1024)])
    rows.append(Row("matmul, transposed", "matrices", transposed, *shapes, factor=4, flops=product_flops))
    complexes = lambda a, b: mx.abs((a * (1 + 2j)) @ (b * (2 - 1j)))  # noqa: E731
    for label in ("square", "odd"):
        options = {"dtypes": ("float32",), "factor": 8, "wide": False}
        rows.append(Row(f"matmul, {label}, complex", "matrices", complexes, *sizes[label], **options))
    addmm = lambda c, a, b: mx.addmm(c, a, b, 0.5, 2.0)  # noqa: E731
    shapes = ([(40, 24), (40, 33), (33, 24)], [(1024, 1024)] * 3)
    rows.append(Row("addmm", "matrices", addmm, *shapes, factor=4, flops=lambda o: product_flops(o[1:])))
    for bits in (4, 8):

        def quantize(operands: list[mx.array], bits: int = bits) -> list[mx.array]:
            return [operands[0], *mx.quantize(operands[1], 64, bits)]

        for label, rows_of_x in (("", 1), (", 64 rows", 64)):
            product = partial(mx.quantized_matmul, group_size=64, bits=bits)
            shapes = ([(rows_of_x, 128), (40, 128)], [(rows_of_x, 4096), (4096, 4096)])
            options = {"wide": False, "factor": 16, "prepare": quantize}
            rows.append(Row(f"quantized, {bits} bits{label}", "matrices", product, *shapes, **options))
    for label, mask in (("", None), (", causal", "causal")):

        def attention(q: mx.array, k: mx.array, v: mx.array, mask: str | None = mask) -> mx.array:
            return mx.fast.scaled_dot_product_attention(q, k, v, scale=q.shape[-1] ** -0.5, mask=mask)

        shapes = ([(1, 4, 20, 64), (1, 2, 20, 64), (1, 2, 20, 64)], [(1, 32, 1024, 64)] + [(1, 8, 1024, 64)] * 2)
        work = lambda o: 4.0 * o[0].size * o[1].shape[2]  # noqa: E731
        rows.append(Row(f"attention{label}", "matrices", attention, *shapes, wide=False, factor=16, flops=work))
    return rows


def chosen_matrices() -> list[Row]:
    """Indices and segments choose what is multiplied."""

    def gathered(a: mx.array, b: mx.array) -> mx.array:
        return mx.gather_mm(a, b, rhs_indices=mx.arange(a.shape[0]) % b.shape[0])

    def quantize(operands: list[mx.array]) -> list[mx.array]:
        return [operands[0], *mx.quantize(operands[1], 64, 4)]

    def quantized(x: mx.array, *w: mx.array) -> mx.array:
        return mx.gather_qmm(x, *w, rhs_indices=mx.arange(x.shape[0]) % w[0].shape[0])

    def segmented(a: mx.array, b: mx.array) -> mx.array:
        n = a.shape[1]
        return mx.segmented_mm(a, b, mx.array([[0, n // 3], [n // 3, n], [n // 2, n // 2]]))

    def gradients(a: mx.array, b: mx.array) -> mx.array:
        given = mx.grad(lambda a, b: segmented(a, b).astype(mx.float32).square().sum(), argnums=(0, 1))(a, b)
        return mx.concatenate([x.reshape(-1) for x in given])

    def attention_gradients(*operands: mx.array) -> mx.array:
        def f(q: mx.array, k: mx.array, v: mx.array) -> mx.array:
            out = mx.fast.scaled_dot_product_attention(q, k, v, scale=q.shape[-1] ** -0.5, mask="causal")
            return out.astype(mx.float32).square().sum()

        return mx.concatenate([x.reshape(-1) for x in mx.grad(f, argnums=(0, 1, 2))(*operands)])

    def row(name: str, function: Function, small: Shapes, large: Shapes, **options: object) -> Row:
        return Row(name, "matrices", function, small, large, factor=16, wide=False, **options)

    expert = ([(5, 9, 40), (3, 40, 24)], [(64, 128, 1024), (8, 1024, 1024)])
    packed = ([(5, 3, 128), (3, 40, 128)], [(64, 8, 4096), (8, 4096, 4096)])
    pair: tuple[Shapes, Shapes] = ([(33, 70), (70, 40)], [(1024, 4096), (4096, 1024)])
    heads = ([(1, 4, 20, 32), (1, 2, 20, 32), (1, 2, 20, 32)], [(1, 32, 1024, 64)] + [(1, 8, 1024, 64)] * 2)
    return [
        row("gather_mm", gathered, *expert, flops=lambda o: 2.0 * o[0].size * o[1].shape[-1]),
        row("gather_qmm, 4 bits", quantized, *packed, prepare=quantize),
        row("segmented_mm", segmented, *pair),
        row("segmented_mm, gradients", gradients, *pair),
        row("attention, gradients", attention_gradients, *heads),
    ]


def convolutions() -> list[Row]:
    def work(o: Sequence[mx.array]) -> float:  # of padding that keeps the size, and a stride of 1
        return 2.0 * o[0].size / o[0].shape[-1] * o[1].size

    def gradients(x: mx.array, w: mx.array) -> mx.array:
        gx, gw = mx.grad(lambda x, w: mx.conv2d(x, w, padding=1).square().sum(), argnums=(0, 1))(x, w)
        return mx.concatenate([gx.reshape(-1), gw.reshape(-1)])

    def row(name: str, function: Function, small: Shapes, large: Shapes, **options: object) -> Row:
        return Row(name, "convolutions", function, small, large, wide=False, factor=options.pop("factor", 8), **options)

    image: tuple[Shapes, Shapes] = ([(1, 9, 9, 8), (16, 3, 3, 8)], [(8, 56, 56, 64), (64, 3, 3, 64)])
    many: tuple[Shapes, Shapes] = ([(1, 60, 60, 192), (192, 3, 3, 192)], [(8, 56, 56, 256), (256, 3, 3, 256)])
    line: tuple[Shapes, Shapes] = ([(2, 70, 12), (8, 5, 12)], [(8, 4096, 128), (256, 5, 128)])
    depth: tuple[Shapes, Shapes] = ([(1, 12, 12, 40), (40, 3, 3, 1)], [(8, 112, 112, 128), (128, 3, 3, 1)])
    return [
        row("conv2d", lambda x, w: mx.conv2d(x, w, padding=1), *image, flops=work),
        row(
            "conv2d, many channels",
            lambda x, w: mx.conv2d(x, w, padding=1),
            *many,
            flops=work,
            factor=16,
            dtypes=("float32",),
        ),
        row("conv2d, stride 2", lambda x, w: mx.conv2d(x, w, stride=2, padding=1), *image),
        row("conv2d, gradients", gradients, *image, factor=16),
        row("conv_transpose2d", lambda x, w: mx.conv_transpose2d(x, w, stride=2, padding=1), *image),
        row("conv1d", lambda x, w: mx.conv1d(x, w, padding=2), *line, flops=work),
        row("conv2d, depthwise", lambda x, w: mx.conv2d(x, w, padding=1, groups=w.shape[0]), *depth),
    ]


def transforms() -> list[Row]:
    def row(name: str, function: Function, small: Shapes, large: Shapes, **options: object) -> Row:
        return Row(name, "transforms", function, small, large, factor=8, **options)

    def there_and_back(x: mx.array) -> mx.array:
        return mx.fft.irfft(mx.fft.rfft(x, axis=-1) * (1 + 2j), n=x.shape[-1], axis=-1)

    def spectrum(x: mx.array) -> mx.array:
        return mx.abs(mx.fft.fft(x, axis=-1))

    floats = {"dtypes": ("float32",), "wide": False}
    return [
        row("fft", spectrum, [(60, 64)], [(4096, 1024)], **floats),
        row("fft, mixed radices", spectrum, [(9, 60)], [(4096, 1000)], **floats),
        row("fft, a prime length", spectrum, [(9, 101)], [(4096, 1009)], **floats),
        row("fft, long", spectrum, [(1, 16384)], [(16, 1 << 18)], **floats),
        row("rfft and irfft", there_and_back, [(9, 96)], [(4096, 1024)], **floats),
        row("fft2", lambda x: mx.abs(mx.fft.fft2(x)), [(2, 16, 12)], [(64, 256, 256)], **floats),
        row("hadamard_transform", mx.hadamard_transform, [(9, 256)], [(4096, 4096)], wide=False),
        row("hadamard_transform, 28 * 2^k", mx.hadamard_transform, [(9, 112)], [(4096, 3584)], wide=False),
    ]


def selection() -> list[Row]:
    shapes: tuple[Shapes, Shapes] = ([(60, 40)], [(4096, 1024)])

    def with_indices(operands: list[mx.array]) -> list[mx.array]:
        rows = operands[0].shape[0]
        return [*operands, (mx.arange(rows // 2) * 7) % rows]

    def with_pairs(operands: list[mx.array]) -> list[mx.array]:
        rows, columns = operands[0].shape
        n = mx.arange(rows * columns // 2)
        return [*operands, (n * 7) % rows, (n * 11) % columns]

    def with_mask(operands: list[mx.array]) -> list[mx.array]:
        x = operands[0]
        return [x, mx.arange(x.size).reshape(x.shape) % 3 == 0]

    def assigned(x: mx.array, mask: mx.array) -> mx.array:
        y = x * 1
        y[mask] = x.reshape(-1)[: (x.size + 2) // 3]
        return y

    def window(x: mx.array) -> mx.array:
        start, size = mx.array([3, 5]), (x.shape[0] // 2, x.shape[1] // 2)
        return mx.slice_update(x, mx.slice(x, start, (0, 1), size), start - 2, (0, 1))

    gradient = mx.grad(lambda x: (mx.sin(x) * x).sum())
    rows = [
        Row("gather", "selection", lambda x, i, j: x[i, j], *shapes, dtypes=ALL, prepare=with_pairs),
        Row("scatter-add, pairs", "selection", lambda x, i, j: x.at[i, j].add(1), *shapes, prepare=with_pairs),
        Row(
            "scatter-max",
            "selection",
            lambda x, i: x.at[i].maximum(x[i] + 1),
            *shapes,
            dtypes=ALL[:-1],
            prepare=with_indices,
        ),
        Row("masked assignment", "selection", assigned, *shapes, dtypes=ALL, prepare=with_mask),
        Row("dynamic slices", "selection", window, *shapes, dtypes=ALL),
        Row("sort, columns", "selection", lambda x: mx.sort(x, axis=0), *shapes, dtypes=ALL[:-1]),
        Row("topk", "selection", lambda x: mx.sort(mx.topk(x, 5, axis=-1), axis=-1), *shapes, dtypes=ALL[:-1]),
        Row("sort, all", "selection", lambda x: mx.sort(x, axis=None), *shapes, dtypes=ALL[:-1]),
        Row(
            "searchsorted",
            "selection",
            lambda x: mx.searchsorted(mx.sort(x[0]), x),
            *shapes,
            dtypes=("float32", "int32"),
        ),
    ]
    return [
        *rows,
        Row("take", "selection", lambda x, i: x[i], *shapes, dtypes=ALL, prepare=with_indices),
        Row("scatter-add", "selection", lambda x, i: x.at[i].add(x[i]), *shapes, dtypes=ALL[:-1], prepare=with_indices),
        Row("sort", "selection", lambda x: mx.sort(x, axis=-1), *shapes, dtypes=ALL[:-1]),
        Row("argsort", "selection", lambda x: mx.take_along_axis(x, mx.argsort(x, -1), -1), *shapes),
        Row("gradient", "fused", gradient, *shapes, factor=16),
        Row("random", "selection", _random, *shapes, dtypes=("float32",), wide=False),
    ]


def _random(x: mx.array) -> mx.array:
    return mx.random.uniform(shape=x.shape, key=mx.array([1, 2], dtype=mx.uint32))


def all_rows() -> list[Row]:
    groups = [elementwise(), movement(), rows_and_sums(), cross_entropies(), gated_delta(), matrices()]
    groups += [chosen_matrices(), convolutions(), transforms(), selection()]
    return [row for group in groups for row in group]

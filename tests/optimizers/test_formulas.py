"""Twenty steps of every optimizer against its formula in float64 NumPy."""

from collections.abc import Callable
from dataclasses import dataclass

import mlx.core as mx
import mlx.optimizers as optim
import numpy as np
import pytest

STEPS = 20
SHAPES = {"matrix": (4, 6), "tall": (7, 3), "vector": (5,), "kernel": (6, 3, 2, 2), "scalar": ()}


@dataclass
class Row:
    """An optimizer and ``reference(w, g, state, t) -> w``; ``state`` starts as an empty dict."""

    name: str
    make: Callable[[], optim.Optimizer]
    reference: Callable
    state: tuple[str, ...]


def sgd(lr, momentum=0.0, decay=0.0, dampening=0.0, nesterov=False):
    def step(w, g, s, t):
        g = g + decay * w
        if momentum == 0:
            return w - lr * g
        s["v"] = momentum * s.get("v", 0) + (1 - dampening) * g
        return w - lr * (g + momentum * s["v"] if nesterov else s["v"])

    return step


def rmsprop(lr, alpha, eps):
    def step(w, g, s, t):
        s["v"] = alpha * s.get("v", 0) + (1 - alpha) * g**2
        return w - lr * g / (np.sqrt(s["v"]) + eps)

    return step


def adagrad(lr, eps):
    def step(w, g, s, t):
        s["v"] = s.get("v", 0) + g**2
        return w - lr * g / (np.sqrt(s["v"]) + eps)

    return step


def adadelta(lr, rho, eps):
    def step(w, g, s, t):
        s["v"] = rho * s.get("v", 0) + (1 - rho) * g**2
        d = np.sqrt((s.get("u", 0) + eps) / (s["v"] + eps)) * g
        s["u"] = rho * s.get("u", 0) + (1 - rho) * d**2
        return w - lr * d

    return step


def adam(lr, b1, b2, eps, decay=0.0, correct=False):
    def step(w, g, s, t):
        s["m"] = b1 * s.get("m", 0) + (1 - b1) * g
        s["v"] = b2 * s.get("v", 0) + (1 - b2) * g**2
        m, v = s["m"], s["v"]
        if correct:
            m, v = m / (1 - b1**t), v / (1 - b2**t)
        return w * (1 - lr * decay) - lr * m / (np.sqrt(v) + eps)

    return step


def adamax(lr, b1, b2, eps):
    def step(w, g, s, t):
        s["m"] = b1 * s.get("m", 0) + (1 - b1) * g
        s["v"] = np.maximum(b2 * s.get("v", 0), np.abs(g))
        return w - lr * s["m"] / (s["v"] + eps)

    return step


def lion(lr, b1, b2, decay):
    def step(w, g, s, t):
        m = s.get("m", 0)
        s["m"] = b2 * m + (1 - b2) * g
        return (1 - lr * decay) * w - lr * np.sign(b1 * m + (1 - b1) * g)

    return step


def rms(x):
    return np.sqrt(np.mean(x**2))


def adafactor(lr=None, beta_1=None, decay=0.0, scale=True, warmup=False):
    def step(w, g, s, t):
        rate = lr or min(1e-6 * t if warmup else 1e-2, t**-0.5)
        if scale:
            rate = rate * max(1e-3, rms(w))
        beta = 1 - t**-0.8
        square = g**2 + 1e-30
        if g.ndim >= 2:
            s["row"] = row = beta * s.get("row", 0) + (1 - beta) * square.mean(-1)
            s["col"] = col = beta * s.get("col", 0) + (1 - beta) * square.mean(-2)
            v = row[..., None] * col[..., None, :] / row.mean(-1)[..., None, None]
        else:
            s["v"] = v = beta * s.get("v", 0) + (1 - beta) * square
        u = g / np.sqrt(v)
        u = rate * u / max(1, rms(u))
        if beta_1 is not None:
            s["m"] = u = beta_1 * s.get("m", 0) + (1 - beta_1) * u
        return w * (1 - decay * rate) - u

    return step


def muon(lr, momentum, decay, nesterov):
    def orthogonalised(u):
        x = u.reshape(len(u), -1)
        rows, columns = x.shape
        x = x / np.linalg.norm(x)
        for _ in range(5):
            a = x @ x.T
            x = 3.4445 * x - 4.7750 * a @ x + 2.0315 * a @ a @ x
        return x.reshape(u.shape) * np.sqrt(max(1, rows / columns))

    def step(w, g, s, t):
        g = g + decay * w
        s["v"] = momentum * s.get("v", 0) + (1 - momentum) * g
        u = momentum * s["v"] + (1 - momentum) * g if nesterov else s["v"]
        return w - lr * (orthogonalised(u) if u.ndim >= 2 else u)

    return step


ROWS = [
    Row("sgd", lambda: optim.SGD(0.1), sgd(0.1), ("v",)),
    Row("momentum", lambda: optim.SGD(0.1, 0.9, 0.01, 0.2), sgd(0.1, 0.9, 0.01, 0.2), ("v",)),
    Row(
        "nesterov",
        lambda: optim.SGD(0.1, 0.9, nesterov=True),
        sgd(0.1, 0.9, nesterov=True),
        ("v",),
    ),
    Row("rmsprop", lambda: optim.RMSprop(0.01, 0.9, 1e-6), rmsprop(0.01, 0.9, 1e-6), ("v",)),
    Row("adagrad", lambda: optim.Adagrad(0.1), adagrad(0.1, 1e-8), ("v",)),
    Row("adadelta", lambda: optim.AdaDelta(1.0), adadelta(1.0, 0.9, 1e-6), ("v", "u")),
    Row("adam", lambda: optim.Adam(0.01), adam(0.01, 0.9, 0.999, 1e-8), ("m", "v")),
    Row(
        "adam_corrected",
        lambda: optim.Adam(0.01, [0.8, 0.95], 1e-6, bias_correction=True),
        adam(0.01, 0.8, 0.95, 1e-6, correct=True),
        ("m", "v"),
    ),
    Row("adamw", lambda: optim.AdamW(0.01), adam(0.01, 0.9, 0.999, 1e-8, 0.01), ("m", "v")),
    Row(
        "adamw_corrected",
        lambda: optim.AdamW(0.01, weight_decay=0.1, bias_correction=True),
        adam(0.01, 0.9, 0.999, 1e-8, 0.1, correct=True),
        ("m", "v"),
    ),
    Row("adamax", lambda: optim.Adamax(0.01), adamax(0.01, 0.9, 0.999, 1e-8), ("m", "v")),
    Row("lion", lambda: optim.Lion(0.01, weight_decay=0.1), lion(0.01, 0.9, 0.99, 0.1), ("m",)),
    Row("adafactor", lambda: optim.Adafactor(), adafactor(), ()),
    Row(
        "adafactor_all",
        lambda: optim.Adafactor(0.01, relative_step=False, beta_1=0.9, weight_decay=0.1),
        adafactor(0.01, 0.9, 0.1),
        (),
    ),
    Row(
        "adafactor_warmup",
        lambda: optim.Adafactor(scale_parameter=False, warmup_init=True),
        adafactor(scale=False, warmup=True),
        (),
    ),
    Row("muon", lambda: optim.Muon(0.02), muon(0.02, 0.95, 0.01, True), ("v",)),
    Row(
        "muon_plain",
        lambda: optim.Muon(0.02, 0.9, 0.0, nesterov=False),
        muon(0.02, 0.9, 0.0, False),
        ("v",),
    ),
]


def trees():
    """Parameters and the gradients of all steps, float64."""
    rng = np.random.default_rng(7)
    draws = [{k: rng.normal(size=shape) for k, shape in SHAPES.items()} for _ in range(STEPS + 1)]
    return draws[0], draws[1:]


def to_mx(tree):
    return {k: mx.array(x.astype(np.float32)) for k, x in tree.items()}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_formula(row):
    start, gradients = trees()
    expected, memory = dict(start), {k: {} for k in start}
    optimizer, actual = row.make(), to_mx(start)
    for t, gradient in enumerate(gradients, 1):
        actual = optimizer.apply_gradients(to_mx(gradient), actual)
        for k in expected:
            expected[k] = row.reference(expected[k], gradient[k], memory[k], t)
    for k in expected:
        np.testing.assert_allclose(np.array(actual[k]), expected[k], rtol=2e-5, atol=2e-6)
        assert np.abs(expected[k] - start[k]).max() > 1e-5, "the reference must have moved"
        for name in row.state:
            if name in memory[k]:
                state = np.array(optimizer.state[k][name])
                np.testing.assert_allclose(state, memory[k][name], rtol=2e-5, atol=2e-6)
    assert optimizer.step.item() == STEPS


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_state_has_the_documented_names(row):
    optimizer = row.make()
    optimizer.init(to_mx(trees()[0]))
    factored = {"exp_avg_sq_row": (6, 3, 2), "exp_avg_sq_col": (6, 3, 2)}
    expected = dict.fromkeys(row.state, SHAPES["kernel"]) or factored
    if getattr(optimizer, "beta_1", None):
        expected["exp_avg"] = SHAPES["kernel"]
    assert {k: v.shape for k, v in optimizer.state["kernel"].items()} == expected


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
@pytest.mark.parametrize("dtype", [mx.float16, mx.bfloat16])
def test_low_precision(row, dtype):
    """Dtypes do not change and the result is close to that of float32."""
    start, gradients = trees()
    optimizer = row.make()
    parameters = {k: x.astype(dtype) for k, x in to_mx(start).items()}
    reference, exact = row.make(), to_mx(start)
    for gradient in gradients[:5]:
        parameters = optimizer.apply_gradients(
            {k: g.astype(dtype) for k, g in to_mx(gradient).items()}, parameters
        )
        exact = reference.apply_gradients(to_mx(gradient), exact)
    for k, x in parameters.items():
        assert x.dtype == dtype
        difference = mx.abs(x.astype(mx.float32) - exact[k]).max().item()
        # Signs and divisions by small roots magnify rounding: a few per cent of the way moved.
        assert difference < 0.1, (k, difference)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_gradients_of_zero_give_finite_parameters(row):
    optimizer = row.make()
    parameters = to_mx(trees()[0])
    zeros = {k: mx.zeros_like(x) for k, x in parameters.items()}
    for _ in range(2):
        parameters = optimizer.apply_gradients(zeros, parameters)
    assert all(mx.isfinite(x).all().item() for x in parameters.values())


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: optim.SGD(0.1, nesterov=True), "SGD.*nesterov"),
        (lambda: optim.SGD(0.1, 0.9, dampening=0.1, nesterov=True), "dampening 0.1"),
        (lambda: optim.Adam(0.1, betas=[1.0, 0.9]), r"\[Adam\] betas"),
        (lambda: optim.AdamW(0.1, eps=-1), r"\[AdamW\] eps is -1"),
        (lambda: optim.Adamax(0.1, betas=[0.9]), r"\[Adamax\] betas"),
        (lambda: optim.Lion(0.1, betas=[0.9, -0.1]), r"\[Lion\] betas"),
        (lambda: optim.RMSprop(0.1, alpha=-1), r"\[RMSprop\] alpha"),
        (lambda: optim.Adagrad(0.1, eps=-1), r"\[Adagrad\] eps"),
        (lambda: optim.AdaDelta(0.1, rho=-1), r"\[AdaDelta\] rho"),
        (lambda: optim.Adafactor(relative_step=False), r"\[Adafactor\] expected a learning_rate"),
    ],
)
def test_wrong_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()

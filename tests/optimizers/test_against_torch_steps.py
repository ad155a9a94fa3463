"""Twenty steps of the optimizers that PyTorch has with the same formula (see record_torch.py).

PyTorch's Adamax corrects a bias that ours, as the API, does not; its Muon computes in bfloat16 and
for matrices only; Lion it lacks. These are compared with their formulas, in test_formulas.py.
"""

import math
import pathlib

import mlx.core as mx
import mlx.optimizers as optim
import numpy as np
import pytest

RECORDED = np.load(pathlib.Path(__file__).parent / "data" / "torch_steps.npz")
SHAPES = {"matrix": (4, 6), "vector": (5,), "kernel": (3, 2, 2, 2)}
STEPS = 20
ROWS = {
    "sgd": lambda: optim.SGD(0.1),
    "momentum": lambda: optim.SGD(0.1, 0.9, 0.01),
    "nesterov": lambda: optim.SGD(0.1, 0.9, nesterov=True),
    "rmsprop": lambda: optim.RMSprop(0.01, 0.9, 1e-6),
    "adagrad": lambda: optim.Adagrad(0.1, 1e-8),
    "adadelta": lambda: optim.AdaDelta(1.0, 0.9, 1e-6),
    "adam": lambda: optim.Adam(0.01, [0.8, 0.95], 1e-6, bias_correction=True),
    "adamw": lambda: optim.AdamW(0.01, weight_decay=0.1, bias_correction=True),
    "adafactor": lambda: optim.Adafactor(),
}
# Relative to the largest parameter. In float32 a step rounds several times; the bound of float64 is
# that of hyper-parameters held in float32.
BOUNDS = {mx.float32: 2e-6, mx.float64: 1e-6}


def wave(*shape, seed):
    i = np.arange(math.prod(shape), dtype=np.float64)
    return np.sin(1.7 * i + 0.37 * seed + 0.11 * i * i / (1 + i)).reshape(shape)


def waves(seed, dtype):
    return {k: mx.array(wave(*s, seed=seed)).astype(dtype) for k, s in SHAPES.items()}


def compare(tree, prefix, bound):
    for k in SHAPES:
        expected = RECORDED[f"{prefix}.{k}"]
        error = np.abs(np.array(tree[k]).astype("f8") - expected).max() / np.abs(expected).max()
        assert error <= bound, f"{prefix}.{k}: {error:.2e}"


@pytest.mark.parametrize("dtype", BOUNDS, ids=str)
@pytest.mark.parametrize("name", ROWS)
def test_steps(name, dtype):
    optimizer, parameters = ROWS[name](), waves(0, dtype)
    for step in range(1, STEPS + 1):
        parameters = optimizer.apply_gradients(waves(step, dtype), parameters)
        assert all(x.dtype == dtype for x in parameters.values())
        if step in (1, STEPS):
            compare(parameters, f"{name}.{step}", BOUNDS[dtype])


def test_clipping():
    clipped, norm = optim.clip_grad_norm(waves(1, mx.float32), 1.5)
    assert norm.item() == pytest.approx(RECORDED["clip.norm"].item(), rel=1e-6)
    compare(clipped, "clip", 2e-6)

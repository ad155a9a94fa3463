"""Writes data/torch_steps.npz: 20 steps of PyTorch's optimizers, for test_against_torch_steps.py.

Run by hand, in an environment with torch and numpy: ``python tests/optimizers/record_torch.py``.
Parameters and gradients are waves in float64, computed alike here and in the tests; recorded are
the parameters after steps 1 and 20.
"""

import math
import pathlib

import numpy as np
import torch

SHAPES = {"matrix": (4, 6), "vector": (5,), "kernel": (3, 2, 2, 2)}
STEPS = 20
ROWS = {
    "sgd": lambda p: torch.optim.SGD(p, 0.1),
    "momentum": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.01),
    "nesterov": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, 0.01, alpha=0.9, eps=1e-6),
    "adagrad": lambda p: torch.optim.Adagrad(p, 0.1, eps=1e-8),
    "adadelta": lambda p: torch.optim.Adadelta(p, 1.0, rho=0.9, eps=1e-6),
    "adam": lambda p: torch.optim.Adam(p, 0.01, (0.8, 0.95), 1e-6),
    "adamw": lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.1),
    "adafactor": lambda p: torch.optim.Adafactor(p, 0.01, eps=(1e-15, 1e-3)),
}


def wave(*shape, seed):
    i = np.arange(math.prod(shape), dtype=np.float64)
    return np.sin(1.7 * i + 0.37 * seed + 0.11 * i * i / (1 + i)).reshape(shape)


def steps(make):
    parameters = {k: torch.nn.Parameter(torch.tensor(wave(*s, seed=0))) for k, s in SHAPES.items()}
    optimizer = make(list(parameters.values()))
    for step in range(1, STEPS + 1):
        for k, p in parameters.items():
            p.grad = torch.tensor(wave(*SHAPES[k], seed=step))
        optimizer.step()
        if step in (1, STEPS):
            yield step, {k: p.detach().numpy().copy() for k, p in parameters.items()}


def clipped():
    parameters = {k: torch.nn.Parameter(torch.tensor(wave(*s, seed=0))) for k, s in SHAPES.items()}
    for k, p in parameters.items():
        p.grad = torch.tensor(wave(*SHAPES[k], seed=1))
    norm = torch.nn.utils.clip_grad_norm_(list(parameters.values()), 1.5)
    return {"norm": norm.numpy()} | {k: p.grad.numpy() for k, p in parameters.items()}


def main():
    arrays = {f"clip.{k}": a for k, a in clipped().items()}
    for name, make in ROWS.items():
        for step, parameters in steps(make):
            arrays |= {f"{name}.{step}.{k}": a for k, a in parameters.items()}
    path = pathlib.Path(__file__).parent / "data" / "torch_steps.npz"
    path.parent.mkdir(exist_ok=True)
    np.savez_compressed(path, **arrays)
    print(path, path.stat().st_size, "bytes, torch", torch.__version__)


if __name__ == "__main__":
    main()

"""Every public layer, loss, optimizer and initializer: arguments, formula and paper are there."""

import inspect
import re

import mlx.nn as nn
import mlx.optimizers as optim
import pytest
from mlx.nn import init, losses


def functions(module):
    return {
        name: value
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__ and name[0] != "_"
    }


LAYERS = {
    name: value
    for name, value in vars(nn).items()
    if inspect.isclass(value) and issubclass(value, nn.Module)
}
ACTIVATIONS = {
    name: value
    for name, value in vars(nn).items()
    if inspect.isfunction(value) and value.__module__.endswith("_activation_functions")
}
OPTIMIZERS = {
    name: value
    for name, value in vars(optim).items()
    if (inspect.isclass(value) or inspect.isfunction(value)) and name[0] != "_"
}
EVERYTHING = (
    {f"nn.{k}": v for k, v in (LAYERS | ACTIVATIONS).items()}
    | {f"losses.{k}": v for k, v in functions(losses).items()}
    | {f"init.{k}": v for k, v in functions(init).items()}
    | {f"optimizers.{k}": v for k, v in OPTIMIZERS.items()}
)
# Containers, and things that only move or make numbers.
WITHOUT_FORMULA = {
    "nn.FullyShardedModule",
    "nn.Identity",
    "nn.Module",
    "nn.Sequential",
    "init.constant",
    "init.identity",
    "init.normal",
    "init.orthogonal",
    "init.sparse",
    "init.uniform",
    "optimizers.MultiOptimizer",
    "optimizers.Optimizer",
    "optimizers.join_schedules",
}
# Older than, or too plain for, a paper of their own.
WITHOUT_SOURCE = WITHOUT_FORMULA - {"init.orthogonal", "init.sparse"} | {
    *(f"nn.AvgPool{d}d" for d in (1, 2, 3)),
    *(f"nn.MaxPool{d}d" for d in (1, 2, 3)),
    *(f"nn.{name}" for name in ("Linear", "Bilinear", "Embedding", "Upsample")),
    *(f"nn.{name}" for name in ("hard_shrink", "hard_tanh", "sigmoid", "softmax", "softmin")),
    *(f"nn.{name}" for name in ("log_sigmoid", "log_softmax", "softplus", "softsign", "tanh")),
    *(f"nn.{name}" for name in ("softshrink", "step")),
    *(f"nn.{name}" for name in ("HardShrink", "HardTanh", "Sigmoid", "Softmax", "Softmin")),
    *(f"nn.{name}" for name in ("LogSigmoid", "LogSoftmax", "Softplus", "Softsign", "Tanh")),
    *(f"nn.{name}" for name in ("Softshrink", "Step")),
    *(f"nn.{name}" for name in ("QQLinear", "QuantizedEmbedding", "QuantizedLinear")),
    *(f"nn.{q}{name}" for q in ("", "Quantized") for name in ("AllToShardedLinear",)),
    *(f"nn.{q}{name}" for q in ("", "Quantized") for name in ("ShardedToAllLinear",)),
    *(f"losses.{name}_loss" for name in ("cosine_similarity", "gaussian_nll", "hinge", "kl_div")),
    *(f"losses.{name}_loss" for name in ("l1", "log_cosh", "margin_ranking", "mse", "nll")),
    *(f"losses.{name}" for name in ("binary_cross_entropy", "cross_entropy")),
    *(f"optimizers.{name}" for name in ("exponential_decay", "linear_schedule", "step_decay")),
}


def text_of(name):
    """The docstring with those of the functions and classes that it refers to."""
    doc = inspect.getdoc(EVERYTHING[name]) or ""
    referred = re.findall(r":(?:func|class):`(\w+)`", doc)
    others = [inspect.getdoc(EVERYTHING[f"nn.{k}"]) for k in referred if f"nn.{k}" in EVERYTHING]
    return "\n".join([doc, *others])


def test_all_are_looked_at():
    assert len(LAYERS) >= 72 and len(ACTIVATIONS) >= 27 and len(functions(losses)) == 14
    assert not WITHOUT_SOURCE - EVERYTHING.keys()


@pytest.mark.parametrize("name", EVERYTHING)
def test_arguments(name):
    doc = inspect.getdoc(EVERYTHING[name]) or ""
    assert len(doc) > 10 and doc[0] != " "
    parameters = inspect.signature(EVERYTHING[name]).parameters.values()
    wanted = [p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    assert not [p for p in wanted if not re.search(rf"\b{p}\b", doc)]


@pytest.mark.parametrize("name", EVERYTHING.keys() - WITHOUT_FORMULA)
def test_formula(name):
    doc = text_of(name)
    code = re.search(r"``[^`]*[-=*+/<>(][^`]*``", doc)
    assert code or ":math:" in doc or ".. math::" in doc


@pytest.mark.parametrize("name", EVERYTHING.keys() - WITHOUT_SOURCE)
def test_source(name):
    assert re.search(r"Source: .*\d{4}|arXiv:\d|https?://", text_of(name), re.DOTALL)

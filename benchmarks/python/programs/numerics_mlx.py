"""Graphs and tables, equations, statistics and derivatives. numerics_torch.py has the same programs."""

from __future__ import annotations

from itertools import pairwise

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from common import Program
from side_mlx import adam, array, integers, normal, operation, sgd, training


class GraphConvolutions(nn.Module):
    """Each node is the sum over its incoming edges, arXiv:1609.02907 without the normalisation."""

    def __init__(self, width: int = 64, classes: int = 10) -> None:
        super().__init__()
        self.layer1, self.layer2 = nn.Linear(width, width), nn.Linear(width, classes)

    def __call__(self, x: mx.array, sources: mx.array, targets: mx.array) -> mx.array:
        hidden = self.layer1(x)
        x = nn.relu(mx.zeros_like(hidden).at[targets].add(hidden[sources]))
        hidden = self.layer2(x)
        return mx.zeros_like(hidden).at[targets].add(hidden[sources])


def gcn_step(nodes: int, edges: int) -> Program:
    def loss(model: nn.Module, x: mx.array, sources: mx.array, targets: mx.array, labels: mx.array) -> mx.array:
        return nn.losses.cross_entropy(model(x, sources, targets), labels, reduction="mean")

    x, sources, targets = normal(nodes, 64), integers(nodes, edges), integers(nodes, edges)
    return training(GraphConvolutions(), loss, adam(1e-3), x, sources, targets, integers(10, nodes))


class Recommender(nn.Module):
    """Embeddings of categories, their products in pairs, and a perceptron: DLRM, arXiv:1906.00091."""

    def __init__(self, tables: int = 8, rows: int = 20_000, width: int = 64) -> None:
        super().__init__()
        self.tables = [nn.Embedding(rows, width) for _ in range(tables)]
        self.bottom = nn.Sequential(nn.Linear(13, width), nn.ReLU())
        pairs = np.triu_indices(tables + 1, 1)
        self._first, self._second = array(pairs[0]), array(pairs[1])  # private: not parameters
        features = (tables + 1) * width + len(pairs[0])
        self.top = nn.Sequential(nn.Linear(features, 256), nn.ReLU(), nn.Linear(256, 1))

    def __call__(self, dense: mx.array, categories: mx.array) -> mx.array:
        columns = [table(categories[:, i]) for i, table in enumerate(self.tables)]
        vectors = mx.stack([self.bottom(dense), *columns], 1)
        products = (vectors @ vectors.swapaxes(1, 2))[:, self._first, self._second]
        return self.top(mx.concatenate([vectors.flatten(1), products], 1))[:, 0]


def dlrm_step(batch: int) -> Program:
    def loss(model: nn.Module, dense: mx.array, categories: mx.array, clicked: mx.array) -> mx.array:
        return nn.losses.binary_cross_entropy(model(dense, categories), clicked)

    clicked = integers(2, batch).astype(mx.float32)
    return training(Recommender(), loss, sgd(0.1), normal(batch, 13), integers(20_000, batch, 8), clicked)


def perceptron(*widths: int) -> nn.Module:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.Tanh()]
    return nn.Sequential(*layers[:-1])


def pinn_step(points: int) -> Program:
    """The residual of the heat equation u_t = u_xx at points (x, t): gradients of second derivatives."""

    def loss(model: nn.Module, x: mx.array) -> mx.array:
        def slope(x: mx.array) -> tuple[mx.array, mx.array]:
            first = mx.grad(lambda x: model(x).sum())(x)
            return first[:, 0].sum(), first

        (_, first), second = mx.value_and_grad(slope)(x)
        return mx.mean(mx.square(first[:, 1] - second[:, 0]))

    return training(perceptron(2, 64, 64, 64, 64, 1), loss, adam(1e-3), normal(points, 2))


def rk4_step(batch: int, steps: int) -> Program:
    """A neural ordinary differential equation, arXiv:1806.07366: gradients through all steps."""

    def loss(model: nn.Module, x: mx.array) -> mx.array:
        h = 0.05
        for _ in range(steps):
            a = model(x)
            b = model(x + h / 2 * a)
            c = model(x + h / 2 * b)
            d = model(x + h * c)
            x = x + h / 6 * (a + 2 * b + 2 * c + d)
        return mx.mean(mx.square(x))

    return training(perceptron(16, 64, 16), loss, adam(1e-3), normal(batch, 16))


def policy_step(batch: int) -> Program:
    """The clipped objective of proximal policy optimisation, arXiv:1707.06347, with an entropy bonus."""

    def loss(model: nn.Module, states: mx.array, actions: mx.array, gains: mx.array, before: mx.array) -> mx.array:
        logits = nn.log_softmax(model(states), -1)
        now = mx.take_along_axis(logits, actions[:, None], -1)[:, 0]
        ratio = mx.exp(now - before)
        gain = mx.mean(mx.minimum(ratio * gains, mx.clip(ratio, 0.8, 1.2) * gains))
        return 0.01 * mx.mean(mx.sum(mx.exp(logits) * logits, -1)) - gain

    states, actions, gains, before = normal(batch, 8), integers(4, batch), normal(batch), -mx.abs(normal(batch))
    return training(perceptron(8, 64, 64, 4), loss, adam(1e-3), states, actions, gains, before)


def gaussian_process(points: int) -> Program:
    """The negative log likelihood of a squared exponential kernel, and its gradient in the three parameters."""
    x, y = normal(points, 4), normal(points)

    def likelihood(logs: mx.array) -> mx.array:
        squares = mx.sum(x * x, 1)
        distances = squares[:, None] + squares[None] - 2 * x @ x.T
        kernel = mx.exp(logs[0]) * mx.exp(-0.5 * distances * mx.exp(-2 * logs[1]))
        kernel = kernel + (mx.exp(logs[2]) + 1e-3) * mx.eye(points)
        factor = mx.linalg.cholesky(kernel, stream=mx.cpu)
        whitened = mx.linalg.solve_triangular(factor, y[:, None], stream=mx.cpu)
        return 0.5 * mx.sum(whitened * whitened) + mx.sum(mx.log(mx.diag(factor)))

    return operation(mx.value_and_grad(likelihood), array(np.array([0.1, 0.2, 0.3], np.float32)))


def kmeans(points: int, clusters: int) -> Program:
    """One step of Lloyd's algorithm."""

    def step(x: mx.array, centres: mx.array) -> mx.array:
        distances = mx.sum(x * x, 1)[:, None] + mx.sum(centres * centres, 1)[None] - 2 * x @ centres.T
        nearest = mx.argmin(distances, 1)
        sums = mx.zeros_like(centres).at[nearest].add(x)
        counts = mx.zeros((clusters,)).at[nearest].add(1.0)
        return sums / counts[:, None]

    x = normal(points, 16)
    return operation(step, x, x[:clusters])


def jacobian(width: int) -> Program:
    """All rows of the Jacobian of two layers at once."""

    def rows(x: mx.array, weight1: mx.array, weight2: mx.array) -> mx.array:
        def layers(x: mx.array) -> mx.array:
            return mx.tanh(mx.tanh(x @ weight1) @ weight2)

        return mx.vmap(lambda cotangent: mx.vjp(layers, [x], [cotangent])[1][0])(mx.eye(width))

    return operation(rows, normal(width), normal(width, width) / 8, normal(width, width) / 8)


def per_sample_gradients(batch: int) -> Program:
    """The gradient of each sample's loss, as differentially private training needs them."""

    def loss(weights: list[mx.array], x: mx.array, label: mx.array) -> mx.array:
        logits = nn.relu(x @ weights[0]) @ weights[1]
        return nn.losses.cross_entropy(logits[None], label[None], reduction="sum")

    gradients = mx.vmap(mx.grad(loss), in_axes=(None, 0, 0))
    x, labels, weight1, weight2 = normal(batch, 32), integers(10, batch), normal(32, 64) / 6, normal(64, 10) / 8
    return operation(lambda x, labels, *weights: gradients(list(weights), x, labels), x, labels, weight1, weight2)

"""Graphs and tables, equations, statistics and derivatives. numerics_mlx.py has the same programs."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from common import Program
from side_torch import adam, array, integers, normal, operation, sgd, training
from torch import Tensor, nn


class GraphConvolutions(nn.Module):
    """Each node is the sum over its incoming edges, arXiv:1609.02907 without the normalisation."""

    def __init__(self, width: int = 64, classes: int = 10) -> None:
        super().__init__()
        self.layer1, self.layer2 = nn.Linear(width, width), nn.Linear(width, classes)

    def forward(self, x: Tensor, sources: Tensor, targets: Tensor) -> Tensor:
        hidden = self.layer1(x)
        x = F.relu(torch.zeros_like(hidden).index_add_(0, targets, hidden[sources]))
        hidden = self.layer2(x)
        return torch.zeros_like(hidden).index_add_(0, targets, hidden[sources])


def gcn_step(nodes: int, edges: int) -> Program:
    def loss(model: nn.Module, x: Tensor, sources: Tensor, targets: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(model(x, sources, targets), labels)

    x, sources, targets = normal(nodes, 64), integers(nodes, edges), integers(nodes, edges)
    return training(GraphConvolutions(), loss, adam(1e-3), x, sources, targets, integers(10, nodes))


class Recommender(nn.Module):
    """Embeddings of categories, their products in pairs, and a perceptron: DLRM, arXiv:1906.00091."""

    def __init__(self, tables: int = 8, rows: int = 20_000, width: int = 64) -> None:
        super().__init__()
        self.tables = nn.ModuleList([nn.Embedding(rows, width) for _ in range(tables)])
        self.bottom = nn.Sequential(nn.Linear(13, width), nn.ReLU())
        pairs = np.triu_indices(tables + 1, 1)
        self.first, self.second = array(pairs[0]), array(pairs[1])
        features = (tables + 1) * width + len(pairs[0])
        self.top = nn.Sequential(nn.Linear(features, 256), nn.ReLU(), nn.Linear(256, 1))

    def forward(self, dense: Tensor, categories: Tensor) -> Tensor:
        columns = [table(categories[:, i]) for i, table in enumerate(self.tables)]
        vectors = torch.stack([self.bottom(dense), *columns], 1)
        products = (vectors @ vectors.transpose(1, 2))[:, self.first, self.second]
        return self.top(torch.cat([vectors.flatten(1), products], 1))[:, 0]


def dlrm_step(batch: int) -> Program:
    def loss(model: nn.Module, dense: Tensor, categories: Tensor, clicked: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(model(dense, categories), clicked)

    clicked = integers(2, batch).float()
    return training(Recommender(), loss, sgd(0.1), normal(batch, 13), integers(20_000, batch, 8), clicked)


def perceptron(*widths: int) -> nn.Module:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.Tanh()]
    return nn.Sequential(*layers[:-1])


def pinn_step(points: int) -> Program:
    """The residual of the heat equation u_t = u_xx at points (x, t): gradients of second derivatives."""

    def loss(model: nn.Module, x: Tensor) -> Tensor:
        x = x.detach().requires_grad_()
        (first,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
        (second,) = torch.autograd.grad(first[:, 0].sum(), x, create_graph=True)
        return (first[:, 1] - second[:, 0]).square().mean()

    return training(perceptron(2, 64, 64, 64, 64, 1), loss, adam(1e-3), normal(points, 2))


def rk4_step(batch: int, steps: int) -> Program:
    """A neural ordinary differential equation, arXiv:1806.07366: gradients through all steps."""

    def loss(model: nn.Module, x: Tensor) -> Tensor:
        h = 0.05
        for _ in range(steps):
            a = model(x)
            b = model(x + h / 2 * a)
            c = model(x + h / 2 * b)
            d = model(x + h * c)
            x = x + h / 6 * (a + 2 * b + 2 * c + d)
        return x.square().mean()

    return training(perceptron(16, 64, 16), loss, adam(1e-3), normal(batch, 16))


def policy_step(batch: int) -> Program:
    """The clipped objective of proximal policy optimisation, arXiv:1707.06347, with an entropy bonus."""

    def loss(model: nn.Module, states: Tensor, actions: Tensor, gains: Tensor, before: Tensor) -> Tensor:
        logits = F.log_softmax(model(states), -1)
        now = logits.gather(-1, actions[:, None])[:, 0]
        ratio = (now - before).exp()
        gain = torch.minimum(ratio * gains, ratio.clamp(0.8, 1.2) * gains).mean()
        return 0.01 * (logits.exp() * logits).sum(-1).mean() - gain

    states, actions, gains, before = normal(batch, 8), integers(4, batch), normal(batch), -normal(batch).abs()
    return training(perceptron(8, 64, 64, 4), loss, adam(1e-3), states, actions, gains, before)


def gaussian_process(points: int) -> Program:
    """The negative log likelihood of a squared exponential kernel, and its gradient in the three parameters."""
    x, y = normal(points, 4), normal(points)

    def likelihood(logs: Tensor) -> Tensor:
        squares = (x * x).sum(1)
        distances = squares[:, None] + squares[None] - 2 * x @ x.T
        kernel = logs[0].exp() * torch.exp(-0.5 * distances * torch.exp(-2 * logs[1]))
        kernel = kernel + (logs[2].exp() + 1e-3) * torch.eye(points)
        factor = torch.linalg.cholesky(kernel)
        whitened = torch.linalg.solve_triangular(factor, y[:, None], upper=False)
        return 0.5 * (whitened * whitened).sum() + torch.diagonal(factor).log().sum()

    def value_and_gradient(logs: Tensor) -> tuple[Tensor, Tensor]:
        value = likelihood(logs)
        return value, torch.autograd.grad(value, logs)[0]

    return operation(value_and_gradient, array(np.array([0.1, 0.2, 0.3], np.float32)).requires_grad_())


def kmeans(points: int, clusters: int) -> Program:
    """One step of Lloyd's algorithm."""

    def step(x: Tensor, centres: Tensor) -> Tensor:
        distances = (x * x).sum(1)[:, None] + (centres * centres).sum(1)[None] - 2 * x @ centres.T
        nearest = distances.argmin(1)
        sums = torch.zeros_like(centres).index_add_(0, nearest, x)
        counts = torch.zeros(clusters).index_add_(0, nearest, torch.ones(points))
        return sums / counts[:, None]

    x = normal(points, 16)
    return operation(step, x, x[:clusters].clone())


def jacobian(width: int) -> Program:
    """All rows of the Jacobian of two layers at once."""

    def rows(x: Tensor, weight1: Tensor, weight2: Tensor) -> Tensor:
        def layers(x: Tensor) -> Tensor:
            return torch.tanh(torch.tanh(x @ weight1) @ weight2)

        return torch.func.jacrev(layers)(x)

    return operation(rows, normal(width), normal(width, width) / 8, normal(width, width) / 8)


def per_sample_gradients(batch: int) -> Program:
    """The gradient of each sample's loss, as differentially private training needs them."""

    def loss(weights: list[Tensor], x: Tensor, label: Tensor) -> Tensor:
        logits = F.relu(x @ weights[0]) @ weights[1]
        return F.cross_entropy(logits[None], label[None], reduction="sum")

    gradients = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))
    x, labels, weight1, weight2 = normal(batch, 32), integers(10, batch), normal(32, 64) / 6, normal(64, 10) / 8
    return operation(lambda x, labels, *weights: gradients(list(weights), x, labels), x, labels, weight1, weight2)

"""Reinforcement learning: a policy gradient (REINFORCE) balances a pole on a cart.

    python examples/cartpole.py

The cart is pushed left or right 50 times a second and must keep the pole within 12 degrees and
itself within 2.4 m, for 10 seconds at most: 500 steps, each worth 1. The physics is that of Barto,
Sutton and Anderson (1983), for many carts at once.

    gradient of  -sum_t log pi(action_t | state_t) * advantage_t

where the advantage is the discounted return minus the mean over the carts at the same time.

Expected: from 20 steps (at random) to more than 450 of 500.
"""

from __future__ import annotations

import math

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
import numpy as np
from common import Progress, draw_curves, expect, make_parser, parse

GRAVITY, CART, POLE, HALF_LENGTH, FORCE, SECONDS = 9.8, 1.0, 0.1, 0.5, 10.0, 0.02
LONGEST, FARTHEST, STEEPEST = 500, 2.4, math.radians(12)


def push(state: np.ndarray, action: np.ndarray) -> np.ndarray:
    """The states (carts, 4) one step later: position, speed, angle, angular speed. Action 1 pushes right."""
    _, speed, angle, spin = state.T
    sin, cos, total = np.sin(angle), np.cos(angle), CART + POLE
    force = np.where(action == 1, FORCE, -FORCE)
    drive = (force + POLE * HALF_LENGTH * spin**2 * sin) / total
    bend = (GRAVITY * sin - cos * drive) / (HALF_LENGTH * (4 / 3 - POLE * cos**2 / total))
    acceleration = drive - POLE * HALF_LENGTH * bend * cos / total
    change = np.stack([speed, acceleration, spin, bend], axis=1)
    return (state + SECONDS * change).astype(np.float32)


def fallen(state: np.ndarray) -> np.ndarray:
    return (np.abs(state[:, 0]) > FARTHEST) | (np.abs(state[:, 2]) > STEEPEST)


class Policy(nn.Module):
    """States (n, 4) -> logits of the two actions (n, 2)."""

    def __init__(self, hidden: int = 32) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, hidden), nn.Tanh(), nn.Linear(hidden, 2))

    def __call__(self, state: mx.array) -> mx.array:
        # In units of what ends the episode, roughly: all inputs about 1.
        return self.layers(state / mx.array([FARTHEST, 2.0, STEEPEST, 2.0]))


def play(act, carts: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Episodes side by side: states (steps, carts, 4), actions and whether still up (steps, carts)."""
    state = rng.uniform(-0.05, 0.05, (carts, 4)).astype(np.float32)
    up = np.ones(carts, bool)
    states, actions, ups = [], [], []
    while up.any() and len(states) < LONGEST:
        action = np.array(act(mx.array(state)))
        states.append(state)
        actions.append(action)
        ups.append(up)
        state = push(state, action)
        up = up & ~fallen(state)
    return np.stack(states), np.stack(actions), np.stack(ups)


def advantages(ups: np.ndarray, discount: float) -> np.ndarray:
    """Discounted returns, minus their mean over the carts still up, in units of their deviation; 0 after the end."""
    returns = np.zeros(ups.shape)
    following = np.zeros(ups.shape[1])
    for step in reversed(range(len(ups))):
        following = ups[step] * (1 + discount * following)
        returns[step] = following
    baseline = returns.sum(1, keepdims=True) / ups.sum(1, keepdims=True)
    result = (returns - baseline) * ups
    return result / (math.sqrt((result**2).sum() / ups.sum()) + 1e-8)


def main(argv: list[str] | None = None) -> dict[str, float]:
    parser = make_parser(__doc__)
    parser.add_argument("--iterations", type=int, default=60)
    parser.add_argument("--carts", type=int, default=64, help="episodes per iteration")
    parser.add_argument("--lr", type=float, default=2e-2)
    parser.add_argument("--discount", type=float, default=0.99)
    args = parse(parser, argv, iterations=15, carts=32)

    mx.random.seed(args.seed)
    rng = np.random.default_rng(args.seed)
    policy = Policy()
    optimizer = optim.Adam(args.lr)

    def loss_fn(states: mx.array, actions: mx.array, weights: mx.array) -> mx.array:
        log_p = nn.log_softmax(policy(states), axis=-1)
        return -mx.mean(weights * mx.take_along_axis(log_p, actions[:, None], axis=-1)[:, 0])

    loss_and_grad = nn.value_and_grad(policy, loss_fn)
    act = mx.compile(
        lambda state: mx.random.categorical(policy(state)),
        inputs=[policy.state, mx.random.state],
        outputs=[mx.random.state],
    )
    lengths = []
    for _ in (progress := Progress(range(args.iterations), "REINFORCE", "iteration")):
        states, actions, ups = play(act, args.carts, rng)
        lengths.append(ups.sum() / args.carts)
        weights = advantages(ups, args.discount)[ups]
        _, gradients = loss_and_grad(mx.array(states[ups]), mx.array(actions[ups]), mx.array(weights, mx.float32))
        optimizer.update(policy, gradients)
        mx.eval(policy.state, optimizer.state)
        progress.show(steps=lengths[-1])

    likeliest = mx.compile(lambda state: mx.argmax(policy(state), axis=-1), inputs=policy.state)
    final = play(likeliest, args.carts, rng)[2].sum() / args.carts
    print(f"steps until the fall: {lengths[0]:.0f} at first, {final:.0f} of {LONGEST} with the likeliest actions")
    draw_curves(args.output / "cartpole.png", {"mean of the episodes": lengths}, "steps until the fall", "iteration")
    floor = 80 if args.quick else 450
    expect(lengths[0] < 40 and final > floor, f"{lengths[0]} steps at first, then {final}, expected above {floor}")
    return {"before": lengths[0], "after": final}


if __name__ == "__main__":
    main()

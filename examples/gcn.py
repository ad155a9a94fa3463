"""A graph convolutional network (arXiv:1609.02907) on Zachary's karate club.

    python examples/gcn.py

34 members, 78 friendships; the club split in two after a quarrel of the instructor (member 0) and
the president (member 33). The network is told on whose side these two are, and from the friendships
alone where the others went. Each layer mixes a member's numbers with those of friends:

    H' = D^-1/2 (A + I) D^-1/2 H W

Expected: 32 or 33 of 34 right. Data: W. W. Zachary, An Information Flow Model for Conflict and Fission in
Small Groups, Journal of Anthropological Research 33 (1977).
"""

from __future__ import annotations

from functools import partial

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
import numpy as np
from common import Progress, add_curves, expect, make_parser, parse, picture

# Friends with a larger number, of each member.
FRIENDS = {
    0: (1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 17, 19, 21, 31),
    1: (2, 3, 7, 13, 17, 19, 21, 30),
    2: (3, 7, 8, 9, 13, 27, 28, 32),
    3: (7, 12, 13),
    4: (6, 10),
    5: (6, 10, 16),
    6: (16,),
    8: (30, 32, 33),
    9: (33,),
    13: (33,),
    14: (32, 33),
    15: (32, 33),
    18: (32, 33),
    19: (33,),
    20: (32, 33),
    22: (32, 33),
    23: (25, 27, 29, 32, 33),
    24: (25, 27, 31),
    25: (31,),
    26: (29, 33),
    27: (33,),
    28: (31, 33),
    29: (32, 33),
    30: (32, 33),
    31: (32, 33),
    32: (33,),
}
MEMBERS, KNOWN = 34, (0, 33)
INSTRUCTORS = (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 16, 17, 19, 21)  # who stayed with the instructor


def adjacency() -> np.ndarray:
    matrix = np.zeros((MEMBERS, MEMBERS), np.float32)
    for member, friends in FRIENDS.items():
        matrix[member, list(friends)] = matrix[list(friends), member] = 1
    return matrix


def normalized(matrix: np.ndarray) -> mx.array:
    with_self = matrix + np.eye(MEMBERS, dtype=np.float32)
    scale = with_self.sum(1) ** -0.5
    return mx.array(scale[:, None] * with_self * scale)


class GCN(nn.Module):
    """Numbers of the members (34, inputs) -> scores of the two sides (34, 2)."""

    def __init__(self, inputs: int, hidden: int = 16) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(inputs, hidden), nn.Linear(hidden, 2)

    def __call__(self, x: mx.array, mixing: mx.array) -> mx.array:
        x = nn.relu(self.first(mixing @ x))
        return self.second(mixing @ x)


def main(argv: list[str] | None = None) -> dict[str, float]:
    parser = make_parser(__doc__)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--lr", type=float, default=1e-2)
    args = parse(parser, argv)

    mixing, features = normalized(adjacency()), mx.eye(MEMBERS)  # nothing is known of a member but who it is
    sides = np.array([0 if member in INSTRUCTORS else 1 for member in range(MEMBERS)])
    known, known_sides = mx.array(KNOWN), mx.array(sides[list(KNOWN)])
    mx.random.seed(args.seed)
    model = GCN(MEMBERS)
    optimizer = optim.Adam(args.lr)
    state = [model.state, optimizer.state]

    def loss_fn(model: GCN) -> mx.array:
        scores = model(features, mixing)[known]
        return nn.losses.cross_entropy(scores, known_sides, reduction="mean")

    @partial(mx.compile, inputs=state, outputs=state)
    def step_fn() -> mx.array:
        loss, gradients = nn.value_and_grad(model, loss_fn)(model)
        optimizer.update(model, gradients)
        return loss

    losses = []
    for _ in (progress := Progress(range(args.steps), "GCN")):
        loss = step_fn()
        mx.eval(loss, state)
        losses.append(loss.item())
        progress.show(loss=losses[-1])
    scores = np.array(mx.softmax(model(features, mixing), axis=-1))[:, 1]
    right = int(((scores > 0.5) == sides).sum())
    print(f"{right} of {MEMBERS} members on the right side, from the sides of {len(KNOWN)}")

    with picture(args.output / "gcn.png", columns=2) as ((left, axes),):
        add_curves(left, {"loss": losses})
        draw_club(axes, scores, sides)
    expect(losses[-1] < losses[0], f"loss {losses[0]} -> {losses[-1]}")
    expect(right >= 32, f"{right} of {MEMBERS} right, expected 32 at least")
    return {"right": right, "first_loss": losses[0], "last_loss": losses[-1]}


def draw_club(axes, scores: np.ndarray, sides: np.ndarray) -> None:
    """Members where eigenvectors of the mixing matrix put them: friends are near."""
    _, vectors = np.linalg.eigh(np.array(normalized(adjacency())))
    x, y = vectors[:, -2], vectors[:, -3]  # the last one says only how many friends a member has
    for member, friends in FRIENDS.items():
        for friend in friends:
            axes.plot(x[[member, friend]], y[[member, friend]], color="lightgray", linewidth=0.7, zorder=1)
    for side, marker in ((0, "o"), (1, "s")):
        chosen = sides == side
        axes.scatter(x[chosen], y[chosen], c=scores[chosen], cmap="coolwarm", vmin=0, vmax=1, marker=marker, zorder=2)
    axes.set_title("shape: side, colour: prediction")
    axes.axis("off")


if __name__ == "__main__":
    main()

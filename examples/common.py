"""What the examples share: command lines, progress bars, logs, pictures and data.

Nothing here is about the framework; read the examples themselves for that.
"""

from __future__ import annotations

import argparse
import csv
import os
import sysconfig
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
from tqdm import tqdm

SPLIT_SEED = 0  # splits never change, whatever --seed says: results stay comparable


# Command lines


class _Help(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """The docstring as it is written, flags with their defaults."""


def make_parser(doc: str) -> argparse.ArgumentParser:
    """A parser with the flags that every example has; ``doc`` is the docstring of the example."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=_Help)
    parser.add_argument("--quick", action="store_true", help="a few seconds, with checks of the result; for tests")
    parser.add_argument("--seed", type=int, default=0, help="initial weights and order of the data")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "output", help="folder to write to")
    parser.add_argument("--device", choices=("cpu", "gpu"), help="where to run; left out: the default device")
    return parser


def parse(parser: argparse.ArgumentParser, argv: Sequence[str] | None, **quick: Any) -> argparse.Namespace:
    """Arguments, with the output folder made. ``quick`` are the defaults under ``--quick``."""
    if parser.parse_known_args(argv)[0].quick:
        parser.set_defaults(**quick)
    args = parser.parse_args(argv)
    if args.device:
        mx.set_default_device(getattr(mx, args.device))
    args.output.mkdir(parents=True, exist_ok=True)
    return args


def expect(condition: Any, message: str) -> None:
    """The check of a result: unlike ``assert``, also under ``python -O``."""
    if not condition:
        raise AssertionError(message)


# Progress and logs


class Progress:
    """A progress bar that shows the latest values beside it.

    >>> for step in (bar := Progress(range(100), "train")):                    # doctest: +SKIP
    ...     bar.show(loss=0.5)
    """

    def __init__(self, steps: range, name: str, unit: str = "step") -> None:
        self.bar = tqdm(steps, desc=name, initial=steps.start, total=steps.stop, unit=unit, mininterval=0.2)

    def __iter__(self) -> Iterator[int]:
        return iter(self.bar)

    def show(self, **values: float) -> None:
        self.bar.set_postfix({k: f"{v:.4g}" for k, v in values.items()}, refresh=False)

    def write(self, text: str) -> None:
        self.bar.write(text)


class CsvLog:
    """A table of numbers in a file, a row per step; a process that is killed loses none of them.

    Columns are ``wall_time``, ``step`` and those named. A log that goes on at a step (``resume_at``)
    first drops the rows from there on: they are written again.
    """

    def __init__(self, file: Path, columns: Sequence[str], resume_at: int = 0) -> None:
        header = ["wall_time", "step", *columns]
        kept: list[dict[str, str]] = []
        if resume_at and file.exists():
            with file.open(newline="") as old:
                # A killed process may leave half a row, the last one; it lacks columns.
                rows = [r for r in csv.DictReader(old) if None not in r.values()]
            kept = [row for row in rows if int(row["step"]) < resume_at]
        unfinished = file.with_name(f".unfinished-{file.name}")  # as the rows of hours are at stake
        with unfinished.open("w", newline="") as new:
            csv.DictWriter(new, header).writeheader()
            csv.DictWriter(new, header).writerows(kept)
        os.replace(unfinished, file)
        self.stream = file.open("a", newline="")
        self.writer = csv.DictWriter(self.stream, header)

    def write(self, step: int, **values: Any) -> None:
        self.writer.writerow({"wall_time": f"{time.time():.3f}", "step": step, **values})
        self.stream.flush()

    def close(self) -> None:
        self.stream.close()


def read_log(file: Path, column: str) -> tuple[list[int], list[float]]:
    """Steps and values of a column, without the rows where it is empty."""
    with file.open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row.get(column)]
    return [int(row["step"]) for row in rows], [float(row[column]) for row in rows]


# Pictures


@contextmanager
def picture(file: Path, rows: int = 1, columns: int = 1, width: float = 4.5, height: float = 3.5) -> Iterator[Any]:
    """The axes of a new picture, an array (rows, columns), saved as ``file`` at the end."""
    import matplotlib

    matplotlib.use("Agg")  # before pyplot: works without a screen
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        rows, columns, squeeze=False, figsize=(width * columns, height * rows), layout="constrained"
    )
    yield axes
    figure.savefig(file, dpi=100)
    plt.close(figure)
    print(f"picture: {file}")


def draw_curves(file: Path, curves: dict[str, Sequence[float]], ylabel: str = "loss", xlabel: str = "step") -> None:
    """Several curves in one picture; noisy ones faint, with their running mean on top."""
    with picture(file) as ((axes,),):
        add_curves(axes, curves, ylabel, xlabel)


def add_curves(axes: Any, curves: dict[str, Any], ylabel: str = "loss", xlabel: str = "step") -> None:
    for name, curve in curves.items():
        x, y = curve if isinstance(curve, tuple) else (range(len(curve)), curve)
        y = np.asarray(y, float)
        window = max(1, len(y) // 50)
        if window == 1:
            axes.plot(x, y, label=name, marker="." if len(y) < 30 else None)
            continue
        (line,) = axes.plot(x, y, linewidth=0.5, alpha=0.3)
        mean = np.convolve(y, np.ones(window) / window, mode="valid")
        axes.plot(list(x)[window - 1 :], mean, label=name, color=line.get_color())
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.legend()


def show_images(axes: Iterable[Any], images: np.ndarray, titles: Sequence[str] | None = None, **options: Any) -> None:
    for i, (ax, image) in enumerate(zip(axes, images, strict=True)):
        ax.imshow(image, **{"cmap": "gray_r", **options})
        ax.axis("off")
        if titles is not None:
            ax.set_title(titles[i], fontsize=8)


# Data


def digits() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The digits of scikit-learn in two disjoint parts: training images, test images, labels of both.

    Images are (n, 8, 8) float32 in [0, 1]; 1347 are for training, 450 for the test.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    data = load_digits()
    images = data.images.astype(np.float32) / 16
    return tuple(train_test_split(images, data.target, test_size=0.25, random_state=SPLIT_SEED, stratify=data.target))


def batches(n: int, size: int, seed: int, epoch: int) -> Iterator[np.ndarray]:
    """Indices of the batches of an epoch, a function of the arguments alone. An incomplete batch is left out."""
    order = np.random.default_rng([seed, epoch]).permutation(n)
    for first in range(0, n - size + 1, size):
        yield order[first : first + size]


def standard_library(largest: int | None = None) -> dict[str, bytes]:
    """The sources of Python's own modules by name, in alphabetical order: text that every machine has.

    Modules in packages are left out. ``largest`` limits the bytes of all files together.
    """
    folder = Path(sysconfig.get_paths()["stdlib"])
    texts, total = {}, 0
    for file in sorted(folder.glob("*.py"), key=lambda f: f.name):
        text = file.read_bytes()
        total += len(text)
        if largest is not None and total > largest and texts:
            break
        texts[file.name] = text if largest is None else text[:largest]
    return texts

"""What the examples share: command lines, progress bars, logs, the usual training step, pictures and data."""

from __future__ import annotations

import argparse
import csv
import os
import sysconfig
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
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

    @staticmethod
    def write(text: str) -> None:
        """A line above the bar."""
        tqdm.write(text)


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


class Log:
    """A :class:`CsvLog`, and the same numbers for TensorBoard where the package for that is there.

    Event files go to the folder ``tensorboard/NAME`` beside the table (``pip install tensorboardX``, or
    ``tensorboard``; then ``tensorboard --logdir output``). Without it the table is all there is.
    """

    def __init__(self, file: Path, columns: Sequence[str], resume_at: int = 0) -> None:
        self.table = CsvLog(file, columns, resume_at)
        self.events = _event_writer(file.parent / "tensorboard" / file.stem, resume_at)

    def write(self, step: int, **values: Any) -> None:
        self.table.write(step, **values)
        if self.events:
            for name, value in values.items():
                self.events(name, float(value), step)

    def close(self) -> None:
        self.table.close()
        if self.events:
            self.events.close()


class _Events:
    """Writes scalars with the package tensorboardX, or the one that TensorBoard brings."""

    def __init__(self, folder: Path, resume_at: int) -> None:
        try:
            from tensorboardX import SummaryWriter

            # Steps from there on are written again; TensorBoard forgets the old ones.
            self.writer = SummaryWriter(str(folder), purge_step=resume_at or None)
            self.scalar = self.writer.add_scalar
        except ImportError:
            from tensorboard.compat.proto.event_pb2 import Event, SessionLog
            from tensorboard.compat.proto.summary_pb2 import Summary
            from tensorboard.summary.writer.event_file_writer import EventFileWriter

            self.writer = EventFileWriter(str(folder))
            if resume_at:
                start = SessionLog(status=SessionLog.START)
                self.writer.add_event(Event(wall_time=time.time(), step=resume_at, session_log=start))

            def scalar(name: str, value: float, step: int) -> None:
                summary = Summary(value=[Summary.Value(tag=name, simple_value=value)])
                self.writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))

            self.scalar = scalar

    def __call__(self, name: str, value: float, step: int) -> None:
        self.scalar(name, value, step)

    def close(self) -> None:
        self.writer.close()


def _event_writer(folder: Path, resume_at: int) -> _Events | None:
    try:
        return _Events(folder, resume_at)
    except ImportError:
        return None


def read_log(file: Path, column: str) -> tuple[list[int], list[float]]:
    """Steps and values of a column, without the rows where it is empty."""
    with file.open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row.get(column)]
    return [int(row["step"]) for row in rows], [float(row[column]) for row in rows]


# Training


def warmup_cosine(peak: float, steps: int, last: float = 0.1) -> optim.schedulers.Schedule:
    """Rises to ``peak`` for a twentieth of the steps, then falls to the fraction ``last`` of it."""
    warmup = max(1, steps // 20)
    rise = optim.linear_schedule(0.0, peak, warmup)
    return optim.join_schedules([rise, optim.cosine_decay(peak, max(1, steps - warmup), last * peak)], [warmup])


def compiled_step(
    model: nn.Module, optimizer: optim.Optimizer, loss_fn: Callable[..., mx.array], *more_state: Any
) -> tuple[Callable[..., mx.array], list[Any]]:
    """A compiled training step, batch -> loss, with gradients clipped to a norm of 1; and what it changes.

    ``more_state`` is what ``loss_fn`` changes besides, such as ``mx.random.state`` where it drops out.
    """
    state = [model.state, optimizer.state, *more_state]

    @partial(mx.compile, inputs=state, outputs=state)
    def step_fn(*batch: mx.array) -> mx.array:
        loss, gradients = nn.value_and_grad(model, loss_fn)(model, *batch)
        gradients, _ = optim.clip_grad_norm(gradients, 1.0)
        optimizer.update(model, gradients)
        return loss

    return step_fn, state


def training(
    name: str,
    steps: range,
    step: tuple[Callable[..., mx.array], list[Any]],
    batch: Callable[[int], tuple[mx.array, ...]],
) -> Iterator[tuple[int, float, float]]:
    """Runs the steps behind a progress bar; after each, its number, its loss and the seconds it took.

    ``step`` is what :func:`compiled_step` returns, ``batch`` gives the batch of a step.
    """
    step_fn, state = step
    for number in (progress := Progress(steps, name)):
        start = time.perf_counter()
        loss = step_fn(*batch(number))
        mx.eval(loss, state)
        seconds = time.perf_counter() - start
        progress.show(loss=loss.item())
        yield number, loss.item(), seconds


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

"""Collectives and messages between processes: values against NumPy's, derivatives, batches, groups of a group."""

from __future__ import annotations

import pytest
from together import MPI, RING, run_together


@pytest.mark.parametrize("way", [*RING, MPI])
def test_reductions_of_every_dtype(way, tmp_path):
    """Short arrays take another way than long ones, and sizes that cannot be divided leave uneven parts."""
    code = """
    dtypes = [mx.bool_, mx.uint8, mx.uint16, mx.uint32, mx.uint64, mx.int8, mx.int16, mx.int32, mx.int64,
              mx.float16, mx.bfloat16, mx.float32, mx.float64, mx.complex64]
    for dtype in dtypes:
        for shape in [(), (0, 3), (1,), (size,), (7, 5), (3, 8191), (40_000,)]:
            with mx.stream(mx.cpu):
                x = mine(shape, dtype)
                wide = mx.complex64 if dtype == mx.complex64 else mx.float64  # exact for all of these numbers
                all_x = np.stack([np.array(mine(shape, dtype, r).astype(wide)) for r in range(size)])
                for f, reduce in [(D.all_sum, np.sum), (D.all_max, np.max), (D.all_min, np.min)]:
                    if dtype == mx.complex64 and f is not D.all_sum:
                        continue
                    y = f(x)
                    assert y.shape == shape and y.dtype == dtype, (dtype, shape)
                    want = mx.array(np.asarray(reduce(all_x, 0)))
                    if mx.issubdtype(dtype, mx.integer):
                        want = want.astype(mx.int64)  # sums wrap around
                    want = want.astype(dtype)
                    assert mx.array_equal(y, want), (f.__name__, dtype, shape, y, want)
    print("done")
    """
    assert run_together(way, code, tmp_path) == ["done"] * way[0]


@pytest.mark.parametrize("way", [*RING, MPI])
def test_sums_have_the_same_bits_everywhere(way, tmp_path):
    """Also where the order matters; 16-bit floats are rounded once."""
    code = """
    for n in (1000, 30_001):
        x = mx.random.normal((n,), key=mx.random.key(rank)) * 1e3
        y = D.all_sum(x)
        everybody = D.all_gather(y[None])
        assert all(mx.array_equal(everybody[r].view(mx.uint32), y.view(mx.uint32)) for r in range(size))
        for dtype in (mx.float16, mx.bfloat16):
            x = mx.random.normal((n,), key=mx.random.key(rank)).astype(dtype)
            exact = sum(np.array(mx.random.normal((n,), key=mx.random.key(r)).astype(dtype).astype(mx.float32),
                        dtype=np.float64) for r in range(size))
            got = D.all_sum(x)
            nearest = mx.array(exact.astype(np.float32)).astype(dtype)
            assert mx.mean(got == nearest).item() > 0.999
            assert mx.all(D.all_gather(got[None]) == got[None]).item()
    print("done")
    """
    assert run_together(way, code, tmp_path) == ["done"] * way[0]


def test_nan_and_infinities(tmp_path):
    code = """
    x = mx.array([[np.nan, 1, np.inf, -np.inf], [2, np.nan, 3, np.inf]][rank])
    assert np.array_equal(np.array(D.all_max(x)), [np.nan, np.nan, np.inf, np.inf], equal_nan=True)
    assert np.array_equal(np.array(D.all_min(x)), [np.nan, np.nan, 3, -np.inf], equal_nan=True)
    assert np.array_equal(np.array(D.all_sum(x)), [np.nan, np.nan, np.inf, np.nan], equal_nan=True)
    """
    run_together(2, code, tmp_path)


@pytest.mark.parametrize("way", [*RING, MPI])
def test_gather_and_scatter(way, tmp_path):
    code = """
    for shape in [(), (0, 3), (1,), (5, 2), (300, 100)]:
        for dtype in (mx.float32, mx.bfloat16, mx.int8, mx.bool_):
            parts = [mine(shape, dtype, r) for r in range(size)]
            want = mx.stack(parts) if shape == () else mx.concatenate(parts)
            got = D.all_gather(mine(shape, dtype))
            assert got.dtype == dtype and got.shape == want.shape and mx.array_equal(got, want), (shape, dtype)
    for shape in [(size,), (0, 3), (2 * size, 3), (size * 100, 301)]:
        for dtype in (mx.float32, mx.bfloat16, mx.int32, mx.bool_):
            whole = D.all_sum(mine(shape, dtype))
            got = D.sum_scatter(mine(shape, dtype))
            assert mx.array_equal(got, mx.split(whole, size)[rank]), (shape, dtype)
    # Operands that do not lie in one piece, and one that dies.
    x = mine((60, 50))
    assert mx.array_equal(D.all_gather(x.T), mx.concatenate([mine((60, 50), r=r).T for r in range(size)]))
    assert mx.array_equal(D.all_sum(x[::2, ::-1]), sum(mine((60, 50), r=r)[::2, ::-1] for r in range(size)))
    assert mx.array_equal(D.all_sum(mine((20_000,)) + 1), sum(mine((20_000,), r=r) + 1 for r in range(size)))
    raises(ValueError, f"divided among {size} processes", lambda: D.sum_scatter(mx.ones((size + 1, 2))))
    raises(ValueError, "sum_scatter", lambda: D.sum_scatter(mx.array(1.0)))
    """
    run_together(way, code, tmp_path)


@pytest.mark.parametrize("way", [*RING, MPI])
def test_messages(way, tmp_path):
    code = """
    # Everybody to everybody, neighbours or not.
    for src in range(size):
        for dst in range(size):
            if src != dst and rank == src:
                mx.eval(D.send(mine((50, dst + 1)), dst))
            if src != dst and rank == dst:
                got = D.recv((50, dst + 1), mx.float32, src)
                assert mx.array_equal(got, mine((50, dst + 1), r=src))
    # All send before anybody receives, more than the system keeps.
    following, before = (rank + 1) % size, (rank - 1) % size
    for _ in range(3):
        x = mx.full((2_000_000,), rank, mx.float32)
        mx.eval(D.send(x, following))
        y = D.recv_like(x, before)
        assert mx.all(y == before).item()
    # The result of send is its argument, strides and all.
    x = mine((30, 40)).T
    y = D.send(x, following) * 2
    mx.eval(y)
    assert mx.array_equal(y, 2 * x) and mx.array_equal(D.recv_like(x, before), mine((30, 40), r=before).T)
    # Equal messages are messages nevertheless, also in a trace.
    twice = mx.compile(lambda a: (D.send(a, following), D.send(a, following)))
    mx.eval(twice(mine((3,))))
    both = mx.compile(lambda: (D.recv((3,), mx.float32, before), D.recv((3,), mx.float32, before)))()
    assert all(mx.array_equal(b, mine((3,), r=before)) for b in both)
    raises(ValueError, f"from 0 to {size - 1}", lambda: D.send(x, size))
    raises(ValueError, "which is this process", lambda: D.recv_like(x, rank))
    raises(ValueError, "no negative size", lambda: D.recv((-1,), mx.float32, following))
    """
    run_together(way, code, tmp_path)


def test_groups_of_a_group(tmp_path):
    code = """
    half = g.split(rank % 2)
    assert (half.size(), half.rank()) == (2, rank // 2)
    assert D.all_sum(mx.array(rank), group=half).item() == (2 if rank % 2 == 0 else 4)
    reverse = g.split(7, key=size - rank)
    assert (reverse.size(), reverse.rank()) == (size, size - 1 - rank)
    assert D.all_gather(mx.array(rank), group=reverse).tolist() == [3, 2, 1, 0]
    pair = reverse.split(rank // 2)
    assert D.all_gather(mx.array(rank), group=pair).tolist() == ([1, 0] if rank < 2 else [3, 2])
    alone = half.split(rank)
    assert alone.size() == 1
    raises(RuntimeError, "cannot be split", lambda: alone.split(0))
    x = mine((5,))
    assert mx.array_equal(D.all_sum(x, group=alone), x)
    if pair.rank() == 0:
        mx.eval(D.send(x, 1, group=pair))
    else:
        assert mx.array_equal(D.recv_like(x, 0, group=pair), mine((5,), r=rank + 1))
    assert D.all_sum(mx.array(1)).item() == size  # the whole group still works
    """
    run_together(4, code, tmp_path)


@pytest.mark.parametrize("way", [RING[1], MPI])
def test_derivatives_and_batches(way, tmp_path):
    code = """
    x, t = mine((4,)), mx.arange(4.0) * (rank + 1)
    xs, ts = [mine((4,), r=r) for r in range(size)], [mx.arange(4.0) * (r + 1) for r in range(size)]
    assert mx.array_equal(mx.vjp(D.all_sum, [x], [t])[1][0], t)
    assert mx.array_equal(mx.jvp(D.all_sum, [x], [t])[1][0], sum(ts))
    top = mx.max(mx.stack(xs), axis=0)
    assert mx.array_equal(mx.vjp(D.all_max, [x], [t])[1][0], mx.where(x == top, t, 0))
    share = sum(mx.where(a == top, b, 0) for a, b in zip(xs, ts)) / sum((a == top).astype(mx.float32) for a in xs)
    assert mx.array_equal(mx.jvp(D.all_max, [x], [t])[1][0], share)
    low = mx.min(mx.stack(xs), axis=0)
    assert mx.array_equal(mx.vjp(D.all_min, [x], [t])[1][0], mx.where(x == low, t, 0))
    wide = mx.arange(4.0 * size)
    assert mx.array_equal(mx.vjp(D.all_gather, [x], [wide])[1][0], wide.reshape(size, 4)[rank])
    assert mx.array_equal(mx.jvp(D.all_gather, [x], [t])[1][0], mx.concatenate(ts))
    assert mx.array_equal(mx.vjp(D.all_gather, [mx.array(1.0)], [mx.arange(3.0)])[1][0], mx.array(float(rank)))
    y = mine((2 * size, 3))
    assert mx.array_equal(mx.vjp(D.sum_scatter, [y], [y[:2]])[1][0], D.all_gather(y[:2]))
    assert mx.array_equal(mx.jvp(D.sum_scatter, [y], [y])[1][0], D.sum_scatter(y))
    # The gradient of a second gradient.
    f = lambda a: mx.sum(D.all_sum(a**3))
    assert mx.allclose(mx.grad(lambda a: mx.sum(mx.grad(f)(a)))(x), 6 * x)

    batch = mine((5, 2 * size, 3))
    for axis in (0, 1, 2):
        for name in ("all_sum", "all_max", "all_gather", "sum_scatter"):
            one = getattr(D, name)
            moved = mx.moveaxis(batch, 0, axis)
            want = mx.stack([one(b) for b in batch])
            assert mx.array_equal(mx.vmap(one, in_axes=axis)(moved), want), (name, axis)
            assert mx.array_equal(mx.compile(mx.vmap(one, in_axes=axis))(moved), want), (name, axis)
    assert mx.array_equal(mx.vmap(D.all_gather)(mx.arange(3.0) + rank),
                          mx.arange(3.0)[:, None] + mx.arange(float(size))[None])
    shapeless = mx.compile(lambda a: (D.all_sum(a) * 2, D.all_gather(a), D.sum_scatter(a)), shapeless=True)
    for n in (1, 4):
        a = mine((n * size, 2))
        got, want = shapeless(a), (D.all_sum(a) * 2, D.all_gather(a), D.sum_scatter(a))
        assert all(mx.array_equal(p, q) for p, q in zip(got, want))
    """
    run_together(way, code, tmp_path)


def test_on_a_simulated_gpu(tmp_path):
    code = """
    assert mx.default_device() == mx.gpu
    x = mine((100,)) * 2
    assert mx.array_equal(D.all_sum(x) + 1, 1 + 2 * sum(mine((100,), r=r) for r in range(size)))
    assert mx.array_equal(D.all_gather(x, stream=mx.gpu)[:100], 2 * mine((100,), r=0))
    """
    run_together(2, code, tmp_path, timeout=300, MLX_METAL_SIMULATOR="1")


def test_many_operations_in_flight(tmp_path):
    """Evaluations that the program does not wait for stay in order."""
    code = """
    outputs = []
    for i in range(200):
        y = D.all_sum(mx.full((100,), i * (rank + 1)))
        mx.async_eval(y)
        outputs.append(y)
    assert [y[0].item() for y in outputs] == [i * sum(range(1, size + 1)) for i in range(200)]
    # What is waited for comes behind what was begun before, though it does not need it.
    for i in range(50):
        begun = [D.all_sum(mx.full((n,), i + n)) for n in range(1, 30)]
        mx.async_eval(begun)
        assert D.all_gather(mx.array([rank])).tolist() == list(range(size))
        assert [b[0].item() for b in begun] == [size * (i + n) for n in range(1, 30)]
    """
    run_together(2, code, tmp_path)

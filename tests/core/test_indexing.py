"""Indexing against numpy: every kind of index, read, assigned to, updated with .at,
differentiated.
"""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

FAST = settings(max_examples=150, deadline=None, derandomize=True, database=None)


@st.composite
def shapes(draw, least=0):
    return tuple(draw(st.lists(st.integers(0 if least == 0 else 1, 5), min_size=least, max_size=4)))


@st.composite
def slices(draw, n):
    bound = st.one_of(st.none(), st.integers(-n - 2, n + 2))
    step = draw(st.one_of(st.none(), st.integers(-3, 3).filter(bool)))
    return slice(draw(bound), draw(bound), step)


@st.composite
def basic(draw, shape, arrays=False):
    """An index of ints, slices, None, an ellipsis and, where `arrays`, integer arrays that
    broadcast.
    """
    out: list = []
    used = draw(st.integers(0, len(shape)))
    gap = draw(st.integers(0, used)) if used < len(shape) or draw(st.booleans()) else None
    common = draw(st.sampled_from([(2,), (3,), (2, 3), (1,), ()]))
    for k in range(used):
        if gap == k:
            out.append(Ellipsis)
            gap = None
            skipped = len(shape) - used
            shape = shape[:k] + shape[k + skipped :]
        n = shape[k]
        kinds = ["slice"] + (["int"] if n else []) + (["array", "array"] if arrays and n else [])
        kind = draw(st.sampled_from(kinds))
        if kind == "int":
            out.append(draw(st.integers(-n, n - 1)))
        elif kind == "slice":
            out.append(draw(slices(n)))
        else:
            size = int(np.prod(common))
            values = draw(st.lists(st.integers(-n, n - 1), min_size=size, max_size=size))
            out.append(np.array(values, np.int32).reshape(common))
    if gap is not None:
        out.append(Ellipsis)
    for _ in range(draw(st.integers(0, 2))):
        out.insert(draw(st.integers(0, len(out))), None)
    return tuple(out)


def to_index(index):
    return tuple(mx.array(i) if isinstance(i, np.ndarray) else i for i in index)


@st.composite
def array_and_index(draw, arrays=False):
    shape = draw(shapes())
    return np.arange(int(np.prod(shape)), dtype=np.float32).reshape(shape), draw(
        basic(shape, arrays)
    )


class TestRead:
    @FAST
    @given(array_and_index())
    def test_basic(self, case):
        x, index = case
        got = mx.array(x)[index]
        assert got.shape == x[index].shape
        assert np.array_equal(np.array(got), x[index])

    @FAST
    @given(array_and_index(arrays=True))
    def test_with_arrays(self, case):
        x, index = case
        got = np.array(mx.array(x)[to_index(index)])
        assert got.shape == x[index].shape and np.array_equal(got, x[index])

    @FAST
    @given(array_and_index(), st.integers(0, 3))
    def test_of_views(self, case, kind):
        """The same on operands that are themselves strided, transposed or reversed."""
        x, index = case
        if kind == 0:
            y = mx.transpose(mx.array(x.T.copy()))
        elif kind == 1 and x.ndim:
            y = mx.array(np.repeat(x, 2, 0))[::2]
        elif kind == 2 and x.ndim:
            y = mx.array(x[::-1].copy())[::-1]
        else:
            y = mx.array(np.stack([x, x]))[1]
        assert np.array_equal(np.array(y[index]), x[index]), f"{x.shape} {kind} {index}"

    @FAST
    @given(st.data())
    def test_boolean_masks(self, data):
        shape = data.draw(shapes(least=1))
        x = np.arange(int(np.prod(shape)), dtype=np.float32).reshape(shape)
        k = data.draw(st.integers(1, len(shape)))
        n = int(np.prod(shape[:k]))
        mask = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)), bool).reshape(
            shape[:k]
        )
        got = mx.array(x)[mx.array(mask)]
        assert np.array_equal(np.array(got), x[mask])

    def test_masks_among_others(self):
        x = np.arange(24.0, dtype=np.float32).reshape(2, 3, 4)
        m = np.array([True, False, True])
        assert np.array_equal(np.array(mx.array(x)[:, mx.array(m)]), x[:, m])
        assert np.array_equal(np.array(mx.array(x)[1, mx.array(m), 1:]), x[1, m, 1:])
        assert mx.array(x)[mx.array(x) > 100].shape == (0,)

    @pytest.mark.parametrize(
        "dtype", [mx.int8, mx.uint8, mx.int16, mx.uint16, mx.int32, mx.uint32, mx.int64, mx.uint64]
    )
    def test_index_dtypes(self, dtype):
        x = mx.arange(10)
        assert x[mx.array([3, 1, 9], dtype)].tolist() == [3, 1, 9]

    def test_forms(self):
        x = mx.arange(12).reshape(3, 4)
        assert x[[0, 2]].tolist() == x[mx.array([0, 2])].tolist()
        assert x[np.array([0, 2])].tolist() == [[0, 1, 2, 3], [8, 9, 10, 11]]
        assert x[mx.array(1)].tolist() == [4, 5, 6, 7]
        assert x[np.int64(1), np.int32(2)].item() == 6
        assert x[1][2].item() == 6 and x[..., -1].tolist() == [3, 7, 11]
        assert x[()].shape == (3, 4) and x[...].shape == (3, 4) and x[None].shape == (1, 3, 4)
        assert x[:, None, :, None].shape == (3, 1, 4, 1)
        assert x[0:3:2, ::-2].tolist() == [[3, 1], [11, 9]]
        assert x[5:].shape == (0, 4) and x[-100:100].shape == (3, 4) and x[2:1].shape == (0, 4)
        assert mx.array(3.0)[None].tolist() == [3.0] and mx.array(3.0)[...].item() == 3.0

    @pytest.mark.parametrize(
        ("index", "error"),
        [
            (3, IndexError),
            (-4, IndexError),
            ((0, 4), IndexError),
            ((0, -5), IndexError),
            ((slice(None), 4), IndexError),
            ((0, 0, 0), (IndexError, ValueError)),
            ((Ellipsis, Ellipsis), (IndexError, ValueError)),
            (slice(None, None, 0), ValueError),
            (1.5, (IndexError, TypeError, ValueError)),
            ("a", (IndexError, TypeError, ValueError)),
            (slice(0.5, 2), (IndexError, TypeError, ValueError)),
            (mx.array([3]), IndexError),
            (mx.array([-4]), IndexError),
            (mx.array([0.5]), (IndexError, TypeError, ValueError)),
            (mx.array([True, False]), (IndexError, ValueError)),
            ((mx.array([0, 1]), mx.array([0, 1, 2])), (IndexError, ValueError)),
            (2**70, (IndexError, OverflowError, TypeError, ValueError)),
        ],
        ids=repr,
    )
    def test_refused(self, index, error):
        x = mx.arange(12).reshape(3, 4)
        with pytest.raises(error):
            mx.eval(x[index])
        with pytest.raises(error):
            x[index] = 1
            mx.eval(x)
        with pytest.raises(error):
            mx.eval(mx.arange(12).reshape(3, 4).at[index].add(1))
        assert mx.arange(3).tolist() == [0, 1, 2]

    def test_out_of_range_is_named(self):
        with pytest.raises(IndexError, match=r"7.*3|3.*7"):
            mx.eval(mx.arange(3)[mx.array([0, 7])])
        with pytest.raises(IndexError, match=r"7"):
            mx.eval(mx.arange(3)[7])
        with pytest.raises(IndexError):
            mx.eval(mx.arange(3)[mx.array([2**31], mx.uint32)])
        with pytest.raises(IndexError):
            mx.eval(mx.arange(3)[mx.array([2**63], mx.uint64)])


class TestWrite:
    @FAST
    @given(array_and_index(arrays=False), st.integers(0, 2))
    def test_assign_basic(self, case, kind):
        x, index = case
        want, got = x.copy(), mx.array(x)
        part = want[index]
        value = [
            7.0,
            np.full(part.shape, 3.0, np.float32),
            np.arange(part.shape[-1] if part.ndim else 1, dtype=np.float32),
        ][kind]
        if kind == 2 and not part.ndim:
            value = np.float32(2.0)
        want[index] = value
        got[index] = mx.array(value) if isinstance(value, np.ndarray) else float(value)
        assert np.array_equal(np.array(got), want)

    @FAST
    @given(array_and_index(arrays=True))
    def test_assign_arrays(self, case):
        """Where an element is named twice any of its values may win, so one value is assigned."""
        x, index = case
        want, got = x.copy(), mx.array(x)
        want[index] = -1
        got[to_index(index)] = -1
        assert np.array_equal(np.array(got), want)

    @FAST
    @given(
        array_and_index(arrays=True),
        st.sampled_from(["add", "subtract", "multiply", "divide", "maximum", "minimum"]),
    )
    def test_at(self, case, name):
        x, index = case
        x = np.asarray(x + 1)
        want, got = x.copy(), mx.array(x)
        values = np.random.default_rng(0).integers(1, 4, want[index].shape).astype(np.float32)
        getattr(np, name).at(want, index, values)
        updated = getattr(got.at[to_index(index)], name)(mx.array(values))
        assert np.allclose(np.array(updated), want, rtol=1e-5)
        assert np.array_equal(np.array(got), x)

    @FAST
    @given(st.data())
    def test_assign_masks(self, data):
        shape = data.draw(shapes(least=1))
        x = np.arange(int(np.prod(shape)), dtype=np.float32).reshape(shape)
        k = data.draw(st.integers(1, len(shape)))
        n = int(np.prod(shape[:k]))
        mask = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)), bool).reshape(
            shape[:k]
        )
        want, got = x.copy(), mx.array(x)
        want[mask] = 5.0
        got[mx.array(mask)] = 5.0
        assert np.array_equal(np.array(got), want)

    def test_masks_with_values(self):
        x = np.arange(6, dtype=np.float32).reshape(2, 3)
        m = x % 2 == 0
        a, want = mx.array(x), x.copy()
        a[mx.array(m)] = mx.array([10.0, 20.0, 30.0])
        want[m] = [10, 20, 30]
        assert np.array_equal(np.array(a), want)

    def test_duplicates_accumulate(self):
        a = mx.zeros((3,)).at[mx.array([0, 0, 2, 0])].add(mx.array([1.0, 2.0, 3.0, 4.0]))
        assert a.tolist() == [7.0, 0.0, 3.0]
        big = mx.zeros((4,)).at[mx.zeros((100_000,), mx.int32)].add(1.0)
        assert big.tolist() == [100_000.0, 0, 0, 0]

    @pytest.mark.parametrize("value", [1.0, -3.0, 0.1, 2.0**23, -0.0, np.nan, np.inf])
    @pytest.mark.parametrize("start", [0.0, -0.0, 7.0, 0.25, 2.0**24 - 2, 1e30])
    def test_one_number_many_times_is_added_one_after_the_other(self, value, start):
        """Counting gives the same where nothing is rounded; elsewhere it must not be done."""
        index = np.random.default_rng(0).integers(-5, 5, 3000).astype(np.int32)
        x = np.full(5, start, np.float32)
        x[1] = 1.0
        want = x.copy()
        with np.errstate(invalid="ignore"):
            np.add.at(want, index, np.float32(value))
        with mx.stream(mx.cpu):  # a GPU adds in another order
            sums = (
                mx.array(x).at[mx.array(index)].add(value),
                mx.array(x).at[mx.array(index.reshape(30, 100))].add(value),
            )
        for got in map(np.array, sums):
            assert np.array_equal(got, want, equal_nan=True) and np.array_equal(np.signbit(got), np.signbit(want))
        with pytest.raises(IndexError):
            mx.eval(mx.array(x).at[mx.array(np.append(index, 5))].add(value))

    @pytest.mark.parametrize(
        "dtype",
        [mx.bool_, mx.int8, mx.uint16, mx.int64, mx.float16, mx.bfloat16, mx.float64, mx.complex64],
    )
    def test_dtypes(self, dtype):
        a = mx.zeros((3, 2), dtype)
        a[1] = mx.ones((2,))
        a[mx.array([0])] = 1
        assert a.dtype == dtype and a.astype(mx.float32).tolist() == [[1, 1], [1, 1], [0, 0]]

    def test_value_is_cast_and_broadcast(self):
        a = mx.zeros((2, 3), mx.int32)
        a[:, 1] = 2.7
        a[0] = mx.array([5.5, 6.5, 7.5])
        assert a.tolist() == [[5, 6, 7], [0, 2, 0]]
        with pytest.raises(ValueError):
            a[0] = mx.zeros((4,))
        with pytest.raises(ValueError):
            a[mx.array([0, 1])] = mx.zeros((3, 3))

    def test_updates_do_not_reach_aliases(self):
        """Arrays are values: what was taken from one before keeps what it was."""
        a = mx.arange(4.0)
        row, same, alias = a[1:3], a.reshape(2, 2), a
        a[1] = 100.0
        assert row.tolist() == [1.0, 2.0] and same.tolist() == [[0.0, 1.0], [2.0, 3.0]]
        assert alias is a and a.tolist() == [0.0, 100.0, 2.0, 3.0]
        b = mx.arange(4.0)
        mx.eval(b)
        c = b + 0
        b[0] = 9
        assert c.tolist() == [0.0, 1.0, 2.0, 3.0]

    def test_in_place_operators(self):
        a = mx.arange(6.0).reshape(2, 3)
        a[0] += 10
        a[:, 1] *= 2
        a[mx.array([1]), 2] -= 1
        assert a.tolist() == [[10.0, 22.0, 12.0], [3.0, 8.0, 4.0]]

    def test_gradients(self):
        x = mx.arange(1.0, 7.0).reshape(2, 3)
        i = mx.array([0, 1, 0])
        g = mx.grad(lambda x: (x[i, i] * mx.array([1.0, 2.0, 3.0])).sum())(x)
        assert g.tolist() == [[4.0, 0.0, 0.0], [0.0, 2.0, 0.0]]
        g = mx.grad(lambda x: (x.at[0].multiply(3.0) ** 2).sum())(x)
        assert np.allclose(np.array(g), [[18.0, 36.0, 54.0], [8.0, 10.0, 12.0]])
        gx, gv = mx.grad(lambda x, v: (x.at[:, 0].add(v) ** 2).sum(), argnums=(0, 1))(
            x, mx.array([1.0, 2.0])
        )
        assert gv.tolist() == [4.0, 12.0] and gx[:, 0].tolist() == [4.0, 12.0]
        g = mx.grad(lambda v: mx.zeros((4,)).at[mx.array([1, 1])].maximum(v).sum())(
            mx.array([2.0, 5.0])
        )
        assert g.tolist() == [0.0, 1.0]

    def test_vmap(self):
        x, i = mx.arange(12.0).reshape(3, 4), mx.array([[0, 1], [2, 3], [3, 3]])
        got = mx.vmap(lambda r, k: r[k])(x, i)
        assert got.tolist() == [[0.0, 1.0], [6.0, 7.0], [11.0, 11.0]]
        got = mx.vmap(lambda r, k: r.at[k].add(1.0))(x, i)
        want = np.array(x)
        for r in range(3):
            np.add.at(want[r], np.array(i)[r], 1.0)
        assert np.array_equal(np.array(got), want)

    def test_large_offsets(self):
        """More than 2^31 elements behind one index, by a stride of zero."""
        a = mx.broadcast_to(mx.array(1.0), (70_000, 70_000))
        assert a[69_999, 69_999].item() == 1.0 and a[::35_000, ::35_000].sum().item() == 4.0


@pytest.mark.parametrize(
    "shape, axis", [((40, 3000), 0), ((5, 300, 7), 1), ((2, 30, 1500), 1), ((9, 2500), 1)]
)
def test_updates_along_an_axis_keep_their_order_however_they_are_cut(shape, axis):
    # Strips of columns, several rows to a run, rows longer than a run; most places are met several times.
    rng = np.random.default_rng(3)
    index = rng.integers(-shape[axis] // 4, shape[axis] // 4, shape)
    values = rng.standard_normal(shape).astype(np.float32)
    start = rng.standard_normal(shape).astype(np.float32)
    expected = start.copy()
    moved, by, of = (np.moveaxis(a, axis, 0) for a in (expected, index, values))
    for i, v in zip(by, of, strict=True):
        np.put_along_axis(moved, i[None], v[None], 0)
    result = mx.put_along_axis(mx.array(start), mx.array(index), mx.array(values), axis)
    np.testing.assert_array_equal(result, expected)
    index[-1, -1] = shape[axis]
    for base in (mx.array(start), mx.array(start) + 0):
        with pytest.raises(IndexError, match="out of range"):
            mx.eval(mx.put_along_axis(base, mx.array(index), mx.array(values), axis))

"""The array as a Python object: construction, printing, conversion to and from others,
operators, promotion.
"""

from __future__ import annotations

import array
import copy
import gc
import operator
import pickle
import reprlib
import weakref

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from op_row import ALL, FLOATS, INTEGERS, dtype_name, round_bf16, to_np

A = np.arange(12, dtype=np.float32).reshape(3, 4)
NATIVE = ("bool_", *INTEGERS, "float16", "float32", "complex64")


def of(name: str) -> mx.Dtype:
    return getattr(mx, name)


class TestConstruction:
    @pytest.mark.parametrize(
        ("value", "dtype", "shape"),
        [
            (1, "int32", ()),
            (1.5, "float32", ()),
            (True, "bool_", ()),
            (1j, "complex64", ()),
            (2**40, "int64", ()),
            ([1, 2], "int32", (2,)),
            ([1, 2.5, True], "float32", (3,)),
            ([True, 2], "int32", (2,)),
            ([1, 1j], "complex64", (2,)),
            ([], "float32", (0,)),
            ((), "float32", (0,)),
            ([[], []], "float32", (2, 0)),
            ([[1, 2], [3, 4]], "int32", (2, 2)),
            (((1.0,), [2]), "float32", (2, 1)),
            ([1, 2**40], "int64", (2,)),
            ([True, False], "bool_", (2,)),
            (np.float64(1.5), "float32", ()),
            (np.int8(3), "int8", ()),
            (b"abc", "uint8", (3,)),
        ],
        ids=repr,
    )
    def test_python_values(self, value, dtype, shape):
        a = mx.array(value)
        assert (dtype_name(a), tuple(a.shape)) == (dtype, shape)

    @pytest.mark.parametrize("name", NATIVE)
    def test_numpy_dtypes(self, name):
        x = np.array([[0, 1, 2], [3, 4, 5]]).astype(name)
        a = mx.array(x)
        assert dtype_name(a) == name and a.tolist() == x.tolist()
        assert np.array(a).dtype == x.dtype and np.array_equal(np.array(a), x)

    def test_float64_numpy_becomes_float32(self):
        assert mx.array(np.array([0.1])).dtype == mx.float32
        kept = mx.array(np.array([0.1]), dtype=mx.float64)
        assert kept.dtype == mx.float64 and kept.item() == 0.1
        assert mx.array([0.1], mx.float64).item() == 0.1
        assert mx.array(np.array([1 + 2j])).dtype == mx.complex64

    @pytest.mark.parametrize(
        "view",
        [
            A.T,
            A[::2],
            A[:, ::-1],
            A[::-1],
            A[1:, 1:3],
            np.broadcast_to(A[0], (5, 4)),
            A[:, :0],
            A[..., None],
        ],
    )
    def test_numpy_layouts(self, view):
        assert np.array_equal(np.array(mx.array(view)), view)
        whole = np.ascontiguousarray(view).astype(np.int16)
        assert np.array_equal(np.array(mx.array(whole.T)), whole.T)
        assert mx.array(view.astype(np.int8)[::-1]).tolist() == view.astype(np.int8)[::-1].tolist()

    def test_copies_its_input(self):
        x = np.zeros(3, np.float32)
        a = mx.array(x)
        x[:] = 7
        assert a.tolist() == [0, 0, 0]
        b = mx.array(a)
        b[0] = 5
        assert a.tolist() == [0, 0, 0]

    def test_arrays_inside_lists(self):
        assert mx.array([mx.array([1, 2]), mx.array([3, 4])]).tolist() == [[1, 2], [3, 4]]
        assert mx.array([mx.array(1), 2.5]).tolist() == [1.0, 2.5]

    @pytest.mark.parametrize(
        "value",
        [
            None,
            "text",
            [None],
            [[1, 2], [3]],
            [1, [2]],
            {1: 2},
            object(),
            [1, "a"],
            [mx.array([1]), mx.array([1, 2])],
            np.array(["a"]),
            np.array([1], "M8[s]"),
            2**70,
            [2**70],
        ],
        ids=repr,
    )
    def test_refused(self, value):
        with pytest.raises((TypeError, ValueError, OverflowError, RuntimeError)):
            mx.array(value)

    def test_asarray(self):
        assert mx.asarray([1, 2], dtype=mx.float16).dtype == mx.float16
        a = mx.array([1.0])
        assert mx.asarray(a).tolist() == [1.0] and mx.asarray(A).shape == (3, 4)


class TestCasts:
    @pytest.mark.parametrize("a", ALL)
    def test_every_pair(self, a):
        x = mx.array([0, 1, 2, 5]).astype(of(a))
        for b in ALL:
            y = x.astype(of(b))
            want = np.array([0, 1, 2, 5]) != 0 if "bool_" in (a, b) else np.array([0, 1, 2, 5])
            assert dtype_name(y) == b and np.array_equal(to_np(y), want.astype(to_np(y).dtype)), (
                f"{a} to {b}"
            )

    def test_float32_to_bfloat16_rounds_to_even(self):
        bits = np.random.default_rng(0).integers(0, 2**32, 100_000, dtype=np.uint32)
        x = bits.view(np.float32)
        got = np.array(mx.array(x).astype(mx.bfloat16).astype(mx.float32))
        assert np.array_equal(got, round_bf16(x), equal_nan=True)

    def test_float32_to_float16_rounds_to_even(self):
        bits = np.random.default_rng(1).integers(0, 2**32, 100_000, dtype=np.uint32)
        x = np.concatenate(
            [
                bits.view(np.float32),
                np.float32(2.0) ** np.linspace(-26, 16.1, 5000, dtype=np.float32),
            ]
        )
        with np.errstate(all="ignore"):
            assert np.array_equal(
                np.array(mx.array(x).astype(mx.float16)), x.astype(np.float16), equal_nan=True
            )

    @pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
    def test_16_bits_survive_the_round_trip(self, dtype):
        bits = np.arange(65536, dtype=np.uint16)
        back = mx.array(bits).view(of(dtype)).astype(mx.float32).astype(of(dtype)).view(mx.uint16)
        nans = np.array(mx.isnan(mx.array(bits).view(of(dtype))))
        assert np.array_equal(np.array(back)[~nans], bits[~nans])

    def test_integers_wrap_and_truncate(self):
        assert mx.array([300, -1]).astype(mx.uint8).tolist() == [44, 255]
        assert mx.array([1.9, -1.9]).astype(mx.int32).tolist() == [1, -1]
        assert mx.array([2**40 + 5]).astype(mx.int32).tolist() == [5]

    @pytest.mark.parametrize("name", INTEGERS)
    def test_python_numbers_convert_as_arrays_do(self, name):
        values = [1.9, -1.9, 300.0, 3e9, -3e9, 1e20, -1e20, float("inf"), float("nan")]
        want = mx.array(values).astype(of(name)).tolist()
        assert mx.array(values, dtype=of(name)).tolist() == want
        assert [mx.full((), v, dtype=of(name)).item() for v in values] == want


class TestPrinting:
    @pytest.mark.parametrize(
        ("value", "text"),
        [
            ([1.5, 2, float("nan")], "array([1.5, 2, nan], dtype=float32)"),
            ([[1, 2], [3, 4]], "array([[1, 2],\n       [3, 4]], dtype=int32)"),
            ([True, False], "array([True, False], dtype=bool)"),
            ([0.1 + 0.2j], "array([0.1+0.2j], dtype=complex64)"),
            (2, "array(2, dtype=int32)"),
            ([], "array([], dtype=float32)"),
            ([float("inf"), -float("inf")], "array([inf, -inf], dtype=float32)"),
            ([1e10, 1.0], "array([1e+10, 1], dtype=float32)"),
        ],
    )
    def test_repr(self, value, text):
        assert repr(mx.array(value)) == text

    def test_long_arrays_are_shortened(self):
        assert repr(mx.arange(5000)) == "array([0, 1, 2, ..., 4997, 4998, 4999], dtype=int32)"
        assert repr(mx.arange(2000).reshape(2, 1000)).count("...") == 2
        assert len(repr(mx.zeros((100, 100, 100)))) < 5000

    def test_short_forms(self):
        assert reprlib.repr(mx.array([1, 2])) == repr(mx.array([1, 2]))
        assert reprlib.repr({"a": [mx.array(True)]}) == "{'a': [array(True, dtype=bool)]}"
        assert len(reprlib.repr(mx.zeros((100, 100)))) <= reprlib.aRepr.maxother
        assert reprlib.repr(array.array("i", [1, 2])) == "array('i', [1, 2])"

    def test_dtypes_and_devices(self):
        assert repr(mx.float32) == "mlx.core.float32" and repr(mx.bool_) == "mlx.core.bool"
        assert repr(mx.Device(mx.cpu)) == "Device(cpu, 0)"
        assert f"{mx.array(2.5):.2f}" == "2.50"

    def test_precision(self):
        with mx.printoptions(precision=2):
            assert "3.14" in repr(mx.array(3.14159265)) and "3.1416" not in repr(
                mx.array(3.14159265)
            )
        assert "3.1415" in repr(mx.array(3.14159265))


class TestScalars:
    def test_item_and_tolist(self):
        assert (
            mx.array([[3]]).item() == 3
            and mx.array(True).item() is True
            and mx.array(1j).item() == 1j
        )
        assert isinstance(mx.array(2.0).item(), float) and isinstance(
            mx.array(2, mx.uint64).item(), int
        )
        assert mx.array([[1, 2], [3, 4]]).T.tolist() == [[1, 3], [2, 4]]
        assert (
            mx.zeros((0, 2)).tolist() == []
            and mx.zeros((2, 0)).tolist() == [[], []]
            and mx.array(5).tolist() == 5
        )
        for name in FLOATS:
            assert mx.array([1.5], of(name)).tolist() == [1.5]
        with pytest.raises(ValueError):
            mx.array([1, 2]).item()

    def test_conversions(self):
        assert (
            float(mx.array([2.5])) == 2.5
            and int(mx.array(7.9)) == 7
            and complex(mx.array(2)) == 2 + 0j
        )
        assert bool(mx.array([1])) and not mx.array(0.0)
        assert range(5)[mx.array(2)] == 2 and [1, 2, 3][mx.array(1, mx.int64)] == 2
        for bad in (
            lambda: bool(mx.array([1, 2])),
            lambda: float(mx.array([1.0, 2.0])),
            lambda: operator.index(mx.array(2.5)),
            lambda: operator.index(mx.array([1, 2])),
        ):
            with pytest.raises((TypeError, ValueError)):
                bad()

    def test_len_iteration_containment(self):
        a = mx.array(A)
        assert len(a) == 3 and [r.tolist() for r in a] == A.tolist()
        _x, _y, z = a
        assert z.tolist() == A[2].tolist()
        for bad in (lambda: len(mx.array(1)), lambda: list(mx.array(1))):
            with pytest.raises(TypeError):
                bad()
        assert list(mx.zeros((0, 2))) == []

    def test_attributes(self):
        a = mx.array(A).astype(mx.float16)
        assert (a.ndim, a.size, a.itemsize, a.nbytes, tuple(a.shape), a.dtype) == (
            2,
            12,
            2,
            24,
            (3, 4),
            mx.float16,
        )
        assert (
            a.T.shape == (4, 3)
            and mx.zeros((2, 3, 4)).mT.shape == (2, 4, 3)
            and isinstance(a.shape, tuple)
        )
        z = mx.array([1 + 2j])
        assert z.real.item() == 1 and z.imag.item() == 2
        with pytest.raises(AttributeError):
            _ = a.nothing
        with pytest.raises(AttributeError):
            a.shape = (12,)

    def test_hash_and_identity(self):
        a, b = mx.array([1]), mx.array([1])
        assert len({a, b, a}) == 2 and hash(a) == hash(a)

    def test_weak_references_and_cycles(self):
        class Owner:
            pass

        o = Owner()
        o.a, o.self = mx.zeros((10,)), o
        w = weakref.ref(o)
        del o
        gc.collect()
        assert w() is None


class TestNumpy:
    def test_shares_memory(self):
        """np.asarray(a) is a view: what one writes the other sees."""
        a = mx.array(A)
        mx.eval(a)
        x = np.array(a, copy=False)
        assert x.base is not None
        y = np.asarray(a)
        x[0, 0] = 99
        assert y[0, 0] == 99 and a[0, 0].item() == 99

    def test_views_have_their_strides(self):
        a = mx.array(A)
        for v, w in (
            (a.T, A.T),
            (a[::2], A[::2]),
            (a[:, 1:3], A[:, 1:3]),
            (a[:, ::-1], A[:, ::-1]),
            (mx.broadcast_to(a[0], (5, 4)), np.broadcast_to(A[0], (5, 4))),
        ):
            assert np.array_equal(np.asarray(v), w) and np.array_equal(np.array(v), w)

    @pytest.mark.parametrize(
        "make",
        [
            lambda: mx.zeros((3, 4)),
            lambda: mx.ones((5,)),
            lambda: mx.full((2, 3), 7.0),
            lambda: mx.full((2, 3), mx.array([1.0, 2.0, 3.0])),
            lambda: mx.zeros_like(mx.array(A)),
            lambda: mx.ones_like(mx.array(A)),
            lambda: mx.full_like(mx.array(A), 3),
            lambda: mx.zeros((3, 4)).reshape(12),
            lambda: mx.ones((3, 4))[None, 1:],
            lambda: mx.ones((6,)).T[:4],
            lambda: mx.zeros(()),
            lambda: mx.compile(lambda: mx.ones((3,)))(),
            lambda: mx.compile(lambda: mx.ones((4,)).reshape(2, 2))(),
            lambda: mx.vmap(lambda x: mx.full((3,), x))(mx.array([1.0, 2.0])),
            lambda: mx.grad(lambda x: mx.array(1.0))(mx.ones((3,))),
            lambda: nn.LayerNorm(4).weight,
        ],
    )
    def test_constants_have_memory_of_their_own(self, make):
        """Libraries that take the bytes as they lie, and programs that write into them, know no repeated number."""
        x = make()
        y = np.asarray(x)
        assert y.flags.c_contiguous and memoryview(x).c_contiguous
        before = y.copy()
        first = y.reshape(-1)
        first[:1] = 99
        assert np.array_equal(np.array(x).reshape(-1), [99, *before.reshape(-1)[1:]])
        assert np.array_equal(np.array(make()), before) and mx.zeros((2,)).sum().item() == 0
        assert mx.ones(()).item() == 1

    def test_files_of_other_libraries_hold_constants(self, tmp_path):
        safetensors = pytest.importorskip("safetensors.mlx")
        file = str(tmp_path / "a.safetensors")
        safetensors.save_file({"a": mx.ones((16,)), "b": mx.zeros((3, 5)), "c": mx.full((2,), 3)}, file)
        got = mx.load(file)
        assert got["a"].tolist() == [1] * 16 and got["c"].tolist() == [3, 3]
        assert got["b"].shape == (3, 5) and not got["b"].any()

    def test_buffer_keeps_the_array_alive(self):
        m = memoryview(mx.arange(1000.0) + 1)
        x = np.asarray(mx.arange(1000.0) + 1)
        gc.collect()
        junk = [mx.zeros((1000,)) + k for k in range(50)]
        mx.eval(junk)
        assert np.array_equal(np.array(m), np.arange(1, 1001)) and x[-1] == 1000

    @pytest.mark.parametrize("name", NATIVE)
    def test_buffer_protocol(self, name):
        a = mx.array([[1, 0, 1], [1, 1, 0]]).astype(of(name))
        m = memoryview(a)
        assert m.shape == (2, 3) and m.itemsize == a.itemsize and m.ndim == 2
        assert np.array_equal(np.array(m), np.array(a))
        assert bytes(mx.array([1, 2], mx.uint8)) == b"\x01\x02"

    def test_array_function_arguments(self):
        a = mx.array(A)
        assert np.array(a, dtype=np.float64).dtype == np.float64
        assert np.allclose(np.exp(a), np.exp(A)) and float(np.sum(np.asarray(a))) == A.sum()
        assert (np.float32(2) * a).tolist() == (2 * A).tolist()

    def test_bfloat16_goes_through_float32(self):
        assert np.array(mx.array([1.5], mx.bfloat16).astype(mx.float32)).tolist() == [1.5]

    def test_dlpack(self):
        a = mx.array(A)
        assert a.__dlpack_device__() == (1, 0)
        x = np.from_dlpack(a)
        assert np.array_equal(x, A) and np.shares_memory(x, np.asarray(a))
        assert np.array_equal(np.from_dlpack(a.T), A.T)
        assert mx.from_dlpack(np.arange(3, dtype=np.int16)).tolist() == [0, 1, 2]
        b = mx.array(np.from_dlpack(mx.array([1, 2, 3]) * 2))
        assert b.tolist() == [2, 4, 6]

    def test_namespace(self):
        assert mx.array(1).__array_namespace__() is mx


class TestCopies:
    @pytest.mark.parametrize("name", ALL)
    def test_pickle(self, name):
        a = mx.array([[0, 1], [2, 3]]).astype(of(name))
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
            b = pickle.loads(pickle.dumps(a, protocol))
            assert b.dtype == a.dtype and b.shape == a.shape and np.array_equal(to_np(b), to_np(a))
        assert pickle.loads(pickle.dumps(a.T)).tolist() == a.T.tolist()

    def test_pickle_shapes(self):
        for a in (mx.array(3.5), mx.zeros((0, 3)), mx.arange(6).reshape(1, 2, 3)):
            b = pickle.loads(pickle.dumps(a))
            assert b.shape == a.shape and b.tolist() == a.tolist()

    def test_copy(self):
        a = mx.array([1.0, 2.0])
        for b in (copy.copy(a), copy.deepcopy(a), copy.deepcopy([a])[0]):
            b[0] = 9
            assert a.tolist() == [1.0, 2.0]

    def test_dtypes_pickle_and_compare(self):
        assert mx.float32 == mx.float32 and mx.float32 != mx.float16 and mx.float32 != "float32"
        assert len({mx.float32, mx.float32, mx.int8}) == 2 and mx.float32.size == 4
        assert (
            mx.finfo(mx.float16).max == 65504
            and mx.finfo(mx.bfloat16).eps == 2.0**-7
            and mx.iinfo(mx.int8).min == -128
        )

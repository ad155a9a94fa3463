"""Functions as files: what is exported comes back with the same values, and what a file claims is not believed."""

from __future__ import annotations

import os
import subprocess
import sys

import mlx.core as mx
import numpy as np
import pytest
from export_cases import PROGRAMS, X, as_tuple, attention_block, normal, round_trip


@pytest.fixture
def path(tmp_path) -> str:
    return str(tmp_path / "f.mlxfn")


# --- programs ---


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_round_trip(program, path):
    fn, args = program()
    round_trip(path, fn, *args)


def test_in_another_process(path):
    fn, args = attention_block()
    mx.export_function(path, fn, *args)
    np.save(path + ".npy", np.array(args[0]))
    code = (
        "import sys, mlx.core as mx, numpy as np; p = sys.argv[1];"
        "y = mx.import_function(p)(mx.array(np.load(p + '.npy')))[0]; mx.save(p + '.out.npy', y)"
    )
    subprocess.run([sys.executable, "-c", code, path], check=True)
    assert mx.array_equal(mx.load(path + ".out.npy"), fn(*args))


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float64", "complex64", "int8", "uint64", "bool_"])
def test_dtypes_and_captured_arrays(name, path):
    captured = mx.array([[1, 0, 2], [0, 3, 1]]).astype(getattr(mx, name))
    with mx.stream(mx.cpu):
        round_trip(path, lambda x: (mx.where(x, captured, captured.T.reshape(2, 3)), captured[:, 1]), X > 0)


def test_extreme_values(path):
    special = mx.array([np.inf, -np.inf, np.nan, 0.0, -0.0, 1e-45])
    round_trip(path, lambda x: (x + special, x * np.inf, mx.maximum(x, -0.0), x[:0]), mx.zeros(6))


# --- arguments ---


class TestArguments:
    def test_forms(self, path):
        y = X + 1
        add = lambda a, b: a - b  # noqa: E731
        f = round_trip(path, add, X, y)
        for out in (f(X, y), f([X, y]), f((X, y))):
            assert mx.array_equal(out[0], X - y)
        mx.export_function(path, add, (X, y))
        assert mx.array_equal(mx.import_function(path)(X, y)[0], X - y)
        mx.export_function(path, add, (X,), {"b": y})
        f = mx.import_function(path)
        for out in (f(X, b=y), f((X,), {"b": y}), f([X], b=y)):
            assert mx.array_equal(out[0], X - y)
        mx.export_function(path, add, {"a": X, "b": y})
        f = mx.import_function(path)
        assert mx.array_equal(f({"b": y, "a": X})[0], f(b=y, a=X)[0])

    def test_outputs(self, path):
        for fn, n in ((lambda x: x, 1), (lambda x: [x, x * 2], 2), (lambda x: (x,), 1), (lambda x: (), 0)):
            mx.export_function(path, fn, X)
            assert len(mx.import_function(path)(X)) == n
        for fn in (lambda x: {"a": x}, lambda x: None, lambda x: 3.0, lambda x: (x, (x,)), lambda x: (x, 1.0)):
            with pytest.raises(ValueError, match="export_function"):
                mx.export_function(path, fn, X)

    @pytest.mark.parametrize("args", [(X, 2.0), (X, [X]), ([X, 1],), (np.ones(3),), ({1: X},), ("x",), (X, None)])
    def test_other_types(self, args, path):
        with pytest.raises(ValueError, match="inputs of other types"):
            mx.export_function(path, lambda *a, **k: X, *args)
        assert not os.path.exists(path)
        mx.export_function(path, lambda *a: X, X)
        with pytest.raises(ValueError, match="inputs of other types"):
            mx.import_function(path)(*args)

    def test_keywords(self, path):
        fn = lambda x, scale=None, bias=None: x * (1 if scale is None else scale) + (0 if bias is None else bias)  # noqa: E731
        with mx.exporter(path, fn) as export:
            export(X)
            export(X, scale=X)
            export(X, bias=X, scale=X)
        f = mx.import_function(path)
        assert mx.array_equal(f(X)[0], X) and mx.array_equal(f(X, scale=X)[0], X * X)
        assert mx.array_equal(f(X, scale=X, bias=X)[0], X * X + X)
        with pytest.raises(ValueError, match=r"bias=float32 \(2,3\)\), expected one of the 3 signatures"):
            f(X, bias=X)

    def test_no_match(self, path):
        f = round_trip(path, lambda x: x + 1, X)
        for bad in (X[0], X.astype(mx.float16), X.T):
            with pytest.raises(ValueError) as e:
                f(bad)
            assert "(float32 (2,3))" in str(e.value) and str(bad.dtype).split(".")[-1] in str(e.value)
        with pytest.raises(ValueError, match=r"got \(\), expected"):
            f()

    def test_unused_and_repeated(self, path):
        y = X * 2
        mx.export_function(path, lambda a, b, c: (b, a + b), X, X, X)
        b, s = mx.import_function(path)(X, y, X)
        assert mx.array_equal(b, y) and mx.array_equal(s, X + y)

    def test_no_arguments(self, path):
        round_trip(path, lambda: mx.arange(3) + 1)

    def test_metadata(self, path):
        mx.export_function(path, lambda x: x, X, metadata="é\nversion 3")
        f, text = mx.import_function(path, return_metadata=True)
        assert text == "é\nversion 3" and mx.array_equal(f(X)[0], X)
        mx.export_function(path, lambda x: x, X)
        assert mx.import_function(path, return_metadata=True)[1] == ""

    def test_paths(self, tmp_path):
        mx.export_function(tmp_path / "p", lambda x: x, X)
        assert mx.array_equal(mx.import_function(tmp_path / "p")(X)[0], X)
        with pytest.raises(TypeError, match="file_or_callback"):
            mx.export_function(3, lambda x: x, X)
        with pytest.raises(TypeError, match="callable"):
            mx.export_function(str(tmp_path / "p"), 3, X)
        with pytest.raises(TypeError, match="exporter"):
            mx.exporter(print, lambda x: x)
        for missing in (tmp_path / "no", tmp_path / "no" / "no", tmp_path):
            with pytest.raises(RuntimeError, match="import_function"):
                mx.import_function(missing)
        with pytest.raises(RuntimeError, match="export_function"):
            mx.export_function(tmp_path / "no" / "no", lambda x: x, X)


# --- several traces ---


class TestExporter:
    def test_traces_share_constants(self, path):
        w = normal(100, 100)
        fn = lambda x: x @ w + w.sum()  # noqa: E731
        with mx.exporter(path, fn) as export:
            for n in range(1, 6):
                export(mx.zeros((n, 100)))
        assert os.path.getsize(path) < 1.2 * w.nbytes
        f = mx.import_function(path)
        for n in range(1, 6):
            x = normal(n, 100, key=n)
            assert mx.array_equal(f(x)[0], fn(x))

    def test_broadcast_constants_are_small(self, path):
        round_trip(path, lambda x: x + mx.zeros((1000, 1000)) + mx.full((1000, 1000), 3.0), mx.ones((1000, 1)))
        assert os.path.getsize(path) < 5000

    def test_twice_and_after_closing(self, path):
        export = mx.exporter(path, lambda x: x)
        export(X)
        with pytest.raises(RuntimeError, match="already"):
            export(X + 1)
        export.close()
        export.close()
        with pytest.raises(RuntimeError, match="closed"):
            export(X[0])
        assert mx.array_equal(mx.import_function(path)(X)[0], X)
        with mx.exporter(path, lambda x: x, shapeless=True) as export:
            export(X)
            with pytest.raises(RuntimeError, match="already"):
                export(X.T)
            export(X[0])

    def test_closed_when_dropped(self, path):
        export = mx.exporter(path, lambda x: x * 2)
        export(X)
        del export
        assert mx.array_equal(mx.import_function(path)(X)[0], X * 2)

    def test_old_file_survives_errors(self, path):
        mx.export_function(path, lambda x: x * 2, X)

        def bad(x):
            raise KeyError("inside")

        with pytest.raises(KeyError, match="inside"):
            mx.export_function(path, bad, X)

        def leave():
            with mx.exporter(path, lambda x: x * 3) as export:
                export(X)
                raise KeyError("outside")

        with pytest.raises(KeyError, match="outside"):
            leave()
        assert mx.array_equal(mx.import_function(path)(X)[0], X * 2)
        assert os.listdir(os.path.dirname(path)) == ["f.mlxfn"]

    def test_nothing_exported(self, path):
        mx.exporter(path, lambda x: x).close()
        with pytest.raises(ValueError, match="0 signatures"):
            mx.import_function(path)(X)


# --- shapeless ---

SHAPELESS = {
    "elementwise": lambda x: mx.exp(x) * 2 + x,
    "reduce": lambda x: (x.sum(axis=0), x.max(axis=1, keepdims=True), mx.mean(x), mx.argmax(x, axis=1)),
    "softmax": lambda x: (mx.softmax(x, axis=-1), mx.softmax(x, axis=0), mx.logsumexp(x, axis=1)),
    "matmul": lambda x: (x @ x.T, mx.addmm(x, x @ x.T, x)),
    "axes": lambda x: (x[None], x.T, x.flatten(), mx.expand_dims(x, 1).squeeze(1)),
    "scan": lambda x: (mx.cumsum(x, axis=1), mx.sort(x, axis=0), mx.argsort(x)),
    "norm": lambda x: (mx.fast.rms_norm(x, None, 1e-5), mx.fast.layer_norm(x, None, None, 1e-5)),
    "join": lambda x: (mx.concatenate([x, x], axis=1), mx.pad(x, 1), mx.var(x, axis=0)),
    "pick": lambda x: (mx.take(x, mx.array([0, 1]), axis=1), mx.split(x, [1], axis=1)[1]),
    "norm_gradient": lambda x: tuple(mx.vjp(lambda y: mx.fast.layer_norm(y, None, None, 1e-5), [x], [x])[1]),
}


@pytest.mark.parametrize("name", SHAPELESS)
def test_shapeless(name, path):
    fn = SHAPELESS[name]
    f = round_trip(path, fn, X, shapeless=True)
    for shape in ((4, 2), (1, 7), (3, 3)):
        x = normal(*shape)
        for g, e in zip(f(x), as_tuple(fn(x)), strict=True):
            assert g.shape == e.shape and mx.allclose(g, e, rtol=1e-6, atol=1e-6)


def test_shapeless_keeps_what_is_fixed(path):
    f = round_trip(path, lambda x, y: (x.reshape(3, 2), x + y), X, X, shapeless=True)
    with pytest.raises(ValueError, match="reshape"):
        f(mx.zeros((4, 4)), mx.zeros((4, 4)))
    with pytest.raises(ValueError, match="broadcast"):
        f(X, mx.zeros((5, 5)))
    for bad in (X[0], X.astype(mx.int32)):
        with pytest.raises(ValueError, match="or other sizes"):
            f(bad, bad)


# --- what an imported function is ---


def test_transforms_of_an_imported_function(path):
    fn = lambda x: mx.tanh(x * x).sum(axis=-1)  # noqa: E731
    f = round_trip(path, fn, X)
    total, expected = (lambda x: f(x)[0].sum()), (lambda x: fn(x).sum())
    assert mx.array_equal(mx.grad(total)(X), mx.grad(expected)(X))
    assert mx.array_equal(mx.jvp(total, [X], [X])[1][0], mx.jvp(expected, [X], [X])[1][0])
    assert mx.allclose(mx.vmap(lambda x: f(x)[0])(mx.stack([X, X + 1])), mx.stack([fn(X), fn(X + 1)]))
    assert mx.allclose(mx.compile(total)(X), expected(X))
    mx.export_function(path + "2", lambda x: f(x)[0] * 2, X)
    assert mx.allclose(mx.import_function(path + "2")(X)[0], fn(X) * 2)


def test_custom_functions_become_what_they_compute(path):
    @mx.custom_function
    def doubled(x):
        return mx.sin(x) * 2

    doubled.vjp(lambda primals, cotangents, outputs: cotangents * 100)
    f = round_trip(path, lambda x: (doubled(x) + x, mx.checkpoint(mx.exp)(x)), X)
    assert mx.allclose(mx.grad(lambda x: f(x)[0].sum())(X), 2 * mx.cos(X) + 1)
    # Inside a traced gradient the rule itself has been applied.
    g = round_trip(path, mx.grad(lambda x: doubled(x).sum()), X)
    assert mx.array_equal(g(X)[0], mx.full(X.shape, 100.0))
    # stop_gradient stays.
    h = round_trip(path, lambda x: mx.stop_gradient(x) * x, X)
    assert mx.array_equal(mx.grad(lambda x: h(x)[0].sum())(X), X)


def test_random_numbers_are_fixed(path):
    f = round_trip(path, lambda x: x + mx.random.uniform(shape=(2, 3), key=mx.random.key(3)), X)
    mx.export_function(path, lambda x: x + mx.random.uniform(shape=(2, 3)), X)
    f = mx.import_function(path)
    assert mx.array_equal(f(X)[0], f(X)[0])


def test_streams(path):
    mx.export_function(path, lambda x: mx.sin(x) + mx.cos(x, stream=mx.cpu), X)
    f = mx.import_function(path)
    expected = f(X)[0]
    with mx.stream(mx.new_stream(mx.cpu)):
        other = f(X)[0]
        mx.async_eval(other)
    assert mx.allclose(other, expected, rtol=1e-6, atol=1e-6)  # a GPU's sine is not the CPU's to the bit


def test_exporting_inside_a_transform(path):
    def loss(x):
        mx.export_function(path, lambda y: y * x, X)
        return x.sum()

    with pytest.raises(ValueError, match="transform"):
        mx.grad(loss)(X)


# --- the callback ---


def test_callback():
    told = []
    mx.export_function(told.append, lambda x, y: (x * 2 + y, mx.split(x, 2)[0]), X, y=X)
    assert [t["type"] for t in told[:4]] == ["inputs", "keyword_inputs", "outputs", "constants"]
    inputs, keywords, outputs, constants, *primitives = told
    assert [(s, d) for _, s, d in inputs["inputs"]] == [((2, 3), mx.float32)] * 2
    assert keywords["keywords"] == [("y", inputs["inputs"][1][0])]
    assert [v.item() for _, v in constants["constants"]] == [2.0]
    known = {name for name, *_ in inputs["inputs"]} | {name for name, _ in constants["constants"]}
    for p in primitives:
        assert p["type"] == "primitive" and {name for name, *_ in p["inputs"]} <= known
        known |= {name for name, *_ in p["outputs"]}
    assert {name for name, *_ in outputs["outputs"]} <= known
    split = next(p for p in primitives if p["name"] == "Split")
    assert split["arguments"] == [0, (1,)] and len(split["outputs"]) == 2
    assert {p["name"] for p in primitives} == {"Multiply", "Add", "Split"}

    def refuse(told):
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        mx.export_function(refuse, lambda x: x, X)

"""mx.compile: what keys a trace, what is captured, what may change between calls, what an
exception leaves behind.
"""

from __future__ import annotations

from functools import partial

import mlx.core as mx
import numpy as np
import pytest

X = mx.array([[1.0, -2.0, 3.0], [0.5, 0.0, -1.0]])


def counting(fn):
    """`fn` and a list that grows by one each time Python runs it."""
    traces: list[int] = []

    def wrapped(*args, **kwargs):
        traces.append(1)
        return fn(*args, **kwargs)

    return wrapped, traces


class TestKeys:
    def test_traced_once(self):
        f, traces = counting(lambda x: mx.exp(x) * 2 + 1)
        g = mx.compile(f)
        first = g(X)
        for k in range(4):
            assert np.allclose(g(X + k), np.exp(np.array(X) + k) * 2 + 1, rtol=1e-6)
        assert len(traces) <= 2 and first.shape == X.shape

    def test_shapes_and_dtypes(self):
        f, traces = counting(lambda x: x + x)
        g = mx.compile(f)
        assert g(X).shape == (2, 3) and g(X[0]).shape == (3,) and g(X.T).shape == (3, 2)
        assert g(X.astype(mx.float16)).dtype == mx.float16
        assert g(mx.array([1, 2])).tolist() == [2, 4]
        assert len(traces) == 5
        g(X), g(X[0])
        assert len(traces) == 5

    def test_structure(self):
        f, traces = counting(lambda t: t["a"] - (t.get("b", 0)))
        g = mx.compile(f)
        assert mx.array_equal(g({"a": X}), X)
        assert mx.array_equal(g({"a": X, "b": X}), mx.zeros_like(X))
        assert mx.array_equal(g({"b": X, "a": X * 3}), 2 * X)
        assert len(traces) >= 2

    def test_constants(self):
        f, traces = counting(lambda x, n, name="a": x * n if name == "a" else x + n)
        g = mx.compile(f)
        assert mx.array_equal(g(X, 2), X * 2) and mx.array_equal(g(X, 3), X * 3)
        assert mx.array_equal(g(X, 3, name="b"), X + 3) and mx.array_equal(g(X, 2.5), X * 2.5)
        assert mx.array_equal(g(X, -0.0 + 2), X * 2)
        assert len(traces) <= 5

    def test_keyword_arrays(self):
        g = mx.compile(lambda x, *, y: x - y)
        assert mx.array_equal(g(X, y=X), mx.zeros_like(X))
        assert mx.array_equal(g(y=X, x=X * 2), X)

    def test_captured_arrays_are_constants(self):
        box = [mx.array(2.0)]
        g = mx.compile(lambda x: x * box[0])
        assert mx.array_equal(g(X), X * 2)
        assert mx.array_equal(g(X + 1), (X + 1) * 2)

    def test_methods_and_partials(self):
        class Scale:
            def __init__(self, k):
                self.k = k

            def __call__(self, x):
                return x * self.k

            def twice(self, x):
                return x * self.k * 2

        assert mx.array_equal(mx.compile(Scale(3.0))(X), X * 3)
        assert mx.array_equal(mx.compile(Scale(3.0).twice)(X), X * 6)
        assert mx.array_equal(mx.compile(partial(lambda a, x: a + x, 1.0))(X), X + 1)

    def test_as_a_decorator(self):
        @mx.compile
        def f(x):
            """Doc."""
            return x + 1

        @partial(mx.compile, shapeless=True)
        def g(x):
            return x + 1

        assert mx.array_equal(f(X), g(X))


class TestState:
    def test_inputs_and_outputs(self):
        state = {"w": mx.array(1.0), "n": mx.array(0)}

        @partial(mx.compile, inputs=state, outputs=state)
        def step(x):
            state["w"] = state["w"] * 2
            state["n"] = state["n"] + 1
            return x * state["w"]

        for k in range(1, 5):
            assert mx.array_equal(step(X), X * 2.0**k)
        assert state["w"].item() == 16.0 and state["n"].item() == 4
        state["w"] = mx.array(10.0)
        assert mx.array_equal(step(X), X * 20)

    def test_list_of_states(self):
        a, b = [mx.array(1.0)], {"k": [mx.array(5.0)]}

        @partial(mx.compile, inputs=[a, b], outputs=[a, b])
        def step():
            a[0] = a[0] + 1
            b["k"][0] = b["k"][0] - a[0]
            return a[0] + b["k"][0]

        assert step().item() == 5.0
        assert step().item() == 3.0 - 3.0 + 3.0
        assert a[0].item() == 3.0 and b["k"][0].item() == 0.0

    def test_random_state(self):
        @partial(mx.compile, inputs=mx.random.state, outputs=mx.random.state)
        def f():
            return mx.random.uniform(shape=(4,))

        mx.random.seed(11)
        got = [f().tolist() for _ in range(3)]
        mx.random.seed(11)
        want = [mx.random.uniform(shape=(4,)).tolist() for _ in range(3)]
        assert got == want and got[0] != got[1]

    def test_training_step_equals_eager(self):
        rng = np.random.default_rng(0)
        x, y = (mx.array(rng.normal(size=s).astype(np.float32)) for s in ((16, 4), (16, 2)))

        def run(wrap):
            state = {"w": mx.zeros((4, 2)), "m": mx.zeros((4, 2))}

            def step():
                loss, g = mx.value_and_grad(lambda w: mx.square(x @ w - y).mean())(state["w"])
                state["m"] = 0.9 * state["m"] + g
                state["w"] = state["w"] - 0.1 * state["m"]
                return loss

            f = wrap(step, state)
            return [f().item() for _ in range(20)], state["w"]

        eager, w = run(lambda f, s: f)
        compiled, v = run(lambda f, s: mx.compile(f, inputs=s, outputs=s))
        assert np.allclose(eager, compiled, rtol=1e-5) and mx.allclose(w, v, rtol=1e-4, atol=1e-6)
        assert compiled[-1] < compiled[0]


class TestShapeless:
    def test_one_trace_for_all_shapes(self):
        f, traces = counting(lambda x: mx.exp(-mx.abs(x)) * 2 + 1)
        g = mx.compile(f, shapeless=True)
        for shape in ((3,), (7,), (1,), (100,)):
            x = mx.random.normal(shape)
            assert mx.allclose(g(x), mx.exp(-mx.abs(x)) * 2 + 1)
        assert len(traces) == 1

    def test_reductions_and_matmul(self):
        f, _traces = counting(lambda x, w: mx.softmax(x @ w, axis=-1).sum(axis=0, keepdims=True))
        g = mx.compile(f, shapeless=True)
        for n in (2, 5, 9):
            x, w = mx.random.normal((n, 4)), mx.random.normal((4, 3))
            assert mx.allclose(g(x, w), f(x, w), atol=1e-5)

    def test_functions_with_rules_of_their_own(self):
        @mx.custom_function
        def f(x):
            return mx.exp(x), x.sum(axis=0)

        @f.vjp
        def f_vjp(primals, cotangents, outputs):
            return cotangents[0]

        traced, traces = counting(lambda x: [2 * y for y in f(x)])
        g = mx.compile(traced, shapeless=True)
        for n in (2, 5, 9):
            x = mx.random.normal((n, 4))
            y, z = g(x)
            assert mx.allclose(y, 2 * mx.exp(x)) and mx.allclose(z, 2 * x.sum(axis=0), atol=1e-6)
        assert len(traces) == 1

    def test_dtype_still_counts(self):
        f, traces = counting(lambda x: x + 1)
        g = mx.compile(f, shapeless=True)
        assert g(mx.array([1, 2])).dtype == mx.int32 and g(mx.array([1.5])).dtype == mx.float32
        assert len(traces) == 2

    def test_shapes_that_do_not_fit_are_errors(self):
        square, row = mx.ones((3, 3)), mx.ones((1, 3))
        g = mx.compile(lambda x, y: (x @ y, mx.addmm(x, y, y)), shapeless=True)
        g(square, square)
        with pytest.raises(ValueError, match="matmul"):
            g(mx.ones((5, 7)), mx.ones((6, 2)))
        h = mx.compile(lambda x, y: mx.concatenate([x, y], axis=0), shapeless=True)
        assert h(square, row).shape == (4, 3)
        with pytest.raises(ValueError, match="concatenate"):
            h(square, mx.ones((1, 4)))
        t = mx.compile(lambda x, i: mx.take_along_axis(x, i, axis=0) + mx.broadcast_to(x[:1], (3, 3)), shapeless=True)
        t(square, mx.zeros((1, 3), mx.int32))
        with pytest.raises(ValueError, match="take_along_axis"):
            t(square, mx.zeros((1, 5), mx.int32))


class TestErrors:
    def test_exception_inside_leaves_nothing_behind(self):
        attempts = []

        @mx.compile
        def f(x):
            attempts.append(1)
            if len(attempts) == 1:
                raise RuntimeError("first time")
            return x + 1

        with pytest.raises(RuntimeError, match="first time"):
            f(X)
        assert mx.array_equal(f(X), X + 1)
        assert mx.exp(mx.array(0.0)).item() == 1.0

    def test_eval_inside_is_refused(self):
        for body in (
            lambda x: mx.eval(x),
            lambda x: x.item(),
            lambda x: x.tolist(),
            lambda x: bool((x > 0).all()),
            lambda x: np.array(x),
        ):
            with pytest.raises(ValueError, match=r"(?i)eval"):
                mx.compile(lambda x, body=body: (body(x), x)[1])(mx.array(1.0))
            assert mx.array(1.0).item() == 1.0

    def test_not_callable(self):
        with pytest.raises(TypeError):
            mx.compile(3)

    def test_wrong_shapes_are_reported_as_eagerly(self):
        with pytest.raises(ValueError, match=r"\[matmul\]"):
            mx.compile(lambda a, b: a @ b)(X, X)


class TestCombinations:
    def test_results_of_any_structure(self):
        g = mx.compile(lambda x: {"a": [x, (x + 1, None)], "n": 3, "s": "text"})
        out = g(X)
        out = g(X * 2)
        assert out["n"] == 3 and out["s"] == "text" and out["a"][1][1] is None
        assert mx.array_equal(out["a"][1][0], X * 2 + 1)

    def test_operand_returned_unchanged_and_twice(self):
        a, b, c = mx.compile(lambda x: (x, x, x * 1))(X)
        assert mx.array_equal(a, X) and mx.array_equal(b, X) and mx.array_equal(c, X)

    def test_constants_returned(self):
        y, z = mx.compile(lambda x: (mx.ones((2,)), x + mx.array([1.0, 2.0, 3.0])))(X)
        assert y.tolist() == [1.0, 1.0] and mx.array_equal(z, X + mx.array([1.0, 2.0, 3.0]))

    def test_nested_and_with_transforms(self):
        f = lambda x: (mx.tanh(x) * mx.sigmoid(x)).sum()  # noqa: E731
        want = mx.grad(f)(X)
        for g in (
            mx.compile(mx.grad(f)),
            mx.grad(mx.compile(f)),
            mx.compile(mx.grad(mx.compile(f))),
            mx.compile(mx.compile(mx.grad(f))),
        ):
            assert mx.allclose(g(X), want, rtol=1e-5, atol=1e-6)
        rows = mx.vmap(mx.compile(f))(X)
        assert mx.allclose(rows, mx.stack([f(r) for r in X]), rtol=1e-5)

    def test_disable(self):
        f, traces = counting(lambda x: x + 1)
        g = mx.compile(f)
        mx.disable_compile()
        try:
            g(X), g(X)
            assert len(traces) == 2
        finally:
            mx.enable_compile()

    def test_broadcasting_reuse_and_dead_code(self):
        def f(x, y):
            dead = mx.exp(x) @ mx.ones((3, 3))
            a = x * y
            b = mx.sin(a) + mx.sin(a)
            del dead
            return b / (1 + mx.abs(a)), b.sum(axis=0), a.astype(mx.int32)

        for y in (mx.array(2.0), mx.array([1.0, 2.0, 3.0]), mx.array([[1.0], [2.0]])):
            for g, w in zip(mx.compile(f)(X, y), f(X, y), strict=True):
                assert g.dtype == w.dtype and mx.allclose(g, w, rtol=1e-6, atol=1e-6)

    def test_in_place_updates(self):
        def f(x):
            y = x * 1
            y[0] = 0
            y[:, 1] += 5
            return y.at[1].multiply(2)

        assert mx.array_equal(mx.compile(f)(X), f(X))

    @pytest.mark.parametrize("seed", range(25))
    def test_random_graphs(self, seed):
        """Element-wise chains with shared parts, casts, reductions and shapes: compiled equals
        eager.
        """
        rng = np.random.default_rng(seed)

        def program(a, b):
            pool = [a, b, a[:1] * 1.0]
            draw = np.random.default_rng(seed + 1000)
            for _ in range(15):
                u = pool[draw.integers(len(pool))]
                v = pool[draw.integers(len(pool))]
                kind = draw.integers(9)
                if kind == 0:
                    w = mx.tanh(u) + v * 0.5
                elif kind == 1:
                    w = mx.maximum(u, v)
                elif kind == 2:
                    w = mx.where(u > 0, v, -u)
                elif kind == 3:
                    w = u.astype(mx.float16).astype(mx.float32)
                elif kind == 4:
                    w = mx.sigmoid(u - v)
                elif kind == 5:
                    w = u - u.mean(axis=-1, keepdims=True)
                elif kind == 6:
                    w = mx.softmax(u, axis=-1)
                elif kind == 7:
                    w = mx.swapaxes(mx.swapaxes(u, -1, -2) * 2, -1, -2)
                else:
                    w = mx.square(u) * 0.25 + mx.cos(v)
                pool.append(w)
            return pool[-1], pool[-2].sum(), pool[-3]

        a, b = (mx.array(rng.normal(size=(4, 6)).astype(np.float32)) for _ in range(2))
        for g, w in zip(mx.compile(program)(a, b), program(a, b), strict=True):
            assert g.shape == w.shape and mx.allclose(g, w, rtol=2e-3, atol=2e-3)

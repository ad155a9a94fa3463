"""grad, vjp, jvp, vmap, checkpoint, custom_function: how they take arguments, nest, and hold at
a million nodes.
"""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest
from scripts import run_python


def close(a, b, tolerance=1e-5):
    return np.allclose(
        np.array(a, copy=False), np.array(b, copy=False), rtol=tolerance, atol=tolerance
    )


X = mx.array([0.5, 1.0, 2.0])
Y = mx.array([3.0, -1.0, 0.25])


class TestArguments:
    def test_argnums(self):
        f = lambda x, y: (x * x * y).sum()  # noqa: E731
        assert close(mx.grad(f)(X, Y), 2 * X * Y)
        assert close(mx.grad(f, argnums=1)(X, Y), X * X)
        gx, gy = mx.grad(f, argnums=(0, 1))(X, Y)
        assert close(gx, 2 * X * Y) and close(gy, X * X)
        assert close(mx.grad(f, argnums=[1])(X, Y), X * X)

    def test_argnames(self):
        f = lambda x, *, y, z: (x * y * z).sum()  # noqa: E731
        gx, named = mx.grad(f, argnames=["y", "z"], argnums=0)(X, y=Y, z=X)
        assert close(gx, X * Y) and close(named["y"], X * X) and close(named["z"], X * Y)
        positional, named = mx.grad(f, argnames="y")(X, y=Y, z=X)
        assert positional is None and set(named) == {"y"}
        value, grads = mx.value_and_grad(f, argnames="z")(X, y=Y, z=X)
        assert close(value, (X * Y * X).sum()) and close(grads[1]["z"], X * Y)

    def test_trees(self):
        params = {
            "w": mx.array([[1.0, 2.0]]),
            "layers": [{"b": mx.array(3.0)}, (mx.array(1.0), mx.array(2.0))],
        }

        def f(p, scale):
            a, b = p["layers"][1]
            return (p["w"] * scale).sum() * p["layers"][0]["b"] + a * b

        value, g = mx.value_and_grad(f)(params, 2.0)
        assert value.item() == 20.0
        assert g["w"].tolist() == [[6.0, 6.0]]
        assert g["layers"][0]["b"].item() == 6.0
        assert [x.item() for x in g["layers"][1]] == [2.0, 1.0] and isinstance(
            g["layers"][1], tuple
        )

    def test_auxiliary_results_pass_through(self):
        def f(x):
            return (x * x).sum(), {"twice": x * 2, "name": "aux"}, 3

        (value, aux, three), g = mx.value_and_grad(f)(X)
        assert close(value, (X * X).sum()) and close(aux["twice"], X * 2)
        assert aux["name"] == "aux" and three == 3 and close(g, 2 * X)

    def test_unused_operand_has_zero_gradient(self):
        gx, gy = mx.grad(lambda x, y: x.sum(), argnums=(0, 1))(X, Y)
        assert gx.tolist() == [1, 1, 1] and gy.tolist() == [0, 0, 0] and gy.dtype == Y.dtype

    def test_constant_function(self):
        assert mx.grad(lambda x: mx.array(1.0))(X).tolist() == [0, 0, 0]

    def test_closures_are_constants(self):
        assert close(mx.grad(lambda x: (x * Y).sum())(X), Y)

    def test_scalars_and_numpy_constants(self):
        assert mx.grad(lambda x: 3 * x**2 + 1)(mx.array(2.0)).item() == 12.0
        k = np.array([1.0, 2.0, 3.0], np.float32)
        assert close(mx.grad(lambda x: (x * mx.array(k)).sum())(X), k)

    @pytest.mark.parametrize(
        ("call", "error", "match"),
        [
            (lambda: mx.grad(lambda x: x)(X), ValueError, r"(?i)scalar|shape"),
            (lambda: mx.grad(lambda x: 3)(X), ValueError, "int"),
            (lambda: mx.grad(lambda x: x.sum(), argnums=3)(X), ValueError, "3"),
            (lambda: mx.grad(lambda x: x.sum(), argnums=-1)(X), ValueError, ""),
            (lambda: mx.grad(lambda x: x.sum(), argnums=(0, 0))(X), ValueError, ""),
            (lambda: mx.grad(lambda x: x.sum(), argnames="z")(X), ValueError, "z"),
            (lambda: mx.grad(3), TypeError, ""),
            (lambda: mx.vjp(mx.sin, [X], [mx.ones((2,))]), ValueError, "shape"),
            (lambda: mx.jvp(mx.sin, [X], [mx.ones((2,))]), ValueError, "shape"),
            (lambda: mx.jvp(mx.sin, [X], []), ValueError, ""),
            (lambda: mx.vmap(mx.sin, in_axes=5)(X), (IndexError, ValueError), "5"),
            (lambda: mx.vmap(mx.sin)(mx.array(1.0)), (IndexError, ValueError), "axis 0|0"),
            (lambda: mx.vmap(mx.add)(X, mx.ones((4,))), ValueError, "3.*4"),
            (lambda: mx.vmap(mx.add, in_axes=(0,))(X, X), ValueError, ""),
            (lambda: mx.vmap(lambda x, y: x + y, in_axes=(None, None))(X, X), ValueError, ""),
            (lambda: mx.vmap(lambda x: 3)(X), ValueError, ""),
        ],
    )
    def test_wrong_use(self, call, error, match):
        with pytest.raises(error, match=match):
            call()


class TestNesting:
    def test_every_order_of_three(self):
        """d/dx, along a batch, forward over reverse: vmap, grad and jvp commute."""
        f = lambda x: mx.sin(x) * mx.exp(x / 2)  # noqa: E731
        second = lambda x: mx.grad(mx.grad(f))(x)  # noqa: E731
        want = mx.stack([second(x) for x in X])
        assert close(mx.vmap(second)(X), want)
        assert close(mx.vmap(mx.grad(mx.grad(f)))(X), want)
        total = lambda x: mx.vmap(mx.grad(f))(x).sum()  # noqa: E731
        assert close(mx.grad(total)(X), want)
        assert close(mx.jvp(mx.vmap(mx.grad(f)), [X], [mx.ones_like(X)])[1][0], want)
        assert close(mx.vmap(lambda x: mx.jvp(mx.grad(f), [x], [mx.array(1.0)])[1][0])(X), want)
        reverse_over_forward = mx.grad(lambda x: mx.jvp(f, [x], [mx.array(1.0)])[1][0])
        assert close(mx.vmap(reverse_over_forward)(X), want)
        assert close(mx.compile(mx.vmap(mx.grad(mx.grad(f))))(X), want)
        assert close(mx.checkpoint(lambda x: mx.vmap(mx.grad(mx.grad(f)))(x))(X), want)

    def test_high_derivatives(self):
        f = mx.sin
        for k in range(6):
            want = [mx.sin, mx.cos, lambda x: -mx.sin(x), lambda x: -mx.cos(x)][k % 4](
                mx.array(0.7)
            )
            assert abs(f(mx.array(0.7)) - want).item() < 1e-5
            f = mx.grad(f)

    def test_perturbations_are_kept_apart(self):
        """d/dx (x * d/dy (x + y)) = 1, the classic trap of forward mode."""
        one = mx.array(1.0)
        inner = lambda x: x * mx.jvp(lambda y: x + y, [one], [one])[1][0]  # noqa: E731
        assert mx.jvp(inner, [one], [one])[1][0].item() == 1.0
        outer = lambda x: x * mx.grad(lambda y: x * y)(one)  # noqa: E731
        assert mx.grad(outer)(mx.array(3.0)).item() == 6.0

    def test_hessian_vector_product(self):
        a = mx.array(np.random.default_rng(0).normal(size=(5, 5)).astype(np.float32))
        x = mx.array(np.random.default_rng(1).normal(size=5).astype(np.float32))
        v = mx.array(np.random.default_rng(2).normal(size=5).astype(np.float32))
        f = lambda x: mx.tanh(a @ x).sum() + (x * (a @ x)).sum()  # noqa: E731
        hvp = mx.jvp(mx.grad(f), [x], [v])[1][0]
        hessian = mx.vmap(lambda e: mx.jvp(mx.grad(f), [x], [e])[1][0])(mx.eye(5))
        assert close(hvp, hessian @ v, 1e-4)
        assert close(hessian, hessian.T, 1e-4)
        assert close(mx.grad(lambda x: (mx.grad(f)(x) * v).sum())(x), hvp, 1e-4)

    def test_jacobian_both_ways(self):
        f = lambda x: mx.stack([x[0] * x[1], mx.sin(x[2]), x.sum()])  # noqa: E731
        forward = mx.vmap(lambda e: mx.jvp(f, [X], [e])[1][0])(mx.eye(3)).T
        reverse = mx.vmap(lambda e: mx.vjp(f, [X], [e])[1][0])(mx.eye(3))
        assert close(forward, reverse)

    def test_per_sample_gradients(self):
        rng = np.random.default_rng(3)
        w = mx.array(rng.normal(size=(4, 3)).astype(np.float32))
        xs, ys = (mx.array(rng.normal(size=s).astype(np.float32)) for s in ((8, 4), (8, 3)))
        loss = lambda w, x, y: mx.square(mx.tanh(x @ w) - y).sum()  # noqa: E731
        got = mx.vmap(mx.grad(loss), in_axes=(None, 0, 0))(w, xs, ys)
        want = mx.stack([mx.grad(loss)(w, x, y) for x, y in zip(xs, ys, strict=True)])
        assert got.shape == (8, 4, 3) and close(got, want)
        assert close(
            got.sum(0),
            mx.grad(lambda w: mx.vmap(loss, in_axes=(None, 0, 0))(w, xs, ys).sum())(w),
            1e-4,
        )

    def test_vmap_axes_and_trees(self):
        a = mx.arange(24.0).reshape(2, 3, 4)
        sums = mx.vmap(
            lambda t: {"s": t["x"].sum(0), "x": t["x"]}, in_axes={"x": 1}, out_axes={"s": 0, "x": 2}
        )
        got = sums({"x": a})
        assert close(got["s"], mx.moveaxis(a, 1, 0).sum(1)) and close(
            got["x"], mx.moveaxis(a, 1, 2)
        )
        assert close(mx.vmap(lambda x, k: x * k, in_axes=(0, None))(a, mx.array(2.0)), a * 2)
        assert close(mx.vmap(lambda x: x, in_axes=-1, out_axes=0)(a), mx.moveaxis(a, -1, 0))
        mixed = mx.vmap(lambda b, t: b.sum() * t["x"], in_axes=(1, {"x": 0}))
        assert close(mixed(a, {"x": X}), a.sum((0, 2)) * X)
        constant = mx.vmap(lambda x: mx.array([1.0, 2.0]))(mx.zeros((3,)))
        assert constant.tolist() in ([[1.0, 2.0]] * 3, [1.0, 2.0])

    def test_grad_through_indexing_assignment(self):
        def f(x):
            y = mx.zeros((4,))
            y[1:] = x * x
            y[0] = x[0]
            return (y * mx.array([1.0, 2.0, 3.0, 4.0])).sum()

        assert close(mx.grad(f)(X), mx.array([2.0, 3.0, 4.0]) * 2 * X + mx.array([1.0, 0.0, 0.0]))


class TestStops:
    def test_stop_gradient(self):
        assert mx.grad(lambda x: (x * mx.stop_gradient(x)).sum())(X).tolist() == X.tolist()
        assert mx.grad(lambda x: mx.stop_gradient(x).sum())(X).tolist() == [0, 0, 0]
        dy = mx.jvp(mx.stop_gradient, [X], [X])[1][0]
        assert dy.tolist() == [0, 0, 0]

    def test_integers_carry_no_gradient(self):
        i = mx.array([2, 0, 1])
        g = mx.grad(lambda x: (x[i] * mx.array([1.0, 2.0, 3.0])).sum())(X)
        assert g.tolist() == [2.0, 3.0, 1.0]

    def test_where_selects_gradients(self):
        g = mx.grad(lambda x: mx.where(x > 0.7, x * x, 3 * x).sum())(X)
        assert g.tolist() == [3.0, 2.0, 4.0]

    def test_complex_gradients_are_conjugate_cotangents(self):
        z = mx.array([1.0 + 2.0j, -0.5 + 1.0j])
        g = mx.grad(lambda z: mx.square(mx.abs(z)).sum())(z)
        real = mx.grad(lambda z: mx.real(z * z).sum())(z)
        assert g.dtype == mx.complex64
        assert close(mx.real(g), 2 * mx.real(z)) and close(abs(mx.imag(g)), abs(2 * mx.imag(z)))
        assert close(mx.real(real), 2 * mx.real(z))


class TestCheckpoint:
    def test_same_values_and_gradients(self):
        w = mx.array(np.random.default_rng(0).normal(size=(3, 3)).astype(np.float32))
        f = lambda x: mx.tanh(w @ mx.sin(x))  # noqa: E731
        direct = mx.value_and_grad(lambda x: f(f(x)).sum())(X)
        saved = mx.value_and_grad(lambda x: mx.checkpoint(f)(mx.checkpoint(f)(x)).sum())(X)
        assert close(direct[0], saved[0]) and close(direct[1], saved[1])

    def test_keeps_less_memory(self):
        def layers(wrap):
            def f(x):
                for _ in range(8):
                    x = mx.tanh(mx.sin(mx.exp(mx.cos(x))))
                return x

            h = wrap(f)

            def loss(x):
                for _ in range(8):
                    x = h(x)
                return x.sum()

            # On a GPU, work in flight keeps up to 128 MiB besides, whatever the sizes.
            x = mx.ones((1 << (20 if mx.metal.is_available() else 18),)) * 0.5
            mx.eval(x)
            mx.clear_cache()
            mx.reset_peak_memory()
            g = mx.grad(loss)(x)
            mx.eval(g)
            return mx.get_peak_memory(), g

        plain, g = layers(lambda f: f)
        small, h = layers(mx.checkpoint)
        assert close(g, h)
        assert small < 0.6 * plain

    def test_several_arguments_and_results(self):
        f = lambda a, b: (a * b, a + b)  # noqa: E731
        g = mx.grad(lambda a, b: sum(y.sum() for y in mx.checkpoint(f)(a, b)), argnums=(0, 1))(X, Y)
        assert close(g[0], Y + 1) and close(g[1], X + 1)


class TestCustomFunction:
    def test_vjp(self):
        @mx.custom_function
        def f(x, y):
            return x * y

        calls = []

        @f.vjp
        def f_vjp(primals, cotangent, output):
            calls.append(len(primals))
            _x, y = primals
            return cotangent * y * 10, cotangent * output

        assert close(f(X, Y), X * Y)
        gx, gy = mx.grad(lambda x, y: f(x, y).sum(), argnums=(0, 1))(X, Y)
        assert calls and close(gx, 10 * Y) and close(gy, X * Y)

    def test_jvp(self):
        @mx.custom_function
        def f(x):
            return mx.sin(x)

        @f.jvp
        def f_jvp(primals, tangents):
            (x,), (t,) = (
                (primals, tangents)
                if isinstance(primals, (list, tuple))
                else ((primals,), (tangents,))
            )
            return 100 * t * x

        assert close(mx.jvp(f, [X], [Y])[1][0], 100 * X * Y)

    def test_vmap(self):
        @mx.custom_function
        def f(x, y):
            return x + y

        seen = []

        @f.vmap
        def f_vmap(inputs, axes):
            seen.append(axes)
            return inputs[0] + inputs[1] + 1000, axes[0]

        got = mx.vmap(f)(X, Y)
        assert seen and close(got, X + Y + 1000)

    def test_without_rules_it_is_the_function(self):
        f = mx.custom_function(lambda x: mx.sin(x) * x)
        assert close(mx.grad(lambda x: f(x).sum())(X), mx.cos(X) * X + mx.sin(X))
        assert close(mx.vmap(f)(X), mx.sin(X) * X)

    def test_inside_other_transforms(self):
        @mx.custom_function
        def clamp(x):
            return mx.clip(x, 0.0, 1.0)

        @clamp.vjp
        def straight_through(primals, cotangent, output):
            return cotangent

        g = mx.grad(lambda x: (clamp(x) * Y).sum())
        assert close(g(X), Y)
        assert close(mx.compile(g)(X), Y)
        assert close(mx.vmap(mx.grad(lambda x: clamp(x) * 3))(X), mx.full((3,), 3.0))


class TestDeepGraphs:
    """A million nodes: nothing recurses, neither walking the graph nor destroying it."""

    N = 1_000_000

    def chain(self, x, n=None):
        for _ in range(n or self.N):
            x = x + 1.0
        return x

    def test_eval(self):
        assert self.chain(mx.array(0.0)).item() == self.N

    def test_destroy_without_eval(self):
        x = self.chain(mx.array(0.0))
        del x
        assert mx.array(1.0).item() == 1.0

    def test_destroy_a_wide_sharing_graph(self):
        x = mx.array(1.0)
        for _ in range(100_000):
            x = mx.maximum(x, x * 0.5)
        assert x.item() == 1.0

    def test_grad(self):
        n = 200_000
        g = mx.grad(lambda x: self.chain(x, n) * 2.0)(mx.array(0.5))
        assert g.item() == 2.0

    def test_jvp_and_vmap(self):
        n = 200_000
        y, dy = mx.jvp(lambda x: self.chain(x, n), [mx.array(0.5)], [mx.array(1.0)])
        assert dy[0].item() == 1.0 and y[0].item() == n + 0.5
        assert mx.vmap(lambda x: self.chain(x, n))(mx.array([0.0, 1.0])).tolist() == [n, n + 1]

    def test_grad_of_products(self):
        n = 50_000

        def f(x):
            y = x
            for _ in range(n):
                y = y * 1.0 + 0.0 * x
            return y

        assert mx.grad(f)(mx.array(2.0)).item() == 1.0

    def test_compile(self):
        n = 20_000
        assert mx.compile(lambda x: self.chain(x, n))(mx.array(0.0)).item() == n

    def test_on_a_small_stack(self):
        """Also where the stack is a quarter of a megabyte: a thread."""
        run_python(
            """
            import threading
            import mlx.core as mx
            threading.stack_size(256 * 1024)
            out = []
            def work():
                x = mx.array(0.0)
                for _ in range(300_000):
                    x = x + 1.0
                out.append(x.item())
                y = mx.grad(lambda v: chain(v))(mx.array(1.0))
                out.append(y.item())
            def chain(v):
                for _ in range(50_000):
                    v = v * 1.0
                return v
            t = threading.Thread(target=work); t.start(); t.join()
            assert out == [300_000.0, 1.0], out
            """
        )

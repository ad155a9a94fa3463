"""Devices, streams, memory and errors where there is a GPU."""

from __future__ import annotations

import threading

import mlx.core as mx
import numpy as np
import pytest


def hand_overs(f) -> dict[str, int]:
    before = mx.metal._hand_overs()
    mx.eval(f())
    return {name: n - before.get(name, 0) for name, n in mx.metal._hand_overs().items() if n != before.get(name, 0)}


class TestDevices:
    def test_the_gpu_is_the_default(self):
        assert mx.default_device() == mx.gpu
        assert mx.is_available(mx.gpu)
        assert mx.device_count(mx.gpu) == 1
        assert mx.default_stream(mx.gpu) != mx.default_stream(mx.cpu)
        info = mx.device_info()
        assert info == mx.metal.device_info()
        assert info["memory_size"] > 0
        assert mx.device_info(mx.cpu)["device_name"] == "cpu"

    def test_no_second_gpu(self):
        with pytest.raises(ValueError, match=r"set_default_device.*no such GPU.*Device\(gpu, 0\)"):
            mx.set_default_device(mx.Device(mx.gpu, 1))

    def test_contexts_nest(self):
        mine = mx.new_stream(mx.cpu)
        cpu, gpu = mx.default_stream(mx.cpu), mx.default_stream(mx.gpu)
        with mx.stream(mine):
            assert mx.default_device() == mx.cpu
            assert mx.default_stream(mx.cpu) == mine
            with mx.stream(mx.gpu):
                assert mx.default_device() == mx.gpu
                assert mx.default_stream(mx.cpu) == mine
            assert mx.default_device() == mx.cpu
        assert mx.default_device() == mx.gpu
        assert (mx.default_stream(mx.cpu), mx.default_stream(mx.gpu)) == (cpu, gpu)

    def test_limits(self):
        with pytest.raises(ValueError, match=r"set_wired_limit.*working set"):
            mx.set_wired_limit(1 << 60)
        before = mx.set_wired_limit(1 << 20)
        assert mx.set_wired_limit(before) == 1 << 20


class TestGraphs:
    def test_devices_and_streams_take_turns(self):
        second = mx.new_stream(mx.gpu)
        x = np.linspace(0, 1, 1000, dtype=np.float32)
        a, want = mx.array(x), x
        for i in range(12):
            s = (mx.cpu, mx.gpu, second)[i % 3]
            a = mx.multiply(mx.add(a, 1, stream=s), 0.5, stream=s)
            a = mx.cumsum(a.reshape(10, 100), axis=1, stream=s).reshape(-1) if i % 4 == 3 else a
            want = (want + 1) * np.float32(0.5)
            want = np.cumsum(want.reshape(10, 100), axis=1).reshape(-1) if i % 4 == 3 else want
        np.testing.assert_allclose(np.array(a), want, rtol=1e-5)

    def test_long_graphs_are_split(self):
        a = mx.zeros((8,))
        for i in range(500):
            a = mx.concatenate([a[4:], a[:4] + i])
        expected = np.zeros(8)
        for i in range(500):
            expected = np.concatenate([expected[4:], expected[:4] + i])
        np.testing.assert_array_equal(np.array(a), expected)

    def test_updates_in_place_see_the_value_before(self):
        a = mx.arange(100).astype(mx.float32)
        b = a * 2  # read by both
        a[10:20] = b[:10]
        b[:50] = a[50:]
        want_b = np.arange(100) * 2.0
        want_a = np.arange(100.0)
        want_a[10:20] = want_b[:10]
        want_b[:50] = want_a[50:]
        np.testing.assert_array_equal(np.array(a), want_a)
        np.testing.assert_array_equal(np.array(b), want_b)

    def test_the_cpu_waits_before_it_takes_memory_over(self):
        a = mx.arange(64).astype(mx.float32)
        mx.eval(a)
        first = mx.exp(a * 0.01)
        second = mx.negative(mx.multiply(a, 3, stream=mx.cpu), stream=mx.cpu)
        del a
        mx.eval(first, second)
        np.testing.assert_allclose(np.array(first), np.exp(np.arange(64) * 0.01), rtol=1e-6)
        np.testing.assert_array_equal(np.array(second), np.arange(64) * -3.0)

    def test_async_evaluation(self):
        a = mx.ones((4, 4))
        for _ in range(10):
            a = mx.softmax(a @ a, axis=-1)
            mx.async_eval(a)
        np.testing.assert_allclose(np.array(a), np.full((4, 4), 0.25), rtol=1e-6)

    def test_threads(self):
        shared = mx.exp(mx.zeros((256,)))
        results: list[float] = []

        def work(k: int) -> None:
            a = shared + k
            for _ in range(5):
                a = (a * 2 - a).sum(keepdims=True) / 256 + mx.zeros((256,))
            results.append(a[0].item() - k)

        threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert results == [1.0] * 4

    def test_memory_comes_back(self):
        mx.clear_cache()
        before = mx.get_active_memory()
        a = mx.ones((1000,))
        for _ in range(100):
            a = mx.sin(a) + mx.cos(a).sum()
        mx.eval(a)
        del a
        assert mx.get_active_memory() == before


def tree_of(out):
    return list(out) if isinstance(out, tuple) else [out]


class TestHandOver:
    def test_what_metal_has_no_type_for(self):
        x = mx.array([1.0, 2.0], dtype=mx.float64)
        assert hand_overs(lambda: x + x) == {"add": 1}
        assert (x + x).tolist() == [2, 4]

    def test_what_has_no_kernel(self):
        a = mx.array([[4.0, 1.0], [1.0, 3.0]])
        q, r = mx.linalg.qr(a, stream=mx.gpu)
        assert hand_overs(lambda: mx.linalg.qr(a, stream=mx.gpu))
        np.testing.assert_allclose(np.array(q @ r), np.array(a), atol=1e-6)
        z = mx.array([[4.0 + 1j, 1.0 - 2j], [1.0j, 3.0]])
        definite = z @ mx.conj(z).T
        for call in (
            mx.linalg.qr,
            mx.linalg.lu,
            mx.linalg.inv,
            mx.linalg.pinv,
            mx.linalg.svd,
            mx.linalg.eig,
            lambda x, stream: mx.linalg.solve(x, x, stream=stream),
            lambda x, stream: mx.linalg.solve_triangular(x, x, stream=stream),
            lambda x, stream: mx.linalg.cholesky(definite, stream=stream),
            lambda x, stream: mx.linalg.eigh(definite, stream=stream),
        ):
            assert hand_overs(lambda call=call: call(z, stream=mx.gpu))
            for x, y in zip(*(tree_of(call(z, stream=d)) for d in (mx.gpu, mx.cpu)), strict=True):
                np.testing.assert_allclose(np.array(x), np.array(y), atol=1e-5)

    @pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
    def test_a_transformer_block_runs_on_the_gpu(self, dtype):
        x = mx.random.normal((2, 8, 32)).astype(getattr(mx, dtype))
        w = mx.random.normal((32, 32)).astype(x.dtype)

        def block():
            y = mx.fast.rms_norm(x, mx.ones((32,), x.dtype), 1e-5)
            q = (y @ w).reshape(2, 8, 4, 8).transpose(0, 2, 1, 3)
            q = mx.fast.rope(q, 8, traditional=False, base=10000.0, scale=1.0, offset=0)
            p = mx.softmax(q @ q.swapaxes(-1, -2) * 0.35, axis=-1)
            y = (p @ q).transpose(0, 2, 1, 3).reshape(2, 8, 32)
            y = mx.concatenate([x + y @ w, y], axis=-1)
            return y[..., :32] * mx.sigmoid(y[..., 32:]), mx.logsumexp(y, -1), y.max(-1), mx.argmax(y, -1)

        mx.eval(x, w)
        assert hand_overs(block) == {}

    def test_places_order_and_moments_run_on_the_gpu(self):
        x, i, j = mx.random.normal((40, 30)), mx.array([3, 1, 3]), mx.array([0, -1, 5])
        mask = x > 0
        mx.eval(x, mask)

        def assigned():
            y = x * 1
            y[mask] = mx.zeros((1200,))[: mask.sum().item()]
            return y

        def selected():
            start = mx.array([2]) + 1
            yield from (
                x[i, j],
                x.at[i].add(1),
                x.at[i, j].maximum(2),
                mx.put_along_axis(x, mx.argsort(x, 1)[:, :2], x[:, :2], 1),
            )
            yield from (assigned(), mx.slice(x, start, (0,), (4, 30)), mx.slice_update(x, x[:4], start, (0,)))
            yield from (mx.sort(x, -1), mx.argsort(x, 0), mx.topk(x, 3), mx.argpartition(x, 3), mx.sort(x, None))
            yield from (
                mx.searchsorted(mx.arange(9.0), x),
                mx.unique(x, 7),
                mx.var(x, 1),
                mx.std(x),
                mx.logcumsumexp(x, 1),
            )
            yield from (mx.linspace(0, 1, 9), mx.eye(4), mx.mean(i), mx.median(x, 0))
            yield mx.grad(lambda x: mx.fast.cross_entropy(x, mx.arange(40) % 30).sum())(x)
            yield mx.grad(
                lambda x: (mx.cumprod(x, 1) + x[i].sum() + mx.take_along_axis(x, mx.argsort(x, 1), 1).sum()).sum()
            )(x)

        assert hand_overs(lambda: list(selected())) == {}


class TestErrors:
    def bad_kernel(self, x: mx.array) -> mx.array:
        kernel = mx.fast.metal_kernel("too_far", ["x"], ["y"], "y[thread_position_in_grid.x + 100000000] = x[0];")
        args = {"grid": (4, 1, 1), "threadgroup": (4, 1, 1), "output_shapes": [(4,)], "output_dtypes": [mx.float32]}
        return kernel(inputs=[x], **args)[0]

    def test_a_fault_names_the_operation_and_leaves_the_rest(self):
        x = mx.ones((4,))
        kept = x + 1
        mx.eval(kept)
        y = self.bad_kernel(kept)
        for _ in range(2):  # the value is lost: each reader meets the error
            with pytest.raises(RuntimeError, match=r"too_far.*out of bounds"):
                mx.eval(y + 1)
        assert kept.tolist() == [2] * 4
        assert (kept * 3).tolist() == [6] * 4

    def test_what_does_not_compile(self):
        kernel = mx.fast.metal_kernel("nonsense", ["x"], ["y"], "y[0] = nothing_of_this_name;")
        x = mx.ones((4,))
        args = {"grid": (1, 1, 1), "threadgroup": (1, 1, 1), "output_shapes": [(4,)], "output_dtypes": [mx.float32]}
        before = x * 2
        with pytest.raises(ValueError, match="nothing_of_this_name"):
            mx.eval(before, kernel(inputs=[x], **args)[0])
        assert before.tolist() == [2] * 4

    def test_indices_out_of_range(self):
        a = mx.arange(5)
        good = a + 1
        bad = mx.take(a, mx.array([1, 7]))
        with pytest.raises(IndexError, match=r"take.*index 7.*axis 0 with size 5"):
            mx.eval(good, bad)
        assert good.tolist() == [1, 2, 3, 4, 5]

"""Many threads, forks, interrupts, and the same bits for any number of threads."""

from __future__ import annotations

import os
import threading

import mlx.core as mx
import numpy as np
import pytest
from scripts import run_python, simulated_gpu, thread_sanitizer


def together(n: int, work) -> list:
    """Run work(0..n-1) in threads that start at the same moment; re-raise what they raise."""
    results, errors, gate = [None] * n, [], threading.Barrier(n)

    def body(k):
        try:
            gate.wait()
            results[k] = work(k)
        except BaseException as e:
            errors.append(e)

    threads = [threading.Thread(target=body, args=(k,)) for k in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
        assert not t.is_alive(), "deadlock"
    if errors:
        raise errors[0]
    return results


class TestThreads:
    def test_built_here_evaluated_there(self):
        x = mx.arange(1000.0)
        pending = [mx.exp(-x / 1000 * k).sum() for k in range(8)]
        got = together(8, lambda k: pending[k].item())
        assert np.allclose(got, [np.exp(-np.arange(1000) / 1000 * k).sum() for k in range(8)], rtol=1e-4)

    def test_one_graph_evaluated_by_all(self):
        for _ in range(30):
            x = mx.arange(256.0)
            shared = x
            for k in range(20):
                shared = mx.sin(shared) + k
            parts = [(shared * k).sum() for k in range(6)]
            got = together(6, lambda k, parts=parts: parts[k].item())
            base = shared.sum().item()
            assert np.allclose(got, [base * k for k in range(6)], rtol=1e-4)

    def test_independent_work(self):
        def work(k):
            rng = np.random.default_rng(k)
            a = rng.normal(size=(64, 64)).astype(np.float32)
            for _ in range(20):
                got = mx.softmax(mx.array(a) @ mx.array(a).T / 64, axis=-1)
                mx.eval(got)
            return np.allclose(np.array(got).sum(-1), 1, atol=1e-5)

        assert all(together(6, work))

    def test_transforms_in_threads(self):
        """Tracing is a thread's own business."""

        def work(k):
            f = lambda x: (mx.sin(x) * k).sum()  # noqa: E731
            x = mx.array([0.1, 0.2])
            ok = True
            for _ in range(30):
                ok &= bool(mx.allclose(mx.grad(f)(x), mx.cos(x) * k).item())
                ok &= bool(mx.allclose(mx.vmap(mx.grad(f))(x), mx.cos(x) * k).item())
                ok &= bool(mx.allclose(mx.compile(f)(x), f(x)).item())
            return ok

        assert all(together(4, work))

    def test_random_with_keys(self):
        key = mx.random.key(5)
        want = np.array(mx.random.normal((100,), key=key))
        for got in together(4, lambda k: np.array(mx.random.normal((100,), key=key))):
            assert np.array_equal(got, want)

    def test_exceptions_stay_in_their_thread(self):
        def work(k):
            if k % 2:
                with pytest.raises(IndexError):
                    mx.eval(mx.arange(3)[mx.array([k + 10])])
                return True
            return mx.arange(1000).sum().item() == 499500

        assert all(together(6, work))

    def test_many_short_threads(self):
        for k in range(100):
            out = []
            t = threading.Thread(target=lambda k=k, out=out: out.append((mx.ones((10,)) * k).sum().item()))
            t.start()
            t.join(20)
            assert out == [10.0 * k]

    def test_the_gil_is_free_while_evaluating(self):
        ticks, stop = [], threading.Event()

        def ticker():
            while not stop.wait(0.005):
                ticks.append(1)

        t = threading.Thread(target=ticker)
        t.start()
        n = 100 if simulated_gpu else 1200
        a = mx.random.normal((n, n))
        for _ in range(6):
            a = a @ a / 40
        mx.eval(a)
        mx.eval(mx.sort(mx.random.uniform(shape=(40_000 if simulated_gpu else 4_000_000,))))
        n = len(ticks)
        stop.set()
        t.join()
        assert n >= 3

    def test_async_eval(self):
        a = mx.random.normal((200, 200))
        b = a @ a
        mx.async_eval(b)
        c = b + 1
        mx.async_eval({"c": [c]})
        assert mx.allclose(c, a @ a + 1, atol=1e-3)

    def test_streams(self):
        s = mx.new_stream(mx.cpu)
        a = mx.arange(100.0)
        b = mx.exp(a / 100, stream=s)
        c = b.sum()
        with mx.stream(s):
            d = (a * 2).sum()
        mx.synchronize(s)
        assert abs(c.item() - np.exp(np.arange(100) / 100).sum()) < 1e-2 and d.item() == 9900

    @pytest.mark.parametrize(
        "use", ["mx.arange(300)[y[0] > 0]", "mx.compile(lambda x: x + y)(mx.array(1.0))"], ids=["mask", "compile"]
    )
    def test_operations_that_evaluate_give_up_the_gil(self, use):
        """They wait for the main thread, which needs the GIL now and then to look for Ctrl-C."""
        n = 30 if simulated_gpu else 300
        run_python(
            f"""
            import threading, time
            import mlx.core as mx
            a = mx.random.normal(({n}, {n}))
            y = a
            for _ in range(500):
                y = mx.tanh(y @ a)
            def work():
                time.sleep(0.1)
                {use}
            t = threading.Thread(target=work, daemon=True)
            t.start()
            mx.eval(y)
            t.join(20)
            assert not t.is_alive()
            """,
            timeout=120,
        )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
class TestFork:
    """Of the CPU: a forked process has no GPU (tests/metal/test_faults.py)."""

    def test_child_computes(self):
        run_python(
            """
            import os, warnings
            warnings.simplefilter('ignore')
            import mlx.core as mx
            mx.set_default_device(mx.cpu)
            a = mx.random.normal((500, 500))
            mx.eval(a @ a, mx.sort(a))
            want = (a @ a).sum().item()
            for _ in range(5):
                pid = os.fork()
                if pid == 0:
                    import signal
                    signal.alarm(20)
                    ok = (a @ a).sum().item() == want and mx.sin(mx.ones((1 <<
                    20,))).sum().item() > 0
                    os._exit(0 if ok else 1)
                _, status = os.waitpid(pid, 0)
                assert status == 0, status
                assert (a @ a).sum().item() == want
            """
        )

    def test_multiprocessing(self):
        run_python(
            """
            import multiprocessing as mp, warnings
            warnings.simplefilter('ignore')
            import mlx.core as mx
            mx.set_default_device(mx.cpu)
            def work(k):
                return (mx.arange(10000.0) * k).sum().item()
            mx.eval(mx.ones((100, 100)) @ mx.ones((100, 100)))
            with mp.get_context('fork').Pool(2) as pool:
                got = pool.map(work, range(4))
            assert got == [work(k) for k in range(4)], got
            """
        )


class TestInterrupt:
    CODE = """
        import os, signal, threading, time
        import mlx.core as mx
        signal.signal(signal.SIGINT, signal.default_int_handler)  # shells have jobs in the background ignore it
        {setup}
        sent = []
        def send():
            time.sleep({wait})
            sent.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)
        threading.Thread(target=send).start()
        try:
            mx.eval(y)
        except KeyboardInterrupt:
            late = time.monotonic() - sent[0]
        else:
            raise AssertionError('finished without an interrupt')
        print(late)
        assert mx.arange(10).sum().item() == 45
        """

    @pytest.mark.parametrize(
        "setup, nodes",
        [
            ("x = mx.zeros((1000,)); y = x\nfor _ in range({n}): y = mx.sin(y) + 1.0", 3_000_000),
            ("a = mx.random.normal(({side}, {side})); y = a\nfor _ in range({n}): y = (y @ a) / 20", 200_000),
        ],
        ids=["small steps", "products"],
    )
    def test_long_graphs(self, setup, nodes):
        import textwrap

        # What the device was given before the interrupt is waited for.
        setup = setup.format(n=nodes // 20 if thread_sanitizer else nodes, side=16 if simulated_gpu else 300)
        code = textwrap.dedent(self.CODE).format(setup=setup, wait=0.3)
        assert float(run_python(code)) < (3 if thread_sanitizer else 0.3)

    def test_the_graph_can_be_evaluated_afterwards(self):
        run_python(
            """
            import os, signal, threading, time
            import mlx.core as mx
            x = mx.zeros((100,)); y = x
            for _ in range(400_000):
                y = y + 1.0
            threading.Thread(target=lambda: (time.sleep(0.02), os.kill(os.getpid(),
            signal.SIGINT))).start()
            try:
                mx.eval(y)
                time.sleep(0.2)
            except KeyboardInterrupt:
                pass
            assert y[0].item() == 400_000.0
            """
        )


DETERMINISM = """
    import hashlib, os
    import numpy as np, mlx.core as mx
    rng = np.random.default_rng(0)
    a = mx.array(rng.normal(size=(301, 517)).astype('f'))
    b = mx.array(rng.normal(size=(517, 259)).astype('f'))
    n = int(os.environ["NUMBERS"])
    v = mx.array(rng.normal(size=n + 1).astype('f'))
    q = mx.array(rng.normal(size=(1, 4, 200, 64)).astype('f'))
    h = lambda x: hashlib.sha256(np.array(x.astype(mx.float32)).tobytes()).hexdigest()[:16]
    print(h(a @ b), h(a.astype(mx.bfloat16) @ b.astype(mx.bfloat16)), h(a[0] @ b), h(v.sum()),
    h(v[:n].reshape(-1, 1000).sum(0)))
    print(h(v[:n].reshape(-1, 1000).sum(1)), h(v.mean()), h(v.var()),
    h(mx.softmax(v)), h(mx.softmax(a, -1)), h(mx.logsumexp(v)))
    print(h(mx.cumsum(v)), h(mx.prod(1 + v / 1e4)), h(mx.sort(v)), h(mx.fast.layer_norm(a, None,
    None, 1e-5)), h(mx.max(v)))
    print(h(mx.fast.scaled_dot_product_attention(q, q, q, scale=0.125, mask='causal')),
    h(mx.conv2d(q, mx.ones((8, 3, 3, 64)) * 0.1)))
    print(h(mx.grad(lambda w: mx.square(mx.tanh(a @ w)).sum())(b)),
    h(mx.zeros((1000,)).at[mx.array(rng.integers(0, 1000, n // 60))].add(v[:n // 60])))
    print(h(mx.random.normal((n // 30,), key=mx.random.key(0))))
    s, m = v[:n // 15 * 15].reshape(-1, 15), v[:n // 63 * 63].reshape(-1, 9, 7)
    print(h(mx.partition(v, n // 3)), h(mx.argpartition(v, n // 3)), h(mx.topk(s, 4, 0)), h(mx.sort(s, 0)))
    print(h(mx.fast.resample(s, 0, 4000)), h(mx.fast.resample(m, 1, 31, method="cubic")))
    print(h(m @ m.swapaxes(1, 2)), h(mx.softmax(s, 1)), h(mx.logsumexp(s, 1)), h(s.sum(1)),
    h(mx.full((n,), 2.5) * v[:n]))
    w, s = (mx.array(rng.normal(size=shape).astype('f') / 12) for shape in ((640, 160), (5, 160)))
    steps = lambda w: mx.fast.lstm_steps(w, s, s, a[:300].reshape(-1)[:128000].reshape(40, 5, 640))[0]
    print(h(steps(w)), h(mx.grad(lambda w: mx.square(steps(w)).sum())(w)))
    """


def test_same_bits_for_any_number_of_threads():
    numbers = "60000" if simulated_gpu else "3000000"

    def results(threads: str) -> str:
        return run_python(DETERMINISM, 900 if thread_sanitizer else 120, MLX_NUM_THREADS=threads, NUMBERS=numbers)

    one, two, four = map(results, ("1", "2", "4"))
    names = (
        "matmul bf16 gemv sum sum0 sum1 mean var softmax softmax-1 logsumexp cumsum prod sort "
        "layer_norm max attention conv2d grad scatter normal partition argpartition topk sort0 resample cubic "
        "small softmax-short logsumexp-short sum-short full lstm lstm_grad"
    )
    assert len(one.split()) == len(names.split())
    for name, x, y, z in zip(names.split(), one.split(), two.split(), four.split(), strict=True):
        assert x == y == z, name
    assert results("2") == two


def test_errors_of_what_an_evaluation_reads_twice():
    """Evaluations of a graph in several threads, some of whose values cannot be computed: each meets the error or has
    the value, whatever others gave back while it looked."""

    def work(k: int) -> None:
        rng = np.random.default_rng(k)
        for _ in range(8):
            for i in rng.permutation(len(nodes))[:4]:
                a, good = nodes[i]
                if rng.random() < 0.5:
                    mx.async_eval(a)
                elif good:
                    assert a.tolist() == [1.0] * 3
                else:
                    with pytest.raises(IndexError, match="99"):
                        a.tolist()

    for _ in range(20):
        x, bad = mx.ones(3), mx.take(mx.ones(3), mx.array([99, 0, 1]), stream=mx.cpu)
        nodes = [(bad, False), (x, True)]
        for i in range(24):
            (a, a_good), (b, b_good) = nodes[(i * 7) % len(nodes)], nodes[(i * 5 + 1) % len(nodes)]
            c = mx.sort(mx.multiply(a, b, stream=mx.cpu), stream=mx.cpu) if i % 2 else mx.maximum(a, b, stream=mx.cpu)
            nodes.append((c, a_good and b_good))
        together(6, work)

// fast, fft, random, distributed: examples of each function.
#include "python/src/examples.h"

namespace mlx::python {
namespace {

constexpr Example kRows[] = {
    {"fast.cross_entropy", R"(  >>> mx.fast.cross_entropy(mx.zeros((1, 2)), mx.array([1]))
  array([0.693147], dtype=float32)
)"},
    {"fast.gelu", R"(  >>> mx.fast.gelu(mx.array([1.0, -1.0]))
  array([0.841345, -0.158655], dtype=float32)
)"},
    {"fast.hard_shrink", R"(  >>> mx.fast.hard_shrink(mx.array([0.25, -2.0]), 0.5)
  array([0, -2], dtype=float32)
)"},
    {"fast.hardswish", R"(  >>> mx.fast.hardswish(mx.array([-3.0, 1.5, 4.0]))
  array([-0, 1.125, 4], dtype=float32)
)"},
    {"fast.huber", R"(  >>> mx.fast.huber(mx.array([0.5, -3.0]), 1.0)
  array([0.125, 2.5], dtype=float32)
)"},
    {"fast.layer_norm", R"(  >>> mx.fast.layer_norm(mx.array([1.0, 3.0]), None, None, 0.0)
  array([-1, 1], dtype=float32)
)"},
    {"fast.leaky_relu", R"(  >>> mx.fast.leaky_relu(mx.array([2.0, -2.0]), 0.1)
  array([2, -0.2], dtype=float32)
)"},
    {"fast.metal_kernel", R"(  >>> twice = mx.fast.metal_kernel(
  ...     name="twice", input_names=["x"], output_names=["y"],
  ...     source="uint i = thread_position_in_grid.x; y[i] = 2 * x[i];")
  >>> x = mx.array([1.0, 2.0])
  >>> twice(inputs=[x], grid=(2, 1, 1), threadgroup=(2, 1, 1), output_shapes=[x.shape],
  ...       output_dtypes=[x.dtype])[0]
  array([2, 4], dtype=float32)
)"},
    {"fast.group_norm", R"(  >>> mx.fast.group_norm(mx.array([[1.0, 3.0, 2.0, 6.0]]), 2, None, None, 0.0)
  array([[-1, 1, -1, 1]], dtype=float32)
)"},
    {"fast.rms_norm", R"(  >>> mx.fast.rms_norm(mx.array([3.0, 3.0]), mx.array([1.0, 2.0]), 0.0)
  array([1, 2], dtype=float32)
)"},
    {"fast.rope",
     R"(  >>> mx.fast.rope(mx.ones((1, 1, 2)), 2, traditional=False, base=10000.0, scale=1.0, offset=0)
  array([[[1, 1]]], dtype=float32)
)"},
    {"fast.scaled_dot_product_attention", R"(  >>> q = mx.ones((1, 2, 3, 4))
  >>> mx.fast.scaled_dot_product_attention(q, q, q, scale=0.5, mask="causal").shape
  (1, 2, 3, 4)
)"},
    {"fast.gated_delta_update",
     R"(  >>> q, v, g = mx.ones((1, 3, 2, 4)), mx.ones((1, 3, 2, 5)), mx.ones((1, 3, 2))
  >>> y, state = mx.fast.gated_delta_update(q, q, v, g, g)
  >>> y.shape, state.shape
  ((1, 3, 2, 5), (1, 2, 5, 4))
)"},
    {"fast.rnn_steps", R"(  >>> weight, state, x = mx.ones((3, 3)), mx.zeros((2, 3)), mx.ones((5, 2, 3))
  >>> mx.fast.rnn_steps(weight, state, x, nonlinearity="relu").shape
  (5, 2, 3)
)"},
    {"fast.gru_steps", R"(  >>> weight, state, x = mx.ones((9, 3)), mx.zeros((2, 3)), mx.ones((5, 2, 9))
  >>> hiddens, gates = mx.fast.gru_steps(weight, mx.zeros(3), state, x)
  >>> hiddens.shape, gates.shape
  ((5, 2, 3), (5, 2, 12))
)"},
    {"fast.lstm_steps", R"(  >>> weight, states, x = mx.ones((12, 3)), mx.zeros((2, 3)), mx.ones((5, 2, 12))
  >>> hiddens, cells, gates = mx.fast.lstm_steps(weight, states, states, x)
  >>> hiddens.shape, gates.shape
  ((5, 2, 3), (5, 2, 12))
)"},
    {"fast.resample", R"(  >>> mx.fast.resample(mx.array([0.0, 4.0]), 0, 4)
  array([0, 1, 3, 4], dtype=float32)
)"},
    {"fast.softshrink", R"(  >>> mx.fast.softshrink(mx.array([0.25, -2.0]), 0.5)
  array([0, -1.5], dtype=float32)
)"},
    {"fft.fft", R"(  >>> mx.fft.fft(mx.array([1.0, 0.0, 0.0, 0.0]))
  array([1+0j, 1+0j, 1+0j, 1+0j], dtype=complex64)
)"},
    {"fft.fft2", R"(  >>> mx.fft.fft2(mx.ones((2, 2)))
  array([[4+0j, 0+0j],
         [0+0j, 0+0j]], dtype=complex64)
)"},
    {"fft.fftfreq", R"(  >>> mx.fft.fftfreq(4)
  array([0, 0.25, -0.5, -0.25], dtype=float32)
)"},
    {"fft.fftn", R"(  >>> mx.fft.fftn(mx.ones((2, 2)))
  array([[4+0j, 0+0j],
         [0+0j, 0+0j]], dtype=complex64)
)"},
    {"fft.fftshift", R"(  >>> mx.fft.fftshift(mx.array([0, 1, -2, -1]))
  array([-2, -1, 0, 1], dtype=int32)
)"},
    {"fft.hfft", R"(  >>> mx.fft.hfft(mx.array([1.0, 0.0, 0.0]))
  array([1, 1, 1, 1], dtype=float32)
)"},
    {"fft.ifft", R"(  >>> mx.fft.ifft(mx.array([4.0, 0.0, 0.0, 0.0]))
  array([1+0j, 1+0j, 1+0j, 1+0j], dtype=complex64)
)"},
    {"fft.ifft2", R"(  >>> mx.fft.ifft2(mx.array([[4.0, 0.0], [0.0, 0.0]]))
  array([[1+0j, 1+0j],
         [1+0j, 1+0j]], dtype=complex64)
)"},
    {"fft.ifftn", R"(  >>> mx.fft.ifftn(mx.array([[4.0, 0.0], [0.0, 0.0]]))
  array([[1+0j, 1+0j],
         [1+0j, 1+0j]], dtype=complex64)
)"},
    {"fft.ifftshift", R"(  >>> mx.fft.ifftshift(mx.array([-2, -1, 0, 1]))
  array([0, 1, -2, -1], dtype=int32)
)"},
    {"fft.ihfft", R"(  >>> mx.fft.ihfft(mx.ones(4))
  array([1+-0j, 0+0j, 0+-0j], dtype=complex64)
)"},
    {"fft.irfft", R"(  >>> mx.fft.irfft(mx.array([4.0, 0.0, 0.0]))
  array([1, 1, 1, 1], dtype=float32)
)"},
    {"fft.irfft2", R"(  >>> mx.fft.irfft2(mx.array([[4.0, 0.0], [0.0, 0.0]]))
  array([[1, 1],
         [1, 1]], dtype=float32)
)"},
    {"fft.irfftn", R"(  >>> mx.fft.irfftn(mx.array([[4.0, 0.0], [0.0, 0.0]]))
  array([[1, 1],
         [1, 1]], dtype=float32)
)"},
    {"fft.rfft", R"(  >>> mx.fft.rfft(mx.ones(4))
  array([4+0j, 0+-0j, 0+0j], dtype=complex64)
)"},
    {"fft.rfft2", R"(  >>> mx.fft.rfft2(mx.ones((2, 2)))
  array([[4+0j, 0+0j],
         [0+0j, 0+0j]], dtype=complex64)
)"},
    {"fft.rfftfreq", R"(  >>> mx.fft.rfftfreq(4)
  array([0, 0.25, 0.5], dtype=float32)
)"},
    {"fft.rfftn", R"(  >>> mx.fft.rfftn(mx.ones((2, 2)))
  array([[4+0j, 0+0j],
         [0+0j, 0+0j]], dtype=complex64)
)"},
    {"fft.stft", R"(  >>> mx.fft.stft(mx.ones(16), n_fft=8).shape
  (5, 9)
)"},
    {"fft.istft", R"(  >>> x = mx.cos(mx.arange(16.0))
  >>> mx.allclose(mx.fft.istft(mx.fft.stft(x, n_fft=8), n_fft=8), x, atol=1e-5)
  array(True, dtype=bool)
)"},
    {"random.bernoulli", R"(  >>> mx.random.bernoulli(0.5, (1000,), key=mx.random.key(0)).sum() > 400
  array(True, dtype=bool)
)"},
    {"random.categorical", R"(  >>> mx.random.categorical(mx.array([-mx.inf, 0.0]), num_samples=3)
  array([1, 1, 1], dtype=uint32)
)"},
    {"random.gumbel", R"(  >>> mx.random.gumbel((2, 3)).shape
  (2, 3)
)"},
    {"random.key", R"(  >>> mx.random.key(3)
  array([0, 3], dtype=uint32)
)"},
    {"random.laplace", R"(  >>> mx.random.laplace((2, 3)).shape
  (2, 3)
)"},
    {"random.multivariate_normal", R"(  >>> mx.random.multivariate_normal(mx.zeros(2), mx.eye(2), (3,)).shape
  (3, 2)
)"},
    {"random.normal", R"(  >>> mx.random.normal((2, 3), key=mx.random.key(0)).shape
  (2, 3)
)"},
    {"random.permutation", R"(  >>> mx.sort(mx.random.permutation(4))
  array([0, 1, 2, 3], dtype=uint32)
)"},
    {"random.randint", R"(  >>> mx.random.randint(0, 10, (5,)).max() < 10
  array(True, dtype=bool)
)"},
    {"random.seed", R"(  >>> mx.random.seed(7)
  >>> a = mx.random.uniform()
  >>> mx.random.seed(7)
  >>> mx.random.uniform() == a
  array(True, dtype=bool)
)"},
    {"random.split", R"(  >>> a, b = mx.random.split(mx.random.key(0))
  >>> a.shape
  (2,)
)"},
    {"random.truncated_normal", R"(  >>> mx.abs(mx.random.truncated_normal(-2, 2, (100,))).max() <= 2
  array(True, dtype=bool)
)"},
    {"random.uniform", R"(  >>> mx.random.uniform(-1.0, 1.0, (2, 3)).shape
  (2, 3)
)"},
    {"distributed.all_gather", R"(  >>> mx.distributed.all_gather(mx.array([1, 2]))
  array([1, 2], dtype=int32)
)"},
    {"distributed.all_max", R"(  >>> mx.distributed.all_max(mx.array([1, 2]))
  array([1, 2], dtype=int32)
)"},
    {"distributed.all_min", R"(  >>> mx.distributed.all_min(mx.array([1, 2]))
  array([1, 2], dtype=int32)
)"},
    {"distributed.all_sum", R"(  >>> mx.distributed.all_sum(mx.array([1, 2]))
  array([1, 2], dtype=int32)
)"},
    {"distributed.init", R"(  >>> mx.distributed.init().size()
  1
)"},
    {"distributed.is_available", R"(  >>> mx.distributed.is_available()
  True
)"},
    {"distributed.sum_scatter", R"(  >>> mx.distributed.sum_scatter(mx.array([1, 2]))
  array([1, 2], dtype=int32)
)"},
    {"metal.is_available", R"(  >>> mx.metal.is_available()
  False
)"},
    {"cuda.is_available", R"(  >>> mx.cuda.is_available()
  False
)"},
    {"metal.device_info", R"(  >>> "memory_size" in mx.metal.device_info()
  True
)"},
    {"metal.clear_cache", R"(  >>> mx.metal.clear_cache()
)"},
    {"metal.get_active_memory", R"(  >>> mx.metal.get_active_memory() >= 0
  True
)"},
    {"metal.get_cache_memory", R"(  >>> mx.metal.get_cache_memory() >= 0
  True
)"},
    {"metal.get_peak_memory", R"(  >>> mx.metal.get_peak_memory() >= 0
  True
)"},
    {"metal.reset_peak_memory", R"(  >>> mx.metal.reset_peak_memory()
)"},
    {"metal.set_cache_limit", R"(  >>> old = mx.metal.set_cache_limit(0)
  >>> mx.metal.set_cache_limit(old) == 0
  True
)"},
    {"metal.set_memory_limit", R"(  >>> old = mx.metal.set_memory_limit(2**30)
  >>> mx.metal.set_memory_limit(old) == 2**30
  True
)"},
    {"metal.set_wired_limit", R"(  >>> mx.metal.set_wired_limit(0)
  0
)"},
};

}  // namespace

const std::span<const Example> kModuleExamples(kRows);

}  // namespace mlx::python

// Transforms, evaluation, devices, memory, files: examples of each function.
#include "python/src/examples.h"

namespace mlx::python {
namespace {

constexpr Example kRows[] = {
    {"async_eval", R"(  >>> y = mx.ones(2) + 1
  >>> mx.async_eval(y)
  >>> y
  array([2, 2], dtype=float32)
)"},
    {"checkpoint", R"(  >>> f = mx.checkpoint(lambda x: mx.exp(x).sum())
  >>> mx.grad(f)(mx.zeros(2))
  array([1, 1], dtype=float32)
)"},
    {"clear_cache", R"(  >>> mx.clear_cache()
  >>> mx.get_cache_memory()
  0
)"},
    {"clear_streams", R"(  >>> mx.clear_streams()
)"},
    {"compile", R"(  >>> f = mx.compile(lambda x: mx.exp(-x) + 1)
  >>> f(mx.array([0.0, 0.0]))
  array([2, 2], dtype=float32)
)"},
    {"default_device", R"(  >>> mx.default_device()
  Device(cpu, 0)
)"},
    {"default_stream", R"(  >>> mx.default_stream(mx.cpu)
  Stream(Device(cpu, 0), 0)
)"},
    {"depends", R"(  >>> a, b = mx.array([1]), mx.array([2])
  >>> mx.depends(a, b)
  array([1], dtype=int32)
)"},
    {"device_count", R"(  >>> mx.device_count(mx.cpu)
  1
)"},
    {"device_info", R"(  >>> "architecture" in mx.device_info()
  True
)"},
    {"disable_compile", R"(  >>> mx.disable_compile()
  >>> mx.compile(lambda x: x + 1)(mx.array(1))
  array(2, dtype=int32)
  >>> mx.enable_compile()
)"},
    {"enable_compile", R"(  >>> mx.enable_compile()
  >>> mx.compile(lambda x: x + 1)(mx.array(1))
  array(2, dtype=int32)
)"},
    {"eval", R"(  >>> y = mx.ones(2) * 3
  >>> mx.eval(y)
  >>> y
  array([3, 3], dtype=float32)
)"},
    {"export_function", R"(  >>> mx.export_function("add.mlxfn", lambda x, y: x + y, mx.array(1), mx.array(2))
  >>> mx.import_function("add.mlxfn")(mx.array(1), mx.array(2))
  (array(3, dtype=int32),)
)"},
    {"export_to_dot", R"(  >>> mx.export_to_dot("graph.dot", mx.exp(mx.ones(2)) + 1)
  >>> open("graph.dot").read()[:7]
  'digraph'
)"},
    {"get_active_memory", R"(  >>> a = mx.ones(1000) + 0
  >>> mx.eval(a)
  >>> mx.get_active_memory() >= 4000
  True
)"},
    {"get_array_buffer_size", R"(  >>> mx.get_array_buffer_size(mx.ones(1000) + 0) >= 4000
  False
)"},
    {"get_cache_memory", R"(  >>> mx.get_cache_memory() >= 0
  True
)"},
    {"get_memory_limit", R"(  >>> mx.get_memory_limit() > 0
  True
)"},
    {"get_peak_memory", R"(  >>> mx.get_peak_memory() >= 0
  True
)"},
    {"get_printoptions", R"(  >>> mx.get_printoptions().precision
  -1
)"},
    {"grad", R"(  >>> mx.grad(lambda x: (x * x).sum())(mx.array([1.0, 2.0]))
  array([2, 4], dtype=float32)
)"},
    {"import_function", R"(  >>> mx.export_function("square.mlxfn", mx.square, mx.array(1.0))
  >>> mx.import_function("square.mlxfn")(mx.array(3.0))
  (array(9, dtype=float32),)
)"},
    {"is_available", R"(  >>> mx.is_available(mx.cpu)
  True
)"},
    {"jvp", R"(  >>> mx.jvp(mx.square, [mx.array(3.0)], [mx.array(1.0)])
  ([array(9, dtype=float32)], [array(6, dtype=float32)])
)"},
    {"load", R"(  >>> mx.save("a.npy", mx.array([1, 2]))
  >>> mx.load("a.npy")
  array([1, 2], dtype=int32)
)"},
    {"new_stream", R"(  >>> s = mx.new_stream(mx.cpu)
  >>> mx.add(mx.array(1), mx.array(2), stream=s)
  array(3, dtype=int32)
)"},
    {"new_thread_local_stream", R"(  >>> s = mx.new_thread_local_stream(mx.cpu)
  >>> mx.add(mx.array(1), mx.array(2), stream=s)
  array(3, dtype=int32)
)"},
    {"new_thread_unsafe_stream", R"(  >>> s = mx.new_thread_unsafe_stream(mx.cpu)
  >>> mx.add(mx.array(1), mx.array(2), stream=s)
  array(3, dtype=int32)
)"},
    {"printoptions", R"(  >>> with mx.printoptions(precision=2):
  ...     print(mx.array([1 / 3]))
  array([0.33], dtype=float32)
)"},
    {"reset_peak_memory", R"(  >>> mx.reset_peak_memory()
  >>> mx.get_peak_memory() == mx.get_active_memory()
  True
)"},
    {"save", R"(  >>> mx.save("a.npy", mx.array([1, 2]))
  >>> mx.load("a.npy")
  array([1, 2], dtype=int32)
)"},
    {"save_gguf", R"(  >>> mx.save_gguf("a.gguf", {"w": mx.array([1.0, 2.0])})
  >>> mx.load("a.gguf")
  {'w': array([1, 2], dtype=float32)}
)"},
    {"save_safetensors", R"(  >>> mx.save_safetensors("a.safetensors", {"w": mx.array([1.0, 2.0])})
  >>> mx.load("a.safetensors")
  {'w': array([1, 2], dtype=float32)}
)"},
    {"savez", R"(  >>> mx.savez("a.npz", mx.array([1, 2]), w=mx.array([3]))
  >>> sorted(mx.load("a.npz"))
  ['arr_0', 'w']
)"},
    {"savez_compressed", R"(  >>> mx.savez_compressed("a.npz", w=mx.zeros(1000))
  >>> mx.load("a.npz")["w"].shape
  (1000,)
)"},
    {"set_cache_limit", R"(  >>> old = mx.set_cache_limit(0)
  >>> mx.set_cache_limit(old)
  0
)"},
    {"set_default_device", R"(  >>> mx.set_default_device(mx.cpu)
  >>> mx.default_device()
  Device(cpu, 0)
)"},
    {"set_default_stream", R"(  >>> mx.set_default_stream(mx.default_stream(mx.cpu))
)"},
    {"set_memory_limit", R"(  >>> old = mx.set_memory_limit(2**30)
  >>> mx.set_memory_limit(old) == 2**30
  True
)"},
    {"set_printoptions", R"(  >>> mx.set_printoptions(precision=2)
  >>> mx.array([1 / 3])
  array([0.33], dtype=float32)
  >>> mx.set_printoptions(precision=-1)
)"},
    {"set_wired_limit", R"(  >>> mx.set_wired_limit(0)
  0
)"},
    {"stop_gradient", R"(  >>> mx.grad(lambda x: x * mx.stop_gradient(x))(mx.array(3.0))
  array(3, dtype=float32)
)"},
    {"stream", R"(  >>> with mx.stream(mx.cpu):
  ...     a = mx.ones(2) + 1
  >>> a
  array([2, 2], dtype=float32)
)"},
    {"synchronize", R"(  >>> mx.synchronize()
)"},
    {"value_and_grad", R"(  >>> mx.value_and_grad(lambda x: (x * x).sum())(mx.array([1.0, 2.0]))
  (array(5, dtype=float32), array([2, 4], dtype=float32))
)"},
    {"vjp", R"(  >>> mx.vjp(mx.square, [mx.array(3.0)], [mx.array(1.0)])
  ([array(9, dtype=float32)], [array(6, dtype=float32)])
)"},
    {"vmap", R"(  >>> mx.vmap(lambda row: row / row.sum())(mx.array([[1.0, 3.0], [2.0, 2.0]]))
  array([[0.25, 0.75],
         [0.5, 0.5]], dtype=float32)
)"},
};

}  // namespace

const std::span<const Example> kTransformExamples(kRows);

}  // namespace mlx::python

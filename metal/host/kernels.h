// How a family registers its kernels: one line per primitive in the GPU's table (mlx/graph/kernels.h), with
// what they support. What they do not support runs on the CPU, in the same memory (hand-over).
#pragma once

#include <span>
#include <string>
#include <vector>

#include "metal/host/encoder.h"
#include "metal/host/library.h"
#include "mlx/graph/kernels.h"

namespace mlx::core::metal {

using Arrays = std::vector<array>;
// Whether a kernel runs this primitive on these inputs.
using Supports = bool (*)(const Primitive& p, const Arrays& inputs, const Arrays& outputs);

// Metal has no 64-bit floats, and few kernels know complex numbers.
bool without_float64(const Primitive& p, const Arrays& inputs, const Arrays& outputs);
bool real_only(const Primitive& p, const Arrays& inputs, const Arrays& outputs);
// Views touch no data.
bool anything(const Primitive& p, const Arrays& inputs, const Arrays& outputs);

void set_support(const std::type_info& type, Supports supports);

template <class P, class F>
bool add_kernel(F f, Supports supports = real_only) {
  set_support(typeid(P), supports);
  return kernels(core::Device::gpu).add<P>(f);
}

// The CPU's turn: waits for what the GPU still does with these arrays, and counts.
void count_hand_over(const std::string& name);

// --- what most kernels need ---

// How the language calls a dtype: "float", "bfloat", "int64_t".
const char* type_name(Dtype dtype);

// A kernel of metal/kernels/<file>.metal, which is written for a type T: "float32".
std::shared_ptr<Pipeline> typed_pipeline(const std::string& file, Dtype dtype, const std::string& kernel,
                                         const std::vector<FunctionConstant>& constants = {});

// What sums of a dtype are kept in, as metal/kernels/reduce.h says: integers of 32 or 64 bits, or float32.
Dtype accumulator_of(Dtype dtype);

void allocate(array& out);
// Whether the device can write into the array's buffer.
bool on_device(const array& a);
// Gives `out` the buffer of an input that dies, where it is row-contiguous and as large, else memory of its
// own. The inputs themselves, not copies of them: these would be in use twice.
void take_or_allocate(array& out, std::span<const array> inputs);
// `a` itself where it is row-contiguous, else a row-major copy made by the GPU.
array row_contiguous(const array& a, const Stream& s);
// All elements of `in`, whatever its strides, into `out` in row-major order, cast to its dtype.
void copy_to(const array& in, const array& out, const Stream& s);

// The sum along the first axis, which has elements, as there are of `out`: parts that kernels left.
void sum_along_first(const array& in, const array& out, const Stream& s);

// IndexError where one is outside of an axis of `limit` elements (negative ones count from its end): from
// here, or, where the device is still computing them, from who waits for the work; kernels have to take those
// for others. True if it is known that the places ascend.
bool check_indices(std::string_view op, const array& indices, int axis, int64_t limit, const Stream& s);

// Threads in a line, in groups of 256: at most 2^31 of them in x, the rest in y.
struct Line {
  Size threads, per_group;
};
Line line(size_t n);

constexpr uint32_t ceil_div(size_t a, size_t b) { return static_cast<uint32_t>((a + b - 1) / b); }

}  // namespace mlx::core::metal

// Kernels of products whose operands are chosen by indices.
#include "mlx/ops/gather_matmul.h"

#include <cstring>

#include "mlx/allocator.h"
#include "mlx/cpu/copy.h"
#include "mlx/cpu/gemm/gemm.h"
#include "mlx/cpu/indexing.h"
#include "mlx/cpu/parallel.h"
#include "mlx/cpu/quantized.h"
#include "mlx/graph/kernels.h"

namespace mlx::core::cpu {
namespace {

// Indices times a stride. IndexError where one is outside.
std::vector<int64_t> offsets(std::string_view op, const array& indices, int64_t limit, int64_t stride) {
  const array dense = row_contiguous(indices);
  std::vector<int64_t> out(dense.size());
  if (!out.empty())
    add_offsets(op, dense, 0, 1, static_cast<int64_t>(out.size()), 0, limit, stride, true, out.data());
  return out;
}

void gather_mm(const GatherMM&, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  out.set_data(allocator::malloc(out.nbytes()));
  const array &a = inputs[0], &b = inputs[1];
  const std::vector<int64_t> of_a = offsets("gather_mm", inputs[2], a.shape(0), a.strides(0)),
                             of_b = offsets("gather_mm", inputs[3], b.shape(0), b.strides(0));
  if (out.size() == 0) return;
  GemmCall g;
  g.dtype = out.dtype();
  g.m = out.shape(-2), g.n = out.shape(-1), g.k = a.shape(-1);
  g.a = a.data<void>(), g.a_row = a.strides(-2), g.a_col = a.strides(-1);
  g.b = b.data<void>(), g.b_row = b.strides(-2), g.b_col = b.strides(-1);
  g.c = out.data<void>(), g.ldc = g.n, g.c_batch = g.m * g.n;
  g.batch = static_cast<int64_t>(of_a.size());
  g.a_offsets = of_a.data(), g.b_offsets = of_b.data();
  gemm(g);
}

constexpr int64_t kSmallProduct = 64 << 10;  // multiply-adds: below, items share the threads

void gather_qmm(const GatherQMM& p, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  out.set_data(allocator::malloc(out.nbytes()));
  const array x = row_contiguous(inputs[0]);
  const QuantizedOperands w(p.layout, inputs, 1);
  const size_t last = inputs.size() - 2;
  const std::vector<int64_t> lhs = offsets("gather_qmm", inputs[last], x.shape(0), 1),
                             rhs = offsets("gather_qmm", inputs[last + 1], inputs[1].shape(0), 1);
  if (out.size() == 0) return;
  QuantizedProduct q;
  q.dtype = out.dtype();
  q.m = out.shape(-2), q.n = out.shape(-1), q.k = x.shape(-1);
  q.transpose = p.transpose;
  const int64_t item = static_cast<int64_t>(out.itemsize()), products = static_cast<int64_t>(lhs.size());
  // Products of one matrix with inputs that follow each other are one with more rows.
  const auto run = [&](int64_t i, int64_t count) {
    QuantizedProduct one = q;
    one.m = q.m * count;
    one.x = x.data<char>() + lhs[static_cast<size_t>(i)] * q.m * q.k * item;
    one.out = out.data<char>() + i * q.m * q.n * item;
    one.w = w.matrix(rhs[static_cast<size_t>(i)]);
    quantized_product(one);
  };
  if (q.m * q.n * q.k <= kSmallProduct) {
    parallel_ranges(products, 8, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) run(i, 1);
    });
    return;
  }
  for (int64_t i = 0; i < products;) {
    int64_t count = 1;
    const auto follows = [&](int64_t j) {
      return rhs[static_cast<size_t>(j)] == rhs[static_cast<size_t>(i)] &&
             lhs[static_cast<size_t>(j)] == lhs[static_cast<size_t>(i)] + count;
    };
    while (i + count < products && follows(i + count)) ++count;
    run(i, count);
    i += count;
  }
}

// Calls f(i, begin, end) for every segment.
template <class F>
void each_segment(const array& given, int64_t inner, F&& f) {
  const array segments = row_contiguous(given);
  const int64_t count = static_cast<int64_t>(segments.size()) / 2;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t begin = integer_at(segments, 2 * i), end = integer_at(segments, 2 * i + 1);
    if (begin < 0 || begin > inner || end > inner || end < 0)
      throw std::out_of_range(text("[segmented_mm] got the segment (", begin, ",", end,
                                   "), expected a part of [0, ", inner, ")"));
    f(i, begin, std::max(begin, end));
  }
}

void segmented_mm(const SegmentedMM&, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  out.set_data(allocator::malloc(out.nbytes()));
  const array &a = inputs[0], &b = inputs[1];
  GemmCall g;
  g.dtype = out.dtype();
  g.m = a.shape(0), g.n = b.shape(1);
  g.a_row = a.strides(0), g.a_col = a.strides(1);
  g.b_row = b.strides(0), g.b_col = b.strides(1);
  g.ldc = g.n;
  const int64_t item = static_cast<int64_t>(out.itemsize());
  each_segment(inputs[2], a.shape(1), [&](int64_t i, int64_t begin, int64_t end) {
    g.k = end - begin;
    g.a = a.data<char>() + begin * g.a_col * item;
    g.b = b.data<char>() + begin * g.b_row * item;
    g.c = out.data<char>() + i * g.m * g.n * item;
    gemm(g);
  });
}

// Columns of the output that no segment has are zeros.
void segmented_sum(const SegmentedSum&, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  out.set_data(allocator::malloc(out.nbytes()));
  std::memset(out.data<void>(), 0, out.nbytes());
  const array x = row_contiguous(inputs[0]);
  const array& b = inputs[1];
  GemmCall g;
  g.dtype = out.dtype();
  g.m = x.shape(-2), g.k = x.shape(-1);
  g.a_row = g.k, g.a_col = 1;
  g.b_row = b.strides(1), g.b_col = b.strides(0);
  g.ldc = g.d_row = out.shape(1), g.d_col = 1;
  g.beta = 1;
  const int64_t item = static_cast<int64_t>(out.itemsize());
  each_segment(inputs[2], b.shape(0), [&](int64_t i, int64_t begin, int64_t end) {
    g.n = end - begin;
    if (g.n == 0) return;
    g.a = x.data<char>() + i * g.m * g.k * item;
    g.b = b.data<char>() + begin * g.b_col * item;
    g.c = out.data<char>() + begin * item;
    g.d = g.c;
    gemm(g);
  });
}

const bool registered = kernels(Device::cpu).add<GatherMM>(gather_mm) &&
                        kernels(Device::cpu).add<GatherQMM>(gather_qmm) &&
                        kernels(Device::cpu).add<SegmentedMM>(segmented_mm) &&
                        kernels(Device::cpu).add<SegmentedSum>(segmented_sum);

}  // namespace
}  // namespace mlx::core::cpu

// Matrix products of arrays: strides and broadcast batches become one call of the GEMM.
#include "mlx/ops/matmul.h"

#include <algorithm>
#include <cstring>

#include "mlx/allocator.h"
#include "mlx/cpu/accelerate.h"
#include "mlx/cpu/copy.h"
#include "mlx/cpu/gemm/gemm.h"
#include "mlx/graph/kernels.h"

namespace mlx::core::cpu {
namespace {

// Strides of the leading dimensions as `shape` (their broadcast) walks them.
Strides batch_strides(const array& a, const Shape& shape) {
  Strides out(shape.size(), 0);
  const size_t own = a.ndim() >= 2 ? a.ndim() - 2 : 0;
  for (size_t i = 0; i < own; ++i)
    if (a.shape()[i] != 1) out[shape.size() - own + i] = a.strides()[i];
  return out;
}

// The batch of a call: strides where one dimension is left, else an offset for every product.
struct Batch {
  std::vector<int64_t> a, b, c, d;
};
void set_batch(GemmCall& g, Batch& batch, const Shape& shape, const array& a, const array& b,
               const array* d) {
  std::vector<Strides> strides = {batch_strides(a, shape), batch_strides(b, shape)};
  if (d) strides.push_back(batch_strides(*d, shape));
  const Collapsed c = collapse_dims(shape, strides);
  g.batch = 1;
  for (const int64_t n : c.shape) g.batch *= n;
  g.c_batch = g.m * g.n;
  if (c.shape.size() <= 1) {
    const auto stride = [&](size_t i) { return c.shape.empty() ? 0 : c.strides[i][0]; };
    g.a_batch = stride(0), g.b_batch = stride(1);
    if (d) g.d_batch = stride(2);
    return;
  }
  const auto offsets = [&](size_t which, std::vector<int64_t>& out) {
    out.resize(static_cast<size_t>(g.batch));
    Strides index(c.shape.size(), 0);
    int64_t at = 0;
    for (auto& o : out) {
      o = at;
      for (size_t i = c.shape.size(); i-- > 0;) {
        at += c.strides[which][i];
        if (++index[i] < c.shape[i]) break;
        at -= c.strides[which][i] * c.shape[i];
        index[i] = 0;
      }
    }
    return out.data();
  };
  g.a_offsets = offsets(0, batch.a);
  g.b_offsets = offsets(1, batch.b);
  if (d) g.d_offsets = offsets(2, batch.d);
}

GemmCall call_of(const array& a, const array& b, array& out) {
  GemmCall g;
  g.dtype = out.dtype();
  g.m = out.shape(-2), g.n = out.shape(-1), g.k = a.shape(-1);
  g.a = a.data<void>(), g.a_row = a.strides(-2), g.a_col = a.strides(-1);
  g.b = b.data<void>(), g.b_row = b.strides(-2), g.b_col = b.strides(-1);
  g.ldc = g.n;
  return g;
}

Shape leading(const array& out) { return Shape(out.shape().begin(), out.shape().end() - 2); }

void matmul(const Matmul&, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  out.set_data(allocator::malloc(out.nbytes()));
  if (out.size() == 0) return;
  GemmCall g = call_of(inputs[0], inputs[1], out);
  g.c = out.data<void>();
  Batch batch;
  set_batch(g, batch, leading(out), inputs[0], inputs[1], nullptr);
  if (!accelerate_gemm(g)) gemm(g);
}

void addmm(const AddMM& p, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  const array& c = inputs[2];
  take_or_allocate(out, std::span(&c, c.shape() == out.shape() ? 1 : 0));
  if (out.size() == 0) return;
  GemmCall g = call_of(inputs[0], inputs[1], out);
  g.c = out.data<void>();
  g.alpha = static_cast<double>(p.alpha), g.beta = static_cast<double>(p.beta);
  g.d = c.data<void>();
  if (c.ndim() >= 1 && c.shape(-1) != 1) g.d_col = c.strides(-1);
  if (c.ndim() >= 2 && c.shape(-2) != 1) g.d_row = c.strides(-2);
  Batch batch;
  set_batch(g, batch, leading(out), inputs[0], inputs[1], &c);
  gemm(g);
}

const bool registered = kernels(Device::cpu).add<Matmul>(matmul) && kernels(Device::cpu).add<AddMM>(addmm);

}  // namespace
}  // namespace mlx::core::cpu

// Products of matrices of complex numbers (metal/kernels/complex_product.metal).
#include "metal/host/layout.h"
#include "metal/host/matmul.h"

namespace mlx::core::metal {
namespace {

// As in metal/kernels/complex_product.metal.
struct ProductParams {
  int32_t m, n, k, dims;
  float alpha, beta;
  int64_t a_row, a_column, b_row, b_column, d_row, d_column, a_first, b_first, d_first;
};

int64_t step(const array& a, int axis) {
  return static_cast<int>(a.ndim()) + axis >= 0 && a.shape(axis) != 1 ? a.strides(axis) : 0;
}

}  // namespace

void complex_product(const array& a, const array& b, const std::optional<array>& d, float alpha, float beta,
                     const array& out, const Stream& s) {
  const Shape leading(out.shape().begin(), out.shape().end() - 2);
  const auto strides = [&](const array& x) {
    Strides to(leading.size(), 0);
    const size_t own = x.ndim() > 2 ? x.ndim() - 2 : 0;
    for (size_t i = 0; i < own; ++i)
      if (x.shape()[i] != 1) to[leading.size() - own + i] = x.strides()[i];
    return to;
  };
  const Layout batch =
      collapsed(leading, {strides(a), strides(b), d ? strides(*d) : Strides(leading.size(), 0)});
  std::vector<int64_t> table;
  int64_t products = 1;
  for (size_t i = 0; i < batch.shape.size(); ++i) {
    table.insert(table.end(),
                 {batch.shape[i], batch.strides[0][i], batch.strides[1][i], batch.strides[2][i]});
    products *= batch.shape[i];
  }
  if (table.empty()) table = {1, 0, 0, 0};
  const ProductParams p{out.shape(-2),
                        out.shape(-1),
                        a.shape(-1),
                        static_cast<int32_t>(batch.shape.size()),
                        alpha,
                        beta,
                        step(a, -2),
                        step(a, -1),
                        step(b, -2),
                        step(b, -1),
                        d ? step(*d, -2) : 0,
                        d ? step(*d, -1) : 0,
                        extent_of(a).first,
                        extent_of(b).first,
                        d ? extent_of(*d).first : 0};
  Dispatch dispatch(s, pipeline("complex_product", "complex_product", {{0, d.has_value()}, {1, p.k > 2048}}));
  dispatch.in(a).in(b).out(out).value(p).values(table);
  if (d) dispatch.in(*d);
  dispatch.groups({ceil_div(static_cast<size_t>(p.n), 32), ceil_div(static_cast<size_t>(p.m), 32),
                   static_cast<uint32_t>(products)},
                  {8, 8, 1});
}

}  // namespace mlx::core::metal

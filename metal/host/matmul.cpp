// Products of matrices: a tile kernel for matrices, and one for a matrix and a vector; see
// metal/kernels/gemm.metal.
#include "mlx/ops/matmul.h"

#include <algorithm>
#include <utility>

#include "metal/host/kernels.h"
#include "metal/host/layout.h"

namespace mlx::core::metal {
namespace {

// As struct Gemm there.
struct Parameters {
  uint32_t m, n, k, dims;
  int64_t a_first, a_row, a_column, b_first, b_row, b_column, c_first, c_row, c_column;
  float alpha, beta;
};

Shape leading(const Shape& shape) { return {shape.begin(), shape.end() - 2}; }
Strides leading(const Strides& strides) { return {strides.begin(), strides.end() - 2}; }

// `c` has out's number of dims, or is null.
void multiply(const array& a, const array& b, const array* c, array& out, float alpha, float beta,
              const Stream& s) {
  Shape shape_a = leading(out.shape()), shape_b = shape_a, shape_c = out.shape();
  for (int i : {-2, -1}) shape_a.push_back(a.shape(i)), shape_b.push_back(b.shape(i));
  const Strides at_a = broadcast_strides(a, shape_a), at_b = broadcast_strides(b, shape_b);
  const Strides at_c = c ? broadcast_strides(*c, shape_c) : Strides(out.ndim(), 0);
  const Layout batch = collapsed(leading(out.shape()), {leading(at_a), leading(at_b), leading(at_c)});
  const size_t d = out.ndim();
  Parameters p{static_cast<uint32_t>(out.shape(-2)),
               static_cast<uint32_t>(out.shape(-1)),
               static_cast<uint32_t>(a.shape(-1)),
               static_cast<uint32_t>(batch.shape.size()),
               extent_of(a).first,
               at_a[d - 2],
               at_a[d - 1],
               extent_of(b).first,
               at_b[d - 2],
               at_b[d - 1],
               c ? extent_of(*c).first : 0,
               at_c[d - 2],
               at_c[d - 1],
               alpha,
               beta};
  const auto batches = static_cast<uint32_t>(out.size() / p.m / p.n);
  std::vector<uint32_t> shape(batch.shape.begin(), batch.shape.end());
  std::vector<int64_t> strides;
  const array *left = &a, *right = &b;
  // A vector on the left is one on the right of the transposed matrix.
  const bool turned = p.m == 1 && p.n > 1 && p.b_row == 1;
  const size_t order[] = {turned ? size_t{1} : size_t{0}, turned ? size_t{0} : size_t{1}, 2};
  for (size_t i : order) strides.insert(strides.end(), batch.strides[i].begin(), batch.strides[i].end());
  if (shape.empty()) shape.push_back(1), strides.assign(3, 0);
  if (turned) {
    std::swap(left, right);
    p = {p.n,        1,       p.k,       p.dims,     p.b_first, p.b_column, p.b_row, p.a_first,
         p.a_column, p.a_row, p.c_first, p.c_column, p.c_row,   p.alpha,    p.beta};
  }
  const bool by_vector = p.n == 1 && (p.a_column == 1 || p.k == 1);
  Dispatch dispatch(s, typed_pipeline("gemm", out.dtype(), by_vector ? "gemv" : "gemm",
                                      {{0, c != nullptr}, {1, p.a_column == 1}, {2, p.b_column == 1}}));
  dispatch.in(*left).in(*right);
  c ? dispatch.in(*c) : dispatch.skip();
  dispatch.out(out).value(p).values(shape).values(strides);
  if (by_vector) {
    dispatch.groups({ceil_div(p.m, 4), 1, batches}, {128, 1, 1});
  } else {
    dispatch.groups({ceil_div(p.n, 64), ceil_div(p.m, 64), batches}, {128, 1, 1});
  }
}

bool supports(const Primitive& p, const Arrays& inputs, const Arrays& outputs) {
  return real_only(p, inputs, outputs) && issubdtype(outputs[0].dtype(), floating) && outputs[0].size() > 0 &&
         inputs[0].size() > 0 && inputs[0].ndim() >= 2 && inputs[1].ndim() >= 2 &&
         std::all_of(inputs.begin(), inputs.end(),
                     [&](const array& a) { return a.dtype() == outputs[0].dtype(); });
}

void matmul(const Matmul& p, const Arrays& inputs, Arrays& outputs) {
  allocate(outputs[0]);
  multiply(inputs[0], inputs[1], nullptr, outputs[0], 1, 0, p.stream());
}
void addmm(const AddMM& p, const Arrays& inputs, Arrays& outputs) {
  allocate(outputs[0]);
  multiply(inputs[0], inputs[1], &inputs[2], outputs[0], p.alpha, p.beta, p.stream());
}

const bool registered = add_kernel<Matmul>(matmul, supports) && add_kernel<AddMM>(addmm, supports);

}  // namespace
}  // namespace mlx::core::metal

// linalg::matrix_power, expm, multi_dot: products of matrices.
#include <array>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <vector>

#include "mlx/linalg.h"
#include "mlx/ops.h"
#include "mlx/ops/linalg.h"

namespace mlx::core::linalg {

array matrix_power(const array& a, int n, StreamOrDevice s) {
  fix_sizes("matrix_power", a);
  if (a.ndim() < 2 || a.shape(-1) != a.shape(-2))
    throw invalid("linalg.matrix_power", "got the shape ", a.shape(), ", expected square matrices");
  if (n == 0) return broadcast_to(eye(a.shape(-1), a.dtype(), s), a.shape(), s);
  array square = n < 0 ? inv(a, s) : a;
  std::optional<array> out;
  for (auto rest = static_cast<uint64_t>(std::abs(static_cast<int64_t>(n))); rest; rest >>= 1) {
    if (rest & 1) out = out ? matmul(*out, square, s) : square;
    if (rest > 1) square = matmul(square, square, s);
  }
  return *out;
}

namespace {

// Coefficients of the numerator of the diagonal Padé approximant of exp; the denominator's alternate in sign.
// It is exact to a rounding unit where the 1-norm is at most `bound`.
struct Pade {
  double bound;
  std::vector<double> coefficients;
};
// N. Higham, "The scaling and squaring method for the matrix exponential revisited", 2005.
const Pade& pade_for(Dtype dtype) {
  static const Pade seven{3.925724783138660, {17297280, 8648640, 1995840, 277200, 25200, 1512, 56, 1}};
  static const Pade thirteen{
      5.371920351148152,
      {64764752532480000, 32382376266240000, 7771770303897600, 1187353796428800, 129060195264000,
       10559470521600, 670442572800, 33522128640, 1323241920, 40840800, 960960, 16380, 182, 1}};
  return dtype == float64 ? thirteen : seven;
}
constexpr int kSquarings = 16;

}  // namespace

// exp(a) = exp(a / 2^k)^(2^k). k depends on the values and the graph must not: all squarings are there, and
// those that are not needed are passed by.
array expm(const array& a, StreamOrDevice s) {
  fix_sizes("expm", a);
  StreamContext context(s);
  const Dtype given = promote_to_float(a.dtype());
  const bool narrow = given == float16 || given == bfloat16;
  const array x = astype(a, narrow ? float32 : given);
  check_square("linalg.expm", x);
  if (x.size() == 0) return astype(x, given);
  const Pade& pade = pade_for(x.dtype());

  const array size = stop_gradient(max(sum(abs(x), -2), -1));  // the 1-norm
  const auto constant = [&](double c) { return like(size, c); };
  const array needed = maximum(ceil(log2(size / constant(pade.bound))), constant(0));
  const array k = expand_dims(minimum(needed, constant(kSquarings)), {-2, -1});
  const array scaled = x * astype(power(like(k, 0.5), k), x.dtype());

  const array square = matmul(scaled, scaled), one = eye(x.shape(-1), x.dtype());
  const auto& c = pade.coefficients;
  array even = one * like(x, c[0]), odd = one * like(x, c[1]), p = one;
  for (size_t i = 2; i < c.size(); i += 2) {
    p = i == 2 ? square : matmul(p, square);
    even = even + p * like(x, c[i]);
    odd = odd + p * like(x, c[i + 1]);
  }
  odd = matmul(scaled, odd);
  array result = solve(even - odd, even + odd);
  for (int i = 0; i < kSquarings; ++i) result = where(greater(k, like(k, i)), matmul(result, result), result);
  // Beyond what the squarings can reach.
  const array reached = less_equal(expand_dims(needed, {-2, -1}), like(k, kSquarings));
  return astype(where(reached, result, like(result, std::numeric_limits<double>::quiet_NaN())), given);
}

namespace {

struct Chain {
  std::vector<std::vector<size_t>> split;  // where the product i..j is cut in two
};
// Fewest multiplications: the classic dynamic program over the extents.
Chain best_order(const std::vector<int64_t>& extent) {
  const size_t n = extent.size() - 1;
  std::vector<std::vector<double>> cost(n, std::vector<double>(n, 0));
  Chain chain{std::vector<std::vector<size_t>>(n, std::vector<size_t>(n, 0))};
  for (size_t length = 2; length <= n; ++length) {
    for (size_t i = 0; i + length <= n; ++i) {
      const size_t j = i + length - 1;
      cost[i][j] = std::numeric_limits<double>::infinity();
      for (size_t k = i; k < j; ++k) {
        const double c = cost[i][k] + cost[k + 1][j] +
                         static_cast<double>(extent[i]) * static_cast<double>(extent[k + 1]) *
                             static_cast<double>(extent[j + 1]);
        if (c < cost[i][j]) cost[i][j] = c, chain.split[i][j] = k;
      }
    }
  }
  return chain;
}

array product(const Arrays& factors, const Chain& chain, size_t i, size_t j, StreamOrDevice s) {
  if (i == j) return factors[i];
  const size_t k = chain.split[i][j];
  return matmul(product(factors, chain, i, k, s), product(factors, chain, k + 1, j, s), s);
}

}  // namespace

array multi_dot(const std::vector<array>& arrays, StreamOrDevice s) {
  if (arrays.size() < 2)
    throw invalid("linalg.multi_dot", "got ", arrays.size(), " arrays, expected at least 2");
  const bool row = arrays.front().ndim() == 1, column = arrays.back().ndim() == 1;
  Arrays factors = arrays;
  if (row) factors.front() = expand_dims(factors.front(), 0, s);
  if (column) factors.back() = expand_dims(factors.back(), 1, s);
  std::vector<int64_t> extent;
  for (size_t i = 0; i < factors.size(); ++i) {
    const array& f = factors[i];
    if (f.ndim() != 2)
      throw invalid("linalg.multi_dot", "got an array of shape ", arrays[i].shape(), " at position ", i,
                    ", expected a matrix", i == 0 || i + 1 == factors.size() ? " or a vector" : "");
    if (i > 0 && extent.back() != f.shape(0))
      throw invalid("linalg.multi_dot", "got shapes ", arrays[i - 1].shape(), " and ", arrays[i].shape(),
                    " one after the other, expected as many rows as the first has columns");
    if (i == 0) extent.push_back(f.shape(0));
    extent.push_back(f.shape(1));
  }
  array out = product(factors, best_order(extent), 0, factors.size() - 1, s);
  if (column) out = squeeze(out, -1, s);
  return row ? squeeze(out, 0, s) : out;
}

}  // namespace mlx::core::linalg

#include "mlx/ops/hadamard.h"

#include <array>
#include <cmath>
#include <vector>

#include "mlx/graph/primitive_table.h"
#include "mlx/ops.h"

namespace mlx::core {

namespace {

using Signs = std::vector<int8_t>;  // m x m, row by row

// Paley's construction II for q = 5: every entry of a symmetric conference matrix of order 6 becomes 2 x 2.
Signs paley12() {
  constexpr int chi[] = {0, 1, -1, -1, 1};  // squares and non-squares modulo 5
  Signs out(144);
  for (int i = 0; i < 12; ++i)
    for (int j = 0; j < 12; ++j) {
      const int a = i / 2, b = j / 2, odd = i % 2 + j % 2;
      const int entry = a == 0 && b == 0 ? 0 : a == 0 || b == 0 ? 1 : chi[(b - a + 5) % 5];
      const bool minus = entry == 0 ? odd > 0 : odd == 2;
      out[i * 12 + j] = static_cast<int8_t>((minus ? -1 : 1) * (entry == 0 ? 1 : entry));
    }
  return out;
}

// Williamson's construction: 4 x 4 circulant blocks, given by the first row of each block row.
Signs williamson(const std::array<const char*, 4>& first, int block) {
  const int m = 4 * block;
  Signs out(static_cast<size_t>(m) * m);
  for (int i = 0; i < m; ++i)
    for (int j = 0; j < m; ++j) {
      const int shifted = j / block * block + (j % block - i % block + block) % block;
      out[i * m + j] = first[i / block][shifted] == '+' ? 1 : -1;
    }
  return out;
}

const Signs& signs_of(int m) {
  static const Signs one{1}, twelve = paley12();
  static const Signs twenty = williamson(
      {"+-----++++--++--+--+", "+----+----+-++---++-", "++--+-+--++----+----", "+-++-++--+-+++++----"}, 5);
  static const Signs twenty_eight =
      williamson({"+--------++++--+-++-+-++--++", "++----++------+--++---+-++-+",
                  "+-+--+--++--+++------++----+", "+--++--+-+--+---++++-+------"},
                 7);
  return m == 12 ? twelve : m == 20 ? twenty : m == 28 ? twenty_eight : one;
}

}  // namespace

int8_t Hadamard::sign(int m, int i, int j) { return signs_of(m)[static_cast<size_t>(i) * m + j]; }

int Hadamard::m(int64_t n) {
  if (n <= 0) return 0;
  int64_t odd = n;
  while (odd % 2 == 0) odd /= 2;
  if (odd == 1) return 1;
  const bool known = (odd == 3 || odd == 5 || odd == 7) && n % 4 == 0;
  return known ? static_cast<int>(4 * odd) : 0;
}

namespace {
array transform(const array& x, double scale, bool inverse, StreamOrDevice s) {
  return make<Hadamard>(x.shape(), x.dtype(), s, {x}, scale, inverse);
}
}  // namespace

Arrays Hadamard::vjp(const Arrays&, const Arrays& cotangents, const Axes&, const Arrays&) {
  return {transform(cotangents[0], scale, !inverse, stream())};
}
Arrays Hadamard::jvp(const Arrays&, const Arrays& tangents, const Axes&) {
  return {transform(tangents[0], scale, inverse, stream())};
}
Batched Hadamard::vmap(const Arrays& inputs, const Axes& at) {
  return batch_leading(inputs, at,
                       [&](const Arrays& in) { return Arrays{transform(in[0], scale, inverse, stream())}; });
}

array hadamard_transform(const array& a, std::optional<float> scale, StreamOrDevice s) {
  if (a.ndim() == 0)
    throw invalid("hadamard_transform", "got an array without dimensions, expected at least one");
  const Dtype dtype = issubdtype(a.dtype(), floating) ? a.dtype() : float32;
  const int n = a.shape(-1);
  if (Hadamard::m(n) == 0)
    throw invalid("hadamard_transform", "the last axis has size ", n,
                  ", expected m * 2^k with m = 1, 12, 20 or 28");
  if (!scale) fix_size("hadamard_transform", a, static_cast<int>(a.ndim()) - 1);
  const array x = astype(a, dtype, s);
  return transform(x, scale ? static_cast<double>(*scale) : 1 / std::sqrt(static_cast<double>(n)), false, s);
}

namespace {
const bool kept_hadamard =
    primitive_table().add<Hadamard>("Hadamard", 1, [](const Hadamard& p, const Arrays& in) {
      const array& x = in[0];
      check_inputs(p, x.ndim() > 0 && issubdtype(x.dtype(), floating) && Hadamard::m(x.shape(-1)) != 0, in);
      return Arrays{transform(x, p.scale, p.inverse, p.stream())};
    });
}  // namespace

}  // namespace mlx::core

// hadamard_transform: butterflies for the power of two, and a matrix of ones and minus ones for the rest.
#include "mlx/ops/hadamard.h"

#include <algorithm>
#include <array>

#include "mlx/cpu/copy.h"
#include "mlx/cpu/isa/hadamard.h"
#include "mlx/cpu/parallel.h"
#include "mlx/graph/kernels.h"

namespace mlx::core::cpu {
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

Signs transposed(const Signs& signs, int m) {
  Signs out(signs.size());
  for (int i = 0; i < m; ++i)
    for (int j = 0; j < m; ++j) out[j * m + i] = signs[i * m + j];
  return out;
}

void hadamard(const Hadamard& p, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  const array x = row_contiguous(inputs[0]);
  out.set_data(allocator::malloc(out.nbytes()));
  const int m = p.m(x.shape(-1));
  const int64_t n = x.shape(-1), rows = static_cast<int64_t>(x.size()) / n;
  const Signs signs = p.inverse ? transposed(signs_of(m), m) : signs_of(m);
  const HadamardKernel& k = hadamard_kernels().at[static_cast<int>(x.dtype().val())];
  const size_t row = n * x.itemsize(), wide = x.dtype() == float64 ? 8 : 4;
  parallel_ranges(rows, std::max<int64_t>(1, (1 << 14) / n), [&](int64_t begin, int64_t end) {
    const auto buffer = std::make_unique_for_overwrite<char[]>(n * wide);
    k.transform(x.data<char>() + begin * row, end - begin, m, n / m, signs.data(), p.scale, buffer.get(),
                out.data<char>() + begin * row);
  });
}

const bool registered = kernels(Device::cpu).add<Hadamard>(hadamard);

}  // namespace
}  // namespace mlx::core::cpu

// hadamard_transform: butterflies for the power of two, and a matrix of ones and minus ones for the rest.
#include "mlx/ops/hadamard.h"

#include <algorithm>
#include <vector>

#include "mlx/cpu/copy.h"
#include "mlx/cpu/isa/hadamard.h"
#include "mlx/cpu/parallel.h"
#include "mlx/graph/kernels.h"

namespace mlx::core::cpu {
namespace {

std::vector<int8_t> signs_of(int m, bool transposed) {
  std::vector<int8_t> out(static_cast<size_t>(m) * m);
  for (int i = 0; i < m; ++i)
    for (int j = 0; j < m; ++j) out[i * m + j] = Hadamard::sign(m, transposed ? j : i, transposed ? i : j);
  return out;
}

void hadamard(const Hadamard& p, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  const array x = row_contiguous(inputs[0]);
  out.set_data(allocator::malloc(out.nbytes()));
  const int m = p.m(x.shape(-1));
  const int64_t n = x.shape(-1), rows = static_cast<int64_t>(x.size()) / n;
  const std::vector<int8_t> signs = signs_of(m, p.inverse);
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

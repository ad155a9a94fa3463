#include "mlx/ops/resample.h"

#include <algorithm>
#include <vector>

#include "mlx/cpu/copy.h"
#include "mlx/cpu/isa/resample.h"
#include "mlx/cpu/parallel.h"
#include "mlx/graph/kernels.h"

namespace mlx::core::cpu {
namespace {

constexpr int64_t kItem = 1 << 15;  // products that one item sums up, about

template <class T, class Kernel>
void run(Kernel kernel, const Band& band, const array& x, int axis, int64_t parts, array& out) {
  const std::vector<T> weights(band.weights.begin(), band.weights.end());
  int64_t outer = 1, inner = parts;
  for (int d = 0; d < static_cast<int>(x.ndim()); ++d)
    if (d != axis) (d < axis ? outer : inner) *= x.shape(d);
  const int64_t n = x.shape(axis), count = out.shape(axis), taps = band.taps;
  const int64_t piece = std::clamp<int64_t>(kItem / (inner * std::max<int64_t>(1, taps)), 1, count);
  const int64_t pieces = (count + piece - 1) / piece;
  const int64_t grain = std::max<int64_t>(1, kItem / (piece * inner * std::max<int64_t>(1, taps)));
  const T* from = reinterpret_cast<const T*>(x.data<char>());
  T* to = reinterpret_cast<T*>(out.data<char>());
  parallel_ranges(outer * pieces, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = i % pieces * piece, o = i / pieces;
      kernel(from + o * n * inner, inner, band.first.data() + first, weights.data() + first * taps, band.taps,
             std::min(piece, count - first), to + (o * count + first) * inner);
    }
  });
}

void resample(const Resample& p, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  out.set_data(allocator::malloc(out.nbytes()));
  if (out.size() == 0) return;
  const array x = row_contiguous(inputs[0]);
  const Band band = p.band();
  if (x.dtype() == float64)
    run<double>(resample_kernels().wide, band, x, p.axis, 1, out);
  else
    run<float>(resample_kernels().single, band, x, p.axis, x.dtype() == complex64 ? 2 : 1, out);
}

const bool registered = kernels(Device::cpu).add<Resample>(resample);

}  // namespace
}  // namespace mlx::core::cpu

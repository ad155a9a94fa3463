// hadamard_transform (metal/kernels/hadamard.metal): one pass where a line fits in threadgroup memory, else
// one over blocks of the line and others across them.
#include "mlx/ops/hadamard.h"

#include <algorithm>
#include <bit>

#include "metal/host/kernels.h"
#include "metal/host/matmul.h"

namespace mlx::core::metal {
namespace {

constexpr uint32_t kMostElements = 8192;  // of floats in threadgroup memory
constexpr int kBlockBits = 12;

// As in metal/kernels/hadamard.metal.
struct Parameters {
  uint64_t total;
  uint32_t lines, columns, inner;
  float scale;
};

struct Pass {
  int bits, m;
  uint32_t inner;  // 1: along the line
};
std::vector<Pass> passes(int64_t n, int m) {
  int bits = std::countr_zero(static_cast<uint64_t>(n / m));
  if (n <= kMostElements) return {{bits, m, 1}};
  std::vector<Pass> out{{std::min(bits, kBlockBits), 1, 1}};
  uint32_t inner = 1u << out[0].bits;
  bits -= out[0].bits;
  // At least eight columns side by side.
  while ((int64_t{m} << bits) > kMostElements / 8) {
    const int some = std::min(bits, 8);
    out.push_back({some, 1, inner});
    bits -= some, inner <<= some;
  }
  out.push_back({bits, m, inner});
  return out;
}

void run(const Pass& pass, const array& in, const array& out, double scale,
         const std::vector<uint32_t>& signs, const Stream& s) {
  const auto line = static_cast<uint32_t>(pass.m) << pass.bits;
  const bool across = pass.inner > 1;
  Parameters p{in.size(), 1, 1, pass.inner, static_cast<float>(scale)};
  uint64_t tiles = 0;
  if (across) {
    p.columns = std::min({std::bit_floor(kMostElements / line), 128u, pass.inner});
    tiles = in.size() / (uint64_t{line} * p.columns);
  } else {
    const auto lines = static_cast<uint32_t>(in.size() / line);
    p.lines = std::clamp(2048 / line, 1u, lines);
    tiles = ceil_div(lines, p.lines);
  }
  const uint32_t elements = line * p.columns * p.lines;
  Dispatch d(s, instantiated("hadamard", "hadamard",
                             std::string(type_name(in.dtype())) + ", " + type_name(out.dtype()),
                             {{0, int32_t{pass.bits}}, {1, int32_t{pass.m}}, {2, across}}));
  d.in(in).out(out).value(p).values(signs);
  d.threadgroup_memory(elements * sizeof(float));
  d.groups({static_cast<uint32_t>(tiles), 1, 1},
           {std::clamp(ceil_div(elements, 16 * 32) * 32, 32u, 512u), 1, 1});
}

void hadamard(const Hadamard& p, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  allocate(out);
  if (out.size() == 0) return;
  const Stream s = p.stream();
  const int64_t n = out.shape(-1);
  const int m = Hadamard::m(n);
  std::vector<uint32_t> signs(static_cast<size_t>(m),
                              0);  // bit i of j: input i counts negatively in output j
  for (int i = 0; i < m; ++i)
    for (int j = 0; j < m; ++j)
      if (Hadamard::sign(m, p.inverse ? j : i, p.inverse ? i : j) < 0)
        signs[static_cast<size_t>(j)] |= 1u << i;
  array from = row_contiguous(inputs[0], s);
  const std::vector<Pass> all = passes(n, m);
  for (size_t i = 0; i < all.size(); ++i) {
    const bool last = i + 1 == all.size();
    array to = out;
    if (!last) {
      to = array(out.shape(), float32, nullptr, {});
      allocate(to);
    }
    run(all[i], from, to, last ? p.scale : 1, signs, s);
    from = to;
  }
}

bool supports(const Primitive& p, const Arrays& inputs, const Arrays& outputs) {
  return real_only(p, inputs, outputs) && outputs[0].size() < (size_t{1} << 31);
}
const bool registered = add_kernel<Hadamard>(hadamard, supports);

}  // namespace
}  // namespace mlx::core::metal

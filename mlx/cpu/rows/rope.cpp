#include "mlx/cpu/isa/rope.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include "mlx/cpu/parallel.h"
#include "mlx/cpu/rows/rows.h"
#include "mlx/dtype.h"

namespace mlx::core::cpu {
namespace {

constexpr int kSizes[kDtypes] = {1, 1, 2, 4, 8, 1, 2, 4, 8, 2, 4, 8, 2, 8};
constexpr int64_t kPositions = 32;  // computed from one sine and cosine by rotation, in double

// cosines and sines of scale * (first + t) * rates[p], t < count <= kPositions.
template <class C>
void angles(const Rope& p, int64_t first, int64_t count, C* cosines, C* sines) {
  for (int64_t i = 0; i < p.half; ++i) {
    const double step = p.scale * p.rates[i], start = step * static_cast<double>(first);
    double c = std::cos(start), s = std::sin(start);
    const double dc = count > 1 ? std::cos(step) : 1, ds = count > 1 ? std::sin(step) : 0;
    for (int64_t t = 0; t < count; ++t) {
      cosines[t * p.half + i] = static_cast<C>(c);
      sines[t * p.half + i] = static_cast<C>(s);
      const double next = c * dc - s * ds;
      s = c * ds + s * dc;
      c = next;
    }
  }
}

template <class C>
void rope_as(int dtype, const Rope& p, const char* in, char* out) {
  const RopeKernel& k = rope_kernels().at[dtype];
  const int size = kSizes[dtype];
  const int64_t blocks = (p.length + kPositions - 1) / kPositions;
  // All heads (and, with a shared offset, all batch elements) use a block's angles.
  const int64_t groups = p.shared_offset ? 1 : p.batch;
  const int64_t members = p.shared_offset ? p.batch : 1;
  parallel_for(groups * blocks, [&](int64_t item) {
    const int64_t group = item / blocks, first = item % blocks * kPositions;
    const int64_t count = std::min(kPositions, p.length - first);
    const auto table = std::make_unique_for_overwrite<C[]>(2 * count * p.half);
    C *cosines = table.get(), *sines = cosines + count * p.half;
    angles(p, p.offsets[group] + first, count, cosines, sines);
    for (int64_t b = group * members; b < (group + 1) * members; ++b)
      for (int64_t h = 0; h < p.heads; ++h) {
        const int64_t from = b * p.in_strides[0] + h * p.in_strides[1] + first * p.in_strides[2];
        const int64_t to = b * p.out_strides[0] + h * p.out_strides[1] + first * p.out_strides[2];
        k.rotate(in + from * size, count, p.in_strides[2], p.n, p.half, p.traditional, p.inverse, cosines,
                 sines, p.out_strides[2], out + to * size);
      }
  });
}

}  // namespace

void rope(int dtype, const Rope& p, const void* in, void* out) {
  if (p.batch * p.heads * p.length * p.n == 0) return;
  if (dtype == static_cast<int>(Dtype::Val::float64))
    rope_as<double>(dtype, p, static_cast<const char*>(in), static_cast<char*>(out));
  else
    rope_as<float>(dtype, p, static_cast<const char*>(in), static_cast<char*>(out));
}

}  // namespace mlx::core::cpu

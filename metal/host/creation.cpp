#include "mlx/ops/creation.h"

#include "metal/host/kernels.h"
#include "mlx/ops/random.h"

namespace mlx::core::metal {
namespace {

struct Pair {
  float high, low;
};
Pair pair_of(double x) {
  const auto high = static_cast<float>(x);
  return {high, static_cast<float>(x - high)};
}

void arange(const Arange& p, const Arrays&, Arrays& outputs) {
  array& out = outputs[0];
  allocate(out);
  const bool floats = issubdtype(p.dtype, floating);
  Dispatch d(p.stream(), typed_pipeline("creation", p.dtype, floats ? "arange_floats" : "arange_integers"));
  d.out(out);
  if (floats) {
    d.value(pair_of(p.start)).value(pair_of(p.step));
  } else {
    const auto start = static_cast<uint64_t>(cast_to<int64_t>(p.start));
    d.value(start).value(static_cast<uint64_t>(cast_to<int64_t>(p.start + p.step)) - start);
  }
  const Line l = line(out.size());
  d.threads(l.threads, l.per_group);
}
bool arange_supports(const Primitive& p, const Arrays& inputs, const Arrays& outputs) {
  const auto& a = static_cast<const Arange&>(p);
  return real_only(p, inputs, outputs) && outputs[0].size() > 0 && outputs[0].size() < (1 << 24) &&
         (!issubdtype(a.dtype, floating) || (std::abs(a.start) < 1e30 && std::abs(a.step) < 1e30));
}

void random_bits(const RandomBits& p, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  allocate(out);
  const array keys = row_contiguous(inputs[0], p.stream());
  const auto count = static_cast<uint32_t>(keys.size() / 2);
  const auto words = static_cast<uint32_t>(out.nbytes() / 4 / count);
  Dispatch d(p.stream(), pipeline("random", "bits"));
  d.in(keys).out(out).value(words);
  const uint32_t x = words / 2 + words % 2;
  d.threads({x, count, 1}, {std::min<uint32_t>(x, 256), 1, 1});
}
bool random_supports(const Primitive& p, const Arrays& inputs, const Arrays&) {
  const auto& r = static_cast<const RandomBits&>(p);
  const size_t bytes = elements(r.shape) * static_cast<size_t>(r.width);
  return inputs[0].size() > 0 && bytes > 0 && bytes % 4 == 0 && bytes / 4 < (size_t{1} << 32);
}

const bool registered =
    add_kernel<Arange>(arange, arange_supports) && add_kernel<RandomBits>(random_bits, random_supports);

}  // namespace
}  // namespace mlx::core::metal

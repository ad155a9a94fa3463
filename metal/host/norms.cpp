#include "mlx/ops/norms.h"

#include <algorithm>
#include <cmath>

#include "metal/host/kernels.h"

namespace mlx::core::metal {
namespace {

constexpr uint32_t kPerThread = 8, kMostThreads = 1024;  // as in metal/kernels/norms.metal

struct Parameters {
  uint32_t n, rows;
  float eps;
};

bool supports(const Primitive& p, const Arrays& inputs, const Arrays& outputs) {
  return real_only(p, inputs, outputs) && inputs[0].size() > 0;
}
std::vector<FunctionConstant> constants(bool centre, bool weighted, bool biased, uint32_t n) {
  return {{0, centre}, {1, weighted}, {2, biased}, {3, n <= kPerThread * kMostThreads}};
}
uint32_t threads_for(uint32_t n) { return std::min(kMostThreads, (ceil_div(n, kPerThread) + 31) / 32 * 32); }

void norm(const fast::Norm& p, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  take_or_allocate(out, {&inputs[0], 1});
  const array x = row_contiguous(inputs[0], p.stream());
  Arrays weights;
  for (size_t i = 1; i < inputs.size(); ++i) weights.push_back(row_contiguous(inputs[i], p.stream()));
  const auto n = static_cast<uint32_t>(x.shape(-1)), rows = static_cast<uint32_t>(x.size() / n);
  Dispatch d(p.stream(),
             typed_pipeline("norms", x.dtype(), "forward", constants(p.centre, p.weighted, p.biased, n)));
  d.in(x);
  p.weighted ? d.in(weights[0]) : d.skip();
  p.biased ? d.in(weights.back()) : d.skip();
  d.out(out).value(Parameters{n, rows, static_cast<float>(p.eps)});
  d.groups({rows, 1, 1}, {threads_for(n), 1, 1});
}

void norm_vjp(const fast::NormVjp& p, const Arrays& inputs, Arrays& outputs) {
  const Stream& s = p.stream();
  const array x = row_contiguous(inputs[0], s), g = row_contiguous(inputs.back(), s);
  const array w = row_contiguous(inputs[p.weighted ? 1 : 0], s);
  for (array& out : outputs) allocate(out);
  const auto n = static_cast<uint32_t>(x.shape(-1)), rows = static_cast<uint32_t>(x.size() / n);
  const Parameters parameters{n, rows, static_cast<float>(p.eps)};
  array found({static_cast<ShapeElem>(rows), 2}, float32, nullptr, {});
  allocate(found);
  const auto set = constants(p.centre, p.weighted, false, n);
  {
    Dispatch d(s, typed_pipeline("norms", x.dtype(), "backward", set));
    d.in(x);
    p.weighted ? d.in(w) : d.skip();
    d.in(g).out(outputs[0]).out(found).value(parameters);
    d.groups({rows, 1, 1}, {threads_for(n), 1, 1});
  }
  Dispatch d(s, typed_pipeline("norms", x.dtype(), "parameters", set));
  d.in(x).in(g).in(found).out(outputs[1]).out(outputs[2]).value(parameters);
  d.groups({ceil_div(n, 32), 1, 1}, {32, std::clamp<uint32_t>(rows / 4, 1, 8), 1});
}
// The kernel writes a gradient for each element of weight and bias.
bool vjp_supports(const Primitive& p, const Arrays& inputs, const Arrays& outputs) {
  const auto n = static_cast<size_t>(inputs[0].shape(-1));
  return supports(p, inputs, outputs) && outputs[1].size() == n && outputs[2].size() == n &&
         outputs[1].dtype() == float32 && outputs[2].dtype() == float32;
}

struct Rope {
  uint32_t pairs, rest, half, n, length, heads, shared_offset;
  float scale;
  uint32_t traditional, inverse;
};

void rope(const fast::RoPE& p, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  take_or_allocate(out, {&inputs[0], 1});
  const array x = row_contiguous(inputs[0], p.stream()), offsets = row_contiguous(inputs[1], p.stream());
  const int half = p.dims / 2;
  const bool given = inputs.size() > 2;
  array rates = given ? row_contiguous(inputs[2], p.stream()) : array({half, 2}, float32, nullptr, {});
  if (!given) {
    // base^(-p / half), as two floats each.
    allocate(rates);
    for (int i = 0; i < half; ++i) {
      const double rate = std::pow(static_cast<double>(p.base), -static_cast<double>(i) / half);
      rates.data<float>()[2 * i] = static_cast<float>(rate);
      rates.data<float>()[2 * i + 1] = static_cast<float>(rate - static_cast<float>(rate));
    }
  }
  const auto n = static_cast<uint32_t>(x.shape(-1)), length = static_cast<uint32_t>(x.shape(-2));
  const auto rows = static_cast<uint32_t>(x.size() / n);
  const auto heads = static_cast<uint32_t>(rows / length / static_cast<uint32_t>(x.shape(0)));
  const auto h = static_cast<uint32_t>(half);
  Dispatch d(p.stream(), typed_pipeline("rope", x.dtype(), "rope", {{0, given}}));
  d.in(x).in(offsets).in(rates).out(out);
  d.value(Rope{h, n - 2 * h, h, n, length, heads, offsets.size() == 1, p.scale, p.traditional, p.inverse});
  const uint32_t threads = n - h;
  d.threads({threads, rows, 1}, {std::min<uint32_t>(threads, 256), 1, 1});
}
bool rope_supports(const Primitive& p, const Arrays& inputs, const Arrays& outputs) {
  return real_only(p, inputs, outputs) && inputs[0].size() > 0 && inputs[0].ndim() >= 3 &&
         inputs[1].dtype() == int64;
}

const bool registered = add_kernel<fast::Norm>(norm, supports) &&
                        add_kernel<fast::NormVjp>(norm_vjp, vjp_supports) &&
                        add_kernel<fast::RoPE>(rope, rope_supports);

}  // namespace
}  // namespace mlx::core::metal

// Kernels of mx.fast's norms, rotary positions and cross entropy.
#include "mlx/ops/norms.h"

#include <algorithm>
#include <cmath>

#include "mlx/cpu/copy.h"
#include "mlx/cpu/isa/softmax.h"
#include "mlx/cpu/parallel.h"
#include "mlx/cpu/rows/rows.h"
#include "mlx/graph/kernels.h"

namespace mlx::core::cpu {
namespace {

int number(const array& a) { return static_cast<int>(a.dtype().val()); }
int64_t rows_of(const array& a) {
  const int64_t n = a.shape(-1);
  return n == 0 ? 0 : static_cast<int64_t>(a.size()) / n;
}

void norm_array(const fast::Norm& p, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  take_or_allocate(out, {&inputs[0], 1});
  const array x = row_contiguous(inputs[0]);
  Arrays weights;
  for (size_t i = 1; i < inputs.size(); ++i) weights.push_back(row_contiguous(inputs[i]));
  norm(p.centre, number(x), x.data<char>(), p.weighted ? weights[0].data<char>() : nullptr,
       p.biased ? weights.back().data<char>() : nullptr, p.eps, rows_of(x), x.shape(-1), out.data<char>());
}

void norm_vjp_array(const fast::NormVjp& p, const Arrays& inputs, Arrays& outputs) {
  take_or_allocate(outputs[0], {&inputs.back(), 1});
  for (int i : {1, 2}) outputs[i].set_data(allocator::malloc(outputs[i].nbytes()));
  const array x = row_contiguous(inputs[0]), g = row_contiguous(inputs.back());
  const array w = row_contiguous(inputs[p.weighted ? 1 : 0]);
  norm_vjp(p.centre, number(x), x.data<char>(), p.weighted ? w.data<char>() : nullptr, g.data<char>(), p.eps,
           rows_of(x), x.shape(-1), outputs[0].data<char>(), outputs[1].data<char>(),
           outputs[2].data<char>());
}

GroupNormCall group_norm_call(const array& x, int groups, bool interleaved, double eps, const array* weight) {
  GroupNormCall call;
  call.dtype = number(x);
  call.samples = x.shape(0), call.channels = x.shape(-1);
  call.rows = x.size() == 0 ? 0 : static_cast<int64_t>(x.size()) / (call.samples * call.channels);
  call.groups = groups, call.interleaved = interleaved, call.eps = eps;
  call.x = x.data<char>(), call.w = weight ? weight->data<char>() : nullptr;
  return call;
}
void group_norm_array(const fast::GroupNorm& p, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  take_or_allocate(out, {&inputs[0], 1});
  const array x = row_contiguous(inputs[0]);
  Arrays weights;
  for (size_t i = 1; i < inputs.size(); ++i) weights.push_back(row_contiguous(inputs[i]));
  group_norm(group_norm_call(x, p.groups, p.interleaved, p.eps, p.weighted ? &weights[0] : nullptr),
             p.biased ? weights.back().data<char>() : nullptr, out.data<char>());
}
void group_norm_vjp_array(const fast::GroupNormVjp& p, const Arrays& inputs, Arrays& outputs) {
  take_or_allocate(outputs[0], {&inputs.back(), 1});
  for (int i : {1, 2}) outputs[i].set_data(allocator::malloc(outputs[i].nbytes()));
  const array x = row_contiguous(inputs[0]), g = row_contiguous(inputs.back());
  const array w = row_contiguous(inputs[p.weighted ? 1 : 0]);
  group_norm_vjp(group_norm_call(x, p.groups, p.interleaved, p.eps, p.weighted ? &w : nullptr),
                 g.data<char>(), outputs[0].data<char>(), outputs[1].data<char>(), outputs[2].data<char>());
}

// base^(-2p / dims). Models ask for the same ones again and again.
const std::vector<double>& rates_of(double base, int64_t half) {
  thread_local double cached_base = 0;
  thread_local std::vector<double> rates;
  if (cached_base != base || static_cast<int64_t>(rates.size()) != half) {
    rates.resize(half);
    for (int64_t p = 0; p < half; ++p)
      rates[p] = std::pow(base, -static_cast<double>(p) / static_cast<double>(half));
    cached_base = base;
  }
  return rates;
}

void rope_array(const fast::RoPE& p, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  take_or_allocate(out, {&inputs[0], 1});
  if (out.size() == 0) return;
  const int ndim = static_cast<int>(out.ndim());
  // (batch, heads, length, features) is turned where it lies, transposed heads and all.
  const bool as_is = ndim <= 4 && inputs[0].strides(-1) == 1;
  const array x = as_is ? inputs[0] : row_contiguous(inputs[0]);
  Rope r;
  r.batch = x.shape(0), r.length = x.shape(-2), r.n = x.shape(-1), r.half = p.dims / 2;
  r.heads = static_cast<int64_t>(x.size()) / (r.batch * r.length * r.n);
  r.traditional = p.traditional, r.inverse = p.inverse, r.scale = p.scale;
  r.out_strides[2] = r.n, r.out_strides[1] = r.length * r.n, r.out_strides[0] = r.heads * r.length * r.n;
  std::copy_n(r.out_strides, 3, r.in_strides);
  if (as_is) {
    r.in_strides[0] = x.strides(0), r.in_strides[2] = x.strides(-2);
    r.in_strides[1] = ndim == 4 ? x.strides(1) : 0;
  }
  const array offsets = row_contiguous(inputs[1]);
  r.offsets = offsets.data<int64_t>();
  r.shared_offset = offsets.size() == 1;
  std::vector<double> rates;
  if (inputs.size() > 2) {
    const array freqs = row_contiguous(inputs[2]);
    for (int64_t i = 0; i < r.half; ++i)
      rates.push_back(1 / (freqs.dtype() == float64 ? freqs.data<double>()[i]
                                                    : static_cast<double>(freqs.data<float>()[i])));
  } else {
    rates = rates_of(p.base, r.half);
  }
  r.rates = rates.data();
  rope(number(x), r, x.data<char>(), out.data<char>());
}

// Class indices as int64, each in [0, n) after counting negative ones from the end.
std::vector<int64_t> class_indices(const array& targets, int64_t n) {
  const array t = row_contiguous(targets);
  std::vector<int64_t> out(t.size());
  dispatch_all(t.dtype(), [&]<class T>() {
    if constexpr (std::is_integral_v<T>) {
      for (size_t i = 0; i < out.size(); ++i) {
        const auto v = static_cast<int64_t>(t.data<T>()[i]);
        if (v < -n || v >= n)
          throw std::out_of_range(
              text("[cross_entropy] target ", v, " at position ", i, " is outside [", -n, ", ", n, ")"));
        out[i] = v < 0 ? v + n : v;
      }
    }
  });
  return out;
}

void cross_entropy(const fast::CrossEntropy&, const Arrays& inputs, Arrays& outputs) {
  for (array& out : outputs) out.set_data(allocator::malloc(out.nbytes()));
  const array x = row_contiguous(inputs[0]);
  const int64_t n = x.shape(-1), rows = static_cast<int64_t>(outputs[0].size());
  const std::vector<int64_t> target = class_indices(inputs[1], n);
  const SoftmaxKernel& k = softmax_kernels().at[number(x)];
  float *loss = outputs[0].data<float>(), *lse = outputs[1].data<float>();
  dispatch_all(x.dtype(), [&]<class T>() {
    if constexpr (is_floating_point_v<T>) {
      const T* logits = x.data<T>();
      parallel_ranges(rows, std::max<int64_t>(1, (1 << 15) / n), [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; ++r) {
          SoftmaxPart whole;
          k.part(logits + r * n, n, &whole);
          const double log_sum = whole.max + std::log(whole.sum);
          lse[r] = static_cast<float>(log_sum);
          loss[r] = static_cast<float>(log_sum - static_cast<double>(logits[r * n + target[r]]));
        }
      });
    }
  });
}

void cross_entropy_vjp(const fast::CrossEntropyVjp&, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  take_or_allocate(out, {&inputs[0], 1});
  const array x = row_contiguous(inputs[0]), lse = row_contiguous(inputs[2]);
  const array a = row_contiguous(inputs[3]), b = row_contiguous(inputs[4]);
  const int64_t n = x.shape(-1), rows = static_cast<int64_t>(lse.size());
  const std::vector<int64_t> target = class_indices(inputs[1], n);
  const SoftmaxKernel& k = softmax_kernels().at[number(x)];
  dispatch_all(x.dtype(), [&]<class T>() {
    if constexpr (is_floating_point_v<T>) {
      const T* logits = x.data<T>();
      T* dx = out.data<T>();
      parallel_ranges(rows, std::max<int64_t>(1, (1 << 15) / n), [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; ++r) {
          const double log_sum = lse.data<float>()[r], scale = a.data<float>()[r];
          const double at_target = static_cast<double>(logits[r * n + target[r]]);
          const SoftmaxPart whole{log_sum, 1 / scale};
          k.apply(logits + r * n, n, &whole, dx + r * n);
          const double p = scale * std::exp(at_target - log_sum);
          dx[r * n + target[r]] = static_cast<T>(p - static_cast<double>(b.data<float>()[r]));
        }
      });
    }
  });
}

const bool registered = kernels(Device::cpu).add<fast::Norm>(norm_array) &&
                        kernels(Device::cpu).add<fast::NormVjp>(norm_vjp_array) &&
                        kernels(Device::cpu).add<fast::GroupNorm>(group_norm_array) &&
                        kernels(Device::cpu).add<fast::GroupNormVjp>(group_norm_vjp_array) &&
                        kernels(Device::cpu).add<fast::RoPE>(rope_array) &&
                        kernels(Device::cpu).add<fast::CrossEntropy>(cross_entropy) &&
                        kernels(Device::cpu).add<fast::CrossEntropyVjp>(cross_entropy_vjp);

}  // namespace
}  // namespace mlx::core::cpu

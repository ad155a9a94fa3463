#include "mlx/ops/gated_delta.h"

#include <algorithm>
#include <vector>

#include "mlx/cpu/copy.h"
#include "mlx/cpu/isa/gated_delta.h"
#include "mlx/cpu/parallel.h"
#include "mlx/graph/kernels.h"

namespace mlx::core::cpu {
namespace {

using fast::GatedDeltaUpdate;
using fast::GatedDeltaUpdateGradient;

constexpr int64_t kRows = 32;  // of the state for an item: 16 KiB for 128 key features

char* offset(const array& a, int64_t elements) {
  return const_cast<char*>(a.data<char>()) + elements * static_cast<int64_t>(a.itemsize());
}
const GatedDeltaKernel& kernel_for(const array& v) {
  return gated_delta_kernels().at[static_cast<int>(v.dtype().val())];
}

// The inputs as rows, and where those of a head are.
struct Heads {
  Arrays in;
  int64_t batch, steps, key_heads, heads, dk, dv;
  bool gate_per_key, mask;

  Heads(const Arrays& inputs, bool masked) : mask(masked) {
    for (const array& x : inputs) in.push_back(row_contiguous(x));
    const array &q = in[0], &v = in[2];
    batch = v.shape(0), steps = v.shape(1), heads = v.shape(2), dv = v.shape(3);
    key_heads = q.shape(2), dk = q.shape(3);
    gate_per_key = in[3].ndim() == 4;
  }
  int64_t gate_size() const { return gate_per_key ? dk : 1; }
  // Of the first step, in elements: q and k, v and y, beta.
  int64_t key_at(int64_t b, int64_t h) const {
    return (b * steps * key_heads + h / (heads / key_heads)) * dk;
  }
  int64_t head_at(int64_t b, int64_t h) const { return b * steps * heads + h; }

  GatedDeltaHead head(int64_t b, int64_t h) const {
    GatedDeltaHead x{};
    x.steps = steps, x.dk = dk, x.dv = dv;
    x.q = offset(in[0], key_at(b, h)), x.k = offset(in[1], key_at(b, h));
    x.v = offset(in[2], head_at(b, h) * dv);
    x.key_stride = key_heads * dk, x.value_stride = heads * dv;
    x.gate = offset(in[3], head_at(b, h) * gate_size()), x.beta = offset(in[4], head_at(b, h));
    x.gate_stride = heads * gate_size(), x.beta_stride = heads;
    x.gate_per_key = gate_per_key;
    x.mask = mask ? in[6].data<uint8_t>() + b * steps : nullptr;
    x.state = offset(in[5], (b * heads + h) * dv * dk);
    return x;
  }
};

void update(const GatedDeltaUpdate&, const Arrays& inputs, Arrays& outputs) {
  for (array& out : outputs) out.set_data(allocator::malloc(out.nbytes()));
  const Heads x(inputs, inputs.size() > 6);
  const GatedDeltaKernel& kernel = kernel_for(x.in[2]);
  const int64_t blocks = (x.dv + kRows - 1) / kRows;
  if (x.batch * x.heads * x.dv == 0) return;
  // One step of a head is a few microseconds: several heads to an item then.
  const int64_t work = x.steps * kRows * x.dk,
                grain = std::max<int64_t>(1, (1 << 16) / std::max<int64_t>(work, 1));
  parallel_ranges(x.batch * x.heads * blocks, grain, [&](int64_t first, int64_t last) {
    std::vector<double> workspace(static_cast<size_t>(kernel.forward_bytes(x.dk, kRows)) / sizeof(double) +
                                  1);
    for (int64_t item = first; item < last; ++item) {
      const int64_t block = item % blocks, h = item / blocks % x.heads, b = item / blocks / x.heads;
      const int64_t begin = block * kRows, end = std::min(x.dv, begin + kRows);
      kernel.forward(x.head(b, h), begin, end, offset(outputs[0], x.head_at(b, h) * x.dv),
                     offset(outputs[1], (b * x.heads + h) * x.dv * x.dk), workspace.data());
    }
  });
}

void gradient(const GatedDeltaUpdateGradient&, const Arrays& inputs, Arrays& outputs) {
  for (array& out : outputs) out.set_data(allocator::malloc(out.nbytes()));
  const Heads x(inputs, inputs.size() > 8);
  const GatedDeltaKernel& kernel = kernel_for(x.in[2]);
  const array &dy = x.in[x.in.size() - 2], &dstate = x.in.back();
  if (x.batch * x.heads == 0) return;
  parallel_for(x.batch * x.heads, [&](int64_t item) {
    const int64_t h = item % x.heads, b = item / x.heads, at = x.head_at(b, h);
    std::vector<double> workspace(
        static_cast<size_t>(kernel.backward_bytes(x.steps, x.dk, x.dv)) / sizeof(double) + 1);
    kernel.backward(x.head(b, h), offset(dy, at * x.dv), offset(dstate, item * x.dv * x.dk), x.heads * x.dk,
                    offset(outputs[0], at * x.dk), offset(outputs[1], at * x.dk),
                    offset(outputs[2], at * x.dv), offset(outputs[3], at * x.gate_size()),
                    offset(outputs[4], at), offset(outputs[5], item * x.dv * x.dk), workspace.data());
  });
}

const bool registered = kernels(Device::cpu).add<GatedDeltaUpdate>(update) &&
                        kernels(Device::cpu).add<GatedDeltaUpdateGradient>(gradient);

}  // namespace
}  // namespace mlx::core::cpu

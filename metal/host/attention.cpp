// Attention in the kernels of metal/kernels/attention*.metal: float32, float16, bfloat16; heads of up to 128
// elements for many queries, 256 for few. Larger ones are left to the CPU.
#include "mlx/ops/attention.h"

#include <algorithm>
#include <numbers>

#include "metal/host/elementwise.h"
#include "metal/host/matmul.h"

namespace mlx::core::metal {
namespace {

// As in attention.h.
struct AttentionParams {
  int32_t heads, kv_heads, lq, lk, d, dv, part;
  float scale;
  int64_t q[4], k[4], v[4], mask[5];
};

constexpr int kFewQueries = 8;
constexpr int64_t kFewGroups = 64;   // fewer leave a device idle
constexpr int64_t kLeastPart = 256;  // keys
constexpr int64_t kMostParts = 32;   // attention_join has a lane for each

// Columns side by side.
array with_lines(const array& a, const Stream& s) {
  return a.strides(-1) == 1 || a.shape(-1) == 1 ? a : row_contiguous(a, s);
}
bool is_aligned(const array& a) {
  const auto item = static_cast<int64_t>(a.itemsize());
  const int64_t at = on_device(a) ? static_cast<int64_t>(reinterpret_cast<uintptr_t>(a.data<char>()))
                                  : extent_of(a).first * item;
  return at % (4 * item) == 0 && a.strides(0) % 4 == 0 && a.strides(1) % 4 == 0 && a.strides(2) % 4 == 0;
}
void set_strides(int64_t* to, const array& a) {
  for (int i = 0; i < 3; ++i) to[i] = a.strides(i);
  to[3] = extent_of(a).first;
}

struct Call {
  array q, k, v;
  std::optional<array> mask, sinks;
  AttentionParams p;
  std::vector<FunctionConstant> constants;

  bool allowed() const { return mask && mask->dtype() == bool_; }
  void bind_masks(Dispatch& d) const {
    allowed() ? d.in(*mask) : d.skip();
    mask && !allowed() ? d.in(*mask) : d.skip();
    sinks ? d.in(*sinks) : d.skip();
  }
};

Call call_of(const AttentionParameters& parameters, const Arrays& in, const Stream& s) {
  Call c{with_lines(in[0], s), with_lines(in[1], s), with_lines(in[2], s), {}, {}, {}, {}};
  AttentionParams& p = c.p;
  p.heads = c.q.shape(1), p.kv_heads = c.k.shape(1), p.lq = c.q.shape(2), p.lk = c.k.shape(2);
  p.d = c.q.shape(3), p.dv = c.v.shape(3);
  p.part = p.lk;
  p.scale = static_cast<float>(parameters.scale * std::numbers::log2e);
  set_strides(p.q, c.q), set_strides(p.k, c.k), set_strides(p.v, c.v);
  if (parameters.mask) {
    c.mask = in[3];
    for (int i = 0; i < 4; ++i) p.mask[i] = c.mask->strides(i);
    p.mask[4] = extent_of(*c.mask).first;
  }
  if (parameters.sinks) c.sinks = row_contiguous(in[parameters.inputs() - 1], s);
  c.constants = {{0, is_aligned(c.q) && is_aligned(c.k) && is_aligned(c.v)},
                 {1, parameters.causal},
                 {2, c.allowed()},
                 {3, c.mask && !c.allowed()},
                 {4, c.sinks.has_value()}};
  return c;
}

std::string arguments(Dtype dtype, int n) { return std::string(type_name(dtype)) + ", " + std::to_string(n); }

// The least width of kernels that holds the heads.
int padded_head(int d) {
  for (const int n : {32, 64, 80, 96, 128})
    if (d <= n) return n;
  return 0;
}

void prefill(const Call& c, const array& out, const array& stats, const Stream& s) {
  const int head = padded_head(std::max(c.p.d, c.p.dv));
  Dispatch d(s, instantiated("attention", "attention", arguments(out.dtype(), head), c.constants));
  d.in(c.q).in(c.k).in(c.v).out(out).out(stats).value(c.p);
  c.bind_masks(d);
  d.groups({ceil_div(static_cast<size_t>(c.p.lq), 32), static_cast<uint32_t>(c.p.heads),
            static_cast<uint32_t>(c.q.shape(0))},
           {128, 1, 1});
}

void decode(Call c, const array& out, const array& stats, const Stream& s) {
  AttentionParams& p = c.p;
  const int all = p.heads / p.kv_heads * p.lq, rows = std::min(all, 4), batch = c.q.shape(0);
  const int64_t groups =
      int64_t{p.kv_heads} * ceil_div(static_cast<size_t>(all), static_cast<size_t>(rows)) * batch;
  const int64_t wanted = std::min({kMostParts, p.lk / kLeastPart, kFewGroups / groups});
  const int64_t parts = std::max<int64_t>(wanted, 1);
  p.part = static_cast<int32_t>(ceil_div(static_cast<size_t>(p.lk), static_cast<size_t>(parts)));
  const bool split = parts > 1;
  const uint32_t count = ceil_div(static_cast<size_t>(p.lk), static_cast<size_t>(p.part));
  const int per = std::max(p.d, p.dv) <= 64 ? 2 : std::max(p.d, p.dv) <= 128 ? 4 : 8;
  auto constants = c.constants;
  constants.push_back({5, int32_t{rows}});
  constants.push_back({6, split});
  const auto part_shape = [&](int last) {
    return Shape{static_cast<ShapeElem>(out.size() / static_cast<size_t>(p.dv)),
                 static_cast<ShapeElem>(count), last};
  };
  std::optional<array> partial, part_stats;
  if (split) {
    partial = array(part_shape(p.dv), float32, nullptr, {});
    part_stats = array(part_shape(2), float32, nullptr, {});
    allocate(*partial);
    allocate(*part_stats);
  }
  {
    Dispatch d(s,
               instantiated("attention_vector", "attention_vector", arguments(out.dtype(), per), constants));
    d.in(c.q).in(c.k).in(c.v);
    split ? d.skip().out(*part_stats) : d.out(out).out(stats);
    d.value(p);
    c.bind_masks(d);
    if (split) d.out(*partial);
    d.groups({static_cast<uint32_t>(groups / batch), count, static_cast<uint32_t>(batch)}, {256, 1, 1});
  }
  if (!split) return;
  Dispatch d(s, instantiated("attention_vector", "attention_join", type_name(out.dtype()), constants));
  d.in(*partial).in(*part_stats).out(out).out(stats).value(p);
  if (c.sinks) d.in(*c.sinks);
  d.groups({static_cast<uint32_t>(out.size() / static_cast<size_t>(p.dv)), 1, 1}, {32, 1, 1});
}

void forward(const ScaledDotProductAttention& a, const Arrays& inputs, Arrays& outputs) {
  allocate(outputs[0]);
  allocate(outputs[1]);
  const Stream s = a.stream();
  const Call c = call_of(a.p, inputs, s);
  if (c.p.lq <= kFewQueries) return decode(c, outputs[0], outputs[1], s);
  prefill(c, outputs[0], outputs[1], s);
}

bool fits(const Primitive& p, const Arrays& inputs, const Arrays& outputs) {
  const int head = std::max(inputs[0].shape(3), inputs[2].shape(3));
  return real_only(p, inputs, outputs) && outputs[0].size() > 0 && inputs[1].size() > 0 &&
         head <= (inputs[0].shape(2) <= kFewQueries ? 256 : 128);
}

// As in attention_backward.metal.
struct BackwardParams {
  float scale;
  int32_t unused;
  int64_t o[4], dout[4];
};

void backward(const ScaledDotProductAttentionGradient& a, const Arrays& inputs, Arrays& outputs) {
  for (array& out : outputs) allocate(out);
  const Stream s = a.stream();
  const size_t n = a.p.inputs();
  Call c = call_of(a.p, inputs, s);
  const array o = with_lines(inputs[n], s), stats = row_contiguous(inputs[n + 1], s),
              dout = with_lines(inputs[n + 2], s);
  BackwardParams b{static_cast<float>(a.p.scale), 0, {}, {}};
  set_strides(b.o, o), set_strides(b.dout, dout);
  c.constants[0].value = std::get<bool>(c.constants[0].value) && is_aligned(o) && is_aligned(dout);
  c.constants[4].value = false;  // what sinks do is in the sums of rows
  array delta({o.shape(0), o.shape(1), o.shape(2)}, float32, nullptr, {});
  allocate(delta);
  const std::string of = arguments(o.dtype(), padded_head(std::max(c.p.d, c.p.dv)));
  const auto bind = [&](Dispatch& d) -> Dispatch& {
    d.in(c.q).in(c.k).in(c.v).in(o).in(dout).value(c.p);
    c.allowed() ? d.in(*c.mask) : d.skip();
    c.mask && !c.allowed() ? d.in(*c.mask) : d.skip();
    return d.value(b).in(stats);
  };
  const auto batch = static_cast<uint32_t>(c.q.shape(0));
  {
    Dispatch d(s, instantiated("attention_backward", "attention_dq", of, c.constants));
    bind(d).out(delta).out(outputs[0]);
    d.groups({ceil_div(static_cast<size_t>(c.p.lq), 32), static_cast<uint32_t>(c.p.heads), batch},
             {128, 1, 1});
  }
  Dispatch d(s, instantiated("attention_backward", "attention_dkv", of, c.constants));
  bind(d).in(delta).out(outputs[1]).out(outputs[2]);
  d.groups({ceil_div(static_cast<size_t>(c.p.lk), 32), static_cast<uint32_t>(c.p.kv_heads), batch},
           {128, 1, 1});
}

bool gradient_fits(const Primitive& p, const Arrays& inputs, const Arrays& outputs) {
  return real_only(p, inputs, outputs) && inputs[0].size() > 0 && inputs[1].size() > 0 &&
         inputs[2].size() > 0 && std::max(inputs[0].shape(3), inputs[2].shape(3)) <= 128;
}

const bool registered = add_kernel<ScaledDotProductAttention>(forward, fits) &&
                        add_kernel<ScaledDotProductAttentionGradient>(backward, gradient_fits);

}  // namespace
}  // namespace mlx::core::metal

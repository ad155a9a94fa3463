#include "mlx/ops/creation.h"

#include <cstring>

#include "metal/host/elementwise.h"
#include "metal/host/indices.h"
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
  if (out.size() == 0) return;
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
  return real_only(p, inputs, outputs) && outputs[0].size() < (1 << 24) &&
         (!issubdtype(a.dtype, floating) || (std::abs(a.start) < 1e30 && std::abs(a.step) < 1e30));
}

void linspace(const Linspace& p, const Arrays&, Arrays& outputs) {
  array& out = outputs[0];
  allocate(out);
  const double step = (p.stop - p.start) / p.intervals;
  if (!issubdtype(p.dtype, floating)) {
    // Truncated doubles, which the device does not have: the host writes them.
    dispatch_all(p.dtype, [&]<class T>() {
      T* data = out.data<T>();
      const auto n = static_cast<int64_t>(out.size());
      for (int64_t i = 0; i < n; ++i)
        data[i] = cast_to<T>(i == p.intervals ? p.stop : p.start + static_cast<double>(i) * step);
    });
    return;
  }
  if (out.size() == 0) return;
  Dispatch d(p.stream(), typed_pipeline("creation", p.dtype, "linspace"));
  d.out(out).value(pair_of(p.start)).value(pair_of(step)).value(static_cast<float>(p.stop));
  d.value(static_cast<uint32_t>(p.intervals));
  const Line l = line(out.size());
  d.threads(l.threads, l.per_group);
}
bool linspace_supports(const Primitive& p, const Arrays&, const Arrays& outputs) {
  const auto& l = static_cast<const Linspace&>(p);
  return l.dtype != float64 && l.dtype != complex64 && outputs[0].size() < (1 << 24) &&
         (!issubdtype(l.dtype, floating) || (std::abs(l.start) < 1e30 && std::abs(l.stop) < 1e30));
}

void eye(const Eye& p, const Arrays&, Arrays& outputs) {
  array& out = outputs[0];
  allocate(out);
  if (out.size() == 0) return;
  const auto columns = static_cast<uint32_t>(p.shape[1]);
  uint64_t one = 0;
  dispatch_all(p.dtype, [&]<class T>() {
    const T value = cast_to<T>(1);
    std::memcpy(&one, &value, sizeof value);
  });
  Dispatch d(p.stream(), typed_pipeline("creation", bits_of(p.dtype), "eye"));
  d.out(out).value(columns).value(static_cast<int32_t>(p.k)).value(one);
  const Plane all = plane(columns, static_cast<size_t>(p.shape[0]));
  d.threads(all.threads, all.per_group);
}

void random_bits(const RandomBits& p, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  allocate(out);
  const array keys = row_contiguous(inputs[0], p.stream());
  const auto count = static_cast<uint32_t>(keys.size() / 2);
  if (count == 0 || out.size() == 0) return;
  const size_t bytes = out.nbytes() / count;
  const uint32_t words = ceil_div(bytes, 4), x = words / 2 + words % 2;
  const auto draw = [&](const array& to) {
    Dispatch d(p.stream(), pipeline("random", "bits"));
    d.in(keys).out(to).value(words);
    d.threads({x, count, 1}, {std::min<uint32_t>(x, 256), 1, 1});
  };
  if (bytes % 4 == 0) return draw(out);
  // The last word of each key's is cut off.
  const auto rows = static_cast<ShapeElem>(count), width = static_cast<ShapeElem>(bytes);
  array whole({rows, static_cast<ShapeElem>(4 * words)}, uint8, nullptr, {});
  allocate(whole);
  draw(whole);
  array from({rows, width}, uint8, nullptr, {}), to({rows, width}, uint8, nullptr, {});
  from.copy_shared_buffer(whole, whole.strides(), {false, false, false}, whole.size());
  to.copy_shared_buffer(out, {width, 1}, {true, true, rows == 1}, out.nbytes());
  copy_into(from, to, p.stream());
}
bool random_supports(const Primitive& p, const Arrays& inputs, const Arrays&) {
  const auto& r = static_cast<const RandomBits&>(p);
  const size_t bytes = elements(r.shape) * static_cast<size_t>(r.width);
  return inputs[0].size() < (size_t{1} << 32) && bytes < (size_t{1} << 31);
}

const bool registered = add_kernel<Arange>(arange, arange_supports) &&
                        add_kernel<Linspace>(linspace, linspace_supports) && add_kernel<Eye>(eye, anything) &&
                        add_kernel<RandomBits>(random_bits, random_supports);

}  // namespace
}  // namespace mlx::core::metal

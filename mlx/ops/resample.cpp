// fast::resample. Cubic convolution: R. Keys, "Cubic convolution interpolation for digital image processing",
// doi:10.1109/TASSP.1981.1163711.
#include "mlx/ops/resample.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "mlx/fast.h"
#include "mlx/graph/kernels.h"
#include "mlx/graph/primitive_table.h"
#include "mlx/ops.h"

namespace mlx::core {
namespace {

constexpr const char* kName = "resample";

double triangle(double x) { return std::max(1 - std::abs(x), 0.0); }
double cubic(double x, double a) {
  x = std::abs(x);
  if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? ((x - 5) * x + 8) * x * a - 4 * a : 0;
}

struct Tap {
  int64_t index;
  double weight;
};
// Of one element after the other: those of element i end at ends[i].
struct Taps {
  std::vector<Tap> all;
  std::vector<size_t> ends;

  std::span<const Tap> of(size_t i) const {
    const size_t begin = i ? ends[i - 1] : 0;
    return {all.data() + begin, ends[i] - begin};
  }
};

// The taps of every element; an index outside means the nearest end.
Taps taps_of(const Resample& p) {
  const double size = p.size, count = p.count;
  // The grid of the result is centered: where scale * size is no whole number, what is lost is lost at both
  // ends.
  const double start = ((count - 1) / p.scale - (size - 1)) / 2;
  const double step = count > 1 ? (size - 1) / (count - 1) : 0;
  Taps out;
  out.ends.reserve(static_cast<size_t>(p.count));
  if (!p.antialias) out.all.reserve(static_cast<size_t>(p.count) * (p.kind == Interpolation::linear ? 2 : 4));
  const auto add = [&](int64_t index, double weight) {
    out.all.push_back({std::clamp<int64_t>(index, 0, p.size - 1), weight});
  };
  for (int i = 0; i < p.count; ++i, out.ends.push_back(out.all.size())) {
    double position = p.align_corners ? i * step : i / p.scale - start;
    if (p.antialias) {  // the kernel stretched over 1 / scale elements, so that none is skipped
      const double stretch = std::max(1 / p.scale, 1.0);
      const double radius = (p.kind == Interpolation::linear ? 1 : 2) * stretch;
      const auto first = static_cast<int64_t>(std::floor(position - radius)) - 1;
      const size_t begin = out.all.size();
      double total = 0;
      for (int64_t j = std::max<int64_t>(first, 0);
           j < p.size && static_cast<double>(j) <= position + radius + 1; ++j) {
        const double at = (static_cast<double>(j) - position) / stretch;
        add(j, p.kind == Interpolation::linear ? triangle(at) : cubic(at, -0.5));
        total += out.all.back().weight;
      }
      for (size_t k = begin; k < out.all.size(); ++k) out.all[k].weight /= total;
      continue;
    }
    if (p.kind == Interpolation::linear) position = std::clamp(position, 0.0, size - 1);
    const auto low = static_cast<int64_t>(std::floor(position));
    if (p.kind == Interpolation::linear) {
      const double part = position - static_cast<double>(low);
      add(low, 1 - part);
      add(low + 1, part);
    } else {
      for (int64_t j = low - 1; j < low + 3; ++j) add(j, cubic(static_cast<double>(j) - position, -0.75));
    }
  }
  return out;
}

Taps turned(const Taps& taps, int size) {
  Taps out{std::vector<Tap>(taps.all.size()), std::vector<size_t>(static_cast<size_t>(size) + 1, 0)};
  for (const Tap& tap : taps.all) ++out.ends[static_cast<size_t>(tap.index) + 1];
  for (size_t j = 1; j < out.ends.size(); ++j) out.ends[j] += out.ends[j - 1];
  // Each is the begin of its element's so far, and moves to their end.
  for (size_t i = 0; i < taps.ends.size(); ++i)
    for (const Tap& tap : taps.of(i))
      out.all[out.ends[static_cast<size_t>(tap.index)]++] = {static_cast<int64_t>(i), tap.weight};
  out.ends.pop_back();
  return out;
}

Interpolation kind_of(const std::string& method) {
  if (method == "linear") return Interpolation::linear;
  if (method == "cubic") return Interpolation::cubic;
  throw invalid(kName, "got the method \"", method, "\", expected \"linear\" or \"cubic\"");
}

}  // namespace

Band Resample::band() const {
  const Taps taps = transposed ? turned(taps_of(*this), size) : taps_of(*this);
  // From the first to the last that counts; some are in between that do not.
  Band out;
  std::vector<std::pair<int64_t, int64_t>> spans;
  const size_t elements = taps.ends.size();
  spans.reserve(elements);
  out.first.reserve(elements);
  for (size_t i = 0; i < elements; ++i) {
    int64_t low = from(), high = 0;
    for (const Tap& tap : taps.of(i)) {
      if (tap.weight == 0) continue;
      low = std::min(low, tap.index);
      high = std::max(high, tap.index + 1);
    }
    if (high == 0) low = 0;
    spans.push_back({low, high});
    out.taps = std::max(out.taps, static_cast<int>(high - low));
  }
  out.weights.resize(elements * static_cast<size_t>(out.taps), 0.0);
  for (size_t i = 0; i < elements; ++i) {
    const int64_t first = std::min<int64_t>(spans[i].first, from() - out.taps);
    out.first.push_back(static_cast<int32_t>(first));
    for (const Tap& tap : taps.of(i))
      if (tap.weight != 0)
        out.weights[i * static_cast<size_t>(out.taps) + static_cast<size_t>(tap.index - first)] += tap.weight;
  }
  return out;
}

std::vector<Shape> Resample::output_shapes(const Arrays& inputs) {
  Shape shape = inputs[0].shape();
  shape[static_cast<size_t>(axis)] = to();
  return {shape};
}

array Resample::on(const array& x, int along, bool turn) const {
  Shape shape = x.shape();
  shape[static_cast<size_t>(along)] = turn ? size : count;
  return make<Resample>(shape, x.dtype(), stream(), {x}, along, size, count, scale, kind, align_corners,
                        antialias, turn);
}

Arrays Resample::vjp(const Arrays&, const Arrays& cotangents, const Axes&, const Arrays&) {
  return {on(cotangents[0], axis, !transposed)};
}
Arrays Resample::jvp(const Arrays&, const Arrays& tangents, const Axes&) {
  return {on(tangents[0], axis, transposed)};
}
Batched Resample::vmap(const Arrays& inputs, const Axes& axes) {
  return batch_leading(inputs, axes,
                       [&](const Arrays& in) { return Arrays{on(in[0], axis + 1, transposed)}; });
}

namespace fast {
namespace {

// The same by other operations, for devices that have no kernel (float64 is handed over).
array composed(const array& x, const Resample& p, StreamOrDevice s) {
  const Band band = p.band();
  Shape column(x.ndim(), 1);
  column[static_cast<size_t>(p.axis)] = p.to();
  array out = zeros_of(x);
  for (int k = 0; k < band.taps; ++k) {
    std::vector<int32_t> index;
    std::vector<double> weights;
    for (size_t i = 0; i < band.first.size(); ++i) {
      index.push_back(band.first[i] + k);
      weights.push_back(band.weights[i * static_cast<size_t>(band.taps) + static_cast<size_t>(k)]);
    }
    const array factors = astype(array(weights.begin(), column, float32), x.dtype(), s);
    const array part = multiply(take(x, array(index.begin(), {p.to()}, int32), p.axis, s), factors, s);
    out = k == 0 ? part : add(out, part, s);
  }
  return out;
}

}  // namespace

array resample(const array& x, int axis, int count, std::optional<double> scale, const std::string& method,
               bool align_corners, bool antialias, StreamOrDevice s) {
  const int at = checked_axis(kName, axis, x.shape());
  const Interpolation kind = kind_of(method);
  const int size = x.shape(at);
  if (count < 0 || (size == 0) != (count == 0))
    throw invalid(kName, "got ", count, " elements for axis ", axis, " of an array of shape ", x.shape(),
                  ", expected at least one from each that is not empty");
  if (antialias && align_corners)
    throw invalid(kName, "got antialias and align_corners, expected at most one of them");
  const double by = scale.value_or(size ? static_cast<double>(count) / size : 1.0);
  if (!(by > 0) || !std::isfinite(by)) throw invalid(kName, "got the scale ", by, ", expected it above 0");
  fix_size(kName, x, at);
  const Dtype dtype = promote_to_float(x.dtype());
  // 16 bits: sums in float32, rounded once.
  const bool half = dtype == float16 || dtype == bfloat16;
  const array in = astype(x, half ? float32 : dtype, s);
  Shape shape = x.shape();
  shape[static_cast<size_t>(at)] = count;
  const Stream stream = to_stream(s);
  if (in.size() > 0 && in.dtype() != float64 && !kernels(stream.device.type).find(typeid(Resample)))
    return astype(
        composed(in, Resample(stream, at, size, count, by, kind, align_corners, antialias, false), s), dtype,
        s);
  return astype(
      make<Resample>(shape, in.dtype(), s, {in}, at, size, count, by, kind, align_corners, antialias, false),
      dtype, s);
}

}  // namespace fast

namespace {
const bool kept_resample =
    primitive_table().add<Resample>("Resample", 1, [](const Resample& p, const Arrays& in) {
      const array& x = in[0];
      const bool known = x.dtype() == float32 || x.dtype() == float64 || x.dtype() == complex64;
      check_inputs(p,
                   known && p.axis >= 0 && p.axis < static_cast<int>(x.ndim()) &&
                       x.shape(p.axis) == p.from() && p.count >= 0 && (p.size == 0) == (p.count == 0) &&
                       p.scale > 0 && std::isfinite(p.scale) && !(p.antialias && p.align_corners),
                   in);
      Shape shape = x.shape();
      shape[static_cast<size_t>(p.axis)] = p.to();
      return Arrays{make<Resample>(shape, x.dtype(), p.stream(), {x}, p.axis, p.size, p.count, p.scale,
                                   p.kind, p.align_corners, p.antialias, p.transposed)};
    });
}  // namespace

}  // namespace mlx::core

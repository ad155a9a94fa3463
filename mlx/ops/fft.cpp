// The transforms of mlx/fft.h: one node per axis. Gradients are the adjoint maps: transforms again.
#include "mlx/ops/fft.h"

#include <cmath>

#include "mlx/fft.h"
#include "mlx/graph/primitive_table.h"
#include "mlx/ops.h"

namespace mlx::core::fft {
namespace {

array transformed(const array& a, Kind kind, int axis, int n, bool inverse, double scale, StreamOrDevice s) {
  Shape shape = a.shape();
  shape[axis] = kind == Kind::real_to_half ? n / 2 + 1 : n;
  return make<FFT>(std::move(shape), kind == Kind::half_to_real ? float32 : complex64, s, {a}, kind, axis, n,
                   inverse, scale);
}

// a, whose element k along the axis (of n / 2 + 1) is multiplied by `inner` unless it is its own mirror
// image.
array weigh_pairs(const array& a, int axis, int n, float inner, StreamOrDevice s) {
  std::vector<float> weights(n / 2 + 1, inner);
  weights.front() = 1;
  if (n % 2 == 0) weights.back() = 1;
  Shape shape(a.ndim() - axis, 1);
  shape[0] = n / 2 + 1;
  return multiply(a, array(weights.begin(), std::move(shape)), s);
}

}  // namespace

Arrays FFT::vjp(const Arrays&, const Arrays& cotangents, const Axes&, const Arrays&) {
  const array& g = cotangents[0];
  const StreamOrDevice s = stream();
  switch (kind) {
    case Kind::complex_to_complex:
      return {transformed(g, kind, axis, n, !inverse, scale, s)};
    case Kind::real_to_half:
      return {transformed(weigh_pairs(g, axis, n, 0.5f, s), Kind::half_to_real, axis, n, true, scale, s)};
    default:
      return {weigh_pairs(transformed(g, Kind::real_to_half, axis, n, false, scale, s), axis, n, 2, s)};
  }
}
Arrays FFT::jvp(const Arrays&, const Arrays& tangents, const Axes&) {
  return {transformed(tangents[0], kind, axis, n, inverse, scale, stream())};
}
Batched FFT::vmap(const Arrays& inputs, const Axes& at) {
  const int moved = at[0] >= 0 && at[0] <= axis ? axis + 1 : axis;
  return {{transformed(inputs[0], kind, moved, n, inverse, scale, stream())}, at};
}
std::vector<Shape> FFT::output_shapes(const Arrays& inputs) {
  Shape shape = inputs[0].shape();
  shape[axis] = kind == Kind::real_to_half ? n / 2 + 1 : n;
  return {shape};
}

namespace {

// Cut, or zeros after the end.
array fitted(array a, int axis, int n, StreamOrDevice s) {
  if (a.shape(axis) > n) {
    Shape start(a.ndim(), 0), stop(a.ndim(), kToEnd);
    stop[axis] = n;
    return slice(a, std::move(start), std::move(stop), s);
  }
  if (a.shape(axis) == n) return a;
  return pad(a, std::vector<int>{axis}, Shape{0}, Shape{n - a.shape(axis)}, like(a, 0), "constant", s);
}

array transform_axes(const char* op, const array& a, std::optional<Shape> n, const Axes& given, Kind kind,
                     bool inverse, FFTNorm norm, StreamOrDevice s) {
  if (n && n->size() != given.size())
    throw invalid(op, "got ", n->size(), " lengths for ", given.size(), " axes");
  Axes axes;
  for (int axis : given) axes.push_back(checked_axis(op, axis, a.shape()));
  checked_axes(op, axes, a.shape());
  if (axes.empty()) return a;
  for (int axis : axes) fix_size(op, a, axis);
  Shape lengths;
  for (size_t i = 0; i < axes.size(); ++i) {
    const bool half = kind == Kind::half_to_real && i + 1 == axes.size();
    lengths.push_back(n ? (*n)[i] : half ? 2 * (a.shape(axes[i]) - 1) : a.shape(axes[i]));
    if (lengths.back() <= 0)
      throw invalid(op, "a transform along axis ", given[i], " of length ", lengths.back(),
                    " of an array of shape ", a.shape());
  }
  array x = astype(a, kind == Kind::real_to_half ? float32 : complex64, s);
  for (size_t i = 0; i < axes.size(); ++i) {
    const bool half = kind == Kind::half_to_real && i + 1 == axes.size();
    x = fitted(std::move(x), axes[i], half ? lengths[i] / 2 + 1 : lengths[i], s);
  }
  const auto along = [&](size_t i, Kind k) {
    const double length = lengths[i];
    const double scale = norm == FFTNorm::Ortho                   ? 1 / std::sqrt(length)
                         : (norm == FFTNorm::Backward) == inverse ? 1 / length
                                                                  : 1.0;
    x = transformed(x, k, axes[i], lengths[i], inverse, scale, s);
  };
  // The axis of reals comes first, or last: the other ones are then half as long.
  const size_t last = axes.size() - 1;
  if (kind != Kind::half_to_real) along(last, kind);
  for (size_t i = 0; i < last; ++i) along(i, Kind::complex_to_complex);
  if (kind == Kind::half_to_real) along(last, kind);
  return x;
}

Axes axes_of(const char* op, const array& a) {
  if (a.ndim() == 0) throw invalid(op, "got an array without dimensions, expected at least one");
  return all_axes(a);
}
constexpr Kind kComplex = Kind::complex_to_complex, kReal = Kind::real_to_half, kHalf = Kind::half_to_real;

}  // namespace

array fftn(const array& a, const Shape& n, const Axes& axes, FFTNorm norm, StreamOrDevice s) {
  return transform_axes("fft.fftn", a, n, axes, kComplex, false, norm, s);
}
array fftn(const array& a, const Axes& axes, FFTNorm norm, StreamOrDevice s) {
  return transform_axes("fft.fftn", a, {}, axes, kComplex, false, norm, s);
}
array fftn(const array& a, FFTNorm norm, StreamOrDevice s) {
  return fftn(a, axes_of("fft.fftn", a), norm, s);
}
array ifftn(const array& a, const Shape& n, const Axes& axes, FFTNorm norm, StreamOrDevice s) {
  return transform_axes("fft.ifftn", a, n, axes, kComplex, true, norm, s);
}
array ifftn(const array& a, const Axes& axes, FFTNorm norm, StreamOrDevice s) {
  return transform_axes("fft.ifftn", a, {}, axes, kComplex, true, norm, s);
}
array ifftn(const array& a, FFTNorm norm, StreamOrDevice s) {
  return ifftn(a, axes_of("fft.ifftn", a), norm, s);
}
array rfftn(const array& a, const Shape& n, const Axes& axes, FFTNorm norm, StreamOrDevice s) {
  return transform_axes("fft.rfftn", a, n, axes, kReal, false, norm, s);
}
array rfftn(const array& a, const Axes& axes, FFTNorm norm, StreamOrDevice s) {
  return transform_axes("fft.rfftn", a, {}, axes, kReal, false, norm, s);
}
array rfftn(const array& a, FFTNorm norm, StreamOrDevice s) {
  return rfftn(a, axes_of("fft.rfftn", a), norm, s);
}
array irfftn(const array& a, const Shape& n, const Axes& axes, FFTNorm norm, StreamOrDevice s) {
  return transform_axes("fft.irfftn", a, n, axes, kHalf, true, norm, s);
}
array irfftn(const array& a, const Axes& axes, FFTNorm norm, StreamOrDevice s) {
  return transform_axes("fft.irfftn", a, {}, axes, kHalf, true, norm, s);
}
array irfftn(const array& a, FFTNorm norm, StreamOrDevice s) {
  return irfftn(a, axes_of("fft.irfftn", a), norm, s);
}

array fft2(const array& a, const Shape& n, const Axes& axes, FFTNorm norm, StreamOrDevice s) {
  return transform_axes("fft.fft2", a, n, axes, kComplex, false, norm, s);
}
array fft2(const array& a, const Axes& axes, FFTNorm norm, StreamOrDevice s) {
  return transform_axes("fft.fft2", a, {}, axes, kComplex, false, norm, s);
}
array ifft2(const array& a, const Shape& n, const Axes& axes, FFTNorm norm, StreamOrDevice s) {
  return transform_axes("fft.ifft2", a, n, axes, kComplex, true, norm, s);
}
array ifft2(const array& a, const Axes& axes, FFTNorm norm, StreamOrDevice s) {
  return transform_axes("fft.ifft2", a, {}, axes, kComplex, true, norm, s);
}
array rfft2(const array& a, const Shape& n, const Axes& axes, FFTNorm norm, StreamOrDevice s) {
  return transform_axes("fft.rfft2", a, n, axes, kReal, false, norm, s);
}
array rfft2(const array& a, const Axes& axes, FFTNorm norm, StreamOrDevice s) {
  return transform_axes("fft.rfft2", a, {}, axes, kReal, false, norm, s);
}
array irfft2(const array& a, const Shape& n, const Axes& axes, FFTNorm norm, StreamOrDevice s) {
  return transform_axes("fft.irfft2", a, n, axes, kHalf, true, norm, s);
}
array irfft2(const array& a, const Axes& axes, FFTNorm norm, StreamOrDevice s) {
  return transform_axes("fft.irfft2", a, {}, axes, kHalf, true, norm, s);
}

array fft(const array& a, int n, int axis, FFTNorm norm, StreamOrDevice s) {
  return transform_axes("fft.fft", a, Shape{n}, {axis}, kComplex, false, norm, s);
}
array fft(const array& a, int axis, FFTNorm norm, StreamOrDevice s) {
  return transform_axes("fft.fft", a, {}, {axis}, kComplex, false, norm, s);
}
array ifft(const array& a, int n, int axis, FFTNorm norm, StreamOrDevice s) {
  return transform_axes("fft.ifft", a, Shape{n}, {axis}, kComplex, true, norm, s);
}
array ifft(const array& a, int axis, FFTNorm norm, StreamOrDevice s) {
  return transform_axes("fft.ifft", a, {}, {axis}, kComplex, true, norm, s);
}
array rfft(const array& a, int n, int axis, FFTNorm norm, StreamOrDevice s) {
  return transform_axes("fft.rfft", a, Shape{n}, {axis}, kReal, false, norm, s);
}
array rfft(const array& a, int axis, FFTNorm norm, StreamOrDevice s) {
  return transform_axes("fft.rfft", a, {}, {axis}, kReal, false, norm, s);
}
array irfft(const array& a, int n, int axis, FFTNorm norm, StreamOrDevice s) {
  return transform_axes("fft.irfft", a, Shape{n}, {axis}, kHalf, true, norm, s);
}
array irfft(const array& a, int axis, FFTNorm norm, StreamOrDevice s) {
  return transform_axes("fft.irfft", a, {}, {axis}, kHalf, true, norm, s);
}

namespace {
const bool kept_fft = primitive_table().add<FFT>("FFT", 1, [](const FFT& p, const Arrays& in) {
  const array& a = in[0];
  const int axis = checked_axis("fft", p.axis, a.shape());
  const Dtype dtype = p.kind == Kind::real_to_half ? float32 : complex64;
  const int length = p.kind == Kind::half_to_real ? p.n / 2 + 1 : p.n;
  check_inputs(p, p.n > 0 && a.dtype() == dtype && a.shape(axis) == length, in);
  return Arrays{transformed(a, p.kind, axis, p.n, p.inverse, p.scale, p.stream())};
});
}  // namespace

}  // namespace mlx::core::fft

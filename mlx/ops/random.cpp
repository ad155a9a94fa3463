// Random numbers. Everything derives from uniform bits, bits from a key by Threefry-2x32 with 20 rounds
// (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011).
#include "mlx/ops/random.h"

#include <chrono>
#include <cmath>

#include "mlx/graph/primitive_table.h"
#include "mlx/linalg.h"
#include "mlx/ops.h"
#include "mlx/random.h"

namespace mlx::core {

std::vector<Shape> RandomBits::output_shapes(const Arrays& inputs) {
  Shape out = inputs[0].shape();
  out.pop_back();
  out.insert(out.end(), shape.begin(), shape.end());
  return {out};
}

namespace {
array bits_of(const array& keys, const Shape& shape, int width, const Stream& s) {
  static constexpr Dtype dtypes[] = {uint8, uint8, uint16, uint16, uint32};
  Shape out = keys.shape();
  out.pop_back();
  out.insert(out.end(), shape.begin(), shape.end());
  return make<RandomBits>(std::move(out), dtypes[width], s, {keys}, shape, width);
}
}  // namespace

Batched RandomBits::vmap(const Arrays& inputs, const Axes& axes) {
  return {{bits_of(batch_to_front(inputs[0], axes[0], 1), shape, width, stream())}, {0}};
}

namespace random {
namespace {

constexpr float kSqrt2 = 1.41421356237309504880f;

uint64_t seed_from_clock() {
  return static_cast<uint64_t>(std::chrono::system_clock::now().time_since_epoch().count());
}

array key_or_next(const std::optional<array>& key) { return key ? *key : KeySequence::default_().next(); }

void check_float(const char* op, Dtype dtype) {
  if (!issubdtype(dtype, floating) || dtype == float64)
    throw invalid(op, "got ", dtype, ", expected float32, float16 or bfloat16");
}

// Multiples of 2^-32 in [0, 1), rounded to `dtype`: what would round up to 1 is the largest number below
// instead.
array unit_uniform(const Shape& shape, Dtype dtype, const std::optional<array>& key, StreamOrDevice s) {
  check_float("uniform", dtype);
  const float below_one = dtype == float16 ? 0x1.ffcp-1f : dtype == bfloat16 ? 0x1.fep-1f : 0x1.fffffep-1f;
  const array scaled = multiply(astype(bits(shape, 4, key, s), float32, s), array(0x1p-32f), s);
  return astype(minimum(scaled, array(below_one), s), dtype, s);
}

// In (-1, 1): what erfinv and the inverse distribution functions of symmetric distributions start from.
array symmetric_uniform(const Shape& shape, Dtype dtype, const std::optional<array>& key, StreamOrDevice s) {
  const float above = dtype == float16 ? -0x1.ffcp-1f : dtype == bfloat16 ? -0x1.fep-1f : -0x1.fffffep-1f;
  return uniform(array(above, dtype), array(1.0f, dtype), shape, dtype, key, s);
}

}  // namespace

KeySequence::KeySequence(uint64_t seed) : key_(random::key(seed)) {}
void KeySequence::seed(uint64_t seed) {
  std::lock_guard lock(mutex_);
  key_ = random::key(seed);
}
array KeySequence::next() {
  std::lock_guard lock(mutex_);
  auto [next, used] = random::split(key_);
  key_ = next;
  return used;
}
KeySequence& KeySequence::default_() {
  static KeySequence sequence(seed_from_clock());
  return sequence;
}
array KeySequence::state() const {
  std::lock_guard lock(mutex_);
  return key_;
}
void KeySequence::set_state(array key) {
  std::lock_guard lock(mutex_);
  key_ = std::move(key);
}

array key(uint64_t seed) {
  return array({static_cast<uint32_t>(seed >> 32), static_cast<uint32_t>(seed)}, uint32);
}
void seed(uint64_t seed) { KeySequence::default_().seed(seed); }

array bits(const Shape& shape, int width, const std::optional<array>& key_, StreamOrDevice s) {
  const array key = key_or_next(key_);
  if (key.dtype() != uint32) throw invalid("bits", "got a key of ", key.dtype(), ", expected uint32");
  if (key.shape() != Shape{2}) throw invalid("bits", "got a key of shape ", key.shape(), ", expected (2)");
  if (width != 1 && width != 2 && width != 4)
    throw invalid("bits", "got a width of ", width, " bytes, expected 1, 2 or 4");
  return bits_of(key, shape, width, to_stream(s));
}

array split(const array& key, int num, StreamOrDevice s) { return bits({num, 2}, 4, key, s); }
std::pair<array, array> split(const array& key, StreamOrDevice s) {
  const array both = random::split(key, 2, s);
  return {squeeze(slice(both, {0, 0}, {1, 2}, s), 0, s), squeeze(slice(both, {1, 0}, {2, 2}, s), 0, s)};
}

array uniform(const array& low, const array& high, const Shape& shape, Dtype dtype,
              const std::optional<array>& key, StreamOrDevice s) {
  check_float("uniform", dtype);
  const array lo = astype(low, dtype, s), hi = astype(high, dtype, s);
  if (broadcast_shapes(broadcast_shapes(lo.shape(), hi.shape()), shape) != shape)
    throw invalid("uniform", "bounds of shapes ", lo.shape(), " and ", hi.shape(), " do not broadcast to ",
                  shape);
  return add(multiply(subtract(hi, lo, s), unit_uniform(shape, dtype, key, s), s), lo, s);
}
array uniform(const Shape& shape, Dtype dtype, const std::optional<array>& key, StreamOrDevice s) {
  return unit_uniform(shape, dtype, key, s);
}
array uniform(const Shape& shape, const std::optional<array>& key, StreamOrDevice s) {
  return unit_uniform(shape, float32, key, s);
}

array normal(const Shape& shape, Dtype dtype, const std::optional<array>& loc,
             const std::optional<array>& scale, const std::optional<array>& key, StreamOrDevice s) {
  if (dtype == complex64) {  // real and imaginary part with half the variance each
    Shape pairs = shape;
    pairs.push_back(2);
    array parts = multiply(normal(pairs, float32, std::nullopt, std::nullopt, key, s), array(1 / kSqrt2), s);
    array z = squeeze(view(parts, complex64, s), -1, s);
    if (scale) z = multiply(*scale, z, s);
    return loc ? add(*loc, z, s) : z;
  }
  check_float("normal", dtype);
  // float32 inside: the tails of a half-precision uniform would be cut off.
  array z =
      astype(multiply(array(kSqrt2), erfinv(symmetric_uniform(shape, float32, key, s), s), s), dtype, s);
  if (scale) z = multiply(astype(*scale, dtype, s), z, s);
  if (loc) z = add(astype(*loc, dtype, s), z, s);
  if (z.shape() != shape)
    throw invalid("normal", "loc and scale broadcast to ", z.shape(), ", expected ", shape);
  return z;
}
array normal(const Shape& shape, Dtype dtype, const float loc, const float scale,
             const std::optional<array>& key, StreamOrDevice s) {
  const auto unless = [&](float value, float neutral) {
    return value == neutral ? std::nullopt : std::optional(array(value, dtype));
  };
  return normal(shape, dtype, unless(loc, 0.0f), unless(scale, 1.0f), key, s);
}
array normal(const Shape& shape, const float loc, const float scale, const std::optional<array>& key,
             StreamOrDevice s) {
  return normal(shape, float32, loc, scale, key, s);
}
array normal(const Shape& shape, const Dtype dtype, const std::optional<array>& key, StreamOrDevice s) {
  return normal(shape, dtype, 0.0f, 1.0f, key, s);
}
array normal(const Shape& shape, const std::optional<array>& key, StreamOrDevice s) {
  return normal(shape, float32, 0.0f, 1.0f, key, s);
}

array randint(const array& low, const array& high, const Shape& shape, Dtype dtype,
              const std::optional<array>& key, StreamOrDevice s) {
  if (!issubdtype(dtype, integer) && dtype != bool_)
    throw invalid("randint", "got ", dtype, ", expected an integer dtype or bool");
  const array x = astype(floor(uniform(low, high, shape, float32, key, s), s), dtype, s);
  if (dtype == bool_) return x;
  // float32 rounds wide ranges, to bounds outside of the integers asked for too.
  const array last = subtract(astype(high, dtype, s), array(1, dtype), s);
  return maximum(minimum(x, last, s), astype(low, dtype, s), s);
}

array bernoulli(const array& p, const Shape& shape, const std::optional<array>& key, StreamOrDevice s) {
  if (!issubdtype(p.dtype(), floating))
    throw invalid("bernoulli", "got p of ", p.dtype(), ", expected a float dtype");
  if (broadcast_shapes(p.shape(), shape) != shape)
    throw invalid("bernoulli", "p of shape ", p.shape(), " does not broadcast to ", shape);
  return less(uniform(shape, float32, key, s), p, s);
}
array bernoulli(const array& p, const std::optional<array>& key, StreamOrDevice s) {
  return bernoulli(p, p.shape(), key, s);
}
array bernoulli(const std::optional<array>& key, StreamOrDevice s) { return bernoulli(array(0.5f), key, s); }

array truncated_normal(const array& lower, const array& upper, const Shape& shape, Dtype dtype,
                       const std::optional<array>& key, StreamOrDevice s) {
  check_float("truncated_normal", dtype);
  const array root(kSqrt2, dtype), lo = astype(lower, dtype, s), hi = astype(upper, dtype, s);
  const array u = uniform(erf(divide(lo, root, s), s), erf(divide(hi, root, s), s), shape, dtype, key, s);
  return clip(multiply(root, erfinv(u, s), s), lo, hi, s);
}
array truncated_normal(const array& lower, const array& upper, Dtype dtype, const std::optional<array>& key,
                       StreamOrDevice s) {
  return truncated_normal(lower, upper, broadcast_shapes(lower.shape(), upper.shape()), dtype, key, s);
}

// -log(-log(u))
array gumbel(const Shape& shape, Dtype dtype, const std::optional<array>& key, StreamOrDevice s) {
  check_float("gumbel", dtype);
  return astype(negative(log(negative(log(uniform(shape, float32, key, s), s), s), s), s), dtype, s);
}

namespace {

// The Gumbel-max trick: argmax(logits + noise) is distributed as softmax(logits).
array gumbel_max(const array& logits, int axis, const Shape& noise_shape, const std::optional<array>& key,
                 StreamOrDevice s) {
  const array noise = gumbel(noise_shape, float32, key, s);
  return argmax(add(logits, noise, s), axis, false, s);
}

// All logits are one distribution: a single number per sample, looked up in the cumulative sums, replaces
// one per sample and class. A class of probability 0 is never found, as it adds nothing to the sums. The
// largest logits weigh 1 even where they are infinite, and all are equal where all are -inf.
array inverse_cumulative(const array& logits, const Shape& shape, const std::optional<array>& key,
                         StreamOrDevice s) {
  fix_sizes("categorical", logits);
  const array x = astype(flatten(logits, s), float32, s);
  const array top = max(x, s);
  const array weights = exp(where(equal(x, top, s), array(0.0f), subtract(x, top, s), s), s);
  const array sums = cumsum(weights, 0, false, true, s);
  const array u = multiply(uniform(shape, float32, key, s), take(sums, -1, 0, s), s);
  return astype(sum(less_equal(sums, expand_dims(u, -1, s), s), -1, false, s), uint32, s);
}

array categorical_of(const array& logits, int axis, const Shape& shape, const Shape& noise_shape,
                     const std::optional<array>& key, StreamOrDevice s) {
  fix_sizes("categorical", logits);
  const bool one = logits.size() > 0 && logits.size() == static_cast<size_t>(logits.shape(axis));
  return one && !shape.empty() ? inverse_cumulative(logits, shape, key, s)
                               : gumbel_max(logits, axis, noise_shape, key, s);
}

}  // namespace

array categorical(const array& logits, int axis_, const Shape& shape, const std::optional<array>& key,
                  StreamOrDevice s) {
  const int axis = checked_axis("categorical", axis_, logits.shape());
  Shape without = logits.shape();
  without.erase(without.begin() + axis);
  bool fits = shape.size() >= without.size();
  for (size_t i = 0; fits && i < without.size(); ++i) {
    const ShapeElem d = without[without.size() - 1 - i];
    fits = d == 1 || shape[shape.size() - 1 - i] == d;
  }
  if (!fits)
    throw invalid("categorical", "got the shape ", shape, ", expected one to which ", without,
                  " (the logits without axis ", axis, ") broadcasts");
  // Counted from the end, as the axis lies behind whatever `shape` has in front.
  const int from_end = axis - static_cast<int>(logits.ndim());
  Shape noise_shape = shape;
  noise_shape.insert(noise_shape.end() + (from_end + 1), logits.shape(axis));
  return categorical_of(logits, from_end, shape, noise_shape, key, s);
}
array categorical(const array& logits, int axis_, int num_samples, const std::optional<array>& key,
                  StreamOrDevice s) {
  const int axis = checked_axis("categorical", axis_, logits.shape());
  Shape noise_shape = logits.shape();
  noise_shape.push_back(num_samples);
  Shape shape = noise_shape;
  shape.erase(shape.begin() + axis);
  return categorical_of(expand_dims(logits, -1, s), axis, shape, noise_shape, key, s);
}
array categorical(const array& logits, int axis_, const std::optional<array>& key, StreamOrDevice s) {
  const int axis = checked_axis("categorical", axis_, logits.shape());
  Shape shape = logits.shape();
  shape.erase(shape.begin() + axis);
  return categorical_of(logits, axis, shape, logits.shape(), key, s);
}

// z S + mean for standard normal z, where S is the symmetric square root of cov.
array multivariate_normal(const array& mean, const array& cov, const Shape& shape, Dtype dtype,
                          const std::optional<array>& key, StreamOrDevice s) {
  constexpr const char* kName = "multivariate_normal";
  if (dtype != float32) throw invalid(kName, "got ", dtype, ", expected float32");
  if (mean.ndim() < 1) throw invalid(kName, "got a mean without dimensions, expected at least one");
  if (cov.ndim() < 2)
    throw invalid(kName, "got a cov with ", cov.ndim(), " dimensions, expected at least two");
  const int n = mean.shape(-1);
  if (cov.shape(-1) != n || cov.shape(-2) != n)
    throw invalid(kName, "got a mean of shape ", mean.shape(), " and a cov of shape ", cov.shape(),
                  ", expected (..., n) and (..., n, n)");
  const Shape means(mean.shape().begin(), mean.shape().end() - 1),
      covs(cov.shape().begin(), cov.shape().end() - 2);
  const Shape batch = broadcast_shapes(means, covs);
  Shape out = shape.empty() ? batch : shape;
  if (broadcast_shapes(batch, out) != out)
    throw invalid(kName, "mean and cov have the leading axes ", batch, ", which do not broadcast to ", shape);
  out.push_back(n);
  const array z = normal(out, float32, std::nullopt, std::nullopt, key, s);
  const auto [w, v] = linalg::eigh(astype(cov, float32, s), "L", s);
  // Rounding may have left an eigenvalue of 0 below it.
  const array roots = expand_dims(sqrt(maximum(w, zeros_like(w, s), s), s), -2, s);
  const array root = matmul(multiply(v, roots, s), matrix_transpose(v, s), s);
  const array x = covs.empty() ? matmul(z, root, s) : squeeze(matmul(expand_dims(z, -2, s), root, s), -2, s);
  return add(x, astype(mean, float32, s), s);
}

array laplace(const Shape& shape, Dtype dtype, const float loc, const float scale,
              const std::optional<array>& key, StreamOrDevice s) {
  check_float("laplace", dtype);
  const array u = symmetric_uniform(shape, float32, key, s);
  array x = multiply(sign(u, s), log1p(negative(abs(u, s), s), s), s);
  if (scale != 1.0f) x = multiply(x, array(scale), s);
  if (loc != 0.0f) x = add(x, array(loc), s);
  return astype(x, dtype, s);
}
array laplace(const Shape& shape, const float loc, const float scale, const std::optional<array>& key,
              StreamOrDevice s) {
  return laplace(shape, float32, loc, scale, key, s);
}
array laplace(const Shape& shape, const Dtype dtype, const std::optional<array>& key, StreamOrDevice s) {
  return laplace(shape, dtype, 0.0f, 1.0f, key, s);
}
array laplace(const Shape& shape, const std::optional<array>& key, StreamOrDevice s) {
  return laplace(shape, float32, 0.0f, 1.0f, key, s);
}

array permutation(int x, const std::optional<array>& key, StreamOrDevice s) {
  if (x < 0) throw invalid("permutation", "got the length ", x, ", expected 0 or more");
  return argsort(bits({x}, 4, key, s), 0, s);
}
array permutation(const array& x, int axis, const std::optional<array>& key, StreamOrDevice s) {
  fix_sizes("permutation", x);
  const int at = checked_axis("permutation", axis, x.shape());
  return take(x, permutation(x.shape(at), key, s), at, s);
}

}  // namespace random

namespace {
const bool kept_random =
    primitive_table().add<RandomBits>("RandomBits", 1, [](const RandomBits& p, const Arrays& in) {
      const array& keys = in[0];
      check_inputs(p,
                   keys.dtype() == uint32 && keys.ndim() > 0 && keys.shape(-1) == 2 &&
                       (p.width == 1 || p.width == 2 || p.width == 4),
                   in);
      return Arrays{bits_of(keys, p.shape, p.width, p.stream())};
    });
}  // namespace

}  // namespace mlx::core

// Element-wise functions. Each is a row of the table in mlx/graph/elementwise*.h; here are the node, the
// rules that all of them share, and the public functions by name.
#include "mlx/ops/elementwise.h"

#include <array>
#include <cmath>

#include "mlx/graph/primitive_table.h"
#include "mlx/ops.h"
#include "mlx/special.h"

namespace mlx::core {

using elementwise::OpInfo;

// The rows' derivatives find these by argument-dependent lookup.
array select(const array& condition, const array& a, const array& b) {
  return elementwise_op(elementwise::op_of<elementwise::Select>, condition, a, b);
}
array nan_equal(const array& a, const array& b) { return op<elementwise::NanEqual>(a, b); }

namespace {

Stream stream_of(const StreamOrDevice& s) { return to_stream(s); }

// One primitive per opcode serves every node on the first stream of a device: it has no state.
const std::shared_ptr<Primitive>& shared_primitive(uint8_t op, Device::DeviceType kind) {
  static const auto table = [] {
    std::array<std::array<std::shared_ptr<Primitive>, elementwise::kOps>, 2> all;
    for (const auto device : {Device::cpu, Device::gpu})
      for (int i = 0; i < elementwise::kOps; ++i)
        all[static_cast<size_t>(device)][static_cast<size_t>(i)] =
            std::make_shared<Elementwise>(Stream(static_cast<int>(device), device), static_cast<uint8_t>(i));
    return all;
  }();
  return table[static_cast<size_t>(kind)][op];
}

std::shared_ptr<Primitive> primitive_for(uint8_t op, const Stream& s) {
  if (s.index == static_cast<int>(s.device.type)) return shared_primitive(op, s.device.type);
  return std::make_shared<Elementwise>(s, op);
}

Dtype operand_dtype(const OpInfo& info, Dtype common) {
  if (info.promotes_to_float) common = promote_to_float(common);
  if (common == bool_ && info.accepts == elementwise::integers) common = uint8;
  if (!elementwise::contains(info.accepts, common.val()))
    throw invalid(info.name, "got ", common, ", which it is not defined for");
  return common;
}

array cast(const array& a, Dtype dtype, const StreamOrDevice& s) {
  return a.dtype() == dtype ? a : astype(a, dtype, s);
}

Shape common_shape(const OpInfo& info, const Shape& a, const Shape& b) {
  if (a == b || b.empty()) return a;
  if (a.empty()) return b;
  try {
    return broadcast_shapes(a, b);
  } catch (const std::invalid_argument&) {
    throw invalid(info.name, "shapes ", a, " and ", b, " cannot be broadcast");
  }
}

}  // namespace

array elementwise_op(uint8_t op, const array& a, StreamOrDevice s) {
  const OpInfo& info = elementwise::op_info[op];
  const Dtype dtype = operand_dtype(info, a.dtype());
  return array(a.shape(), info.result_dtype(dtype), primitive_for(op, stream_of(s)), {cast(a, dtype, s)});
}

array elementwise_op(uint8_t op, const array& a, const array& b, StreamOrDevice s) {
  const OpInfo& info = elementwise::op_info[op];
  const Dtype dtype = operand_dtype(info, promote_types(a.dtype(), b.dtype()));
  return array(common_shape(info, a.shape(), b.shape()), info.result_dtype(dtype),
               primitive_for(op, stream_of(s)), {cast(a, dtype, s), cast(b, dtype, s)});
}

array elementwise_op(uint8_t op, const array& a, const array& b, const array& c, StreamOrDevice s) {
  const OpInfo& info = elementwise::op_info[op];
  const bool first_is_value = op != elementwise::op_of<elementwise::Select>;
  Dtype dtype = promote_types(b.dtype(), c.dtype());
  if (first_is_value) dtype = promote_types(dtype, a.dtype());
  dtype = operand_dtype(info, dtype);
  Shape shape = common_shape(info, common_shape(info, a.shape(), b.shape()), c.shape());
  return array(std::move(shape), info.result_dtype(dtype), primitive_for(op, stream_of(s)),
               {cast(a, first_is_value ? dtype : bool_, s), cast(b, dtype, s), cast(c, dtype, s)});
}

array sum_to_shape(const array& g, const Shape& shape, StreamOrDevice s) {
  if (g.shape() == shape) return g;
  const size_t lead = g.ndim() - shape.size();
  Axes axes;
  for (size_t i = 0; i < g.ndim(); ++i)
    if (i < lead || (shape[i - lead] == 1 && g.shape(static_cast<int>(i)) != 1))
      axes.push_back(static_cast<int>(i));
  Axes leading(lead);
  for (size_t i = 0; i < lead; ++i) leading[i] = static_cast<int>(i);
  return squeeze(axes.empty() ? g : sum(g, axes, true, s), leading, s);
}

// --- rules ---

namespace {

// The derivative by operand `arg` times t. The row's formula, called with as many operands as the row has.
template <class R, int arg>
array tangent_of(const array& t, const Arrays& in, const array& y) {
  if constexpr (R::arity == 1) {
    return R::tangent(t, in[0], y);
  } else if constexpr (R::arity == 2) {
    if constexpr (arg == 0) {
      return R::tangent0(t, in[0], in[1], y);
    } else {
      return R::tangent1(t, in[0], in[1], y);
    }
  } else if constexpr (arg == 0) {
    return R::tangent0(t, in[0], in[1], in[2], y);
  } else if constexpr (arg == 1) {
    return R::tangent1(t, in[0], in[1], in[2], y);
  } else {
    return R::tangent2(t, in[0], in[1], in[2], y);
  }
}

using Tangent = array (*)(const array&, const Arrays&, const array&);

struct RowRules {
  std::array<Tangent, 3> tangent{};  // null: the derivative by that operand is zero
  Tangent vjp = nullptr;             // of rows that are not holomorphic
};

template <class R, int arg>
constexpr Tangent tangent_or_null() {
  if constexpr (R::flat || arg >= R::arity || ((R::flat_operands >> arg) & 1) != 0) {
    return nullptr;
  } else {
    return tangent_of<R, arg>;
  }
}

template <class R>
RowRules rules_of() {
  RowRules rules{{tangent_or_null<R, 0>(), tangent_or_null<R, 1>(), tangent_or_null<R, 2>()}, nullptr};
  if constexpr (!R::holomorphic && R::arity == 1 && !R::flat)
    rules.vjp = [](const array& g, const Arrays& in, const array& y) { return R::vjp(g, in[0], y); };
  return rules;
}

const RowRules& rules(int opcode) {
  static const auto table = [] {
    std::vector<RowRules> all;
    elementwise::for_each_row([&]<class R>() { all.push_back(rules_of<R>()); });
    return all;
  }();
  return table[static_cast<size_t>(opcode)];
}

bool zero_derivative(const OpInfo& info, const RowRules& rule, const array& operand, int arg) {
  return !rule.tangent[static_cast<size_t>(arg)] || (info.flat_on_reals && operand.dtype() != complex64) ||
         !issubdtype(operand.dtype(), inexact);
}

}  // namespace

Arrays Elementwise::vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
                        const Arrays& outputs) {
  StreamContext context(stream());
  const RowRules& rule = rules(opcode_);
  Arrays grads;
  for (int arg : argnums) {
    const array& x = primals[static_cast<size_t>(arg)];
    if (zero_derivative(info(), rule, x, arg)) {
      grads.push_back(zeros_of(x));
      continue;
    }
    // The sum of -g is minus the sum, of fewer elements.
    const bool sum_first = info().name == elementwise::Subtract::name && x.dtype() != complex64;
    const array g = sum_first ? sum_to_shape(cotangents[0], x.shape()) : cotangents[0];
    const Tangent tangent = rule.tangent[static_cast<size_t>(arg)];
    array grad = rule.vjp                 ? rule.vjp(g, primals, outputs[0])
                 : g.dtype() == complex64 ? conjugate(tangent(conjugate(g), primals, outputs[0]))
                                          : tangent(g, primals, outputs[0]);
    grads.push_back(sum_to_shape(grad, x.shape()));
  }
  return grads;
}

Arrays Elementwise::jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) {
  StreamContext context(stream());
  const RowRules& rule = rules(opcode_);
  const Shape shape = output_shapes(primals)[0];
  const size_t values = info().arity == 3 && rule.tangent[0] == nullptr ? 1 : 0;
  const Dtype dtype = info().result_dtype(primals[values].dtype());
  std::optional<array> y, total;
  for (size_t i = 0; i < argnums.size(); ++i) {
    const int arg = argnums[i];
    if (zero_derivative(info(), rule, primals[static_cast<size_t>(arg)], arg)) continue;
    if (!y) y = array(shape, dtype, primitive_for(static_cast<uint8_t>(opcode_), stream()), primals);
    array t = rule.tangent[static_cast<size_t>(arg)](tangents[i], primals, *y);
    total = total ? add(*total, t) : t;
  }
  if (!total) return {zeros(shape, dtype)};
  return {total->shape() == shape ? *total : broadcast_to(*total, shape)};
}

Batched Elementwise::vmap(const Arrays& inputs, const Axes& axes) {
  StreamContext context(stream());
  // Ranks without the batch axis; batched operands get as many leading ones as the largest has, behind the
  // batch axis.
  size_t rank = 0;
  for (size_t i = 0; i < inputs.size(); ++i) rank = std::max(rank, inputs[i].ndim() - (axes[i] >= 0 ? 1 : 0));
  Arrays in;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (axes[i] < 0) {
      in.push_back(inputs[i]);
      continue;
    }
    array a = axes[i] == 0 ? inputs[i] : moveaxis(inputs[i], axes[i], 0);
    if (a.ndim() - 1 < rank) {
      Shape shape(rank + 1, 1);
      shape[0] = a.shape(0);
      std::copy(a.shape().begin() + 1, a.shape().end(),
                shape.end() - static_cast<std::ptrdiff_t>(a.ndim() - 1));
      a = reshape(a, shape);
    }
    in.push_back(std::move(a));
  }
  const size_t values = opcode_ == elementwise::op_of<elementwise::Select> ? 1 : 0;
  const Dtype dtype = info().result_dtype(in[values].dtype());
  return {{array(output_shapes(in)[0], dtype, primitive_for(static_cast<uint8_t>(opcode_), stream()), in)},
          {0}};
}

std::vector<Shape> Elementwise::output_shapes(const Arrays& inputs) {
  Shape shape = inputs[0].shape();
  for (size_t i = 1; i < inputs.size(); ++i) shape = common_shape(info(), shape, inputs[i].shape());
  return {shape};
}

Arrays AsType::vjp(const Arrays& primals, const Arrays& cotangents, const Axes&, const Arrays&) {
  if (!issubdtype(dtype, inexact) || !issubdtype(primals[0].dtype(), inexact)) return {zeros_of(primals[0])};
  return {astype(cotangents[0], primals[0].dtype(), stream())};
}
Arrays AsType::jvp(const Arrays&, const Arrays& tangents, const Axes&) {
  return {astype(tangents[0], dtype, stream())};
}
Batched AsType::vmap(const Arrays& inputs, const Axes& axes) {
  return {{array(inputs[0].shape(), dtype, std::make_shared<AsType>(stream(), dtype), inputs)}, axes};
}

// --- public functions ---

array astype(array a, Dtype dtype, StreamOrDevice s) {
  if (a.dtype() == dtype) return a;
  Shape shape = a.shape();
  return make<AsType>(std::move(shape), dtype, s, {std::move(a)}, dtype);
}

#define MLX_UNARY(name, Row) \
  array name(const array& a, StreamOrDevice s) { return op<elementwise::Row>(a, s); }
#define MLX_BINARY(name, Row) \
  array name(const array& a, const array& b, StreamOrDevice s) { return op<elementwise::Row>(a, b, s); }
MLX_UNARY(abs, Abs)
MLX_UNARY(negative, Negative)
MLX_UNARY(sign, Sign)
MLX_UNARY(square, Square)
MLX_UNARY(sqrt, Sqrt)
MLX_UNARY(rsqrt, Rsqrt)
MLX_UNARY(reciprocal, Reciprocal)
MLX_UNARY(exp, Exp)
array expm1(const array& a, StreamOrDevice s) {
  if (a.dtype() != complex64) return op<elementwise::Expm1>(a, s);
  // 2 e^(z/2) sinh(z/2) loses nothing near 0; far to the left its factors leave the range.
  const array far = less(real(a, s), array(-40.0f), s);
  const array half = where(far, like(a, 0), multiply(a, like(a, 0.5), s), s);
  const array near = multiply(like(a, 2), multiply(exp(half, s), sinh(half, s), s), s);
  return where(far, subtract(exp(a, s), like(a, 1), s), near, s);
}
MLX_UNARY(log, Log)
MLX_UNARY(log2, Log2)
MLX_UNARY(log10, Log10)
MLX_UNARY(log1p, Log1p)
MLX_UNARY(sin, Sin)
MLX_UNARY(cos, Cos)
MLX_UNARY(tan, Tan)
MLX_UNARY(sinh, Sinh)
MLX_UNARY(cosh, Cosh)
MLX_UNARY(tanh, Tanh)
MLX_UNARY(arcsin, Arcsin)
MLX_UNARY(arccos, Arccos)
MLX_UNARY(arctan, Arctan)
MLX_UNARY(arcsinh, Arcsinh)
MLX_UNARY(arccosh, Arccosh)
MLX_UNARY(arctanh, Arctanh)
MLX_UNARY(sigmoid, Sigmoid)
MLX_UNARY(erf, Erf)
MLX_UNARY(erfc, Erfc)
MLX_UNARY(erfinv, Erfinv)
MLX_UNARY(lgamma, Lgamma)
MLX_UNARY(digamma, Digamma)
MLX_UNARY(logical_not, LogicalNot)
MLX_UNARY(bitwise_invert, BitwiseInvert)
MLX_UNARY(isnan, IsNan)
MLX_UNARY(isinf, IsInf)
MLX_UNARY(isfinite, IsFinite)
MLX_UNARY(isposinf, IsPosInf)
MLX_UNARY(isneginf, IsNegInf)
MLX_BINARY(add, Add)
MLX_BINARY(subtract, Subtract)
MLX_BINARY(multiply, Multiply)
MLX_BINARY(divide, Divide)
MLX_BINARY(floor_divide, FloorDivide)
MLX_BINARY(remainder, Remainder)
MLX_BINARY(maximum, Maximum)
MLX_BINARY(minimum, Minimum)
MLX_BINARY(logaddexp, LogAddExp)
MLX_BINARY(arctan2, Arctan2)
MLX_BINARY(hypot, Hypot)
MLX_BINARY(copysign, Copysign)
MLX_BINARY(nextafter, Nextafter)
MLX_BINARY(polygamma, Polygamma)
MLX_BINARY(equal, Equal)
MLX_BINARY(not_equal, NotEqual)
MLX_BINARY(less, Less)
MLX_BINARY(less_equal, LessEqual)
MLX_BINARY(greater, Greater)
MLX_BINARY(greater_equal, GreaterEqual)
MLX_BINARY(logical_and, LogicalAnd)
MLX_BINARY(logical_or, LogicalOr)
MLX_BINARY(logical_xor, LogicalXor)
MLX_BINARY(bitwise_and, BitwiseAnd)
MLX_BINARY(bitwise_or, BitwiseOr)
MLX_BINARY(bitwise_xor, BitwiseXor)
MLX_BINARY(left_shift, LeftShift)
MLX_BINARY(right_shift, RightShift)
namespace fast {
MLX_BINARY(leaky_relu, LeakyRelu)
MLX_BINARY(huber, Huber)
MLX_BINARY(softshrink, SoftShrink)
MLX_UNARY(hardswish, Hardswish)
// Wider floats round no steps, so the formula written out gives as much, and its derivative finds erf again.
array gelu(const array& x, StreamOrDevice s) {
  const Dtype dtype = promote_to_float(x.dtype());
  if (dtype != float32 && dtype != float64) return op<elementwise::Gelu>(x, s);
  const array a = astype(x, dtype, s);
  const array share = add(erf(multiply(a, like(a, 0.7071067811865476), s), s), like(a, 1), s);
  return multiply(a, multiply(share, like(a, 0.5), s), s);
}
array hard_shrink(const array& x, const array& limit, StreamOrDevice s) {
  if (!issubdtype(x.dtype(), inexact)) return where(less_equal(abs(x, s), limit, s), like(x, 0), x, s);
  return op<elementwise::HardShrink>(x, limit, s);
}
}  // namespace fast
#undef MLX_UNARY
#undef MLX_BINARY

// Integers are whole already.
array floor(const array& a, StreamOrDevice s) {
  return issubdtype(a.dtype(), inexact) ? op<elementwise::Floor>(a, s) : a;
}
array ceil(const array& a, StreamOrDevice s) {
  return issubdtype(a.dtype(), inexact) ? op<elementwise::Ceil>(a, s) : a;
}
array trunc(const array& a, StreamOrDevice s) {
  return issubdtype(a.dtype(), inexact) ? op<elementwise::Trunc>(a, s) : a;
}
array positive(const array& a, StreamOrDevice) { return a; }
array conjugate(const array& a, StreamOrDevice s) {
  return a.dtype() == complex64 ? op<elementwise::Conjugate>(a, s) : a;
}
array real(const array& a, StreamOrDevice s) {
  return a.dtype() == complex64 ? op<elementwise::Real>(a, s) : a;
}
array imag(const array& a, StreamOrDevice s) {
  return a.dtype() == complex64 ? op<elementwise::Imag>(a, s) : zeros_like(a, s);
}

namespace {
// Formulas of several steps on 16-bit floats: float32 within, so that the result is rounded once.
Dtype widened(Dtype dtype) { return issubdtype(dtype, floating) && dtype != float64 ? float32 : dtype; }
}  // namespace

array round(const array& a, int decimals, StreamOrDevice s) {
  if (decimals == 0) return issubdtype(a.dtype(), inexact) ? op<elementwise::Round>(a, s) : a;
  const Dtype dtype = widened(promote_to_float(a.dtype()));
  const array scale(std::pow(10.0, std::abs(decimals)), dtype);
  const array x = astype(a, dtype, s);
  array y = decimals > 0 ? divide(op<elementwise::Round>(multiply(x, scale, s), s), scale, s)
                         : multiply(op<elementwise::Round>(divide(x, scale, s), s), scale, s);
  return astype(y, a.dtype(), s);
}
array round(const array& a, StreamOrDevice s) { return round(a, 0, s); }

array where(const array& condition, const array& x, const array& y, StreamOrDevice s) {
  return op<elementwise::Select>(condition, x, y, s);
}

array clip(const array& a, const std::optional<array>& a_min, const std::optional<array>& a_max,
           StreamOrDevice s) {
  if (!a_min && !a_max) return a;
  if (a_min && a_max) return op<elementwise::Clip>(a, *a_min, *a_max, s);
  return a_min ? maximum(a, *a_min, s) : minimum(a, *a_max, s);
}

std::vector<array> divmod(const array& a, const array& b, StreamOrDevice s) {
  return {floor_divide(a, b, s), remainder(a, b, s)};
}

namespace {
// The power by an exponent that is known and has a cheaper form, rounded as the formulas of NumPy and PyTorch
// are: the root of -0 is -0.
std::optional<array> power_by_number(const array& a, double exponent, StreamOrDevice s) {
  if (exponent == 1) return a;
  if (exponent == 2) return square(a, s);
  if (!issubdtype(a.dtype(), inexact)) return std::nullopt;
  if (exponent == -1) return reciprocal(a, s);
  if (exponent == 0.5) return sqrt(a, s);
  if (exponent != -0.5 && exponent != 3 && exponent != 4) return std::nullopt;
  // Two steps round twice, which 16-bit floats would show.
  if (a.dtype() == float16 || a.dtype() == bfloat16)
    return astype(*power_by_number(astype(a, float32, s), exponent, s), a.dtype(), s);
  if (a.dtype() == complex64) return std::nullopt;
  if (exponent == -0.5) return reciprocal(sqrt(a, s), s);
  return exponent == 3 ? multiply(square(a, s), a, s) : square(square(a, s), s);
}
// The value of a number that is there already and that no transform follows.
std::optional<double> known_number(const array& a) {
  if (a.ndim() != 0 || a.dtype() == complex64 || a.is_tracer() || !a.is_available()) return std::nullopt;
  return a.item<double>();
}
}  // namespace

array power(const array& a, const array& b, StreamOrDevice s) {
  if (const auto exponent = known_number(b)) {
    const array base = astype(a, promote_types(a.dtype(), b.dtype()), s);
    if (auto y = power_by_number(base, *exponent, s)) return *y;
  }
  return op<elementwise::Power>(a, b, s);
}

namespace {
array times(const array& a, double factor, StreamOrDevice s) {
  const Dtype dtype = promote_to_float(a.dtype()), wide = widened(dtype);
  return astype(multiply(astype(a, wide, s), array(factor, wide), s), dtype, s);
}
}  // namespace
array degrees(const array& a, StreamOrDevice s) { return times(a, 180.0 / 3.14159265358979323846, s); }
array radians(const array& a, StreamOrDevice s) { return times(a, 3.14159265358979323846 / 180.0, s); }

array nan_to_num(const array& a, float nan, const std::optional<float> posinf,
                 const std::optional<float> neginf, StreamOrDevice s) {
  if (!issubdtype(a.dtype(), inexact)) return a;
  if (a.dtype() == complex64)
    throw invalid("nan_to_num", "got complex64, expected a real dtype: apply it to real(a) and imag(a)");
  const finfo limits(a.dtype());
  if (!posinf && !neginf) return op<elementwise::NanToNum>(a, like(a, nan), like(a, limits.max), s);
  array out = where(isnan(a, s), like(a, nan), a, s);
  out = where(isposinf(a, s), like(a, posinf ? *posinf : limits.max), out, s);
  return where(isneginf(a, s), like(a, neginf ? *neginf : limits.min), out, s);
}

// |a - b| <= atol + rtol |b|; infinities are close to themselves alone.
array isclose(const array& a, const array& b, double rtol, double atol, bool equal_nan, StreamOrDevice s) {
  const Dtype dtype = promote_to_float(promote_types(a.dtype(), b.dtype()));
  const array x = astype(a, dtype, s), y = astype(b, dtype, s);
  const array magnitude = abs(y, s);
  const array bound = add(like(magnitude, atol), multiply(like(magnitude, rtol), magnitude, s), s);
  array close = logical_and(less_equal(abs(subtract(x, y, s), s), bound, s),
                            logical_and(isfinite(x, s), isfinite(y, s), s), s);
  close = logical_or(close, equal(x, y, s), s);
  return equal_nan ? logical_or(close, logical_and(isnan(x, s), isnan(y, s), s), s) : close;
}
array allclose(const array& a, const array& b, double rtol, double atol, bool equal_nan, StreamOrDevice s) {
  return all(isclose(a, b, rtol, atol, equal_nan, s), s);
}
array array_equal(const array& a, const array& b, bool equal_nan, StreamOrDevice s) {
  if (a.shape() != b.shape()) return array(false);
  if (!equal_nan || !issubdtype(promote_types(a.dtype(), b.dtype()), inexact)) return all(equal(a, b, s), s);
  return all(op<elementwise::NanEqual>(a, b, s), s);
}
array array_equal(const array& a, const array& b, StreamOrDevice s) { return array_equal(a, b, false, s); }

array operator-(const array& a) { return negative(a); }
array operator~(const array& a) { return bitwise_invert(a); }
array operator==(const array& a, const array& b) { return equal(a, b); }
array operator!=(const array& a, const array& b) { return not_equal(a, b); }
array operator>(const array& a, const array& b) { return greater(a, b); }
array operator>=(const array& a, const array& b) { return greater_equal(a, b); }
array operator<(const array& a, const array& b) { return less(a, b); }
array operator<=(const array& a, const array& b) { return less_equal(a, b); }
array operator&&(const array& a, const array& b) { return logical_and(a, b); }
array operator||(const array& a, const array& b) { return logical_or(a, b); }
array operator+(const array& a, const array& b) { return add(a, b); }
array operator-(const array& a, const array& b) { return subtract(a, b); }
array operator*(const array& a, const array& b) { return multiply(a, b); }
array operator/(const array& a, const array& b) { return divide(a, b); }
array operator/(double a, const array& b) { return divide(array(a), b); }
array operator/(const array& a, double b) { return divide(a, array(b)); }
array operator%(const array& a, const array& b) { return remainder(a, b); }
array operator&(const array& a, const array& b) { return bitwise_and(a, b); }
array operator|(const array& a, const array& b) { return bitwise_or(a, b); }
array operator^(const array& a, const array& b) { return bitwise_xor(a, b); }
array operator<<(const array& a, const array& b) { return left_shift(a, b); }
array operator>>(const array& a, const array& b) { return right_shift(a, b); }

namespace {

// A kind for each row of the table: LogicalNot for logical_not.
std::string kind_of(std::string_view name) {
  std::string kind;
  bool upper = true;
  for (const char c : name) {
    if (c != '_') kind += upper && c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    upper = c == '_';
  }
  return kind;
}

Arrays call_row(const Primitive& p, const Arrays& in, size_t) {
  const auto op = static_cast<uint8_t>(p.opcode());
  const Stream s = p.stream();
  if (in.size() == 1) return {elementwise_op(op, in[0], s)};
  return {in.size() == 2 ? elementwise_op(op, in[0], in[1], s) : elementwise_op(op, in[0], in[1], in[2], s)};
}

bool keep_rows() {
  PrimitiveTable& table = primitive_table();
  bool all = table.add_type<Elementwise>(
      {[](const Primitive& p) {
         return PrimitiveTable::Record{kind_of(static_cast<const Elementwise&>(p).info().name), {}};
       },
       [](const Primitive& a, const Primitive& b) { return a.opcode() == b.opcode(); }, call_row});
  for (uint8_t op = 0; op < elementwise::kOps; ++op) {
    const OpInfo& info = elementwise::op_info[op];
    const auto make = [op](Stream s, const std::vector<StateT>& state) {
      if (!state.empty()) throw std::invalid_argument("got too many parameters");
      return primitive_for(op, s);
    };
    all = all && table.add_kind(kind_of(info.name), {info.arity, make, call_row});
  }
  return all;
}

const bool kept_elementwise =
    keep_rows() && primitive_table().add<AsType>("AsType", 1, [](const AsType& p, const Arrays& in) {
      return Arrays{astype(in[0], p.dtype, p.stream())};
    });

}  // namespace

}  // namespace mlx::core

// The table of element-wise operations: everything about one is in its row (elementwise_unary.h,
// elementwise_binary.h), and a row's position in the list below is its opcode. Append, never reorder:
// exported graphs carry names, but tables of kernels are indexed by opcode.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <type_traits>

#include "mlx/graph/elementwise_binary.h"
#include "mlx/graph/elementwise_row.h"
#include "mlx/graph/elementwise_unary.h"

namespace mlx::core::elementwise {

template <class... Rows>
struct RowList {
  static constexpr int size = sizeof...(Rows);
};

using Table =
    RowList<Abs, Negative, Sign, Square, Sqrt, Rsqrt, Reciprocal, Exp, Expm1, Log, Log2, Log10, Log1p, Sin,
            Cos, Tan, Sinh, Cosh, Tanh, Arcsin, Arccos, Arctan, Arcsinh, Arccosh, Arctanh, Sigmoid, Erf, Erfc,
            Erfinv, Lgamma, Digamma, Floor, Ceil, Round, Trunc, LogicalNot, BitwiseInvert, Conjugate, Real,
            Imag, IsNan, IsInf, IsFinite, IsPosInf, IsNegInf, Add, Subtract, Multiply, Divide, FloorDivide,
            Remainder, Power, Maximum, Minimum, LogAddExp, Arctan2, Hypot, Copysign, Nextafter, Polygamma,
            Equal, NotEqual, NanEqual, Less, LessEqual, Greater, GreaterEqual, LogicalAnd, LogicalOr,
            LogicalXor, BitwiseAnd, BitwiseOr, BitwiseXor, LeftShift, RightShift, Select, Clip, LeakyRelu,
            Huber, NanToNum, HardShrink, SoftShrink, Hardswish, Gelu>;

inline constexpr int kOps = Table::size;
static_assert(kOps < 255, "opcodes are bytes");

namespace detail {
template <class R, class... Rows>
constexpr uint8_t index_of(RowList<Rows...>) {
  uint8_t i = 0;
  const bool found = ((std::is_same_v<R, Rows> || (++i, false)) || ...);
  return found ? i : throw "not a row of the table";
}
template <class... Rows>
constexpr std::array<OpInfo, sizeof...(Rows)> infos(RowList<Rows...>) {
  return {info_of<Rows>()...};
}
}  // namespace detail

// The opcode of a row: op_of<Exp>.
template <class R>
inline constexpr uint8_t op_of = detail::index_of<R>(Table{});

inline constexpr std::array<OpInfo, kOps> op_info = detail::infos(Table{});

// A few instructions: rows that are rounded correctly, which leaves out most functions, and one more.
constexpr bool is_brief(uint8_t op) { return op_info[op].max_ulp <= 0.5 || op == op_of<Hardswish>; }

// The opcode of a name, for readers of files.
constexpr std::optional<uint8_t> op_named(std::string_view name) {
  for (int i = 0; i < kOps; ++i)
    if (op_info[i].name == name) return static_cast<uint8_t>(i);
  return std::nullopt;
}

// Calls f.template operator()<Row>() for each row, in the order of opcodes: `for_each_row([]<class R>() { ...
// })`.
template <class F, class... Rows>
constexpr void for_each_row(F&& f, RowList<Rows...>) {
  (f.template operator()<Rows>(), ...);
}
template <class F>
constexpr void for_each_row(F&& f) {
  for_each_row(f, Table{});
}

// Calls f.template operator()<Row>() for the row with this opcode and returns what it returns.
template <class F, class First, class... Rest>
constexpr decltype(auto) visit_row(uint8_t op, F&& f, RowList<First, Rest...>) {
  if constexpr (sizeof...(Rest) == 0) {
    return f.template operator()<First>();
  } else {
    return op == 0 ? f.template operator()<First>() : visit_row(op - 1, f, RowList<Rest...>{});
  }
}
template <class F>
constexpr decltype(auto) visit_row(uint8_t op, F&& f) {
  return visit_row(op, f, Table{});
}

namespace detail {
constexpr bool names_are_unique() {
  for (int i = 0; i < kOps; ++i)
    for (int j = 0; j < i; ++j)
      if (op_info[i].name == op_info[j].name) return false;
  return true;
}
}  // namespace detail
static_assert(detail::names_are_unique());

}  // namespace mlx::core::elementwise

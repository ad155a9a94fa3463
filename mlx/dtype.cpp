#include "mlx/dtype.h"

#include <array>
#include <bit>
#include <stdexcept>

namespace mlx::core {
namespace {

using Val = Dtype::Val;

struct DtypeRow {
  const char* name;
  Dtype dtype;
  Dtype::Kind kind;
  Dtype::Category category;
};

constexpr std::array<DtypeRow, kDtypes> rows{{
    {"bool", bool_, Dtype::Kind::b, generic},
    {"uint8", uint8, Dtype::Kind::u, unsignedinteger},
    {"uint16", uint16, Dtype::Kind::u, unsignedinteger},
    {"uint32", uint32, Dtype::Kind::u, unsignedinteger},
    {"uint64", uint64, Dtype::Kind::u, unsignedinteger},
    {"int8", int8, Dtype::Kind::i, signedinteger},
    {"int16", int16, Dtype::Kind::i, signedinteger},
    {"int32", int32, Dtype::Kind::i, signedinteger},
    {"int64", int64, Dtype::Kind::i, signedinteger},
    {"float16", float16, Dtype::Kind::f, floating},
    {"float32", float32, Dtype::Kind::f, floating},
    {"float64", float64, Dtype::Kind::f, floating},
    {"bfloat16", bfloat16, Dtype::Kind::V, floating},
    {"complex64", complex64, Dtype::Kind::c, complexfloating},
}};

const DtypeRow& row(Dtype t) { return rows[static_cast<size_t>(t.val())]; }

// category -> the one that contains it
Dtype::Category parent(Dtype::Category c) {
  switch (c) {
    case Dtype::Category::signedinteger:
    case Dtype::Category::unsignedinteger:
      return integer;
    case Dtype::Category::floating:
    case Dtype::Category::complexfloating:
      return inexact;
    case Dtype::Category::integer:
    case Dtype::Category::inexact:
      return number;
    default:
      return generic;
  }
}

Dtype signed_of_size(int size) { return size == 1 ? int8 : size == 2 ? int16 : size == 4 ? int32 : int64; }

}  // namespace

Dtype promote_types(const Dtype& a, const Dtype& b) {
  if (a.val() == b.val()) return a;
  const Dtype::Kind ka = kindof(a), kb = kindof(b);
  const auto is_float = [](Dtype::Kind k) { return k == Dtype::Kind::f || k == Dtype::Kind::V; };
  if (ka == Dtype::Kind::c || kb == Dtype::Kind::c) return complex64;
  if (is_float(ka) && is_float(kb)) {
    if (a.size() != b.size()) return a.size() > b.size() ? a : b;
    return float32;  // float16 with bfloat16
  }
  if (is_float(ka)) return a;
  if (is_float(kb)) return b;
  if (ka == Dtype::Kind::b) return b;
  if (kb == Dtype::Kind::b) return a;
  if (ka == kb) return a.size() > b.size() ? a : b;
  const Dtype& u = ka == Dtype::Kind::u ? a : b;
  const Dtype& i = ka == Dtype::Kind::u ? b : a;
  if (i.size() > u.size()) return i;
  if (u.size() == 8) return float32;
  return signed_of_size(2 * u.size());
}

Dtype::Kind kindof(const Dtype& t) { return row(t).kind; }
const char* dtype_name(Dtype t) { return row(t).name; }

bool issubdtype(const Dtype& a, const Dtype& b) { return a.val() == b.val(); }
bool issubdtype(const Dtype::Category&, const Dtype&) { return false; }
bool issubdtype(const Dtype& a, const Dtype::Category& b) { return issubdtype(row(a).category, b); }
bool issubdtype(const Dtype::Category& a, const Dtype::Category& b) {
  for (Dtype::Category c = a;; c = parent(c)) {
    if (c == b) return true;
    if (c == generic) return false;
  }
}

std::string dtype_to_array_protocol(const Dtype& t) {
  static_assert(std::endian::native == std::endian::little);
  const char kind = "buifcV"[static_cast<int>(kindof(t))];
  return (t.size() > 1 ? "<" : "|") + std::string(1, kind) + std::to_string(t.size());
}

Dtype dtype_from_array_protocol(std::string_view text) {
  for (const DtypeRow& r : rows)
    if (dtype_to_array_protocol(r.dtype) == text || dtype_to_array_protocol(r.dtype).substr(1) == text)
      return r.dtype;
  throw std::invalid_argument("[dtype] got the element type '" + std::string(text) +
                              "', expected one of bool, integers, floats and complex64 as '<f4'");
}

}  // namespace mlx::core

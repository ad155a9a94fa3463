#include "mlx/utils.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <ostream>
#include <thread>

#include "mlx/ops/rules.h"

namespace mlx::core {

Dtype result_type(const std::vector<array>& arrays) {
  Dtype t = bool_;
  for (const array& a : arrays) t = promote_types(t, a.dtype());
  return t;
}

Shape broadcast_shapes(const Shape& s1, const Shape& s2) {
  const Shape& longer = s1.size() >= s2.size() ? s1 : s2;
  const Shape& shorter = s1.size() >= s2.size() ? s2 : s1;
  Shape out = longer;
  const size_t lead = longer.size() - shorter.size();
  for (size_t i = 0; i < shorter.size(); ++i) {
    const ShapeElem a = longer[lead + i], b = shorter[i];
    if (a == b || b == 1) continue;
    if (a != 1)
      throw invalid("broadcast_shapes", "shapes ", s1, " and ", s2, " cannot be broadcast: sizes ", a,
                    " and ", b, " must be equal or one of them 1");
    out[lead + i] = b;
  }
  return out;
}

int normalize_axis_index(int axis, int ndim, const std::string& msg_prefix) {
  if (axis < -ndim || axis >= ndim)
    throw std::out_of_range(text(msg_prefix, "axis ", axis, " is outside [", -ndim, ", ", ndim, ")"));
  return axis < 0 ? axis + ndim : axis;
}

namespace env {
int get_var(const char* name, int default_value) {
  const char* value = std::getenv(name);
  return value ? std::atoi(value) : default_value;
}
std::string get_var(const char* name, const char* default_value) {
  const char* value = std::getenv(name);
  return value ? value : default_value;
}
}  // namespace env

bool is_main_thread() {
  static const std::thread::id main = std::this_thread::get_id();
  return std::this_thread::get_id() == main;
}

finfo::finfo(Dtype t) : dtype(t), min(0), max(0), eps(0), smallest_normal(0), bits(8 * t.size()) {
  const auto set = [&](double largest, double epsilon, double smallest) {
    max = largest;
    min = -largest;
    eps = epsilon;
    smallest_normal = smallest;
  };
  using F = std::numeric_limits<float>;
  using D = std::numeric_limits<double>;
  switch (t.val()) {
    case Dtype::Val::float16:
      set(65504.0, 0x1p-10, 0x1p-14);
      break;
    case Dtype::Val::bfloat16:
      set(0x1.fep127, 0x1p-7, 0x1p-126);
      break;
    case Dtype::Val::complex64:
      bits = 32;
      [[fallthrough]];
    case Dtype::Val::float32:
      set(F::max(), F::epsilon(), F::min());
      break;
    case Dtype::Val::float64:
      set(D::max(), D::epsilon(), D::min());
      break;
    default:
      throw invalid("finfo", "got ", t, ", expected a floating point dtype");
  }
}

iinfo::iinfo(Dtype t) : dtype(t), min(0), max(0) {
  const int bits = 8 * t.size();
  switch (kindof(t)) {
    case Dtype::Kind::u:
      max = ~uint64_t{0} >> (64 - bits);
      return;
    case Dtype::Kind::i:
      max = ~uint64_t{0} >> (65 - bits);
      min = -static_cast<int64_t>(max) - 1;
      return;
    default:
      throw invalid("iinfo", "got ", t, ", expected an integer dtype");
  }
}

// --- printing ---

namespace {

void print_float(std::ostream& os, double value, int precision) {
  constexpr int kMaxDecimals = 1100;  // no double has more
  char buffer[1500];
  char* last = buffer + sizeof buffer;
  const auto [end, error] = precision < 0 ? std::to_chars(buffer, last, value, std::chars_format::general, 6)
                                          : std::to_chars(buffer, last, value, std::chars_format::fixed,
                                                          std::min(precision, kMaxDecimals));
  os.write(buffer, error == std::errc() ? end - buffer : 0);
}

template <class T>
void print_list(std::ostream& os, const T& values) {
  os << '(';
  for (size_t i = 0; i < values.size(); ++i) os << (i ? "," : "") << values[i];
  os << ')';
}

}  // namespace

PrintFormatter& get_global_formatter() {
  static PrintFormatter formatter;
  return formatter;
}
void set_printoptions(PrintOptions options) { get_global_formatter().format_options = options; }

void PrintFormatter::print(std::ostream& os, bool val) {
  os << (capitalize_bool ? (val ? "True" : "False") : (val ? "true" : "false"));
}
void PrintFormatter::print(std::ostream& os, int16_t val) { os << val; }
void PrintFormatter::print(std::ostream& os, uint16_t val) { os << val; }
void PrintFormatter::print(std::ostream& os, int32_t val) { os << val; }
void PrintFormatter::print(std::ostream& os, uint32_t val) { os << val; }
void PrintFormatter::print(std::ostream& os, int64_t val) { os << val; }
void PrintFormatter::print(std::ostream& os, uint64_t val) { os << val; }
void PrintFormatter::print(std::ostream& os, float16_t val) { print(os, static_cast<float>(val)); }
void PrintFormatter::print(std::ostream& os, bfloat16_t val) { print(os, static_cast<float>(val)); }
void PrintFormatter::print(std::ostream& os, float val) { print_float(os, val, format_options.precision); }
void PrintFormatter::print(std::ostream& os, double val) { print_float(os, val, format_options.precision); }
void PrintFormatter::print(std::ostream& os, complex64_t val) {
  print(os, val.real());
  if (val.imag() >= 0 || std::isnan(val.imag())) os << '+';
  print(os, val.imag());
  os << 'j';
}

std::ostream& operator<<(std::ostream& os, const Device& d) {
  return os << "Device(" << (d.type == Device::cpu ? "cpu" : "gpu") << ", " << d.index << ")";
}
std::ostream& operator<<(std::ostream& os, const Stream& s) {
  return os << "Stream(" << s.device << ", " << s.index << ")";
}
std::ostream& operator<<(std::ostream& os, const ThreadLocalStream& s) {
  return os << "ThreadLocalStream(" << s.device << ", " << s.index << ")";
}
std::ostream& operator<<(std::ostream& os, const Dtype& d) { return os << dtype_name(d); }
std::ostream& operator<<(std::ostream& os, const Dtype::Kind& k) {
  return os << "buifcV"[static_cast<int>(k)];
}
std::ostream& operator<<(std::ostream& os, const complex64_t& v) {
  get_global_formatter().print(os, v);
  return os;
}
std::ostream& operator<<(std::ostream& os, const float16_t& v) { return os << static_cast<float>(v); }
std::ostream& operator<<(std::ostream& os, const bfloat16_t& v) { return os << static_cast<float>(v); }
std::ostream& operator<<(std::ostream& os, const Shape& v) {
  print_list(os, v);
  return os;
}
std::ostream& operator<<(std::ostream& os, const Strides& v) {
  print_list(os, v);
  return os;
}

namespace {

// Elements at both ends of an axis that are printed where it is long.
constexpr int kEdge = 3;
constexpr int kSummarize = 1000;  // arrays with more elements are shortened

template <class T>
void print_axis(std::ostream& os, const array& a, const T* data, size_t axis, size_t indent, bool shorten) {
  auto& formatter = get_global_formatter();
  if (axis == a.ndim()) {
    if constexpr (sizeof(T) == 1 && !std::is_same_v<T, bool>) {
      formatter.print(os, static_cast<int32_t>(*data));
    } else {
      formatter.print(os, *data);
    }
    return;
  }
  const int n = a.shape(static_cast<int>(axis));
  const bool innermost = axis + 1 == a.ndim();
  os << '[';
  for (int i = 0; i < n; ++i) {
    if (i > 0) {
      os << ',';
      if (innermost) {
        os << ' ';
      } else {
        os << '\n' << std::string(indent + axis + 1, ' ');
      }
    }
    if (shorten && n > 2 * kEdge && i == kEdge) {
      os << "...";
      i = n - kEdge - 1;
      continue;
    }
    print_axis(os, a, data + i * a.strides(static_cast<int>(axis)), axis + 1, indent, shorten);
  }
  os << ']';
}

}  // namespace

std::ostream& operator<<(std::ostream& os, array a) {
  a.eval();
  os << "array(";
  if (a.size() == 0) return os << "[], dtype=" << a.dtype() << ")";
  dispatch_all(a.dtype(), [&]<class T>() { print_axis(os, a, a.data<T>(), 0, 6, a.size() > kSummarize); });
  return os << ", dtype=" << a.dtype() << ")";
}

}  // namespace mlx::core

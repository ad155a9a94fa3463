// Streams by any name, printing, dtype limits and the checks that every operation shares.
#pragma once

#include <iosfwd>
#include <limits>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "mlx/array.h"
#include "mlx/device.h"
#include "mlx/stream.h"

namespace mlx::core {

// What the last argument of every operation takes: nothing (the default stream), a stream or a device.
using StreamOrDevice = std::variant<std::monostate, Stream, ThreadLocalStream, Device>;
Stream to_stream(StreamOrDevice s);
Stream to_stream(StreamOrDevice s, Device default_);

// Makes a stream or device the default one while it lives.
struct StreamContext {
  explicit StreamContext(StreamOrDevice s);
  ~StreamContext();
  StreamContext(const StreamContext&) = delete;
  StreamContext& operator=(const StreamContext&) = delete;

 private:
  Device device_;
  Stream stream_;  // the default one of its device before
};

struct PrintOptions {
  int precision = -1;  // decimals; -1: six significant digits
};

struct PrintFormatter {
  void print(std::ostream& os, bool val);
  void print(std::ostream& os, int16_t val);
  void print(std::ostream& os, uint16_t val);
  void print(std::ostream& os, int32_t val);
  void print(std::ostream& os, uint32_t val);
  void print(std::ostream& os, int64_t val);
  void print(std::ostream& os, uint64_t val);
  void print(std::ostream& os, float16_t val);
  void print(std::ostream& os, bfloat16_t val);
  void print(std::ostream& os, float val);
  void print(std::ostream& os, double val);
  void print(std::ostream& os, complex64_t val);

  bool capitalize_bool = false;
  PrintOptions format_options;
};

void set_printoptions(PrintOptions options);
PrintFormatter& get_global_formatter();
bool is_main_thread();

// Limits of the floating types; complex64 has float32's.
struct finfo {
  explicit finfo(Dtype dtype);
  Dtype dtype;
  double min, max, eps, smallest_normal;
  int bits;
};
struct iinfo {
  explicit iinfo(Dtype dtype);
  Dtype dtype;
  int64_t min;
  uint64_t max;
};

inline Dtype result_type(const array& a, const array& b) { return promote_types(a.dtype(), b.dtype()); }
inline Dtype result_type(const array& a, const array& b, const array& c) {
  return promote_types(result_type(a, b), c.dtype());
}
Dtype result_type(const std::vector<array>& arrays);

// NumPy's rule. Raises std::invalid_argument with both shapes.
Shape broadcast_shapes(const Shape& s1, const Shape& s2);
// Raises std::overflow_error where a dimension does not fit.
template <class T>
ShapeElem safe_cast(T dim, std::string_view op = "") {
  if (static_cast<long double>(dim) > std::numeric_limits<ShapeElem>::max())
    throw std::overflow_error("[" + std::string(op) + "] dimension " + std::to_string(dim) +
                              " is larger than 2147483647");
  return static_cast<ShapeElem>(dim);
}
// Raises std::out_of_range.
int normalize_axis_index(int axis, int ndim, const std::string& msg_prefix = "");

std::ostream& operator<<(std::ostream& os, const Device& d);
std::ostream& operator<<(std::ostream& os, const Stream& s);
std::ostream& operator<<(std::ostream& os, const ThreadLocalStream& s);
std::ostream& operator<<(std::ostream& os, const Dtype& d);
std::ostream& operator<<(std::ostream& os, const Dtype::Kind& k);
std::ostream& operator<<(std::ostream& os, array a);
std::ostream& operator<<(std::ostream& os, const complex64_t& v);
std::ostream& operator<<(std::ostream& os, const float16_t& v);
std::ostream& operator<<(std::ostream& os, const bfloat16_t& v);
std::ostream& operator<<(std::ostream& os, const Shape& v);
std::ostream& operator<<(std::ostream& os, const Strides& v);

inline bool is_power_of_2(int n) { return n > 0 && (n & (n - 1)) == 0; }
inline int next_power_of_2(int n) {
  int p = 1;
  while (p < n) p *= 2;
  return p;
}

namespace env {
int get_var(const char* name, int default_value);
std::string get_var(const char* name, const char* default_value);
}  // namespace env

}  // namespace mlx::core

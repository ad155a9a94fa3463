// Scans against double references: every op, dtype, mode and instruction set, rows and columns, in place,
// long rows in parts, special values of logcumsumexp.
#include <algorithm>

#include "mlx/cpu/rows/rows.h"
#include "tests/cpp/isa/rows_check.h"

using namespace rows_test;
using namespace mlx::core::cpu;

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();

Value start_of(ScanOp op, int dtype) {
  static const double lowest[9] = {0, 0, 0, 0, 0, -128, -32768, -0x1p31, -0x1p63};
  static const double highest[9] = {1, 255, 65535, 0x1p32 - 1, 0x1p64, 127, 32767, 0x1p31 - 1, 0x1p63};
  switch (op) {
    case ScanOp::sum:
      return 0;
    case ScanOp::prod:
      return 1;
    case ScanOp::max:
      return dtype == 13 ? Value(-inf, -inf) : Value(dtype <= 8 ? lowest[dtype] : -inf);
    case ScanOp::min:
      return dtype == 13 ? Value(inf, inf) : Value(dtype <= 8 ? highest[dtype] : inf);
    default:
      return -inf;
  }
}
bool less(Value a, Value b) { return a.real() < b.real() || (a.real() == b.real() && a.imag() < b.imag()); }
Value step(ScanOp op, Value a, Value x) {
  switch (op) {
    case ScanOp::sum:
      return a + x;
    case ScanOp::prod:
      return a * x;
    case ScanOp::max:
      return less(a, x) ? x : a;
    case ScanOp::min:
      return less(x, a) ? x : a;
    default: {
      const double m = std::max(a.real(), x.real());
      return m == -inf ? m : m + std::log(std::exp(a.real() - m) + std::exp(x.real() - m));
    }
  }
}

// Exact modulo 2^bits for integers; floats within some units of the running magnitude.
void compare(ScanOp op, const Data& in, const void* out, int64_t n, int64_t stride, int64_t start,
             ScanMode mode, const std::string& what) {
  const int dtype = in.dtype;
  Value acc = start_of(op, dtype);
  uint64_t wrapped = op == ScanOp::prod;
  double scale = op == ScanOp::logaddexp ? 1 : 0;
  for (int64_t i = 0; i < n; ++i) {
    const int64_t at = start + (mode.reverse ? n - 1 - i : i) * stride;
    const Value x = in[at], before = acc, got = value_at(dtype, out, at);
    const uint64_t wrapped_before = wrapped;
    acc = step(op, acc, x);
    const auto bits = static_cast<uint64_t>(static_cast<int64_t>(x.real()));
    wrapped = op == ScanOp::sum ? wrapped + bits : wrapped * bits;
    scale = op == ScanOp::sum         ? scale + std::abs(x)
            : op == ScanOp::logaddexp ? std::max(std::abs(acc), 1.0)
                                      : std::max(std::abs(acc), std::abs(before));
    const Value want = mode.inclusive ? acc : before;
    if (dtype >= 1 && dtype <= 8 && (op == ScanOp::sum || op == ScanOp::prod)) {
      uint64_t mine = 0, theirs = mode.inclusive ? wrapped : wrapped_before;
      std::memcpy(&mine, static_cast<const char*>(out) + at * kSizes[dtype], kSizes[dtype]);
      if (kSizes[dtype] < 8) theirs &= (uint64_t{1} << 8 * kSizes[dtype]) - 1;
      check(mine == theirs, what);
    } else if (op == ScanOp::max || op == ScanOp::min) {
      check(got == want || (dtype == 4 || dtype == 8), what);
    } else {
      // A product may have been denormal on its way; the reference of logaddexp adds up its own roundings.
      const double denormal = (dtype == 9    ? 0x1p-24
                               : dtype == 12 ? 0x1p-133
                                             : 0x1p-149) *
                              (op == ScanOp::prod ? 1024 : 1);
      const double relative = op == ScanOp::prod ? 4 + 0.3 * static_cast<double>(i) : 4;
      if (op == ScanOp::logaddexp) scale += 1e-3 * static_cast<double>(i);
      const double room =
          epsilon(dtype) * std::abs(want) + relative * (dtype == 11 ? 0x1p-50 : 0x1p-23) * scale;
      check(want == got || std::abs(want - got) <= room + denormal, what + " at " + std::to_string(i));
    }
  }
}

void kernels(Isa isa) {
  for (int op = 0; op < kScanOps; ++op)
    for (int dtype = 0; dtype < kDtypes; ++dtype) {
      if ((op == 4 && !is_float(dtype)) || (dtype == 0 && op == 0)) continue;  // bool sums are int32 sums
      const ScanKernel& k = scan_kernels_for(isa).at[op][dtype];
      for (int64_t n : {1, 2, 5, 16, 17, 33, 100, 1023, 1025, 2500})
        for (int bits = 0; bits < 4; ++bits) {
          const ScanMode mode{(bits & 1) != 0, (bits & 2) != 0};
          const std::string what = label("scan", isa, dtype, op, n) + " mode " + std::to_string(bits);
          const Data x(dtype, n, op + 1, op == 1 ? 0.9 : 2);
          Data y = x;
          ScanCarry carry;
          k.init(&carry);
          k.row(y.data(), n, mode, &carry, y.data());
          compare(static_cast<ScanOp>(op), x, y.data(), n, 1, 0, mode, what);
          if (n > 100) continue;
          const Data table(dtype, n * 37, op + 5, op == 1 ? 0.9 : 2);
          Data out = table;
          k.cols(out.data(), n, 37, 37, mode, 37, out.data());
          for (int64_t c = 0; c < 37; ++c)
            compare(static_cast<ScanOp>(op), table, out.data(), n, 37, c, mode, "cols " + what);
        }
    }
}

void long_rows() {
  for (int op = 0; op < kScanOps; ++op)
    for (int bits = 0; bits < 4; ++bits) {
      const ScanMode mode{(bits & 1) != 0, (bits & 2) != 0};
      const Data x(11, 300'001, op, op == 1 ? 1e-3 : 2);
      Data in = x;
      if (op == 1)
        for (int64_t i = 0; i < in.n; ++i) in.set(i, 1.0 + x[i]);
      Data out = in;
      scan(static_cast<ScanOp>(op), 11, in.data(), 1, in.n, 1, mode, out.data());
      compare(static_cast<ScanOp>(op), in, out.data(), in.n, 1, 0, mode, "long " + std::to_string(op));
    }
}

void special(Isa isa) {
  const struct {
    std::vector<float> in, want;
  } cases[] = {{{-INFINITY, -INFINITY, 1}, {-INFINITY, -INFINITY, 1}},
               {{INFINITY, 1, -INFINITY}, {INFINITY, INFINITY, INFINITY}},
               {{0, 1000, 0}, {0, 1000, 1000}},
               {{1, NAN, 3}, {1, NAN, NAN}}};
  for (const auto& c : cases) {
    std::vector<float> out(3);
    const ScanKernel& k = scan_kernels_for(isa).at[static_cast<int>(ScanOp::logaddexp)][10];
    ScanCarry carry;
    k.init(&carry);
    k.row(c.in.data(), 3, {}, &carry, out.data());
    for (int i = 0; i < 3; ++i)
      check(close(out[i], c.want[i], 1e-4), label("logcumsumexp special", isa, 10, i));
  }
  for (ScanOp op : {ScanOp::max, ScanOp::min}) {
    std::vector<float> x(40, 1.0f), out(40);
    x[20] = NAN;
    const ScanKernel& k = scan_kernels_for(isa).at[static_cast<int>(op)][10];
    ScanCarry carry;
    k.init(&carry);
    k.row(x.data(), 40, {}, &carry, out.data());
    for (int i = 0; i < 40; ++i) check(std::isnan(out[i]) == (i >= 20), label("cummax nan", isa, 10, i));
  }
}

}  // namespace

int main() {
  for (Isa isa : isas()) {
    kernels(isa);
    special(isa);
  }
  long_rows();
  return report("rows_scan");
}

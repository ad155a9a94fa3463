// sort, argsort, partition and argpartition against std::stable_sort: every dtype, short rows, rows that take
// the parallel path, strides, ties, nan, infinities and signed zeros.
#include <algorithm>
#include <numeric>

#include "mlx/cpu/isa/sort.h"
#include "mlx/cpu/rows/rows.h"
#include "tests/cpp/isa/rows_check.h"

using namespace rows_test;
using namespace mlx::core::cpu;

namespace {

bool is_nan(Value v) { return std::isnan(v.real()) || std::isnan(v.imag()); }
bool before(Value a, Value b) {
  if (is_nan(a) || is_nan(b)) return !is_nan(a) && is_nan(b);
  return a.real() < b.real() || (a.real() == b.real() && a.imag() < b.imag());
}
bool same(Value a, Value b) { return a == b || (is_nan(a) && is_nan(b)); }

Data sample(int dtype, int64_t n, int seed) {
  Data x(dtype, n, seed, dtype == 1 || dtype == 5 ? 30 : 1e4);
  std::mt19937 rng(seed);
  if (is_float(dtype) || dtype == 13)
    for (int64_t i = 0; i < n; ++i) switch (rng() % 12) {
        case 0:
          x.set(i, NAN);
          break;
        case 1:
          x.set(i, -0.0);
          break;
        case 2:
          x.set(i, 0.0);
          break;
        case 3:
          x.set(i, -INFINITY);
          break;
        case 4:
          x.set(i, INFINITY);
          break;
        case 5:
          x.set(i, -std::numeric_limits<double>::quiet_NaN());
          break;
        default:
          break;
      }
  return x;
}

void rows(int dtype, int64_t count, int64_t n, int64_t stride, const std::string& what) {
  const Data x = sample(dtype, count * n * stride, static_cast<int>(n));
  Data sorted(dtype, count * n, 1), parted(dtype, count * n, 1);
  std::vector<uint32_t> order(count * n), part(count * n);
  const int64_t kth = n / 3;
  sort_rows(dtype, x.data(), count, n * stride, n, stride, -1, sorted.data());
  argsort_rows(dtype, x.data(), count, n * stride, n, stride, -1, order.data());
  sort_rows(dtype, x.data(), count, n * stride, n, stride, kth, parted.data());
  argsort_rows(dtype, x.data(), count, n * stride, n, stride, kth, part.data());
  std::vector<uint32_t> want(n);
  for (int64_t r = 0; r < count; ++r) {
    const auto at = [&](int64_t i) { return x[(r * n + i) * stride]; };
    std::iota(want.begin(), want.end(), 0);
    std::stable_sort(want.begin(), want.end(), [&](uint32_t a, uint32_t b) { return before(at(a), at(b)); });
    std::vector<char> seen(n, 0);
    for (int64_t i = 0; i < n; ++i) {
      check(order[r * n + i] == want[i], "argsort " + what);
      check(same(sorted[r * n + i], at(want[i])), "sort " + what);
      // A nan that sorting moved keeps its bits' meaning; zeros keep their number of signs (checked below).
      const Value pivot = at(want[kth]), v = parted[r * n + i], u = at(part[r * n + i]);
      check(i < kth ? !before(pivot, v) : !before(v, pivot), "partition " + what);
      check(i < kth ? !before(pivot, u) : !before(u, pivot), "argpartition " + what);
      seen[part[r * n + i]] = 1;
    }
    check(same(parted[r * n + kth], at(want[kth])) && same(at(part[r * n + kth]), at(want[kth])),
          "kth " + what);
    check(std::count(seen.begin(), seen.end(), 1) == n, "argpartition is a permutation " + what);
    if (is_float(dtype)) {
      int64_t in_signs = 0, out_signs = 0, part_signs = 0;
      for (int64_t i = 0; i < n; ++i) {
        in_signs += !is_nan(at(i)) && std::signbit(at(i).real());
        out_signs += !is_nan(sorted[r * n + i]) && std::signbit(sorted[r * n + i].real());
        part_signs += !is_nan(parted[r * n + i]) && std::signbit(parted[r * n + i].real());
      }
      check(in_signs == out_signs && in_signs == part_signs, "signs " + what);
    }
  }
}

// The tables of the sets that the driver does not choose on this machine.
void tables(Isa isa) {
  for (int dtype = 0; dtype < kDtypes; ++dtype) {
    const SortKernel& k = sort_kernels_for(isa).indices[dtype];
    for (int64_t n : {1, 10, 17, 48, 49, 64, 65, 128, 129, 256, 257, 500, 3000, 20'000}) {
      const Data x = sample(dtype, n, 3);
      std::vector<uint64_t> records(2 * n), scratch(2 * n);
      std::vector<uint32_t> got(n), want(n);
      k.pack(x.data(), n, 1, 0, records.data());
      k.sort(records.data(), scratch.data(), n);
      k.unpack(records.data(), n, got.data());
      std::iota(want.begin(), want.end(), 0);
      std::stable_sort(want.begin(), want.end(), [&](uint32_t a, uint32_t b) { return before(x[a], x[b]); });
      check(got == want, label("argsort", isa, dtype, n));
      for (int64_t kth : {int64_t{0}, n / 3, n - 1}) {
        k.pack(x.data(), n, 1, 0, records.data());
        k.partition(records.data(), scratch.data(), n, kth);
        k.unpack(records.data(), n, got.data());
        for (int64_t i = 0; i < n; ++i) {
          const Value pivot = x[want[kth]], u = x[got[i]];
          check(i < kth ? !before(pivot, u) : !before(u, pivot), label("argpartition", isa, dtype, n, kth));
        }
      }
      if (dtype == 13) continue;
      const SortKernel& v = sort_kernels_for(isa).values[dtype];
      Data y = x;
      v.pack(x.data(), n, 1, 0, records.data());
      v.sort(records.data(), scratch.data(), n);
      v.unpack(records.data(), n, y.data());
      for (int64_t i = 0; i < n; ++i) check(same(y[i], x[want[i]]), label("sort", isa, dtype, n));
    }
  }
}

}  // namespace

int main() {
  for (Isa isa : isas()) tables(isa);
  for (int dtype = 0; dtype < kDtypes; ++dtype) {
    for (int64_t n : {1, 2, 3, 10, 48, 49, 100, 1000})
      for (int64_t stride : {1, 3}) rows(dtype, 4, n, stride, label("rows", isa(), dtype, n, stride));
    for (int64_t n : {1100, 5000, 40'000}) rows(dtype, 2, n, 1, label("split", isa(), dtype, n));
    rows(dtype, 1, 150'000, 1, label("long", isa(), dtype));
    rows(dtype, 2, 140'000, 2, label("long strided", isa(), dtype));
  }
  return report("rows_sort");
}

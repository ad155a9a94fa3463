// Reductions and arg-reductions against double references: every dtype and instruction set, row lengths
// around the vector width, columns, strided and permuted layouts through the driver, accuracy of long sums,
// special values.
#include "mlx/cpu/rows/reduce.h"

#include <algorithm>
#include <numeric>

#include "mlx/cpu/isa/argreduce.h"
#include "mlx/cpu/rows/rows.h"
#include "tests/cpp/isa/rows_check.h"

using namespace rows_test;
using namespace mlx::core::cpu;

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();

bool less(Value a, Value b) { return a.real() < b.real() || (a.real() == b.real() && a.imag() < b.imag()); }

Value reference(ReduceOp op, const std::vector<Value>& x) {
  switch (op) {
    case ReduceOp::sum:
      return std::accumulate(x.begin(), x.end(), Value(0));
    case ReduceOp::prod:
      return std::accumulate(x.begin(), x.end(), Value(1), std::multiplies<Value>());
    case ReduceOp::max:
      return *std::max_element(x.begin(), x.end(), less);
    case ReduceOp::min:
      return *std::min_element(x.begin(), x.end(), less);
    case ReduceOp::any:
      return std::any_of(x.begin(), x.end(), [](Value v) { return v != Value(0); });
    default:
      return std::all_of(x.begin(), x.end(), [](Value v) { return v != Value(0); });
  }
}
int result_dtype(ReduceOp op, int dtype) {
  if (op == ReduceOp::any || op == ReduceOp::all) return 0;
  if ((op == ReduceOp::sum || op == ReduceOp::prod) && dtype <= 8) {
    if (dtype == 4 || dtype == 8) return dtype;
    return dtype >= 1 && dtype <= 3 ? 3 : 7;
  }
  return dtype;
}
// Integers wrap around, so the product is compared modulo 2^32 or 2^64 by doing it in uint64 again.
uint64_t wrapped_product(const std::vector<Value>& x) {
  uint64_t p = 1;
  for (Value v : x) p *= static_cast<uint64_t>(static_cast<int64_t>(v.real()));
  return p;
}
void compare(ReduceOp op, int dtype, const std::vector<Value>& x, const void* out, int64_t i,
             const std::string& what) {
  const int result = result_dtype(op, dtype);
  if (op == ReduceOp::prod && dtype <= 8) {
    const uint64_t want = wrapped_product(x);
    if (kSizes[result] == 8)
      check(static_cast<const uint64_t*>(out)[i] == want, what);
    else
      check(static_cast<const uint32_t*>(out)[i] == static_cast<uint32_t>(want), what);
    return;
  }
  const Value got = value_at(result, out, i), want = reference(op, x);
  double scale = 0;
  for (Value v : x) scale += std::abs(v);
  if (op != ReduceOp::sum) scale = std::abs(want);
  // Half a unit of the result, and the bound of the sums: 2^-23 of the sum of magnitudes.
  const double denormal = result == 9 ? 0x1p-25 : result == 12 ? 0x1p-134 : 0x1p-149;
  const double tolerance = epsilon(result) * std::abs(want) + 0x1p-22 * scale + denormal;
  const bool exact = op != ReduceOp::sum && op != ReduceOp::prod;
  check(exact ? got == want : std::abs(got - want) <= tolerance, what);
}

void kernels(Isa isa) {
  const ReduceTable& table = reduce_kernels_for(isa);
  for (int op = 0; op < 6; ++op)
    for (int dtype = 0; dtype < kDtypes; ++dtype) {
      const ReduceKernel& k = table(static_cast<ReduceOp>(op), dtype);
      std::vector<char> acc(200 * k.acc_bytes), out(200 * 8);
      for (int64_t n : {1, 2, 3, 7, 15, 16, 17, 31, 33, 63, 64, 65, 100, 257}) {
        const Data x(dtype, 70 * (n + 3), op, op == 1 ? 0.8 : 3);
        k.init(acc.data(), 70);
        k.rows(x.data(), 70, n + 3, n, acc.data());
        k.finish(acc.data(), 70, 1, out.data());
        for (int64_t r = 0; r < 70; ++r) {
          std::vector<Value> row;
          for (int64_t i = 0; i < n; ++i) row.push_back(x[r * (n + 3) + i]);
          compare(static_cast<ReduceOp>(op), dtype, row, out.data(), r, label("rows", isa, dtype, op, n));
        }
        const int64_t rows = 21;
        const Data y(dtype, rows * (n + 1), op + 9, op == 1 ? 0.8 : 3);
        acc.resize((n + 1) * k.acc_bytes), out.resize((n + 1) * 8);
        k.init(acc.data(), n);
        k.cols(y.data(), rows - 8, n + 1, n, acc.data());
        std::vector<char> part(n * k.acc_bytes);  // the rest, merged
        k.init(part.data(), n);
        k.cols(y.at((rows - 8) * (n + 1)), 8, n + 1, n, part.data());
        k.merge(acc.data(), part.data(), n);
        k.finish(acc.data(), n, 1, out.data());
        for (int64_t c = 0; c < n; ++c) {
          std::vector<Value> col;
          for (int64_t r = 0; r < rows; ++r) col.push_back(y[r * (n + 1) + c]);
          compare(static_cast<ReduceOp>(op), dtype, col, out.data(), c, label("cols", isa, dtype, op, n));
        }
        acc.resize(200 * k.acc_bytes), out.resize(200 * 8);
      }
    }
}

void special(Isa isa) {
  const ReduceTable& table = reduce_kernels_for(isa);
  const ArgReduceTable& args = argreduce_kernels_for(isa);
  for (int dtype : {9, 10, 11, 12, 13})
    for (int64_t n : {1, 5, 16, 40, 70, 600})
      for (int64_t at : {int64_t{0}, n / 2, n - 1}) {
        Data x(dtype, n, 5);
        x.set(at, NAN);
        for (ReduceOp op : {ReduceOp::max, ReduceOp::min}) {
          const ReduceKernel& k = table(op, dtype);
          char acc[64 * 16], out[64 * 8];
          k.init(acc, 1);
          k.rows(x.data(), 1, n, n, acc);
          k.finish(acc, 1, 1, out);
          check(std::isnan(value_at(dtype, out, 0).real()), label("nan row", isa, dtype, n, at));
          k.init(acc, 1);
          k.cols(x.data(), n, 1, 1, acc);
          k.finish(acc, 1, 1, out);
          check(std::isnan(value_at(dtype, out, 0).real()), label("nan col", isa, dtype, n, at));
        }
        if (at + 2 < n) x.set(n - 1, NAN);
        for (int max : {0, 1}) {
          uint32_t got = ~0u;
          args.at[max][dtype].rows(x.data(), 1, n, n, &got);
          check(got == at, label("arg nan row", isa, dtype, n, at));
          args.at[max][dtype].cols(x.data(), n, 1, 1, &got);
          check(got == at, label("arg nan col", isa, dtype, n, at));
        }
      }
  Data infinite(10, 100, 1);
  for (int64_t i = 0; i < 100; ++i) infinite.set(i, -inf);
  uint32_t at = 9;
  args.at[1][10].rows(infinite.data(), 1, 100, 100, &at);
  check(at == 0, label("all -inf", isa, 10));
}

void arg(Isa isa) {
  const ArgReduceTable& table = argreduce_kernels_for(isa);
  for (int dtype = 0; dtype < kDtypes; ++dtype)
    for (int64_t n : {1, 2, 9, 32, 33, 100, 511, 513, 1500})
      for (int max : {0, 1}) {
        const Data x(dtype, 3 * n, static_cast<int>(n), dtype == 10 ? 1e3 : 2);
        uint32_t got[3];
        std::vector<uint32_t> cols(n);
        table.at[max][dtype].rows(x.data(), 3, n, n, got);
        table.at[max][dtype].cols(x.data(), 3, n, n, cols.data());
        for (int64_t r = 0; r < 3; ++r) {
          int64_t want = 0;
          for (int64_t i = 1; i < n; ++i)
            if (max ? less(x[r * n + want], x[r * n + i]) : less(x[r * n + i], x[r * n + want])) want = i;
          check(got[r] == want, label("arg rows", isa, dtype, n, max));
        }
        for (int64_t c = 0; c < n; ++c) {
          int64_t want = 0;
          for (int64_t i = 1; i < 3; ++i)
            if (max ? less(x[want * n + c], x[i * n + c]) : less(x[i * n + c], x[want * n + c])) want = i;
          check(cols[c] == want, label("arg cols", isa, dtype, n, max));
        }
      }
}

void moment_kernels(Isa isa) {
  for (int dtype : {9, 10, 11, 12}) {
    const ReduceKernel& k = reduce_kernels_for(isa)(ReduceOp::moments, dtype);
    for (int64_t n : {1, 2, 8, 9, 16, 17, 40, 5000})
      for (double offset : {0.0, 1000.0}) {
        Data x(dtype, n, 3);
        for (int64_t i = 0; i < n; ++i) x.set(i, x[i] + offset);
        double mean = 0, m2 = 0;
        for (int64_t i = 0; i < n; ++i) mean += x[i].real() / static_cast<double>(n);
        for (int64_t i = 0; i < n; ++i) m2 += (x[i].real() - mean) * (x[i].real() - mean);
        Moments got[2];
        k.init(got, 2);
        k.rows(x.data(), 1, n, n, got);
        k.cols(x.data(), n, 1, 1, got + 1);
        for (const Moments& m : got) {
          check(m.n == static_cast<double>(n), label("moments n", isa, dtype, n));
          check(close(m.mean, mean, 3e-7 * (3 + offset)), label("mean", isa, dtype, n));
          check(close(m.m2, m2, 1e-6 * m2 + 1e-12), label("m2", isa, dtype, n, static_cast<int64_t>(offset)));
        }
      }
  }
}

// Any permutation of the dims of a (3, 17, 5, 20) array, reversed and skipping axes, any set of reduced axes.
void layouts() {
  const int64_t shape[4] = {3, 17, 5, 20};
  const Data x(10, 3 * 17 * 5 * 20, 11);
  int order[4] = {0, 1, 2, 3};
  do {
    for (int mask = 0; mask < 16; ++mask)
      for (int trick = 0; trick < 4; ++trick) {
        int64_t n[4], stride[4], start = 0, step = 1;
        for (int d = 3; d >= 0; --d) n[d] = shape[d], stride[d] = step, step *= shape[d];
        if (trick == 1) start = stride[1] * 16, stride[1] = -stride[1];
        if (trick == 2) n[3] = 10, stride[3] = 2;
        if (trick == 3) stride[2] = 0;
        ReduceLayout layout;
        std::vector<ReduceDim> kept, red;
        int64_t count = 1;
        for (int d : order) {
          (mask >> d & 1 ? red : kept).push_back({n[d], stride[d]});
          if (!(mask >> d & 1)) count *= n[d];
        }
        std::vector<float> out(count), mean(count), var(count);
        const float* in = static_cast<const float*>(x.data()) + start;
        for (ReduceOp op : {ReduceOp::sum, ReduceOp::max}) {
          reduce(op, 10, in, {kept, red}, out.data());
          if (op == ReduceOp::sum) moments(10, in, {kept, red}, 0, mean.data(), var.data());
          for (int64_t o = 0; o < count; ++o) {
            int64_t rest = o, at = 0, total = 1;
            for (size_t d = kept.size(); d-- > 0;) at += rest % kept[d].n * kept[d].stride, rest /= kept[d].n;
            for (const auto& d : red) total *= d.n;
            std::vector<Value> values;
            for (int64_t i = 0; i < total; ++i) {
              int64_t r = i, offset = at;
              for (const auto& d : red) offset += r % d.n * d.stride, r /= d.n;
              values.push_back(in[offset]);
            }
            compare(op, 10, values, out.data(), o, "layout mask " + std::to_string(mask));
            if (op == ReduceOp::sum) {
              const double mu = reference(op, values).real() / static_cast<double>(total);
              double m2 = 0;
              for (Value v : values) m2 += (v.real() - mu) * (v.real() - mu);
              check(close(mean[o], mu, 1e-5) && close(var[o], m2 / static_cast<double>(total), 1e-4),
                    "moments layout mask " + std::to_string(mask) + " trick " + std::to_string(trick));
            }
          }
        }
      }
  } while (std::next_permutation(order, order + 4));
}

void accuracy() {
  const int64_t n = 10'000'000;
  std::vector<float> x(n);
  std::mt19937 rng(3);
  std::uniform_real_distribution<float> uniform;
  for (int round = 0; round < 2; ++round) {
    double want = 0;
    for (float& v : x) v = round ? 0.1f : uniform(rng), want += v;
    float got;
    reduce(ReduceOp::sum, 10, x.data(), {{}, {{n, 1}}}, &got);
    check(std::abs(got / want - 1) <= 2e-7, "sum of 10M: " + std::to_string(got / want - 1));
    std::vector<float> cols(10);
    reduce(ReduceOp::sum, 10, x.data(), {{{10, 1}}, {{n / 10, 10}}}, cols.data());
    check(std::abs(std::accumulate(cols.begin(), cols.end(), 0.0) / want - 1) <= 2e-7, "column sums of 10M");
  }
  // Large rows, also of arg-reductions, take the parallel path.
  for (int64_t at : {int64_t{0}, n / 3, n - 1}) {
    std::fill(x.begin(), x.end(), 1.0f);
    x[at] = 2;
    uint32_t got;
    argreduce(true, 10, x.data(), 1, n, 1, &got);
    check(got == at, "argmax of 10M");
    argreduce(false, 10, x.data(), 1, n, 1, &got);
    check(got == (at == 0 ? 1 : 0), "argmin of 10M");
    if (at) x[at - 1] = NAN;
    argreduce(true, 10, x.data(), 1, n, 1, &got);
    check(got == (at ? at - 1 : 0), "argmax of 10M with nan");
  }
}

}  // namespace

int main() {
  for (Isa isa : isas()) {
    kernels(isa);
    special(isa);
    arg(isa);
    moment_kernels(isa);
  }
  layouts();
  accuracy();
  return report("rows_reduce");
}

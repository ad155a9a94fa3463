#include "mlx/cpu/gemm/gemm.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "mlx/cpu/gemm/kernels.h"
#include "mlx/cpu/gemm/nest.h"
#include "mlx/cpu/gemm/skinny_path.h"
#include "mlx/cpu/gemm/small_path.h"
#include "mlx/cpu/gemm/workspace.h"
#include "mlx/cpu/isa/copy.h"
#include "mlx/cpu/parallel.h"

namespace mlx::core::cpu {

using namespace gemm_detail;

namespace {

Elem elem_of(Dtype t) {
  switch (t.val()) {
    case Dtype::Val::float32:
      return kF32;
    case Dtype::Val::float64:
      return kF64;
    case Dtype::Val::float16:
      return kF16;
    case Dtype::Val::bfloat16:
      return kBf16;
    case Dtype::Val::complex64:
      return kC64;
    default:
      throw std::invalid_argument(std::string("[gemm] no kernel for ") + dtype_name(t));
  }
}

const void* at(const void* p, int64_t elements, Elem e) {
  return p ? static_cast<const char*>(p) + elements * kElemSize[e] : nullptr;
}

int64_t offset(const int64_t* offsets, int64_t stride, int64_t i) {
  return offsets ? offsets[i] : i * stride;
}

// One product of the batch.
Product product(const DirectTable& direct, const GemmCall& g, Elem e, int64_t i) {
  Product p;
  p.type = p.out = e;
  p.m = g.m, p.n = g.n, p.k = g.k;
  p.a = at(g.a, offset(g.a_offsets, g.a_batch, i), e);
  p.b = at(g.b, offset(g.b_offsets, g.b_batch, i), e);
  p.c = const_cast<void*>(at(g.c, offset(g.c_offsets, g.c_batch, i), e));
  p.d = g.beta != 0 ? at(g.d, offset(g.d_offsets, g.d_batch, i), e) : nullptr;
  p.a_row = g.a_row, p.a_col = g.a_col, p.b_row = g.b_row, p.b_col = g.b_col;
  p.ldc = g.ldc, p.d_row = g.d_row, p.d_col = g.d_col;
  p.alpha = g.alpha, p.beta = p.d ? g.beta : 0;
  p.batch = i;
  p.epilogue = g.epilogue;
  p.direct = &direct;
  return p;
}

constexpr int64_t kFetchAtMost = 64 << 10;  // bytes of D: more would push the packed panels out of L2

// Sums to C: alpha, beta * D, conversion, epilogue.
class ProductSink final : public TileSink {
 public:
  ProductSink(const GemmTable& t, const Product& p, bool in_place)
      : p_(p), finish_(in_place && p.alpha == 1 && !p.d ? nullptr : t.finish[p.out]) {}
  bool needed() const { return finish_ || p_.epilogue.run; }
  // Pieces of D's rows are too short for the machine's own prefetchers, and each would be waited for.
  void expect(int64_t i0, int64_t rows, int64_t j0, int64_t cols) const override {
    if (!p_.d || p_.d_col != 1 || p_.d_row == 0 || p_.type == kC64) return;
    const int64_t size = kElemSize[p_.out], bytes = cols * size;
    if (rows * bytes > kFetchAtMost) return;
    const char* d = static_cast<const char*>(p_.d) + (i0 * p_.d_row + j0) * size;
    for (int64_t i = 0; i < rows; ++i, d += p_.d_row * size)
      for (int64_t at = 0; at < bytes; at += 64) __builtin_prefetch(d + at);
  }
  void take(int64_t i0, int64_t rows, int64_t j0, int64_t cols, const void* acc, int64_t ld) const override {
    const int scale = p_.type == kC64 ? 2 : 1;
    const int64_t size = kElemSize[p_.out], col = j0 / scale;
    char* c = static_cast<char*>(p_.c) + (i0 * p_.ldc + col) * size;
    if (finish_) {
      const void* d =
          p_.d ? static_cast<const char*>(p_.d) + (i0 * p_.d_row + col * p_.d_col) * size : nullptr;
      finish_(rows, cols, acc, ld, c, p_.ldc * scale, p_.alpha, p_.beta, d, p_.d_row, p_.d_col);
    }
    if (p_.epilogue.run)
      p_.epilogue.run(p_.epilogue.context, c, p_.ldc, p_.batch, i0, rows, col, cols / scale);
  }

 private:
  const Product& p_;
  FinishFn finish_;
};

constexpr int64_t kSymmetricFrom =
    192;  // rows; below, too little of C lies outside the tiles on the diagonal

// A matrix times its own transpose. What is joined with C need not be symmetric.
bool accepts_symmetric(const GemmTable&, const Product& p) {
  return p.a == p.b && p.m == p.n && p.a_row == p.b_col && p.a_col == p.b_row && p.m >= kSymmetricFrom &&
         p.k >= 32 && p.type != kC64 && !p.d && !p.epilogue.run;
}

void blocked(const GemmTable& t, const Product& p) {
  const bool complex = p.type == kC64;
  const int scale = complex ? 2 : 1;
  const Family& f = family(t, p.type, p.m, p.n, p.k);
  const StridedSource a(f.pack_a[p.type], p.a, p.type, p.a_row, p.a_col, 1, scale);
  const StridedSource b(f.pack_b[p.type], p.b, p.type, p.b_col, p.b_row, scale, scale);
  // A D that is C would be gone when the sums are complete.
  const bool direct = p.out == kF32 || p.out == kF64 || complex ? p.d == nullptr || p.d != p.c : false;
  const ProductSink sink(t, p, direct);
  Nest nest;
  nest.family = &f;
  nest.m = p.m, nest.n = p.n * scale, nest.k = p.k * scale;
  nest.a = &a, nest.b = &b;
  if (direct) nest.direct = p.c, nest.ld = p.ldc * scale;
  nest.sink = sink.needed() ? &sink : nullptr;
  nest.symmetric = accepts_symmetric(t, p);
  if ((p.type == kF32 || p.type == kF64) && p.b_col == 1 && !f.formed() && !nest.symmetric &&
      read_b_in_place(f, p)) {
    nest.in_place = p.b;
    nest.in_place_ld = p.b_row;
  }
  run_nest(nest);
}

void symmetric(const GemmTable& t, const Product& p) {
  blocked(t, p);
  const SymmetricTiles tiles(family(t, p.type, p.m, p.n, p.k), p.n);
  const int64_t size = kElemSize[p.out];
  const auto turn = copy_kernels().transpose[size == 2 ? 1 : size == 4 ? 2 : 3];
  const int64_t across = (p.n + tiles.cols - 1) / tiles.cols, down = (p.m + tiles.rows - 1) / tiles.rows;
  parallel_for(across * down, [&](int64_t item) {
    const int64_t i = item / across * tiles.rows, j = item % across * tiles.cols;
    if (!tiles.is_above(i, j)) return;
    char* c = static_cast<char*>(p.c);
    turn(c + (j * p.ldc + i) * size, p.ldc, c + (i * p.ldc + j) * size, p.ldc, std::min(tiles.rows, p.m - i),
         std::min(tiles.cols, p.n - j), false);
  });
}

// A long k: sums in float32 of spans of it are added in float64. One sum would lose terms that are small
// beside it, of equal ones from 2^24 on every second one.
constexpr int64_t kSpan = 1 << 20;

bool accepts_long(const GemmTable&, const Product& p) { return p.k > kSpan && p.type != kF64; }

void one_product(const GemmTable& t, const Product& p);

void in_spans(const GemmTable& t, const Product& p) {
  const int scale = p.type == kC64 ? 2 : 1;
  const int64_t ld = p.n * scale, size = p.m * ld;
  Workspace part(size * 4), total(size * 8);
  Product span = p;
  span.out = p.type == kC64 ? kC64 : kF32;
  span.c = part.data(), span.ldc = p.n;
  span.d = nullptr, span.alpha = 1, span.beta = 0, span.epilogue = {};
  double* sums = total.as<double>();
  std::fill_n(sums, size, 0.0);
  for (int64_t k0 = 0; k0 < p.k; k0 += kSpan) {
    span.k = std::min(kSpan, p.k - k0);
    span.a = at(p.a, k0 * p.a_col, p.type), span.b = at(p.b, k0 * p.b_row, p.type);
    one_product(t, span);
    const float* more = part.as<float>();
    parallel_ranges(size, 1 << 16, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) sums[i] += static_cast<double>(more[i]);
    });
  }
  for (int64_t i = 0; i < size; ++i) part.as<float>()[i] = static_cast<float>(sums[i]);
  ProductSink(t, p, false).take(0, p.m, 0, ld, part.data(), ld);
}

// The ways to compute a product, most special first; the first that accepts is taken.
struct Way {
  const char* name;
  const char* reason;
  bool (*accepts)(const GemmTable&, const Product&);
  void (*run)(const GemmTable&, const Product&);
};
constexpr Way kWays[] = {
    {"in spans", "more terms than float32 adds up well", accepts_long, in_spans},
    {"dots", "one row or column, and few terms", accepts_dots, dots},
    {"small", "few columns and a short k: nothing but B is copied", accepts_small, small},
    {"skinny", "at most 8 rows or columns: bound by memory, the large operand is read once", accepts_skinny,
     skinny},
    {"symmetric", "a matrix times its transpose: what is above the diagonal mirrors what is below",
     accepts_symmetric, symmetric},
    {"blocked", "everything else", [](const GemmTable&, const Product&) { return true; }, blocked},
};

void one_product(const GemmTable& t, const Product& p) {
  for (const Way& way : kWays)
    if (way.accepts(t, p)) return way.run(t, p);
}

// Rows of all products are rows of one where B is shared and A and C continue from one product to the next.
GemmCall folded(GemmCall g) {
  if (g.batch <= 1 || g.epilogue.run || g.a_offsets || g.b_offsets || g.c_offsets || g.d_offsets) return g;
  if (g.m == 1) g.a_row = g.a_batch, g.d_row = g.d_batch;  // of a single row they say nothing
  const bool d_fits = g.beta == 0 || !g.d || g.d_batch == g.m * g.d_row;
  if (g.b_batch != 0 || g.a_batch != g.m * g.a_row || g.c_batch != g.m * g.ldc || !d_fits) return g;
  g.m *= g.batch;
  g.batch = 1;
  return g;
}

constexpr double kBatchFlops = 1.2e7;  // larger products use all threads one after the other
constexpr double kItemFlops = 2e6;

void run(const GemmTable& t, const DirectTable& direct, const GemmCall& call) {
  const Elem e = elem_of(call.dtype);
  const GemmCall g = folded(call);
  if (g.m <= 0 || g.n <= 0 || g.batch <= 0) return;
  const double flops = gemm_flops(g) / static_cast<double>(g.batch);
  if (g.batch == 1 || flops > kBatchFlops) {
    for (int64_t i = 0; i < g.batch; ++i) one_product(t, product(direct, g, e, i));
    return;
  }
  // Bytes count too: a skinny product moves much and computes little.
  const double bytes = 1.0 * static_cast<double>(kElemSize[e]) *
                       (static_cast<double>(g.m) * static_cast<double>(g.k) +
                        static_cast<double>(g.k) * static_cast<double>(g.n) +
                        static_cast<double>(g.m) * static_cast<double>(g.n));
  const double work = std::max(flops, 8 * bytes) + 2000;
  const int64_t grain = std::max<int64_t>(1, static_cast<int64_t>(kItemFlops / work));
  parallel_ranges(g.batch, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) one_product(t, product(direct, g, e, i));
  });
}

}  // namespace

void gemm(const GemmCall& call) { run(gemm_kernels(), direct_kernels(), call); }
void gemm_for(Isa isa, const GemmCall& call) { run(gemm_kernels_for(isa), direct_kernels_for(isa), call); }

}  // namespace mlx::core::cpu

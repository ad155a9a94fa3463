#include "mlx/cpu/rows/reduce.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>

#include "mlx/cpu/parallel.h"
#include "mlx/dtype.h"

namespace mlx::core::cpu {
namespace {

constexpr int kSizes[kDtypes] = {1, 1, 2, 4, 8, 1, 2, 4, 8, 2, 4, 8, 2, 8};

// Elements that one parallel item reads, about: 20-60 us of work.
constexpr int64_t kItem = 1 << 19;
constexpr int64_t kGather = 4096;  // elements of a tile copied from strided memory

struct KeptDim {
  int64_t n, stride, out_stride;
};

void gather(const char* in, int size, int64_t rows, int64_t row_stride, int64_t cols, int64_t col_stride,
            char* out) {
  const auto copy = [&]<class U>(U) {
    U* o = reinterpret_cast<U*>(out);
    for (int64_t r = 0; r < rows; ++r) {
      const U* p = reinterpret_cast<const U*>(in) + r * row_stride;
      for (int64_t c = 0; c < cols; ++c) *o++ = p[c * col_stride];
    }
  };
  switch (size) {
    case 1:
      return copy(uint8_t{});
    case 2:
      return copy(uint16_t{});
    case 4:
      return copy(uint32_t{});
    default:
      return copy(uint64_t{});
  }
}

// Accumulators on the stack where they are few.
class Accumulators {
 public:
  explicit Accumulators(int64_t bytes) {
    if (bytes > static_cast<int64_t>(sizeof inline_)) heap_ = std::make_unique_for_overwrite<char[]>(bytes);
  }
  char* data() { return heap_ ? heap_.get() : inline_; }

 private:
  alignas(64) char inline_[2048];
  std::unique_ptr<char[]> heap_;
};

class Plan {
 public:
  Plan(const ReduceKernel& kernel, int dtype, const void* in, ReduceLayout layout)
      : kernel_(kernel), size_(kSizes[dtype]), in_(static_cast<const char*>(in)) {
    int64_t out_stride = 1;
    outputs_ = 1, reduced_ = 1;
    for (auto d = layout.kept.rbegin(); d != layout.kept.rend(); ++d) {
      if (d->n != 1) kept_.push_back({d->n, d->stride, out_stride});
      out_stride *= d->n;
      outputs_ *= d->n;
    }
    for (const ReduceDim& d : layout.reduced) {
      reduced_ *= d.n;
      if (d.n <= 1) continue;
      // The order of a reduced dim does not matter: walk it upwards.
      if (d.stride < 0) in_ += d.stride * (d.n - 1) * size_;
      red_.push_back({d.n, d.stride < 0 ? -d.stride : d.stride});
    }
    if (outputs_ == 0 || reduced_ == 0) return;
    std::stable_sort(red_.begin(), red_.end(), [](auto& a, auto& b) { return a.stride < b.stride; });
    collapse();
    choose_inner();
  }

  // Finish is called as finish(acc, count, first output, stride between outputs).
  template <class Finish>
  void run(Finish&& finish) {
    if (outputs_ == 0) return;
    if (reduced_ == 0) {
      Accumulators acc(kernel_.acc_bytes);
      kernel_.init(acc.data(), 1);
      for (int64_t i = 0; i < outputs_; ++i) finish(acc.data(), int64_t{1}, i, int64_t{1});
      return;
    }
    const int64_t m = inner_.n;
    const int64_t per_output = reduced_;
    int64_t tile = std::clamp<int64_t>(kItem / per_output, 1, m);
    if (!by_rows_) tile = std::min<int64_t>(m, std::max<int64_t>(tile, 4096));
    const int64_t tiles = (m + tile - 1) / tile;
    // Reduction units of one output tile: outer reduced index times chunks of the inner reduced dim.
    int64_t outer_red = 1;
    for (const auto& d : red_) outer_red *= d.n;
    const int64_t chunk = std::clamp<int64_t>(kItem / tile, 64, std::max<int64_t>(n_, 64));
    const int64_t chunks = (n_ + chunk - 1) / chunk;
    const int64_t units = outer_red * chunks;
    const int64_t unit_work = std::max<int64_t>(1, tile * std::min(chunk, n_));
    const int64_t per_group = std::clamp<int64_t>(kItem / unit_work, 1, units);
    const int64_t groups = (units + per_group - 1) / per_group;

    const auto reduce_units = [&](int64_t base, int64_t first, int64_t count, int64_t begin, int64_t end,
                                  char* acc) {
      kernel_.init(acc, count);
      for (int64_t u = begin; u < end; ++u) {
        const int64_t start = u % chunks * chunk;
        const int64_t offset = base + first * inner_.stride + offset_of(red_, u / chunks) + start * n_stride_;
        call(in_ + offset * size_, count, std::min(chunk, n_ - start), acc);
      }
    };
    int64_t outer_kept = 1;
    for (const auto& d : kept_) outer_kept *= d.n;
    const int64_t pieces = outer_kept * tiles;
    const int64_t acc_bytes = kernel_.acc_bytes;
    if (groups == 1) {
      const int64_t piece_work = std::max<int64_t>(1, std::min(tile, m) * per_output);
      parallel_ranges(pieces, std::max<int64_t>(1, kItem / piece_work), [&](int64_t begin, int64_t end) {
        Accumulators acc(tile * acc_bytes);
        for (int64_t p = begin; p < end; ++p) {
          const int64_t first = p % tiles * tile, count = std::min(tile, m - first);
          const auto [base, out] = offsets_of_kept(p / tiles);
          reduce_units(base, first, count, 0, units, acc.data());
          finish(acc.data(), count, out + first * inner_.out_stride, inner_.out_stride);
        }
      });
      return;
    }
    const auto parts = std::make_unique_for_overwrite<char[]>(pieces * groups * tile * acc_bytes);
    parallel_for(pieces * groups, [&](int64_t i) {
      const int64_t p = i / groups, g = i % groups;
      const int64_t first = p % tiles * tile, count = std::min(tile, m - first);
      reduce_units(offsets_of_kept(p / tiles).first, first, count, g * per_group,
                   std::min(units, (g + 1) * per_group), parts.get() + i * tile * acc_bytes);
    });
    // Merging by pieces of a tile: a single wide tile is shared among threads as well.
    const int64_t slice = std::max<int64_t>(64, (kItem / 16) / groups);
    const int64_t slices = (tile + slice - 1) / slice;
    parallel_ranges(pieces * slices, std::max<int64_t>(1, kItem / 16 / (slice * groups)),
                    [&](int64_t begin, int64_t end) {
                      for (int64_t i = begin; i < end; ++i) {
                        const int64_t p = i / slices, s = i % slices * slice;
                        const int64_t first = p % tiles * tile + s;
                        const int64_t count = std::min({slice, tile - s, m - first});
                        if (count <= 0) continue;
                        char* acc = parts.get() + (p * groups * tile + s) * acc_bytes;
                        for (int64_t g = 1; g < groups; ++g)
                          kernel_.merge(acc, acc + g * tile * acc_bytes, count);
                        finish(acc, count, offsets_of_kept(p / tiles).second + first * inner_.out_stride,
                               inner_.out_stride);
                      }
                    });
  }

 private:
  void collapse() {
    // kept_ is innermost first here.
    for (size_t i = 0; i + 1 < kept_.size();) {
      KeptDim &a = kept_[i], &b = kept_[i + 1];
      if (b.stride == a.stride * a.n && b.out_stride == a.out_stride * a.n) {
        a.n *= b.n;
        kept_.erase(kept_.begin() + i + 1);
      } else {
        ++i;
      }
    }
    for (size_t i = 0; i + 1 < red_.size();) {
      ReduceDim &a = red_[i], &b = red_[i + 1];
      if (b.stride == a.stride * a.n) {
        a.n *= b.n;
        red_.erase(red_.begin() + i + 1);
      } else {
        ++i;
      }
    }
  }

  // The two dims that a kernel call spans: one reduced (n_, n_stride_) and one kept (inner_).
  void choose_inner() {
    n_ = 1, n_stride_ = 1;
    inner_ = {1, 1, 1};
    const auto magnitude = [](int64_t s) { return s < 0 ? -s : s; };
    auto k = kept_.end();
    for (auto d = kept_.begin(); d != kept_.end(); ++d)
      if (d->stride != 0 && (k == kept_.end() || magnitude(d->stride) < magnitude(k->stride))) k = d;
    auto r = red_.begin();
    while (r != red_.end() && r->stride == 0) ++r;
    if (r == red_.end()) r = red_.begin();
    const bool row =
        r != red_.end() && (k == kept_.end() || (r->stride != 0 && r->stride <= magnitude(k->stride)));
    by_rows_ = row;
    if (row && !kept_.empty()) k = kept_.begin();  // rows: neighbours in the output
    if (r != red_.end()) {
      n_ = r->n, n_stride_ = r->stride;
      red_.erase(r);
    }
    if (k != kept_.end()) {
      inner_ = *k;
      kept_.erase(k);
    }
    if (n_ == 1 && row) n_stride_ = 1;
  }

  static int64_t offset_of(const std::vector<ReduceDim>& dims, int64_t index) {
    int64_t offset = 0;
    for (const auto& d : dims) {
      offset += index % d.n * d.stride;
      index /= d.n;
    }
    return offset;
  }
  std::pair<int64_t, int64_t> offsets_of_kept(int64_t index) const {
    int64_t in = 0, out = 0;
    for (const auto& d : kept_) {
      in += index % d.n * d.stride;
      out += index % d.n * d.out_stride;
      index /= d.n;
    }
    return {in, out};
  }

  // acc[0 .. count) takes in n elements each.
  void call(const char* in, int64_t count, int64_t n, char* acc) const {
    if (by_rows_) {
      if (n_stride_ == 1) return kernel_.rows(in, count, inner_.stride, n, acc);
      alignas(64) char tile[kGather * 8];
      for (int64_t i = 0; i < count; ++i)
        for (int64_t j = 0; j < n; j += kGather) {
          const int64_t part = std::min(kGather, n - j);
          gather(in + (i * inner_.stride + j * n_stride_) * size_, size_, 1, 0, part, n_stride_, tile);
          kernel_.rows(tile, 1, part, part, acc + i * kernel_.acc_bytes);
        }
      return;
    }
    if (inner_.stride == 1 || count == 1) return columns(in, count, n, acc);
    alignas(64) char tile[kGather * 8];
    const int64_t width = std::min<int64_t>(count, 256), height = kGather / width;
    for (int64_t c = 0; c < count; c += width)
      for (int64_t r = 0; r < n; r += height) {
        const int64_t w = std::min(width, count - c), h = std::min(height, n - r);
        gather(in + (c * inner_.stride + r * n_stride_) * size_, size_, h, n_stride_, w, inner_.stride, tile);
        kernel_.cols(tile, h, w, w, acc + c * kernel_.acc_bytes);
      }
  }

  // A few columns lying next to each other are taken as 64 times as many, folded at the end: whole vectors
  // instead of tails.
  void columns(const char* in, int64_t cols, int64_t rows, char* acc) const {
    constexpr int64_t fold = 64;
    if (n_stride_ != cols || cols >= 64 || rows < 4 * fold)
      return kernel_.cols(in, rows, n_stride_, cols, acc);
    const int64_t wide = rows / fold, bytes = cols * kernel_.acc_bytes;
    Accumulators parts(fold * bytes);
    kernel_.init(parts.data(), fold * cols);
    kernel_.cols(in, wide, cols * fold, cols * fold, parts.data());
    for (int64_t f = 0; f < fold; ++f) kernel_.merge(acc, parts.data() + f * bytes, cols);
    kernel_.cols(in + wide * fold * cols * size_, rows - wide * fold, cols, cols, acc);
  }

  const ReduceKernel& kernel_;
  const int size_;
  const char* in_;
  std::vector<KeptDim> kept_;   // innermost first, without inner_
  std::vector<ReduceDim> red_;  // smallest stride first, without n_
  int64_t outputs_ = 0, reduced_ = 0;
  int64_t n_ = 1, n_stride_ = 1;
  KeptDim inner_{1, 1, 1};
  bool by_rows_ = true;
};

int result_size(ReduceOp op, int dtype) {
  const bool integral = dtype <= static_cast<int>(Dtype::Val::int64);
  if (op == ReduceOp::any || op == ReduceOp::all) return 1;
  if (op == ReduceOp::integer_mean) return 4;
  if ((op == ReduceOp::sum || op == ReduceOp::prod) && integral) return std::max(4, kSizes[dtype]);
  return kSizes[dtype];
}

// Calls emit(acc, count, out) for runs of outputs that are contiguous in memory.
template <class Emit>
void emit_runs(const char* acc, int acc_bytes, int64_t count, int64_t first, int64_t stride, char* out,
               int size, Emit&& emit) {
  if (stride == 1) return emit(acc, count, out + first * size);
  for (int64_t i = 0; i < count; ++i)
    emit(acc + i * acc_bytes, int64_t{1}, out + (first + i * stride) * size);
}

}  // namespace

void reduce(ReduceOp op, int dtype, const void* in, ReduceLayout layout, void* out, double divisor) {
  const ReduceKernel& kernel = reduce_kernels()(op, dtype);
  const int size = result_size(op, dtype);
  Plan plan(kernel, dtype, in, std::move(layout));
  plan.run([&](const char* acc, int64_t count, int64_t first, int64_t stride) {
    emit_runs(acc, kernel.acc_bytes, count, first, stride, static_cast<char*>(out), size,
              [&](const char* a, int64_t n, char* o) { kernel.finish(a, n, divisor, o); });
  });
}

void moments(int dtype, const void* in, ReduceLayout layout, double ddof, void* mean, void* variance) {
  const ReduceKernel& kernel = reduce_kernels()(ReduceOp::moments, dtype);
  const ReduceKernel& round = reduce_kernels()(ReduceOp::sum, dtype);  // double to dtype
  const int size = kSizes[dtype];
  Plan plan(kernel, dtype, in, std::move(layout));
  plan.run([&](const char* acc, int64_t count, int64_t first, int64_t stride) {
    const auto* m = reinterpret_cast<const Moments*>(acc);
    for (int64_t i = 0; i < count; ++i) {
      const int64_t at = (first + i * stride) * size;
      const double nan = std::numeric_limits<double>::quiet_NaN();
      const double mu = m[i].n > 0 ? m[i].mean : nan;
      const double var = m[i].n - ddof > 0 ? m[i].m2 / (m[i].n - ddof) : nan;
      if (mean) round.finish(&mu, 1, 1, static_cast<char*>(mean) + at);
      if (variance) round.finish(&var, 1, 1, static_cast<char*>(variance) + at);
    }
  });
}

}  // namespace mlx::core::cpu

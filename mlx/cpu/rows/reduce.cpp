#include "mlx/cpu/rows/reduce.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>

#include "mlx/cpu/parallel.h"
#include "mlx/dtype.h"
#include "mlx/small_vector.h"

namespace mlx::core::cpu {
namespace {

constexpr int kSizes[kDtypes] = {1, 1, 2, 4, 8, 1, 2, 4, 8, 2, 4, 8, 2, 8};

// Elements that one parallel item reads, about: where there are many, 20-60 us of work.
constexpr int64_t kLeastItem = 1 << 15, kMostItem = 1 << 19;
constexpr double kReadNanoseconds = 0.06;   // that an element in memory takes, roughly
constexpr double kShareNanoseconds = 3000;  // of work, before another thread is worth waking
// Arrays of fewer elements stay in the caches: each thread has its share of them.
constexpr int64_t kShared = 1 << 23;
constexpr int64_t kGather = 4096;  // elements of a tile copied from strided memory
// Few columns lying next to each other are taken as so many times as many.
constexpr int64_t kFold = 64;

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

// The accumulators of reductions that run together: an array for each, one accumulator for each output.
class Folding {
 public:
  struct Item {
    const ReduceKernel* kernel;
    size_t value;   // that it reduces
    int64_t begin;  // bytes of the items before, for each output
  };
  void add(const ReduceKernel& kernel, size_t value) {
    items_.push_back({&kernel, value, bytes_});
    bytes_ += (kernel.acc_bytes + 7) / 8 * 8;
  }
  const SmallVector<Item, 2>& items() const { return items_; }
  int64_t bytes(int64_t outputs) const { return bytes_ * outputs; }
  // Accumulator i in memory for `capacity` outputs.
  static char* at(char* memory, int64_t capacity, const Item& item, int64_t i = 0) {
    return memory + item.begin * capacity + i * item.kernel->acc_bytes;
  }
  void init(char* memory, int64_t capacity, int64_t count) const {
    for (const Item& item : items_) item.kernel->init(at(memory, capacity, item), count);
  }
  // [to, to + count) of one memory take in [from, from + count) of another.
  void merge(char* memory, int64_t capacity, int64_t to, char* part, int64_t part_capacity, int64_t from,
             int64_t count) const {
    for (const Item& item : items_)
      item.kernel->merge(at(memory, capacity, item, to), at(part, part_capacity, item, from), count);
  }

 private:
  SmallVector<Item, 2> items_;
  int64_t bytes_ = 0;
};

// How the elements of a layout are walked through: one order of additions for each shape.
class Plan {
 public:
  explicit Plan(const ReduceLayout& layout) {
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
      if (d.stride < 0) origin_ += d.stride * (d.n - 1);
      red_.push_back({d.n, d.stride < 0 ? -d.stride : d.stride});
    }
    if (outputs_ == 0 || reduced_ == 0) return;
    std::stable_sort(red_.begin(), red_.end(), [](auto& a, auto& b) { return a.stride < b.stride; });
    collapse();
    choose_inner();
    cut();
  }

  // Elements that are taken in at once.
  int64_t unit_elements() const { return outputs_ == 0 || reduced_ == 0 ? 0 : tile_ * std::min(chunk_, n_); }

  // make_source() gives, on each thread, what take(plan, folding, offset, count, n, acc, capacity) is called
  // of: `count` outputs, from acc on, take in n elements each, the first of them at `offset`. Finish is
  // called as finish(item, acc, count, first output, stride between outputs). An element takes `nanoseconds`:
  // how the work is cut does not depend on it, whether threads share it does.
  template <class MakeSource, class Finish>
  void run(const Folding& folding, double nanoseconds, MakeSource&& make_source, Finish&& finish) const {
    if (outputs_ == 0) return;
    const auto share = static_cast<int64_t>(kShareNanoseconds / nanoseconds);  // elements
    const auto finish_all = [&](char* acc, int64_t capacity, int64_t s, int64_t count, int64_t first,
                                int64_t stride) {
      for (const Folding::Item& item : folding.items())
        finish(item, Folding::at(acc, capacity, item, s), count, first, stride);
    };
    if (reduced_ == 0) {
      Accumulators acc(folding.bytes(1));
      folding.init(acc.data(), 1, 1);
      for (int64_t i = 0; i < outputs_; ++i) finish_all(acc.data(), 1, 0, 1, i, 1);
      return;
    }
    const int64_t m = inner_.n, tile = tile_;
    const int64_t tiles = (m + tile - 1) / tile;
    // Reduction units of one output tile: outer reduced index times chunks of the inner reduced dim.
    int64_t outer_red = 1;
    for (const auto& d : red_) outer_red *= d.n;
    const int64_t chunks = (n_ + chunk_ - 1) / chunk_;
    const int64_t units = outer_red * chunks;
    const int64_t unit_work = std::max<int64_t>(1, tile * std::min(chunk_, n_));
    const int64_t most = std::clamp<int64_t>(item_ / unit_work, 1, units);
    const int64_t groups = (units + most - 1) / most;
    const int64_t per_group = (units + groups - 1) / groups;

    const auto reduce_units = [&](auto& source, int64_t base, int64_t first, int64_t count, int64_t begin,
                                  int64_t end, char* acc) {
      folding.init(acc, tile, count);
      for (int64_t u = begin; u < end; ++u) {
        const int64_t start = u % chunks * chunk_;
        const int64_t offset =
            origin_ + base + first * inner_.stride + offset_of(red_, u / chunks) + start * n_stride_;
        source.take(*this, folding, offset, count, std::min(chunk_, n_ - start), acc, tile);
      }
    };
    int64_t outer_kept = 1;
    for (const auto& d : kept_) outer_kept *= d.n;
    const int64_t pieces = outer_kept * tiles;
    const int64_t tile_bytes = folding.bytes(tile);
    if (groups == 1) {
      const int64_t piece_work = std::max<int64_t>(1, std::min(tile, m) * reduced_);
      const int64_t grain = std::max<int64_t>(1, std::max(item_, share) / piece_work);
      parallel_ranges(pieces, grain, [&](int64_t begin, int64_t end) {
        auto source = make_source();
        Accumulators acc(tile_bytes);
        for (int64_t p = begin; p < end; ++p) {
          const int64_t first = p % tiles * tile, count = std::min(tile, m - first);
          const auto [base, out] = offsets_of_kept(p / tiles);
          reduce_units(source, base, first, count, 0, units, acc.data());
          finish_all(acc.data(), tile, 0, count, out + first * inner_.out_stride, inner_.out_stride);
        }
      });
      return;
    }
    const auto parts = std::make_unique_for_overwrite<char[]>(pieces * groups * tile_bytes);
    const auto reduce_group = [&](auto& source, int64_t i) {
      const int64_t p = i / groups, g = i % groups;
      const int64_t first = p % tiles * tile, count = std::min(tile, m - first);
      reduce_units(source, offsets_of_kept(p / tiles).first, first, count, g * per_group,
                   std::min(units, (g + 1) * per_group), parts.get() + i * tile_bytes);
    };
    const auto reduce_groups = [&](int64_t begin, int64_t end) {
      auto source = make_source();
      for (int64_t i = begin; i < end; ++i) reduce_group(source, i);
    };
    const int64_t all = pieces * groups;
    if (outputs_ * reduced_ < 2 * share) {
      reduce_groups(0, all);
    } else if (outputs_ * reduced_ < kShared) {
      parallel_ranges(all, all / (2 * num_threads()), reduce_groups);
    } else {
      parallel_for(all, [&](int64_t i) { reduce_groups(i, i + 1); }, Order::one_queue);
    }
    // Merging by pieces of a tile: a single wide tile is shared among threads as well.
    const int64_t slice = std::max<int64_t>(64, (kMostItem / 16) / groups);
    const int64_t slices = (tile + slice - 1) / slice;
    parallel_ranges(pieces * slices, std::max<int64_t>(1, kMostItem / 16 / (slice * groups)),
                    [&](int64_t begin, int64_t end) {
                      for (int64_t i = begin; i < end; ++i) {
                        const int64_t p = i / slices, s = i % slices * slice;
                        const int64_t first = p % tiles * tile + s;
                        const int64_t count = std::min({slice, tile - s, m - first});
                        if (count <= 0) continue;
                        char* acc = parts.get() + p * groups * tile_bytes;
                        for (int64_t g = 1; g < groups; ++g)
                          folding.merge(acc, tile, s, acc + g * tile_bytes, tile, s, count);
                        finish_all(acc, tile, s, count,
                                   offsets_of_kept(p / tiles).second + first * inner_.out_stride,
                                   inner_.out_stride);
                      }
                    });
  }

  bool by_rows() const { return by_rows_; }
  int64_t output_stride() const { return inner_.stride; }  // of elements of neighbours in the output
  int64_t element_stride() const { return n_stride_; }     // of elements of one output
  // Are few columns, lying next to each other, taken as kFold times as many?
  bool widens(int64_t columns, int64_t rows) const {
    return n_stride_ == columns && columns < kFold && rows >= 4 * kFold;
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

  // How many outputs and how many elements of each are taken in at once.
  void cut() {
    item_ = std::clamp(outputs_ * reduced_ / 8, kLeastItem, kMostItem);
    const int64_t m = inner_.n;
    tile_ = std::clamp<int64_t>(item_ / reduced_, 1, m);
    if (!by_rows_) tile_ = std::min<int64_t>(m, std::max<int64_t>(tile_, 4096));
    const int64_t chunks = std::max<int64_t>(1, (n_ * tile_ + item_ - 1) / item_),
                  align = by_rows_ ? kRowBlock : 64;
    chunk_ = ((n_ + chunks - 1) / chunks + align - 1) / align * align;
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

  std::vector<KeptDim> kept_;   // innermost first, without inner_
  std::vector<ReduceDim> red_;  // smallest stride first, without n_
  int64_t origin_ = 0;          // of the walk, in elements
  int64_t outputs_ = 0, reduced_ = 0;
  int64_t n_ = 1, n_stride_ = 1;
  KeptDim inner_{1, 1, 1};
  bool by_rows_ = true;
  int64_t item_ = kLeastItem, tile_ = 1, chunk_ = 1;
};

// Columns lying next to each other, taken in by columns(offset, rows, spacing, count, acc, capacity). Where
// they are few, kFold rows of them are one wide row, folded at the end: whole vectors instead of tails.
template <class Columns>
void take_columns(const Plan& plan, const Folding& folding, int64_t offset, int64_t count, int64_t n,
                  char* acc, int64_t capacity, Columns&& columns) {
  if (!plan.widens(count, n)) return columns(offset, n, plan.element_stride(), count, acc, capacity);
  const int64_t wide = n / kFold, width = count * kFold, whole = wide * kFold;
  Accumulators parts(folding.bytes(width));
  folding.init(parts.data(), width, width);
  columns(offset, wide, width, width, parts.data(), width);
  for (int64_t half = kFold / 2; half > 0; half /= 2)
    folding.merge(parts.data(), width, 0, parts.data(), width, half * count, half * count);
  folding.merge(acc, capacity, 0, parts.data(), width, 0, count);
  columns(offset + whole * count, n - whole, count, count, acc, capacity);
}

// Elements in memory, for one reduction.
class MemorySource {
 public:
  MemorySource(const void* in, int dtype) : in_(static_cast<const char*>(in)), size_(kSizes[dtype]) {}

  void take(const Plan& plan, const Folding& folding, int64_t offset, int64_t count, int64_t n, char* acc,
            int64_t capacity) const {
    const ReduceKernel& kernel = *folding.items()[0].kernel;
    const char* in = in_ + offset * size_;
    const int64_t spacing = plan.output_stride(), step = plan.element_stride();
    if (plan.by_rows()) {
      if (step == 1) return kernel.rows(in, count, spacing, n, acc);
      alignas(64) char tile[kGather * 8];
      for (int64_t i = 0; i < count; ++i)
        for (int64_t j = 0; j < n; j += kGather) {
          const int64_t part = std::min(kGather, n - j);
          gather(in + (i * spacing + j * step) * size_, size_, 1, 0, part, step, tile);
          kernel.rows(tile, 1, part, part, acc + i * kernel.acc_bytes);
        }
      return;
    }
    if (spacing == 1 || count == 1)
      return take_columns(plan, folding, offset, count, n, acc, capacity,
                          [&](int64_t first, int64_t rows, int64_t stride, int64_t columns, char* to,
                              int64_t) { kernel.cols(in_ + first * size_, rows, stride, columns, to); });
    alignas(64) char tile[kGather * 8];
    const int64_t width = std::min<int64_t>(count, 256), height = kGather / width;
    for (int64_t c = 0; c < count; c += width)
      for (int64_t r = 0; r < n; r += height) {
        const int64_t w = std::min(width, count - c), h = std::min(height, n - r);
        gather(in + (c * spacing + r * step) * size_, size_, h, step, w, spacing, tile);
        kernel.cols(tile, h, w, w, acc + c * kernel.acc_bytes);
      }
  }

 private:
  const char* in_;
  const int size_;
};

// Elements that are computed: the same additions in the same order, in blocks that stay in the cache. Kernels
// take in 64 short rows at a time, and eight rows of columns.
class ComputedSource {
 public:
  explicit ComputedSource(const ComputedElements& elements) : reader_(elements.reader()) {}

  void take(const Plan& plan, const Folding& folding, int64_t offset, int64_t count, int64_t n, char* acc,
            int64_t capacity) {
    if (plan.by_rows()) return rows(folding, offset, count, plan.output_stride(), n, acc, capacity);
    take_columns(plan, folding, offset, count, n, acc, capacity,
                 [&](int64_t first, int64_t rows, int64_t spacing, int64_t columns, char* to, int64_t most) {
                   this->columns(folding, first, rows, spacing, columns, to, most);
                 });
  }

 private:
  static constexpr int64_t kBlock = 8192, kWidth = 512;
  static_assert(8 * kFold * kFold <= ComputedElements::kMostRead && kRowBlock <= ComputedElements::kMostRead);

  void rows(const Folding& folding, int64_t offset, int64_t count, int64_t spacing, int64_t n, char* acc,
            int64_t capacity) {
    const int64_t most = n <= 16 ? kBlock / 16 : std::max<int64_t>(1, kBlock / n);
    for (int64_t r = 0; r < count; r += most)
      for (int64_t i = 0; i < n; i += kRowBlock) {
        const int64_t rows = std::min(most, count - r), part = std::min(kRowBlock, n - i);
        reader_->read(offset + r * spacing + i, rows, spacing, part, views_);
        for (const Folding::Item& item : folding.items()) {
          const auto [data, stride] = views_[item.value];
          item.kernel->rows(data, rows, stride, part, Folding::at(acc, capacity, item, r));
        }
      }
  }

  void columns(const Folding& folding, int64_t offset, int64_t rows, int64_t spacing, int64_t count,
               char* acc, int64_t capacity) {
    // Whole rows where they lie side by side.
    const bool whole = spacing == count && 8 * count <= ComputedElements::kMostRead;
    const int64_t width = whole ? count : std::min(count, kWidth);
    const int64_t height = std::max<int64_t>(8, kBlock / width / 8 * 8);
    for (int64_t c = 0; c < count; c += width)
      for (int64_t r = 0; r < rows; r += height) {
        const int64_t w = std::min(width, count - c), h = std::min(height, rows - r);
        reader_->read(offset + c + r * spacing, h, spacing, w, views_);
        for (const Folding::Item& item : folding.items()) {
          const auto [data, stride] = views_[item.value];
          item.kernel->cols(data, h, stride, w, Folding::at(acc, capacity, item, c));
        }
      }
  }

  std::unique_ptr<ComputedElements::Reader> reader_;
  ComputedElements::View views_[kMostValues];
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

// Walks through the layout and writes every result.
template <class MakeSource>
void run_reductions(std::span<const ComputedReduction> reductions, const ReduceLayout& layout,
                    double nanoseconds, MakeSource&& make_source) {
  Folding folding;
  for (const ComputedReduction& r : reductions) folding.add(reduce_kernels()(r.rule.op, r.dtype), r.value);
  Plan(layout).run(
      folding, nanoseconds, make_source,
      [&](const Folding::Item& item, const char* acc, int64_t count, int64_t first, int64_t stride) {
        const ComputedReduction& r = reductions[static_cast<size_t>(&item - folding.items().begin())];
        emit_runs(acc, item.kernel->acc_bytes, count, first, stride, static_cast<char*>(r.out),
                  result_size(r.rule.op, r.dtype),
                  [&](const char* a, int64_t n, char* o) { item.kernel->finish(a, n, r.rule.divisor, o); });
      });
}

}  // namespace

void reduce(ReduceOp op, int dtype, const void* in, const ReduceLayout& layout, void* out, double divisor) {
  const ComputedReduction one{{op, divisor}, dtype, 0, out};
  run_reductions({&one, 1}, layout, kReadNanoseconds, [&] { return MemorySource(in, dtype); });
}

void reduce_computed(std::span<const ComputedReduction> reductions, const ReduceLayout& layout,
                     const ComputedElements& elements) {
  const double nanoseconds = elements.nanoseconds() + kReadNanoseconds;
  run_reductions(reductions, layout, nanoseconds, [&] { return ComputedSource(elements); });
}

bool reduces_computed_well(const ReduceLayout& layout) { return Plan(layout).unit_elements() >= 1024; }

void moments(int dtype, const void* in, const ReduceLayout& layout, double ddof, void* mean, void* variance) {
  Folding folding;
  folding.add(reduce_kernels()(ReduceOp::moments, dtype), 0);
  const ReduceKernel& round = reduce_kernels()(ReduceOp::sum, dtype);  // double to dtype
  const int size = kSizes[dtype];
  Plan(layout).run(
      folding, 2 * kReadNanoseconds, [&] { return MemorySource(in, dtype); },
      [&](const Folding::Item&, const char* acc, int64_t count, int64_t first, int64_t stride) {
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

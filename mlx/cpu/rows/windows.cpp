#include "mlx/cpu/rows/windows.h"

#include <algorithm>

#include "mlx/cpu/isa/windows.h"
#include "mlx/cpu/parallel.h"
#include "mlx/dtype.h"
#include "mlx/ops/windows.h"

namespace mlx::core::cpu {
namespace {

constexpr int64_t kItem = 1 << 16;  // elements that one parallel item reads, about

// Lines of windows: the last two kept dims; the others are walked line by line.
class Lines {
 public:
  // `any`: also what is not worth it.
  explicit Lines(const ReduceLayout& layout, bool any = false) {
    int64_t count = 1, windows = 1, len = 1;
    for (const ReduceDim& d : layout.reduced) count *= d.n;
    for (const ReduceDim& d : layout.kept) {
      windows *= d.n;
      if (d.n != 1) kept_.push_back(d);
    }
    if (windows == 0 || count == 0) return;
    if (!kept_.empty() && kept_.back().stride == 1) {
      len = kept_.back().n;
      kept_.pop_back();
    }
    if (!any && !is_small_window(count, len)) return;
    for (int64_t r = 0; r < count; ++r) {
      int64_t offset = 0, rest = r;
      for (auto d = layout.reduced.rbegin(); d != layout.reduced.rend(); ++d) {
        offset += rest % d->n * d->stride;
        rest /= d->n;
      }
      offsets_.push_back(offset);
    }
    for (size_t i = kept_.size(); i-- > 1;)  // dims that are walked as one
      if (kept_[i - 1].stride == kept_[i].stride * kept_[i].n) {
        kept_[i - 1] = {kept_[i - 1].n * kept_[i].n, kept_[i].stride};
        kept_.erase(kept_.begin() + static_cast<std::ptrdiff_t>(i));
      }
    if (kept_.empty()) kept_.push_back({1, 0});
    line_ = kept_.back();
    kept_.pop_back();
    windows_ = {offsets_.data(), count, 0, line_.stride, len};
  }
  Lines(const Lines&) = delete;
  bool fit() const { return !offsets_.empty(); }

  // f(windows, where they begin in the input, number of the first one)
  template <class F>
  void for_each(F&& f) const {
    const int64_t window = windows_.count * windows_.len;
    const int64_t part = std::clamp<int64_t>(kItem / window, 1, line_.n), parts = (line_.n + part - 1) / part;
    int64_t lines = 1;
    for (const ReduceDim& d : kept_) lines *= d.n;
    const int64_t grain = std::max<int64_t>(1, kItem / (window * part));
    parallel_ranges(lines * parts, grain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t first = i % parts * part, line = i / parts;
        int64_t at = first * line_.stride, rest = line;
        for (auto d = kept_.rbegin(); d != kept_.rend(); ++d) {
          at += rest % d->n * d->stride;
          rest /= d->n;
        }
        Windows w = windows_;
        w.outputs = std::min(part, line_.n - first);
        f(w, at, line * line_.n + first);
      }
    });
  }

 private:
  std::vector<ReduceDim> kept_;
  std::vector<int64_t> offsets_;
  ReduceDim line_{1, 0};
  Windows windows_{};
};

int64_t size_of(int dtype) {
  if (dtype == static_cast<int>(Dtype::Val::float64)) return 8;
  return dtype == static_cast<int>(Dtype::Val::float32) ? 4 : 2;
}

}  // namespace

bool reduce_windows(ReduceOp op, int dtype, const void* in, const ReduceLayout& layout, void* out,
                    double divisor) {
  const WindowTable& table = window_kernels();
  const auto fold = op == ReduceOp::sum   ? table.sum[dtype]
                    : op == ReduceOp::max ? table.max[dtype]
                    : op == ReduceOp::min ? table.min[dtype]
                                          : nullptr;
  if (!fold) return false;
  const Lines lines(layout);
  if (!lines.fit()) return false;
  const int64_t size = size_of(dtype);
  lines.for_each([&](const Windows& w, int64_t at, int64_t first) {
    fold(w, static_cast<const char*>(in) + at * size, divisor,
         static_cast<char*>(out) + first * w.len * size);
  });
  return true;
}

bool are_windows(const ReduceLayout& layout) { return Lines(layout).fit(); }

void share_windows(int dtype, const void* in, const ReduceLayout& layout, const void* y, const void* g,
                   void* out) {
  const auto share = window_kernels().share[dtype];
  const Lines lines(layout, true);
  if (!lines.fit()) return;
  const int64_t size = size_of(dtype);
  lines.for_each([&](const Windows& w, int64_t at, int64_t first) {
    const int64_t from = first * w.len * size;
    share(w, static_cast<const char*>(in) + at * size, static_cast<const char*>(y) + from,
          static_cast<const char*>(g) + from, static_cast<char*>(out) + at * size);
  });
}

}  // namespace mlx::core::cpu

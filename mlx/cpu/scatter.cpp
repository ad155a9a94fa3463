// Scatter: all offsets are read and checked before anything is written. Several updates at one place are
// applied in their order: work is cut by destination, so that no two items meet and each of them walks the
// updates from first to last. How it is cut therefore cannot be seen in the result.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "mlx/cpu/copy.h"
#include "mlx/cpu/indexing.h"
#include "mlx/cpu/isa/copy_index.h"
#include "mlx/cpu/parallel.h"
#include "mlx/graph/forecast.h"
#include "mlx/graph/kernels.h"
#include "mlx/ops/indexing.h"

namespace mlx::core::cpu {
namespace {

constexpr int64_t kReadBlock = 1 << 14;
// Cutting pays from this many elements on.
constexpr int64_t kParallelElements = 1 << 14;

// The output starts as the array: as its own buffer where nobody else has it.
void start_from(const array& in, array& out) {
  if (in.is_donatable() && in.flags().row_contiguous) {
    out.copy_shared_buffer(in);
  } else {
    out.set_data(allocator::malloc(out.nbytes()));
    copy_to(in, out.data<void>());
  }
}

IndexTable::Scatter kernel_of(ScatterReduce reduce, Dtype dtype) {
  return index_kernels().scatter[static_cast<int>(reduce)][static_cast<int>(dtype.val())];
}

struct Box {
  Strides shape, in, out;  // collapsed; `in` are the updates
  int64_t size() const {
    int64_t n = 1;
    for (int64_t d : shape) n *= d;
    return n;
  }
};

// Updates i at in + i * step go to out + offsets[i], a box each.
void scatter_boxes(IndexTable::Scatter kernel, const std::vector<int64_t>& offsets, const Box& box,
                   const char* in, int64_t step, array& out, bool independent) {
  const int64_t itemsize = static_cast<int64_t>(out.itemsize()), count = static_cast<int64_t>(offsets.size());
  const int64_t total = static_cast<int64_t>(out.size()), all = IndexTable::kAll;
  char* to = out.data<char>();
  const size_t dims = box.shape.size();
  const int64_t n = dims == 0 ? 1 : box.shape[dims - 1];
  const int64_t so = dims == 0 ? 1 : box.out[dims - 1], si = dims == 0 ? 1 : box.in[dims - 1];
  const int64_t outer = box.size() / n;
  const auto place = [&](int64_t o, int64_t& from, int64_t& at) {
    from = at = 0;
    for (size_t d = dims; d-- > 1;) {
      from += o % box.shape[d - 1] * box.in[d - 1];
      at += o % box.shape[d - 1] * box.out[d - 1];
      o /= box.shape[d - 1];
    }
  };
  if (!independent) {  // boxes may overlap: one after the other
    for (int64_t i = 0; i < count; ++i)
      for (int64_t o = 0; o < outer; ++o) {
        int64_t from, at;
        place(o, from, at);
        kernel(to + at * itemsize, &offsets[static_cast<size_t>(i)], 0, all, so,
               in + (from + i * step) * itemsize, 0, si, 1, n);
      }
    return;
  }
  // Elements of the box never meet each other's updates: cut the box. Where that is too little, cut the range
  // of places, and let every item look through all offsets for its own.
  const int64_t threads = num_threads();
  const bool parallel = threads > 1 && count * box.size() >= kParallelElements;
  const int64_t columns = parallel ? std::clamp<int64_t>(n * itemsize / 128, 1, threads) : 1;
  const int64_t pieces = outer * columns;
  const int64_t ranges =
      parallel && pieces < threads ? std::min<int64_t>((threads + pieces - 1) / pieces, 16) : 1;
  const int64_t width = (n + columns - 1) / columns,
                range = ranges == 1 ? all : (total + ranges - 1) / ranges;
  const auto run = [&](int64_t item) {
    const int64_t first = ranges == 1 ? 0 : item % ranges * range, column = item / ranges % columns * width;
    int64_t from, at;
    place(item / ranges / columns, from, at);
    const int64_t w = std::min(width, n - column);
    if (w <= 0) return;
    kernel(to + (at + column * so) * itemsize, offsets.data(), first, range, so,
           in + (from + column * si) * itemsize, step, si, count, w);
  };
  const int64_t items = outer * columns * ranges;
  const int64_t grain = parallel ? std::max<int64_t>(1, items / (threads * 8)) : items;
  parallel_ranges(items, grain, [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) run(item);
  });
}

// Where the boxes begin in a row-major array of the first input's shape. They must end inside it: an array
// whose boxes are longer than one element is looked at as a shorter one.
std::vector<int64_t> offsets_of(const Scatter& p, const Arrays& inputs, const Shape& lead, const Shape& box) {
  Shape limited = inputs[0].shape();
  for (int axis : p.axes) limited[static_cast<size_t>(axis)] -= box[static_cast<size_t>(axis)] - 1;
  array window(limited, inputs[0].dtype(), nullptr, {});
  window.copy_shared_buffer(inputs[0], row_major_strides(inputs[0].shape()), {}, inputs[0].data_size());
  const Arrays indices(inputs.begin() + 1, inputs.end() - 1);
  const IndexReader reader(p.name(), window, indices, p.axes, lead);
  std::vector<int64_t> offsets(static_cast<size_t>(reader.size()));
  parallel_ranges(reader.size(), kReadBlock, [&](int64_t begin, int64_t end) {
    reader.read(begin, end - begin, offsets.data() + begin);
  });
  return offsets;
}

// How the places outside the axis, which are independent of each other, are cut into items: strips of what is
// inside the axis, narrow enough that the part of the output that a strip can reach stays in cache. Updates
// of a strip are read in runs, which lie together: rows of a strip, or several rows where a strip spans them.
struct Strips {
  Strips(int64_t inner, int64_t n, int64_t limit, int64_t itemsize) : inner(inner), n(n) {
    constexpr int64_t least = 64, cache = 256 << 10;
    width = std::max(least, cache / (limit * itemsize) / least * least);
    if (width >= inner) width = inner;
    count = (inner + width - 1) / width;
    rows = width < inner ? 1 : std::max<int64_t>(1, kRun / inner);
  }
  // f(first row, rows, first column, columns) for every run of a strip, in order; no run is longer than kRun.
  template <class F>
  void each(int64_t strip, F&& f) const {
    const int64_t begin = strip * width, end = std::min(inner, begin + width);
    for (int64_t j = 0; j < n; j += rows)
      for (int64_t c = begin; c < end; c += kRun) f(j, std::min(rows, n - j), c, std::min(kRun, end - c));
  }
  static constexpr int64_t kRun = 1024;
  int64_t inner, n, width, count, rows;
};

// One whole number is added at all places: they are counted, on each thread for itself, in any order.
constexpr size_t kMostCounts = 1 << 14;
constexpr int64_t kCounted = 1 << 14;  // places, before another thread is worth waking
constexpr float kMostWhole = 1 << 24;  // whole numbers up to it are floats

bool counts_places(ScatterReduce reduce, const array& index, const array& updates, const array& out) {
  return reduce == ScatterReduce::sum && out.ndim() == 1 && updates.data_size() == 1 &&
         out.size() <= kMostCounts && out.size() <= index.size() && index.flags().row_contiguous &&
         (out.dtype() == int32 || out.dtype() == uint32 || out.dtype() == float32);
}

// False where floats are rounded on the way: additions one after the other are something else then.
bool add_counts(const char* op, const array& in, const array& index, const array& updates, array& out) {
  if (out.dtype() == float32) {
    const float value = *updates.data<float>();
    if (index.size() < 4 * out.size()) return false;  // not worth the look at what is there
    if (!(std::rint(value) == value && std::abs(value) <= kMostWhole)) return false;
  }
  const int64_t n = static_cast<int64_t>(index.size()), limit = static_cast<int64_t>(out.size());
  const int64_t parts = std::clamp<int64_t>(n / kCounted, 1, num_threads());
  std::vector<uint32_t> counts(static_cast<size_t>(parts * limit));
  parallel_for(parts, [&](int64_t part) {
    uint32_t* const count = counts.data() + part * limit;
    int64_t places[Strips::kRun];
    const int64_t end = n * (part + 1) / parts;
    for (int64_t i = n * part / parts; i < end; i += Strips::kRun) {
      const int64_t m = std::min(Strips::kRun, end - i);
      add_offsets(op, index, i, 1, m, 0, limit, 1, true, places);
      for (int64_t k = 0; k < m; ++k) ++count[places[k]];
    }
  });
  for (int64_t part = 1; part < parts; ++part)
    for (int64_t i = 0; i < limit; ++i)
      counts[static_cast<size_t>(i)] += counts[static_cast<size_t>(part * limit + i)];
  start_from(in, out);
  if (out.dtype() != float32) {
    const uint32_t value = *updates.data<uint32_t>();
    uint32_t* const sums = out.data<uint32_t>();
    for (int64_t i = 0; i < limit; ++i) sums[i] += value * counts[static_cast<size_t>(i)];
    return true;
  }
  const float value = *updates.data<float>();
  float* const sums = out.data<float>();
  bool exact = true;
  for (int64_t i = 0; i < limit; ++i) {
    const double most =
        std::abs(sums[i]) + std::abs(value) * static_cast<double>(counts[static_cast<size_t>(i)]);
    exact = exact && std::rint(sums[i]) == sums[i] && most <= kMostWhole;
  }
  for (int64_t i = 0; exact && i < limit; ++i)
    if (const uint32_t count = counts[static_cast<size_t>(i)]) sums[i] += value * static_cast<float>(count);
  return exact;
}

void scatter(const Scatter& p, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  array updates = inputs.back();
  if (inputs.size() == 3 && updates.size() == inputs[1].size() &&
      counts_places(p.reduce, inputs[1], updates, out) &&
      add_counts(p.name(), inputs[0], inputs[1], updates, out))
    return;
  const auto k = static_cast<std::ptrdiff_t>(updates.ndim() - out.ndim());
  const Shape lead(updates.shape().begin(), updates.shape().begin() + k);
  const Shape box(updates.shape().begin() + k, updates.shape().end());
  const std::vector<int64_t> offsets = offsets_of(p, inputs, lead, box);
  bool independent = true;
  for (int axis : p.axes) independent = independent && box[static_cast<size_t>(axis)] == 1;

  const auto outer = [&] { return Strides(updates.strides().begin(), updates.strides().begin() + k); };
  Collapsed steps = collapse_dims(lead, {outer()});
  if (steps.shape.size() > 1) {
    updates = row_contiguous(updates);
    steps = collapse_dims(lead, {outer()});
  }
  const int64_t step = steps.shape.empty() ? 0 : steps.strides[0].back();
  start_from(inputs[0], out);
  Collapsed c =
      collapse_dims(box, {Strides(updates.strides().begin() + k, updates.strides().end()), out.strides()});
  if (step == 1 && !c.shape.empty() && c.strides[0].back() != 1) {  // neighbours are of different boxes
    c.shape.push_back(1);
    for (Strides& strides : c.strides) strides.push_back(1);
  }
  scatter_boxes(kernel_of(p.reduce, out.dtype()), offsets, {c.shape, c.strides[0], c.strides[1]},
                updates.data<char>(), step, out, independent);
}

void scatter_along_axis(const ScatterAlongAxis& p, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  if (counts_places(p.reduce, inputs[1], inputs[2], out) &&
      add_counts(p.name(), inputs[0], inputs[1], inputs[2], out))
    return;
  const array index = row_contiguous(inputs[1]), updates = row_contiguous(inputs[2]);
  int64_t outer = 1, inner = 1;
  for (int i = 0; i < static_cast<int>(out.ndim()); ++i)
    (i < p.axis ? outer : inner) *= i == p.axis ? 1 : out.shape(i);
  const int64_t n = index.shape(p.axis), limit = out.shape(p.axis), slab = n * inner;
  const auto kernel = kernel_of(p.reduce, out.dtype());
  const auto read = [&](int64_t begin, int64_t count, int64_t* offsets) {
    add_offsets(p.name(), index, begin, 1, count, p.axis, limit, inner, true, offsets);
  };
  if (index.size() == 0) return start_from(inputs[0], out);
  const Strips strips(inner, n, std::max<int64_t>(1, limit), static_cast<int64_t>(out.itemsize()));
  if (outer * strips.count == 1) {
    std::vector<int64_t> offsets(index.size());
    parallel_ranges(slab, kReadBlock, [&](int64_t begin, int64_t end) {
      read(begin, end - begin, offsets.data() + begin);
      if (inner > 1)
        for (int64_t i = begin; i < end; ++i) offsets[static_cast<size_t>(i)] += i % inner;
    });
    start_from(inputs[0], out);
    return scatter_boxes(kernel, offsets, {}, updates.data<char>(), 1, out, true);
  }
  start_from(inputs[0], out);
  const int64_t group = std::max<int64_t>(1, kParallelElements / (n * strips.width));
  // A buffer that the input leaves to the output is only written when no index can be wrong any more.
  if (out.data<void>() == inputs[0].data<void>())
    parallel_ranges(static_cast<int64_t>(index.size()), kReadBlock, [&](int64_t begin, int64_t end) {
      int64_t offsets[Strips::kRun];
      for (int64_t i = begin; i < end; i += Strips::kRun) read(i, std::min(Strips::kRun, end - i), offsets);
    });
  const int64_t itemsize = static_cast<int64_t>(out.itemsize()), size = limit * inner;
  parallel_ranges(outer * strips.count, group, [&](int64_t begin, int64_t end) {
    int64_t offsets[Strips::kRun];
    for (int64_t item = begin; item < end; ++item) {
      const int64_t o = item / strips.count;
      strips.each(item % strips.count, [&](int64_t j, int64_t rows, int64_t c, int64_t columns) {
        const int64_t at = o * slab + j * inner + c;
        read(at, rows * columns, offsets);
        if (inner > 1)
          for (int64_t r = 0; r < rows; ++r)
            for (int64_t i = 0; i < columns; ++i) offsets[r * columns + i] += c + i;
        kernel(out.data<char>() + o * size * itemsize, offsets, 0, IndexTable::kAll, 1,
               updates.data<char>() + at * itemsize, 1, 1, rows * columns, 1);
      });
    }
  });
}

void masked_scatter(const MaskedScatter&, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  const array mask = row_contiguous(inputs[1]), source = row_contiguous(inputs[2]);
  const bool* selected = mask.data<bool>();
  const size_t bytes = out.itemsize(), part = mask.size() == 0 ? 0 : out.size() / mask.size();
  size_t count = 0;
  for (size_t i = 0; i < mask.size(); ++i) count += selected[i];
  if (source.size() < count * part)
    throw invalid("masked_scatter", "the mask selects ", count * part, " elements, got ", source.size(),
                  " values");
  start_from(inputs[0], out);
  const char* from = source.data<char>();
  char* to = out.data<char>();
  if (part == 1) {
    const auto run = [&]<class T>() {
      const T* next = reinterpret_cast<const T*>(from);
      for (size_t i = 0; i < mask.size(); ++i)
        if (selected[i]) reinterpret_cast<T*>(to)[i] = *next++;
    };
    switch (bytes) {
      case 1:
        return run.template operator()<uint8_t>();
      case 2:
        return run.template operator()<uint16_t>();
      case 4:
        return run.template operator()<uint32_t>();
      default:
        return run.template operator()<uint64_t>();
    }
  }
  for (size_t i = 0; i < mask.size(); ++i) {
    if (!selected[i]) continue;
    std::memcpy(to + i * part * bytes, from, part * bytes);
    from += part * bytes;
  }
}

// start_from and the copies of other operands, for forecasts of memory.
template <class P>
bool add_memory_rule() {
  return memory_rules(Device::cpu)
      .add<P>([](const P& p, const Arrays& in, Arrays& out, ShadowMemory& memory) {
        if (in[0].is_donatable() && in[0].flags().row_contiguous) {
          out[0].copy_shared_buffer(in[0]);
        } else {
          memory.allocate(out[0]);
        }
        if constexpr (std::is_same_v<P, ScatterAlongAxis>)
          if (counts_places(p.reduce, in[1], in[2], out[0])) return;  // floats: where nothing is rounded
        for (size_t i = 1; i < in.size(); ++i)
          if (!std::is_same_v<P, Scatter> && !in[i].flags().row_contiguous) memory.scratch(in[i].nbytes());
      });
}

const bool registered = kernels(Device::cpu).add<Scatter>(scatter) &&
                        kernels(Device::cpu).add<ScatterAlongAxis>(scatter_along_axis) &&
                        kernels(Device::cpu).add<MaskedScatter>(masked_scatter) &&
                        add_memory_rule<Scatter>() && add_memory_rule<ScatterAlongAxis>() &&
                        add_memory_rule<MaskedScatter>();

}  // namespace
}  // namespace mlx::core::cpu

// Reductions of strided memory, in parallel: chooses between the row and the column kernels of
// mlx/cpu/isa/reduce.h and cuts the work into pieces that depend on the shape alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "mlx/cpu/isa/reduce.h"

namespace mlx::core::cpu {

struct ReduceDim {
  int64_t n, stride;  // stride in elements; any sign, also 0
};

// The dims of an input, outermost first, told apart by what happens to them. The output is row-contiguous
// over `kept`.
struct ReduceLayout {
  std::vector<ReduceDim> kept, reduced;
};

struct ReduceRule {
  ReduceOp op;
  double divisor = 1;
};

// out = op(in) / divisor; dtype is a Dtype::Val. Result types as ReduceKernel::finish gives them. Not for
// moments.
void reduce(ReduceOp op, int dtype, const void* in, const ReduceLayout& layout, void* out,
            double divisor = 1);

// Mean and variance (sum of squared deviations / (n - ddof), nan where n <= ddof) in one pass, written as the
// input's type, which is a floating one; either output may be null.
void moments(int dtype, const void* in, const ReduceLayout& layout, double ddof, void* mean, void* variance);

// Elements that are computed when they are wanted: of one or more values, each a row-contiguous array of the
// layout's shape.
class ComputedElements {
 public:
  static constexpr int64_t kMostRead = 1 << 15;  // elements of a value
  struct View {
    const char* data;
    int64_t stride;  // between rows, in elements
  };
  // Of one thread. What it gives is valid until it is asked again.
  class Reader {
   public:
    virtual ~Reader() = default;
    // `rows` stretches of `columns` elements: the first from element `first` on, the next ones `spacing`
    // elements after each other. views[k]: where those of value k lie.
    virtual void read(int64_t first, int64_t rows, int64_t spacing, int64_t columns, View* views) = 0;
  };
  virtual ~ComputedElements() = default;
  virtual std::unique_ptr<Reader> reader() const = 0;
  virtual double nanoseconds() const = 0;  // that an element takes, roughly
};

struct ComputedReduction {
  ReduceRule rule;
  int dtype;
  size_t value;
  void* out;
};

// Reductions of values of one shape, which have at most kMostValues, each element of which is read once. The
// results have the bits that `reduce` gives.
inline constexpr size_t kMostValues = 8;
void reduce_computed(std::span<const ComputedReduction> reductions, const ReduceLayout& layout,
                     const ComputedElements& elements);
// Is enough read at once, so that it takes no longer than computing all elements first?
bool reduces_computed_well(const ReduceLayout& layout);

}  // namespace mlx::core::cpu

// Reading index arrays: any integer dtype, any strides, positions counted from the end where negative.
#pragma once

#include <string_view>
#include <vector>

#include "mlx/array.h"
#include "mlx/cpu/copy.h"

namespace mlx::core::cpu {

// Arrays of one shape that index axes of another one: element i of them names one place in it.
class IndexReader {
 public:
  IndexReader(std::string_view op, const array& target, const std::vector<array>& indices,
              const std::vector<int>& axes, const Shape& shape);
  // Offsets, in elements of the target, of index tuples [begin, begin + n). Throws std::out_of_range.
  void read(int64_t begin, int64_t n, int64_t* offsets) const;
  int64_t size() const { return size_; }

 private:
  struct Source {
    array index;
    Collapsed layout;
    int64_t axis, limit, stride;
  };
  std::string_view op_;
  int64_t size_;
  std::vector<Source> sources_;
};

// A row of indices with a stride: offsets[i] += stride * position, or = with `first`. Throws
// std::out_of_range.
void add_offsets(std::string_view op, const array& index, int64_t start, int64_t step, int64_t n,
                 int64_t axis, int64_t limit, int64_t stride, bool first, int64_t* offsets);

// The element's value as it is.
int64_t integer_at(const array& a, int64_t offset);

}  // namespace mlx::core::cpu

// What the kernels of products with quantized matrices share.
#pragma once

#include <vector>

#include "mlx/cpu/gemm/quantized.h"
#include "mlx/ops/rules.h"

namespace mlx::core::cpu {

// Words, scales and biases as dense arrays: a number of matrices.
class QuantizedOperands {
 public:
  QuantizedOperands(const QuantizedLayout& layout, const Arrays& inputs, size_t first);
  int64_t count() const { return count_; }
  const array& words() const { return words_; }
  QuantizedMatrix matrix(int64_t i) const;

 private:
  QuantizedLayout layout_;
  array words_, scales_, biases_;
  int64_t count_;
};

// For every product of a batch: which matrix of `a` (dense, its leading dimensions broadcast) takes part.
std::vector<int64_t> batch_indices(const array& a, const Shape& batch);

}  // namespace mlx::core::cpu

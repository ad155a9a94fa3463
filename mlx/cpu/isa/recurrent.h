// One step of a recurrent layer for a range of its units, on float32 in memory: the products of states with
// the weight, then what the cell does with them. mlx/cpu/recurrent.cpp goes over the steps.
#pragma once

#include <cstdint>

#include "mlx/cpu/isa.h"

namespace mlx::core::cpu {

// Rows of numbers: the next row begins `row` elements behind.
struct RecurrentRows {
  float* at = nullptr;
  int64_t row = 0;
};
struct ConstRecurrentRows {
  const float* at = nullptr;
  int64_t row = 0;
};

// out = from + a w, for `rows` rows of a and up to four vectors of columns. `a` comes in one or two parts,
// whose columns are the rows of w, one after the other.
struct RecurrentProduct {
  static constexpr int kVectors = 4;
  int64_t rows = 0;
  ConstRecurrentRows a[2];
  int64_t a_columns[2] = {0, 0};
  ConstRecurrentRows w;  // whole vectors, one behind the other
  int vectors = 0;
  ConstRecurrentRows from[kVectors];  // null: 0
  RecurrentRows out[kVectors];
  int64_t columns[kVectors];  // of the vector that count, 1 to RecurrentProducts::lanes
};

// Units [begin, end) of `size`, of all rows. Gates lie one behind the other, `size` elements each; see
// mlx/ops/recurrent.h for what they are and where products are found.
struct RecurrentForward {
  int64_t rows = 0, size = 0, begin = 0, end = 0;
  const float *given = nullptr, *hidden_before = nullptr, *cell_before = nullptr;
  float *hidden = nullptr, *gates = nullptr, *cell = nullptr;
};
struct RecurrentBackward {
  int64_t rows = 0, size = 0, begin = 0, end = 0;
  const float *states = nullptr, *before = nullptr, *gates = nullptr;
  ConstRecurrentRows by_hidden, by_gates, by_cell;  // by this step's outputs
  float *from_hidden = nullptr,
        *from_cell = nullptr;  // by its states, from the step behind; then of those before
  float *by_given = nullptr, *by_product = nullptr;
};

// `pairs` takes pairs of bfloat16: what stands for a float of a and w above is two neighbouring columns of a,
// or the two rows of w that belong to them. `to_halves` rounds. Null where no instruction multiplies pairs.
struct RecurrentProducts {
  int lanes = 0;
  void (*floats)(const RecurrentProduct& p) = nullptr;
  void (*pairs)(const RecurrentProduct& p) = nullptr;
  void (*to_halves)(const float* from, int64_t n, uint16_t* to) = nullptr;
};
struct RecurrentKernels {
  int wide = 0;  // units that functions take at a time: a block that has fewer wastes time
  // By RecurrentCell.
  void (*forward[4])(const RecurrentForward& step) = {};
  void (*backward[4])(const RecurrentBackward& step) = {};
};

MLX_DECLARE_ISA_TABLE_WITH_BF16(RecurrentProducts, recurrent_products)
MLX_DECLARE_ISA_TABLE(RecurrentKernels, recurrent_kernels)

}  // namespace mlx::core::cpu

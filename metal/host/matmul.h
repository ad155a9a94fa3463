// Products of matrices: what the families that are built on the GEMM core (metal/kernels/gemm.h) share.
#pragma once

#include <optional>

#include "metal/host/kernels.h"

namespace mlx::core::metal {

// A pipeline of a kernel template of metal/kernels/<file>.metal: `arguments` are those of the template,
// "float, 64, 64, 16, 2, 2". Each instantiation is a library of its own, compiled where it is first needed.
std::shared_ptr<Pipeline> instantiated(const std::string& file, const std::string& kernel,
                                       const std::string& arguments,
                                       const std::vector<FunctionConstant>& constants);

// Threadgroups that keep a device busy; fewer, and tiles are smaller or the inner dimension is cut.
constexpr int64_t kFewGroups = 64;
// Longer inner dimensions are summed in parts (fold_length in metal/kernels/gemm.h).
constexpr int64_t kLongSum = 256;

// What a threadgroup of 2 by 2 SIMD-groups computes of an m by n result.
struct Tile {
  int64_t m, n, k;
  std::string arguments(Dtype dtype) const;  // of a kernel template: the type, the tile, the SIMD-groups
};
Tile tile_for(int64_t m, int64_t n, int64_t batch, Dtype dtype);
// Into how many parts the inner dimension is cut where there are only so many threadgroups, and how long they
// are: a multiple of the tile's.
struct Parts {
  int64_t count = 1, length = 0;
};
Parts parts_for(int64_t k, int64_t groups, const Tile& tile);

// out = a b, both with the same leading axes; out is row-contiguous and has its memory.
void multiply(const array& a, const array& b, const array& out, const Stream& s);

// The same of complex numbers; alpha a b + beta d (metal/host/complex_product.cpp).
void complex_product(const array& a, const array& b, const std::optional<array>& d, float alpha, float beta,
                     const array& out, const Stream& s);

// The last two axes of an array as a kernel reads them: lines of neighbouring elements, `pitch` elements
// apart.
struct Operand {
  array held;
  bool transposed;  // a line is a column
  int64_t pitch;
  bool aligned;  // the first element and all lines lie at multiples of four elements
};
// Copied where neither rows nor columns are lines.
Operand operand_of(const array& a, const Stream& s);
// Whether these steps keep an operand at multiples of four elements.
inline bool multiple_of_four(const Strides& steps) {
  for (const int64_t s : steps)
    if (s % 4 != 0) return false;
  return true;
}

// A part of the inner dimension; empty where it ends before it begins.
struct Segment {
  int64_t begin = 0, end = 0;
};
// IndexError where one is no part of [0, inner). Waits for segments that the device is still computing.
std::vector<Segment> checked_segments(const array& segments, int64_t inner);
// The same without waiting, as check_indices.
void check_segments(const array& segments, int64_t inner, const Stream& s);

// Indices as int32 that kernels read (uint32 is read as such).
array indices_for_kernel(const array& indices, const Stream& s);

}  // namespace mlx::core::metal

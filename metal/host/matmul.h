// Products of matrices: what the families that are built on the GEMM core (metal/kernels/gemm.h) share.
#pragma once

#include "metal/host/kernels.h"

namespace mlx::core::metal {

// A pipeline of a kernel template of metal/kernels/<file>.metal: `arguments` are those of the template,
// "float, 64, 64, 16, 2, 2". Each instantiation is a library of its own, compiled where it is first needed.
std::shared_ptr<Pipeline> instantiated(const std::string& file, const std::string& kernel,
                                       const std::string& arguments,
                                       const std::vector<FunctionConstant>& constants);

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

// Indices as int32 that kernels read (uint32 is read as such).
array indices_for_kernel(const array& indices, const Stream& s);

}  // namespace mlx::core::metal

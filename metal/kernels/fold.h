// What kernels share that compute a program of element-wise steps and reduce its values in the same pass. The
// kernels are made by metal/host/fold.cpp.
#pragma once
#include "metal/kernels/reduce.h"
#include "metal/kernels/vmath.h"

struct Fold {
  ulong n;             // elements per result
  ulong total;         // of all rows together, where the last one is shorter; else 0
  uint kept, reduced;  // dims: shapes and strides of the kept ones come first
  uint results;
};

// Where N operands are, in elements.
template <int N>
struct Places {
  long at[N];
  // On to element i of so many dims; the strides of an operand are `pitch` behind those of the one before.
  METAL_FUNC void move(ulong i, uint dims, constant uint* shape, constant long* strides, uint pitch) {
    for (uint d = dims; d-- > 0;) {
      const ulong here = d == 0 ? i : i % shape[d];
      if (d > 0) i /= shape[d];
      for (int k = 0; k < N; ++k) at[k] += static_cast<long>(here) * strides[k * pitch + d];
    }
  }
};

template <class A, class X>
METAL_FUNC A taken_in(int kind, X x) {
  return kind >= any_kind ? truth<A>(static_cast<bool>(x)) : static_cast<A>(x);
}

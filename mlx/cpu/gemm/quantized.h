// Products with quantized matrices, on raw memory.
#pragma once

#include <cstdint>

#include "mlx/cpu/gemm/kernels_quantized.h"
#include "mlx/dtype.h"
#include "mlx/quantized_layout.h"

namespace mlx::core::cpu {

// A quantized matrix of `rows` by `columns`, row-contiguous.
struct QuantizedMatrix {
  QuantizedLayout layout;
  int64_t rows = 0, columns = 0;
  const uint32_t* words = nullptr;
  const void* scales = nullptr;
  const void* biases = nullptr;  // affine; of the type of the scales
  gemm_detail::ScaleType scale_type = gemm_detail::kScaleF32;
};

gemm_detail::Code code_of(const QuantizedLayout& layout);
gemm_detail::ScaleType scale_type_of(const QuantizedLayout& layout, Dtype scales);
gemm_detail::FloatType float_type_of(Dtype dtype);

// out[m, n] = x[m, k] w, where w is n by k (`transpose`) or k by n; x and out are float32, float16 or
// bfloat16 and row-contiguous. Sums are float32.
struct QuantizedProduct {
  Dtype dtype = float32;
  int64_t m = 0, n = 0, k = 0;
  bool transpose = true;
  const void* x = nullptr;
  void* out = nullptr;
  QuantizedMatrix w;
};
void quantized_product(const QuantizedProduct& p);

// The same for more than a few rows, where the machine has dot products of integers, in which codes are
// exact. float16 and bfloat16 x is rounded to 16 bits of the largest number of its group, float32 to 24.
// False where another way has to be taken: x is not finite, the layout or the machine does not suit.
bool prefill_product(const QuantizedProduct& p);

// All of a matrix as float32, float16 or bfloat16; every scale is multiplied by `factor` before (nvfp4).
void dequantize_matrix(const QuantizedMatrix& w, Dtype dtype, float factor, void* out);

}  // namespace mlx::core::cpu

// The platform's BLAS, where there is one that is faster than ours: Accelerate of macOS, which reaches the
// matrix units of Apple silicon. Opened when it is first asked for; on other systems there is none, unless
// MLX_ACCELERATE names a library with the functions of CBLAS. On macOS MLX_ACCELERATE=0 does without.
#pragma once

#include "mlx/cpu/gemm/gemm.h"

namespace mlx::core::cpu {

// The products of `call`, if the platform's BLAS takes them: float32 and float64 of some size without D and
// epilogue, operands with contiguous rows or columns. False, with nothing done, where not.
bool accelerate_gemm(const GemmCall& call);

}  // namespace mlx::core::cpu

// Householder reflections of columns: what QR spends its time in.
#pragma once

#include <cstdint>

#include "mlx/cpu/isa.h"

namespace mlx::core::cpu {

struct HouseholderTable {
  // column <- column - tau (v . column) v, for `count` columns of n consecutive elements that are `stride`
  // elements apart.
  void (*reflect_float)(const float* v, int64_t n, float tau, float* columns, int64_t stride, int64_t count);
  void (*reflect_double)(const double* v, int64_t n, double tau, double* columns, int64_t stride,
                         int64_t count);
};

MLX_DECLARE_ISA_TABLE(HouseholderTable, householder)

inline void reflect(const float* v, int64_t n, float tau, float* columns, int64_t stride, int64_t count) {
  householder().reflect_float(v, n, tau, columns, stride, count);
}
inline void reflect(const double* v, int64_t n, double tau, double* columns, int64_t stride, int64_t count) {
  householder().reflect_double(v, n, tau, columns, stride, count);
}

}  // namespace mlx::core::cpu

// What is compiled once per instruction set for the GEMM, as tables of plain functions; and the layouts they
// share.
//
// Packed panels. An operand of `extent` rows (A: rows of C; B: columns of C) by k is cut into panels of R
// rows (R = mr for A, nr for B) and blocks along k. A panel holds, for each step along k, its R elements side
// by side; missing rows are zeros. A step is one k, except in the bfloat16 family, where a step is a pair of
// them (as `vdpbf16ps` wants) in one 32-bit element and an odd k is completed by a zero.
//
// Complex numbers need no kernel: C (m x n) is the float32 product of A's rows read as 2k floats and of a B
// that has 2k x 2n floats, [re im; -im re] for each element. So a complex A packs as "floats" and a complex B
// through pack_b[c64], and all sizes the kernel sees are twice as large.
//
// Families of matrix tiles (`tiles`) have panels of another form (amx_panels.h). Operands pack float32 panels
// for them as well, and form_a or form_b makes the kernel's from those, or at once from a matrix in memory.
#pragma once

#include <cstddef>
#include <cstdint>

#include "mlx/cpu/isa.h"

namespace mlx::core::cpu::gemm_detail {

enum Elem : int { kF32, kF64, kF16, kBf16, kC64, kElems };
inline constexpr int64_t kElemSize[kElems] = {4, 8, 2, 2, 8};

// Packs `rows` <= R rows and kn elements along k of src (element strides) into one panel.
using PackFn = void (*)(const void* src, int64_t stride_r, int64_t stride_k, int rows, int64_t kn,
                        void* panel);
// Same, from one pointer per row (R of them, null: zeros), elements side by side along k.
using PackRowsFn = void (*)(const void* const* rows, int64_t kn, void* panel);

// One micro-kernel with its block sizes and the packers that feed it.
struct Family {
  int mr, nr;       // the micro-tile
  int kc;           // k block: an A panel and a B panel of it stay in L1
  int mc, nc;       // largest macro-tile: A's block stays in L2
  int k_unit;       // elements of k per step (2: bfloat16 pairs)
  int packed_size;  // bytes of one packed element (of one step)
  int acc_size;     // bytes of one accumulator
  // c[m, n] = sum over `steps` (or c += where `accumulate`). Panels of A lie a_panel bytes apart, panels of B
  // b_panel; within a panel of B a step is ldb elements long: nr when packed, the row length when B is read
  // in place.
  void (*tile)(int64_t m, int64_t n, int64_t steps, const void* a, int64_t a_panel, const void* b,
               int64_t b_panel, int64_t ldb, void* c, int64_t ldc, bool accumulate);
  PackFn pack_a[kElems];
  PackFn pack_b[kElems];
  PackRowsFn rows_a[kElems];  // null where there is none
  // Where the kernel's panels have another form: what makes them, from an operand in memory or from the panel
  // that the packers above made (float32, steps of one k, rows side by side).
  PackFn form_a[kElems];
  PackFn form_b[kElems];
  int k_step, step_size,
      header;  // elements of k per step, bytes of a step of one row, bytes before the steps

  bool formed() const { return form_a[kF32] != nullptr; }
  int64_t steps(int64_t k) const {
    const int64_t step = formed() ? k_step : k_unit;
    return (k + step - 1) / step;
  }
  // Bytes of a panel of r rows and k elements of each, a multiple of cache lines.
  int64_t panel_bytes(int r, int64_t k) const {
    return (header + steps(k) * r * (formed() ? step_size : packed_size) + 63) / 64 * 64;
  }
};

// out[rows, cols] = alpha * acc + beta * d; d is not read when null. out and d have the stored type.
using FinishFn = void (*)(int64_t rows, int64_t cols, const void* acc, int64_t ld_acc, void* out,
                          int64_t ld_out, double alpha, double beta, const void* d, int64_t d_row,
                          int64_t d_col);

// y[s, j] = sum_p x[s, p] w(p, j), s < count <= 8, w read once. x was copied row by row with copy_x, rows are
// ldx elements of x_size bytes apart and zero-padded to a multiple of 32 elements; y has the accumulator
// type.
struct Skinny {
  void (*run)(int count, int64_t k, int64_t n, const void* x, int64_t ldx, const void* w, int64_t w_stride,
              void* y, int64_t ldy);
  void (*copy_x)(const void* src, int64_t stride, int64_t n, void* dst);
  int x_size;
  // Where `run` wants x in another form: what makes it of the copied rows, `formed_per_k` bytes for each k.
  void (*form_x)(int count, int64_t k, const void* x, int64_t ldx, void* out) = nullptr;
  int formed_per_k = 0;
};

struct GemmTable {
  Family f32, f64, bf16;  // bf16.tile is null where the set has no bfloat16 products
  Family tiles[kElems];   // on matrix tiles; tile is null where there is none for the type
  FinishFn finish[kElems];
  Skinny dot[kElems];   // w(p, j) = w[j * w_stride + p]; run is null for complex numbers
  Skinny axpy[kElems];  // w(p, j) = w[p * w_stride + j]
  // The same on matrix tiles; run is null where there is none for the type.
  Skinny dot_tiles[kElems];
  Skinny axpy_tiles[kElems];
};

inline constexpr int kMaxSkinny = 8;

}  // namespace mlx::core::cpu::gemm_detail

namespace mlx::core::cpu {
using GemmTable = gemm_detail::GemmTable;
MLX_DECLARE_ISA_TABLE_WITH_AMX(GemmTable, gemm_kernels)
}  // namespace mlx::core::cpu

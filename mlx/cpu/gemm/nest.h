// The blocked loops of BLIS around one micro-kernel: C[m, n] = sum_k A[m, k] B[k, n], for operands that know
// how to pack themselves (strided matrices, image patches, gathered or dequantised rows) and a target that
// knows what to do with finished tiles. matmul, convolution and their gradients are calls of run_nest.
//
// Work is cut into items by shape alone and each item owns its part of the output, so results have the same
// bits for any number of threads.
#pragma once

#include <cstdint>

#include "mlx/cpu/gemm/kernels.h"

namespace mlx::core::cpu::gemm_detail {

// An operand that lies in memory: strides in elements, from the first element asked for.
struct InMemory {
  const void* data = nullptr;
  Elem type = kF32;
  int64_t stride_r = 0, stride_k = 0;
};

// One side of the product, cut into panels of R rows (mr for A, nr for B).
class PanelSource {
 public:
  virtual ~PanelSource() = default;
  // Packs rows [r0, r0 + rows), rows <= R, and elements [k0, k0 + kn) along k. Called from several threads at
  // once.
  virtual void pack(int64_t r0, int rows, int64_t k0, int64_t kn, void* panel) const = 0;
  // The same elements from (r0, k0) on where they lie in memory; data is null where they do not.
  virtual InMemory in_memory(int64_t, int64_t) const { return {}; }
};

// A matrix in memory. Strides in elements; `data` at row 0, k 0. `scale` = 2 where sizes count floats of
// complex numbers (k of an A operand, rows and k of a B operand: kernels.h).
class StridedSource final : public PanelSource {
 public:
  StridedSource(PackFn fn, const void* data, Elem type, int64_t stride_r, int64_t stride_k, int scale_r = 1,
                int scale_k = 1)
      : fn_(fn),
        data_(static_cast<const char*>(data)),
        type_(type),
        stride_r_(stride_r),
        stride_k_(stride_k),
        scale_r_(scale_r),
        scale_k_(scale_k) {}
  void pack(int64_t r0, int rows, int64_t k0, int64_t kn, void* panel) const override {
    fn_(at(r0, k0), stride_r_, stride_k_, rows, kn, panel);
  }
  InMemory in_memory(int64_t r0, int64_t k0) const override {
    return {at(r0, k0), type_, stride_r_, stride_k_};
  }

 private:
  const char* at(int64_t r0, int64_t k0) const {
    return data_ + kElemSize[type_] * (r0 / scale_r_ * stride_r_ + k0 / scale_k_ * stride_k_);
  }
  PackFn fn_;
  const char* data_;
  Elem type_;
  int64_t stride_r_, stride_k_;
  int scale_r_, scale_k_;
};

// Finished tiles: acc holds the sums of C[i0 : i0 + rows, j0 : j0 + cols], in the accumulator type.
class TileSink {
 public:
  virtual ~TileSink() = default;
  // That tile comes next: what it will be joined with can be fetched while it is multiplied.
  virtual void expect(int64_t, int64_t, int64_t, int64_t) const {}
  virtual void take(int64_t i0, int64_t rows, int64_t j0, int64_t cols, const void* acc,
                    int64_t ld) const = 0;
};

// The family that multiplies such a product fastest.
const Family& family(const GemmTable& t, Elem e, int64_t m, int64_t n, int64_t k);

struct Nest {
  const Family* family;
  int64_t m, n, k;
  const PanelSource* a;
  const PanelSource* b;
  // Where sums are kept: memory of the accumulator type that only this call writes, or null for scratch.
  void* direct = nullptr;
  int64_t ld = 0;
  const TileSink* sink = nullptr;  // sees each tile when it is done; needed where direct is null
  // B in place: element (k, j) at in_place[k * in_place_ld + j], of the packed type. Null: pack B.
  const void* in_place = nullptr;
  int64_t in_place_ld = 0;
  // C is symmetric: tiles above the diagonal are left out (`is_above`); B is packed.
  bool symmetric = false;
};

// How C of a symmetric product is cut, and which of its tiles are left out.
struct SymmetricTiles {
  SymmetricTiles(const Family& family, int64_t n);
  bool is_above(int64_t i, int64_t j) const { return j >= i + rows; }
  int64_t rows, cols;
};

void run_nest(const Nest& nest);

}  // namespace mlx::core::cpu::gemm_detail

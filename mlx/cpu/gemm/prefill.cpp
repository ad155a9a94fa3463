// Products of many rows of x with quantized rows: the loops around the kernels of kernels_prefill.h.
#include <algorithm>
#include <atomic>

#include "mlx/cpu/gemm/kernels.h"
#include "mlx/cpu/gemm/kernels_prefill.h"
#include "mlx/cpu/gemm/prefill.h"
#include "mlx/cpu/gemm/workspace.h"
#include "mlx/cpu/parallel.h"

namespace mlx::core::cpu {

using namespace gemm_detail;

namespace {

constexpr int64_t kBlockRows = 192;  // of x, whose pieces stay in the second
constexpr int64_t kBlockPanels = 4;  // of w, in an item

// x in panels of nearly equal numbers of rows.
class PackedX {
 public:
  PackedX(const QuantizedProduct& p)
      : m_(p.m),
        k_(p.k),
        group_(p.w.layout.group_size),
        groups_(p.k / group_),
        panels_(ceil_div(p.m, kPrefillRows)),
        rows_(ceil_div(p.m, panels_)),
        bytes_(p.dtype == float32 && prefill_bytes_kernels().pack_w[code_of(p.w.layout)]),
        pieces_(bytes_               ? 3
                : p.dtype == float32 ? 2
                                     : 1),
        step_(bytes_ ? 4 : 2),
        pairs_(pieces_ * m_ * k_ / step_ * 4),
        scales_(pieces_ * m_ * groups_ * 4),
        sums_(m_ * groups_ * 4) {
    panels_ = ceil_div(m_, rows_);
    const PrefillTable& t = prefill_kernels();
    const FloatType type = float_type_of(p.dtype);
    std::atomic<bool> finite{true};
    parallel_for(panels_, [&](int64_t i) {
      const PrefillRows to = panel(i, 0, 0), low = panel(i, 0, pieces_ - 1);
      const char* from = static_cast<const char*>(p.x) + i * rows_ * k_ * (type == kFloat32 ? 4 : 2);
      Workspace converted(type == kFloat32 ? 0 : to.rows * k_ * 4);
      const float* x = reinterpret_cast<const float*>(from);
      if (type != kFloat32) {
        quantized_kernels().to_float[type](from, to.rows * k_, converted.as<float>());
        x = converted.as<float>();
      }
      const bool good = bytes_ ? prefill_bytes_kernels().pack_x(x, k_, k_, group_, to, piece())
                               : t.pack_x(x, k_, k_, group_, to, pieces_ == 2 ? &low : nullptr);
      if (!good) finite = false;
    });
    finite_ = finite;
  }
  bool finite() const { return finite_; }
  int64_t rows() const { return rows_; }
  int64_t panels() const { return panels_; }
  bool bytes() const { return bytes_; }
  int pieces() const { return pieces_; }
  int64_t piece() const { return m_ * k_ / step_; }  // elements
  // A panel from some group on; piece 0 is the high one and has the sums of both.
  PrefillRows panel(int64_t i, int64_t group, int which) const {
    const int64_t first = i * rows_, rows = std::min(rows_, m_ - first);
    const int64_t at = first * groups_ + group * rows;
    return {static_cast<int>(rows),
            pairs_.as<int32_t>() + which * piece() + first * (k_ / step_) + group * (group_ / step_) * rows,
            scales_.as<float>() + which * m_ * groups_ + at, sums_.as<float>() + at};
  }

 private:
  int64_t m_, k_;
  int group_;
  int64_t groups_, panels_, rows_;
  bool bytes_;
  int pieces_, step_;  // step: columns in an element
  Workspace pairs_, scales_, sums_;
  bool finite_ = true;
};

}  // namespace

namespace gemm_detail {

void turn_scales(const QuantizedMatrix& w, const void* source, int64_t row, int rows, int64_t g0,
                 int64_t groups, float unit, float* out) {
  constexpr int64_t kScaleSize[kScaleTypes] = {4, 2, 2, 1, 1};
  const int64_t all = w.layout.groups(w.columns);
  const void* from = static_cast<const char*>(source) + (row * all + g0) * kScaleSize[w.scale_type];
  const auto& pack = gemm_kernels().f32.pack_b;  // panels of as many rows
  if (w.scale_type == kScaleF32) return pack[kF32](from, all, 1, rows, groups, out);
  if (w.scale_type == kScaleF16) return pack[kF16](from, all, 1, rows, groups, out);
  if (w.scale_type == kScaleBf16) return pack[kBf16](from, all, 1, rows, groups, out);
  float values[kPrefillColumns * kMostTurned];
  for (int r = 0; r < rows; ++r) {
    float* of_row = values + r * groups;
    quantized_kernels().to_float[w.scale_type](static_cast<const uint8_t*>(from) + r * all, groups, of_row);
    for (int64_t g = 0; g < groups; ++g) of_row[g] *= unit;
  }
  pack[kF32](values, groups, 1, rows, groups, out);
}

}  // namespace gemm_detail

bool prefill_product(const QuantizedProduct& p) {
  const PrefillTable& t = prefill_kernels();
  const PrefillBytesTable& bytes = prefill_bytes_kernels();
  const Code code = code_of(p.w.layout);
  const int group = p.w.layout.group_size;
  if (prefill_on_tiles(p)) return true;
  if (!p.transpose || !t.pack_x || gemm_kernels().f32.nr != kPrefillColumns || !t.pack_w[code] ||
      p.k % 32 != 0)
    return false;
  const PackedX x(p);
  if (!x.finite()) return false;
  const FloatType type = float_type_of(p.dtype);
  const FinishFn finish = gemm_kernels().finish[type == kFloat32 ? kF32 : type == kFloat16 ? kF16 : kBf16];
  const int64_t size = type == kFloat32 ? 4 : 2, words = p.w.layout.words(p.k);
  const int64_t block_panels = std::max<int64_t>(1, kBlockRows / x.rows());
  const int64_t blocks_m = ceil_div(x.panels(), block_panels);
  const int64_t blocks_n = ceil_div(p.n, kBlockPanels * kPrefillColumns);
  parallel_for(blocks_m * blocks_n, [&](int64_t item) {
    const int64_t first = item / blocks_n * block_panels, last = std::min(x.panels(), first + block_panels);
    const int64_t n0 = item % blocks_n * kBlockPanels * kPrefillColumns;
    const int64_t panels = ceil_div(std::min(p.n - n0, kBlockPanels * kPrefillColumns), kPrefillColumns);
    const int64_t rows = std::min(p.m, last * x.rows()) - first * x.rows(),
                  panel_size = rows * kPrefillColumns;
    Workspace sums(panels * panel_size * 4), packed(kPiece * kPrefillColumns * 2);
    Workspace scales(2 * (kPiece / 16) * kPrefillColumns * 4);
    float* c = sums.as<float>();
    // Small floats have no biases, but their least value is one for bytes.
    const float least = x.bytes() ? bytes.least[code] : 0;
    float* biases = p.w.biases || least != 0 ? scales.as<float>() + kPiece / 16 * kPrefillColumns : nullptr;
    std::fill_n(c, panels * panel_size, 0.0f);
    for (int64_t k0 = 0; k0 < p.k; k0 += kPiece) {
      const int64_t kn = std::min(kPiece, p.k - k0), groups = kn / group, g0 = k0 / group;
      for (int64_t j = 0; j < panels; ++j) {
        const int64_t row = n0 + j * kPrefillColumns;
        const int count = static_cast<int>(std::min<int64_t>(kPrefillColumns, p.n - row));
        (x.bytes() ? bytes.pack_w : t.pack_w)[code](p.w.words + row * words + p.w.layout.words(k0), words,
                                                    count, kn, packed.as<int32_t>());
        turn_scales(p.w, p.w.scales, row, count, g0, groups, t.unit[code], scales.as<float>());
        if (p.w.biases) {
          turn_scales(p.w, p.w.biases, row, count, g0, groups, 1, biases);
        } else if (biases) {
          for (int64_t g = 0; g < groups * kPrefillColumns; ++g) biases[g] = least * scales.as<float>()[g];
        }
        for (int64_t i = first; i < last; ++i) {
          float* to = c + j * panel_size + (i - first) * x.rows() * kPrefillColumns;
          if (x.bytes())
            bytes.tile(x.panel(i, g0, 0), x.piece(), groups, group, packed.as<int32_t>(), scales.as<float>(),
                       biases, to);
          for (int piece = x.bytes() ? -1 : x.pieces() - 1; piece >= 0; --piece)  // small terms first
            t.tile(x.panel(i, g0, piece), groups, group, packed.as<int32_t>(), scales.as<float>(),
                   piece == 0 ? biases : nullptr, to);
        }
      }
    }
    for (int64_t j = 0; j < panels; ++j) {
      const int64_t col = n0 + j * kPrefillColumns;
      char* out = static_cast<char*>(p.out) + (first * x.rows() * p.n + col) * size;
      finish(rows, std::min<int64_t>(kPrefillColumns, p.n - col), c + j * panel_size, kPrefillColumns, out,
             p.n, 1, 0, nullptr, 0, 0);
    }
  });
  return true;
}

}  // namespace mlx::core::cpu

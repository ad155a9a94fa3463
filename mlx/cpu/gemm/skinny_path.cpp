#include "mlx/cpu/gemm/skinny_path.h"

#include <algorithm>
#include <cstring>

#include "mlx/cpu/gemm/workspace.h"
#include "mlx/cpu/parallel.h"

namespace mlx::core::cpu::gemm_detail {
namespace {

constexpr int64_t kItemBytes = 256 << 10;  // of the large operand: 10 to 20 us of one core
constexpr int64_t kMostPieces = 32;        // pieces that a long k is cut into where the outputs are few
constexpr int64_t kLongestDot = 1 << 16;   // of a piece, which is summed in the lanes of a vector ...
constexpr int64_t kLongestSum = 1 << 13;   // ... or one element after the other
constexpr int64_t kMostSums = 4096;        // of an item: they stay in L1
constexpr int64_t kLeastRows = 512;        // of an item: the first of them are not fetched ahead

constexpr int64_t kUnit = 32;           // elements of x that kernels read at once
constexpr int64_t kShortDot = 2048;     // k, a multiple of the unit ...
constexpr int64_t kFewTerms = 1 << 14;  // ... and products of the whole: one thread's work, in no workspace

constexpr int64_t kLeastInPlace = 1 << 14;    // elements of x that are worth not to copy
constexpr int64_t kInPlaceBytes = 512 << 10;  // of B: long strided walks are for packers
constexpr int64_t kInPlaceSmall = 128 << 10;  // of a B that stays in L2, however often it is read

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// y[s, j] = sum_p x(s, p) w(p, j), with the small operand on the left: n <= 8 is the transposed problem.
struct View {
  bool transposed;  // y[s, j] is C[j, s]
  int count;        // small extent
  int64_t n;        // large extent
  const void* x;
  int64_t x_s, x_p;
  const void* w;
  int64_t w_p, w_j;
};

View view(const Product& p) {
  if (p.m <= kMaxSkinny && (p.m <= p.n || p.n > kMaxSkinny))
    return {false, static_cast<int>(p.m), p.n, p.a, p.a_row, p.a_col, p.b, p.b_row, p.b_col};
  return {true, static_cast<int>(p.n), p.m, p.b, p.b_col, p.b_row, p.a, p.a_col, p.a_row};
}

// Rows a multiple of 1 KiB apart would fall into few sets of the L1 cache.
int64_t padded(int64_t ld) { return ld % 256 == 0 ? ld + 16 : ld; }

const char* at(const void* p, int64_t elements, Elem e) {
  return static_cast<const char*>(p) + elements * kElemSize[e];
}

}  // namespace

bool accepts_skinny(const GemmTable& t, const Product& p) {
  if (!t.dot[p.type].run || std::min(p.m, p.n) > kMaxSkinny) return false;
  const View v = view(p);
  return v.w_p == 1 || v.w_j == 1 || v.n == 1 || p.k == 1;
}

void skinny(const GemmTable& t, const Product& p) {
  const View v = view(p);
  const bool dots = v.w_p == 1 || (p.k == 1 && v.w_j != 1);  // else rows of w are contiguous
  const int64_t w_stride = dots ? v.w_j : v.w_p;
  const int64_t acc = p.type == kF64 ? 8 : 4, size = kElemSize[p.type];

  const Skinny& on_tiles = dots ? t.dot_tiles[p.type] : t.axpy_tiles[p.type];
  const Skinny& kernel = on_tiles.run ? on_tiles : dots ? t.dot[p.type] : t.axpy[p.type];
  // A single row that is already what the kernel reads, and its last elements completed by zeros, is not
  // copied.
  const bool in_place = v.count == 1 && v.x_p == 1 && (p.type == kF32 || p.type == kF64) && !kernel.form_x &&
                        kernel.x_size == size && p.k >= kLeastInPlace && p.k % kUnit == 0;
  const int64_t ldx = in_place ? p.k : padded((p.k + kUnit - 1) / kUnit * kUnit);
  Workspace x_space(in_place ? 0 : v.count * ldx * kernel.x_size);
  const char* x = in_place ? static_cast<const char*>(v.x) : x_space.as<char>();
  for (int s = 0; !in_place && s < v.count; ++s) {
    char* row = x_space.as<char>() + s * ldx * kernel.x_size;
    kernel.copy_x(at(v.x, s * v.x_s, p.type), v.x_p, p.k, row);
    std::memset(row + p.k * kernel.x_size, 0, static_cast<size_t>((ldx - p.k) * kernel.x_size));
  }
  const int64_t per_k = kernel.form_x ? kernel.formed_per_k : kernel.x_size;
  Workspace formed(kernel.form_x ? ldx * per_k : 0);
  if (kernel.form_x) {
    kernel.form_x(v.count, p.k, x, ldx, formed.data());
    x = formed.as<char>();
  }

  // Items: blocks of outputs, and pieces of k where blocks alone are too few.
  const int64_t column_bytes = std::max<int64_t>(1, p.k * size);
  int64_t columns = std::clamp<int64_t>(kItemBytes / column_bytes, 16, 2048) / 16 * 16;
  if (!dots)
    columns = std::max<int64_t>(kMostSums / v.count, 1024);  // long runs of each row suit the prefetchers
  columns = std::min(columns, v.n);
  const int64_t blocks = ceil_div(v.n, columns);
  int64_t pieces = 1;
  if (blocks < 8) pieces = std::clamp<int64_t>(v.n * column_bytes / kItemBytes / blocks, 1, kMostPieces);
  pieces = std::max(pieces, ceil_div(p.k, dots ? kLongestDot : kLongestSum));
  const int64_t piece = std::max<int64_t>(dots ? 32 : kLeastRows, ceil_div(ceil_div(p.k, pieces), 32) * 32);
  pieces = std::max<int64_t>(1, ceil_div(p.k, piece));

  const int64_t ldy = padded(columns);
  const int64_t part = v.count * ldy;  // sums of one block
  Workspace sums(blocks * pieces * part * acc);
  const auto finish = [&](int64_t block, char* y) {
    const int64_t j0 = block * columns, cols = std::min(columns, v.n - j0);
    const int64_t row = v.transposed ? j0 : 0, col = v.transposed ? 0 : j0;
    const int64_t rows_c = v.transposed ? cols : v.count, cols_c = v.transposed ? v.count : cols;
    Workspace turned(v.transposed ? part * acc : 0);
    int64_t ld = ldy;
    if (v.transposed) {
      const auto turn = [&]<class T>(const T* from, T* to) {
        for (int64_t j = 0; j < cols; ++j)
          for (int s = 0; s < v.count; ++s) to[j * v.count + s] = from[s * ldy + j];
      };
      if (acc == 8) {
        turn(reinterpret_cast<const double*>(y), turned.as<double>());
      } else {
        turn(reinterpret_cast<const float*>(y), turned.as<float>());
      }
      y = turned.as<char>();
      ld = v.count;
    }
    char* c = static_cast<char*>(p.c) + (row * p.ldc + col) * kElemSize[p.out];
    const void* d = p.d ? at(p.d, row * p.d_row + col * p.d_col, p.type) : nullptr;
    t.finish[p.out](rows_c, cols_c, y, ld, c, p.ldc, p.alpha, p.beta, d, p.d_row, p.d_col);
    if (p.epilogue.run) p.epilogue.run(p.epilogue.context, c, p.ldc, p.batch, row, rows_c, col, cols_c);
  };
  const auto one = [&](int64_t item) {
    const int64_t block = item / pieces, p0 = item % pieces * piece;
    const int64_t j0 = block * columns, cols = std::min(columns, v.n - j0);
    const int64_t k = std::min(piece, p.k - p0);
    char* y = sums.as<char>() + item * part * acc;
    const char* w = at(v.w, j0 * v.w_j + p0 * v.w_p, p.type);
    kernel.run(v.count, k, cols, x + p0 * per_k, ldx, w, w_stride, y, ldy);
    if (pieces == 1) finish(block, y);
  };
  if (v.n * column_bytes <= 2 * kItemBytes) {
    for (int64_t i = 0; i < blocks * pieces; ++i) one(i);
  } else {
    parallel_for(blocks * pieces, one);
  }
  if (pieces == 1) return;
  for (int64_t block = 0; block < blocks; ++block) {
    char* y = sums.as<char>() + block * pieces * part * acc;
    const auto add = [&]<class T>(T* total) {
      for (int64_t i = 1; i < pieces; ++i)
        for (int64_t j = 0; j < part; ++j) total[j] += total[i * part + j];
    };
    if (acc == 8) {
      add(reinterpret_cast<double*>(y));
    } else {
      add(reinterpret_cast<float*>(y));
    }
    finish(block, y);
  }
}

bool accepts_dots(const GemmTable& t, const Product& p) {
  if (p.type != kF32 || p.out != kF32 || !t.dot[kF32].run || p.alpha != 1 || p.d || p.epilogue.run)
    return false;
  if (std::min(p.m, p.n) != 1 || p.k > kShortDot || std::max(p.m, p.n) * p.k > kFewTerms) return false;
  const View v = view(p);
  return v.count == 1 && v.w_p == 1 && (v.n == 1 || (v.transposed ? p.ldc : 1) == 1);
}

void dots(const GemmTable& t, const Product& p) {
  const View v = view(p);
  const Skinny& kernel = t.dot[kF32];
  const int64_t whole = (p.k + kUnit - 1) / kUnit * kUnit;
  alignas(64) float copy[kShortDot];
  const void* x = v.x;
  if (v.x_p != 1 || whole != p.k) {
    kernel.copy_x(v.x, v.x_p, p.k, copy);
    std::fill(copy + p.k, copy + whole, 0.0f);
    x = copy;
  }
  kernel.run(1, p.k, v.n, x, whole, v.w, v.w_j, p.c, v.n);
}

bool read_b_in_place(const Family& f, const Product& p) {
  return p.b_row * p.k * f.packed_size <= (p.m <= 4 * f.mr ? kInPlaceBytes : kInPlaceSmall);
}

}  // namespace mlx::core::cpu::gemm_detail

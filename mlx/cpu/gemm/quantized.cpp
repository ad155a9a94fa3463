#include "mlx/cpu/gemm/quantized.h"

#include <algorithm>
#include <vector>

#include "mlx/cpu/gemm/kernels.h"
#include "mlx/cpu/gemm/nest.h"
#include "mlx/cpu/gemm/workspace.h"
#include "mlx/cpu/parallel.h"

namespace mlx::core::cpu {

using namespace gemm_detail;

namespace {

constexpr int64_t kScaleSize[kScaleTypes] = {4, 2, 2, 1, 1};
constexpr int64_t kFloatSize[kFloatTypes + 1] = {4, 2, 2, 2};
constexpr Elem kElem[kFloatTypes] = {kF32, kF16, kBf16};
constexpr int64_t kItemWords = 24 << 10;       // of a dot product's item: about 10 us of one core
constexpr int64_t kDequantizeItem = 32 << 10;  // elements

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// The scales (or biases) of some rows as float32: the memory itself where it is that.
class Scales {
 public:
  Scales(const QuantizedTable& t, const QuantizedMatrix& w, const void* source, int64_t first, int64_t count)
      : space_(source && w.scale_type != kScaleF32 ? count * 4 : 0) {
    if (!source) return;
    const char* from = static_cast<const char*>(source) + first * kScaleSize[w.scale_type];
    if (w.scale_type == kScaleF32) {
      data_ = reinterpret_cast<const float*>(from);
    } else {
      t.to_float[w.scale_type](from, count, space_.as<float>());
      data_ = space_.as<float>();
    }
  }
  const float* data() const { return data_; }
  const float* at(int64_t i) const { return data_ ? data_ + i : nullptr; }

 private:
  Workspace space_;
  const float* data_ = nullptr;
};

// Columns [c0, c0 + n) of any row as floats. Codes are read from a multiple of 32 columns on, so what was
// asked for begins where the returned pointer says, up to 31 elements behind `out`.
class RowReader {
 public:
  RowReader(const QuantizedTable& t, const QuantizedMatrix& w, int type)
      : t_(t),
        w_(w),
        type_(type),
        code_(code_of(w.layout)),
        words_(w.layout.words(w.columns)),
        groups_(w.layout.groups(w.columns)) {}
  static int64_t room(int64_t n) { return n + 48; }

  const char* read(int64_t row, int64_t c0, int64_t n, float* scratch, char* out) const {
    const int group = w_.layout.group_size;
    const int64_t begin = c0 / 32 * 32, end = std::min(w_.columns, ceil_div(c0 + n, 16) * 16);
    const int64_t g0 = begin / group, count = ceil_div(end, group) - g0;
    const float* scales = floats(w_.scales, row * groups_ + g0, count, scratch);
    const float* biases = w_.biases ? floats(w_.biases, row * groups_ + g0, count, scratch + count) : nullptr;
    t_.dequantize[code_][type_](w_.words + row * words_ + w_.layout.words(begin), scales, biases, group,
                                begin % group, end - begin, out);
    return out + (c0 - begin) * kFloatSize[type_];
  }

 private:
  const float* floats(const void* source, int64_t first, int64_t count, float* scratch) const {
    const char* from = static_cast<const char*>(source) + first * kScaleSize[w_.scale_type];
    if (w_.scale_type == kScaleF32) return reinterpret_cast<const float*>(from);
    t_.to_float[w_.scale_type](from, count, scratch);
    return scratch;
  }

  const QuantizedTable& t_;
  const QuantizedMatrix& w_;
  int type_;
  Code code_;
  int64_t words_, groups_;
};

// A quantized matrix as the B operand of the nest: dequantized while it is packed.
class QuantizedSource final : public PanelSource {
 public:
  QuantizedSource(const QuantizedTable& t, const QuantizedMatrix& w, int type, PackFn pack, int r,
                  bool transpose)
      : t_(t),
        reader_(t, w, type),
        type_(type),
        w_(w),
        size_(kFloatSize[type]),
        pack_(pack),
        r_(r),
        transpose_(transpose) {}
  void pack(int64_t r0, int rows, int64_t k0, int64_t kn, void* panel) const override {
    if (!transpose_ && r_ == 32 && rows == 32 && r0 % 32 == 0 && (kn % 2 == 0 || type_ == kFloat32))
      return pack_panel(r0, k0, kn, panel);
    const int64_t along = transpose_ ? kn : r_, across = transpose_ ? r_ : kn;
    const int64_t row_room = RowReader::room(along);
    const int64_t scale_room = ceil_div(2 * (row_room / w_.layout.group_size + 2), 16) * 16;
    Workspace space(scale_room * 4 + across * row_room * size_);
    float* scratch = space.as<float>();
    char* out = space.as<char>() + scale_room * 4;
    const int64_t count = transpose_ ? rows : kn, first = transpose_ ? r0 : k0;
    const char* begin = nullptr;
    for (int64_t i = 0; i < count; ++i) {
      const char* row = reader_.read(first + i, transpose_ ? k0 : r0, transpose_ ? kn : rows, scratch,
                                     out + i * row_room * size_);
      if (i == 0) begin = row;
    }
    pack_(begin, transpose_ ? row_room : 1, transpose_ ? 1 : row_room, rows, kn, panel);
  }

 private:
  // 32 columns of rows k0 ... of w are a panel as they are.
  void pack_panel(int64_t column, int64_t k0, int64_t kn, void* panel) const {
    const int64_t words = w_.layout.words(w_.columns), all = w_.layout.groups(w_.columns);
    const int groups = w_.layout.group_size == 16 ? 2 : 1;
    Workspace raw(kn * groups * 4), scales(kn * groups * 4), biases(kn * groups * 4);
    const auto gather = [&](const void* source, float* to) {
      const int64_t size = kScaleSize[w_.scale_type];
      const char* from = static_cast<const char*>(source) + (k0 * all + column / w_.layout.group_size) * size;
      const auto copy = [&]<class T>(T* dense) {
        for (int64_t p = 0; p < kn; ++p)
          for (int g = 0; g < groups; ++g)
            dense[p * groups + g] = reinterpret_cast<const T*>(from + p * all * size)[g];
      };
      if (size == 4) return copy(to);
      if (size == 2) {
        copy(raw.as<uint16_t>());
      } else {
        copy(raw.as<uint8_t>());
      }
      t_.to_float[w_.scale_type](raw.data(), kn * groups, to);
    };
    gather(w_.scales, scales.as<float>());
    if (w_.biases) gather(w_.biases, biases.as<float>());
    const Code code = code_of(w_.layout);
    (type_ == kFloat32 ? t_.panel : t_.panel_of_pairs)[code](
        w_.words + k0 * words + w_.layout.words(column), words, scales.as<float>(),
        w_.biases ? biases.as<float>() : nullptr, groups, kn, panel);
  }

  const QuantizedTable& t_;
  RowReader reader_;
  int type_;
  const QuantizedMatrix& w_;
  int64_t size_;
  PackFn pack_;
  int r_;
  bool transpose_;
};

class OutputSink final : public TileSink {
 public:
  OutputSink(FinishFn finish, void* out, int64_t ld, int64_t size)
      : finish_(finish), out_(static_cast<char*>(out)), ld_(ld), size_(size) {}
  void take(int64_t i0, int64_t rows, int64_t j0, int64_t cols, const void* acc, int64_t ld) const override {
    finish_(rows, cols, acc, ld, out_ + (i0 * ld_ + j0) * size_, ld_, 1, 0, nullptr, 0, 0);
  }

 private:
  FinishFn finish_;
  char* out_;
  int64_t ld_, size_;
};

void blocked(const QuantizedProduct& p) {
  const GemmTable& g = gemm_kernels();
  const FloatType type = float_type_of(p.dtype);
  const bool pairs = type == kBfloat16 && g.bf16.tile;
  const Family& f = pairs ? g.bf16 : g.f32;
  const int weights = pairs ? kBfloat16Once : int{kFloat32};
  const StridedSource a(f.pack_a[kElem[type]], p.x, kElem[type], p.k, 1);
  const QuantizedSource b(quantized_kernels(), p.w, weights, f.pack_b[pairs ? kBf16 : kF32], f.nr,
                          p.transpose);
  const OutputSink sink(g.finish[kElem[type]], p.out, p.n, kFloatSize[type]);
  Nest nest;
  nest.family = &f;
  nest.m = p.m, nest.n = p.n, nest.k = p.k;
  nest.a = &a, nest.b = &b;
  if (type == kFloat32) {
    nest.direct = p.out, nest.ld = p.n;
  } else {
    nest.sink = &sink;
  }
  run_nest(nest);
}

constexpr int kFewFloats = 6;  // rows: for more, w is better read as panels

// Are there dot products that take x as it is, in pairs?
bool pairs_of(const QuantizedProduct& p) {
  return p.dtype == bfloat16 && quantized_pairs_kernels().shuffle[code_of(p.w.layout)];
}

// At most 8 rows of x: the words of w are read once, and every row of w meets all of them in registers.
void few_rows(const QuantizedProduct& p) {
  const QuantizedTable& t = quantized_kernels();
  const Code code = code_of(p.w.layout);
  const int group = p.w.layout.group_size;
  const int64_t words = p.w.layout.words(p.k), groups = p.w.layout.groups(p.k);
  const FloatType type = float_type_of(p.dtype);
  const QuantizedPairsTable& of_pairs = quantized_pairs_kernels();
  const bool pairs = pairs_of(p);
  // More rows of pairs take more registers than there are: in passes of nearly equal size, all but the first
  // with words from the cache.
  const auto kernel_for = [](int64_t rows) {
    int kernel = 0;
    while (kDotRows[kernel] < rows) ++kernel;
    return kernel;
  };
  const int64_t passes = (p.m + (pairs ? 5 : 7)) / (pairs ? 6 : 8);
  const int64_t most = kDotRows[kernel_for((p.m + passes - 1) / passes)];
  const int64_t whole = p.m / most * most;
  const int64_t m = whole + (p.m > whole ? kDotRows[kernel_for(p.m - whole)] : 0);  // rows of zeros fill up
  Workspace x_space(m * p.k * 4), x_sums(m * groups * 4);
  Workspace shuffled(pairs || t.shuffle[code] ? m * p.k * (pairs ? 2 : 4) : 0);
  float* x = x_space.as<float>();
  t.to_float[type](p.x, p.m * p.k, x);  // the types of floats are the first types of scales
  std::fill(x + p.m * p.k, x + m * p.k, 0.0f);
  if (pairs) {
    const uint16_t* from = static_cast<const uint16_t*>(p.x);
    uint16_t* to = shuffled.as<uint16_t>();
    for (int64_t i = 0; i < p.m; ++i) of_pairs.shuffle[code](from + i * p.k, p.k, to + i * p.k);
    std::fill(to + p.m * p.k, to + m * p.k, uint16_t{0});
  } else if (t.shuffle[code]) {
    for (int64_t i = 0; i < m; ++i) t.shuffle[code](x + i * p.k, p.k, shuffled.as<float>() + i * p.k);
  }
  if (p.w.biases) t.group_sums(x, m * groups, group, x_sums.as<float>());
  const auto operand = [&](int64_t row) {
    const char* in_order = shuffled.as<char>();
    return QuantizedOperand{x + row * p.k, in_order ? in_order + row * p.k * (pairs ? 2 : 4) : nullptr,
                            p.w.biases ? x_sums.as<float>() + row * groups : nullptr};
  };
  const int64_t rows = std::clamp<int64_t>(kItemWords / std::max<int64_t>(1, words * m), 16, 1024) / 16 * 16;
  const auto item = [&](int64_t begin, int64_t end) {
    const int64_t first = begin * groups, count = (end - begin) * groups;
    const Scales scales(t, p.w, p.w.scales, first, count), biases(t, p.w, p.w.biases, first, count);
    Workspace sums(m * (end - begin) * 4);
    for (int64_t row = 0; row < m; row += most) {
      const auto* dots = (pairs ? of_pairs.dot : t.dot)[code];
      dots[kernel_for(std::min(most, p.m - row))](end - begin, p.k, group, p.w.words + begin * words,
                                                  scales.data(), biases.data(), operand(row),
                                                  sums.as<float>() + row * (end - begin), end - begin);
    }
    gemm_kernels().finish[kElem[type]](p.m, end - begin, sums.data(), end - begin,
                                       static_cast<char*>(p.out) + begin * kFloatSize[type], p.n, 1, 0,
                                       nullptr, 0, 0);
  };
  if (p.n * words * m <= 2 * kItemWords) {
    for (int64_t j = 0; j < p.n; j += rows) item(j, std::min(p.n, j + rows));
  } else {
    parallel_ranges(p.n, rows, item);
  }
}

}  // namespace

Code code_of(const QuantizedLayout& layout) {
  if (layout.mode == QuantizationMode::mxfp8) return kE4m3;
  if (!layout.affine()) return kE2m1;
  return static_cast<Code>(std::find(std::begin(kAffineBits), std::end(kAffineBits), layout.bits) -
                           std::begin(kAffineBits));
}

ScaleType scale_type_of(const QuantizedLayout& layout, Dtype scales) {
  if (layout.mode == QuantizationMode::nvfp4) return kScaleE4m3;
  if (!layout.affine()) return kScaleE8m0;
  return static_cast<ScaleType>(float_type_of(scales));
}

FloatType float_type_of(Dtype dtype) {
  return dtype == float16 ? kFloat16 : dtype == bfloat16 ? kBfloat16 : kFloat32;
}
static_assert(int{kScaleF32} == int{kFloat32} && int{kScaleF16} == int{kFloat16} &&
              int{kScaleBf16} == int{kBfloat16});

void quantized_product(const QuantizedProduct& p) {
  if (p.m <= 0 || p.n <= 0) return;
  if (p.k == 0) {
    std::fill_n(static_cast<char*>(p.out), p.m * p.n * kFloatSize[float_type_of(p.dtype)], char{0});
  } else if (p.transpose && p.m <= (pairs_of(p) ? kMaxSkinny : kFewFloats)) {
    few_rows(p);
  } else if (prefill_product(p)) {
  } else if (p.transpose && p.m <= kMaxSkinny) {
    few_rows(p);
  } else {
    blocked(p);
  }
}

void dequantize_matrix(const QuantizedMatrix& w, Dtype dtype, float factor, void* out) {
  const QuantizedTable& t = quantized_kernels();
  const FloatType type = float_type_of(dtype);
  const DequantizeFn dequantize = t.dequantize[code_of(w.layout)][type];
  const int64_t groups = w.layout.groups(w.columns), words = w.layout.words(w.columns);
  const int64_t rows = std::max<int64_t>(1, kDequantizeItem / std::max<int64_t>(1, w.columns));
  parallel_ranges(w.rows, rows, [&](int64_t begin, int64_t end) {
    const Scales scales(t, w, w.scales, begin * groups, (end - begin) * groups);
    const Scales biases(t, w, w.biases, begin * groups, (end - begin) * groups);
    std::vector<float> scaled;
    if (factor != 1) {
      scaled.assign(scales.data(), scales.data() + (end - begin) * groups);
      for (float& s : scaled) s *= factor;
    }
    for (int64_t r = begin; r < end; ++r) {
      const int64_t at = (r - begin) * groups;
      dequantize(w.words + r * words, factor != 1 ? scaled.data() + at : scales.at(at), biases.at(at),
                 w.layout.group_size, 0, w.columns,
                 static_cast<char*>(out) + r * w.columns * kFloatSize[type]);
    }
  });
}

}  // namespace mlx::core::cpu

// Kernels of quantized matrices: arrays to raw memory, batches to single products.
#include "mlx/ops/quantized.h"

#include <array>

#include "mlx/allocator.h"
#include "mlx/cpu/copy.h"
#include "mlx/cpu/gemm/quantized.h"
#include "mlx/cpu/gemm/workspace.h"
#include "mlx/cpu/isa/quantize.h"
#include "mlx/cpu/parallel.h"
#include "mlx/cpu/quantized.h"
#include "mlx/graph/kernels.h"

namespace mlx::core::cpu {
namespace {

constexpr int64_t kQuantizeItem = 16 << 10;  // elements
constexpr int64_t kFp8Item = 32 << 10;

QuantizedSource source_of(Dtype t) {
  return t == float16 ? kSourceF16 : t == bfloat16 ? kSourceBf16 : kSourceF32;
}

// The groups of a dense array to words, scales and biases.
void quantize_groups(const QuantizedLayout& layout, const array& w, float global_scale, uint32_t* words,
                     void* scales, void* biases) {
  const QuantizedSource source = source_of(w.dtype());
  const QuantizeTable& t = quantize_kernels();
  const auto kernel = layout.affine()                          ? t.affine[source]
                      : layout.mode == QuantizationMode::nvfp4 ? t.nvfp4[source]
                                                               : t.mx[source];
  const int64_t size = layout.group_size, groups = static_cast<int64_t>(w.size()) / size;
  const int64_t item = static_cast<int64_t>(w.itemsize()), scale_item = layout.affine() ? item : 1;
  const auto at = [&](void* p, int64_t i) { return p ? static_cast<char*>(p) + i * scale_item : nullptr; };
  parallel_ranges(groups, kQuantizeItem / size, [&](int64_t begin, int64_t end) {
    kernel({w.data<char>() + begin * size * item, end - begin, layout.group_size, layout.bits,
            words + begin * layout.words(size), at(scales, begin), at(biases, begin), global_scale});
  });
}

// An optional scale of everything: codes are chosen for numbers times `to_codes`, and give them times `back`.
struct GlobalScale {
  float to_codes = 1, back = 1;
};
GlobalScale global_scale(const Arrays& inputs, size_t i) {
  if (inputs.size() <= i) return {};
  const float largest = inputs[i].data<float>()[0];
  return {kE2m1Max * kE4m3Max / largest, largest / (kE2m1Max * kE4m3Max)};
}

void quantize(const Quantize& p, const Arrays& inputs, Arrays& outputs) {
  for (array& out : outputs) out.set_data(allocator::malloc(out.nbytes()));
  if (inputs[0].size() == 0) return;
  quantize_groups(p.layout, row_contiguous(inputs[0]), global_scale(inputs, 1).to_codes,
                  outputs[0].data<uint32_t>(), outputs[1].data<void>(),
                  p.layout.affine() ? outputs[2].data<void>() : nullptr);
}

void quantized_rounding(const QuantizedRounding& p, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  out.set_data(allocator::malloc(out.nbytes()));
  if (out.size() == 0) return;
  const array x = row_contiguous(inputs[0]);
  const int64_t size = static_cast<int64_t>(x.size()), groups = p.layout.groups(size);
  const int64_t scale_bytes = groups * (p.layout.affine() ? static_cast<int64_t>(x.itemsize()) : 1);
  Workspace words(p.layout.words(size) * 4), scales(scale_bytes), biases(p.layout.affine() ? scale_bytes : 0);
  const GlobalScale global = global_scale(inputs, 1);
  QuantizedMatrix m{p.layout};
  m.columns = x.shape(-1), m.rows = size / m.columns;
  m.words = words.as<uint32_t>(), m.scales = scales.data();
  m.biases = p.layout.affine() ? biases.data() : nullptr;
  m.scale_type = scale_type_of(p.layout, x.dtype());
  quantize_groups(p.layout, x, global.to_codes, words.as<uint32_t>(), scales.data(),
                  p.layout.affine() ? biases.data() : nullptr);
  dequantize_matrix(m, out.dtype(), global.back, out.data<void>());
}

void dequantize(const Dequantize& p, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  out.set_data(allocator::malloc(out.nbytes()));
  if (out.size() == 0) return;
  const array w = row_contiguous(inputs[0]), scales = row_contiguous(inputs[1]);
  const array biases = p.layout.affine() ? row_contiguous(inputs[2]) : scales;
  QuantizedMatrix m{p.layout};
  m.columns = out.shape(-1), m.rows = static_cast<int64_t>(out.size()) / m.columns;
  m.words = w.data<uint32_t>(), m.scales = scales.data<void>();
  m.biases = p.layout.affine() ? biases.data<void>() : nullptr;
  m.scale_type = scale_type_of(p.layout, scales.dtype());
  const float factor = p.layout.affine() ? 1.0f : global_scale(inputs, 2).back;
  dequantize_matrix(m, out.dtype(), factor, out.data<void>());
}

void to_fp8(const ToFp8&, const Arrays& inputs, Arrays& outputs) {
  outputs[0].set_data(allocator::malloc(outputs[0].nbytes()));
  const array x = row_contiguous(inputs[0]);
  const auto kernel = quantize_kernels().to_fp8[source_of(x.dtype())];
  parallel_ranges(static_cast<int64_t>(x.size()), kFp8Item, [&](int64_t begin, int64_t end) {
    kernel(x.data<char>() + begin * static_cast<int64_t>(x.itemsize()), end - begin,
           outputs[0].data<uint8_t>() + begin);
  });
}

void from_fp8(const FromFp8&, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  out.set_data(allocator::malloc(out.nbytes()));
  const array x = row_contiguous(inputs[0]);
  // The value of every code: a row of all of them, dequantized.
  std::array<uint8_t, 256> codes;
  for (size_t i = 0; i < 256; ++i) codes[i] = static_cast<uint8_t>(i);
  std::array<uint32_t, 64> words;
  std::copy(codes.begin(), codes.end(), reinterpret_cast<uint8_t*>(words.data()));
  std::array<uint8_t, 8> ones;
  ones.fill(127);
  QuantizedMatrix all{default_layout(QuantizationMode::mxfp8)};
  all.rows = 1, all.columns = 256;
  all.words = words.data(), all.scales = ones.data(), all.scale_type = gemm_detail::kScaleE8m0;
  const auto look_up = [&]<class T>(T) {
    std::array<T, 256> values;
    dequantize_matrix(all, out.dtype(), 1, values.data());
    parallel_ranges(static_cast<int64_t>(x.size()), kFp8Item, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) out.data<T>()[i] = values[x.data<uint8_t>()[i]];
    });
  };
  if (out.itemsize() == 2) {
    look_up(uint16_t{});
  } else {
    look_up(uint32_t{});
  }
}

void quantized_matmul(const QuantizedMatmul& p, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  out.set_data(allocator::malloc(out.nbytes()));
  if (out.size() == 0) return;
  const array x = row_contiguous(inputs[0]);
  const QuantizedOperands w(p.layout, inputs, 1);
  QuantizedProduct q;
  q.dtype = out.dtype();
  q.m = out.shape(-2), q.n = out.shape(-1), q.k = x.shape(-1);
  q.transpose = p.transpose;
  const int64_t products = static_cast<int64_t>(out.size()) / (q.m * q.n);
  const auto run = [&](int64_t i, int64_t of_x, int64_t of_w) {
    q.x = x.data<char>() + of_x * q.m * q.k * static_cast<int64_t>(x.itemsize());
    q.out = out.data<char>() + i * q.m * q.n * static_cast<int64_t>(out.itemsize());
    q.w = w.matrix(of_w);
    quantized_product(q);
  };
  if (w.count() == 1) {  // the rows of all products are rows of one
    if (static_cast<int64_t>(x.size()) == products * q.m * q.k) {
      q.m *= products;
      return run(0, 0, 0);
    }
  }
  const Shape batch(out.shape().begin(), out.shape().end() - 2);
  const std::vector<int64_t> of_x = batch_indices(x, batch), of_w = batch_indices(w.words(), batch);
  for (int64_t i = 0; i < products; ++i) run(i, of_x[static_cast<size_t>(i)], of_w[static_cast<size_t>(i)]);
}

const bool registered =
    kernels(Device::cpu).add<Quantize>(quantize) && kernels(Device::cpu).add<Dequantize>(dequantize) &&
    kernels(Device::cpu).add<ToFp8>(to_fp8) && kernels(Device::cpu).add<FromFp8>(from_fp8) &&
    kernels(Device::cpu).add<QuantizedMatmul>(quantized_matmul) &&
    kernels(Device::cpu).add<QuantizedRounding>(quantized_rounding);

}  // namespace

QuantizedOperands::QuantizedOperands(const QuantizedLayout& layout, const Arrays& inputs, size_t first)
    : layout_(layout),
      words_(row_contiguous(inputs[first])),
      scales_(row_contiguous(inputs[first + 1])),
      biases_(layout.affine() ? row_contiguous(inputs[first + 2]) : scales_) {
  count_ = 1;
  for (size_t i = 0; i + 2 < words_.ndim(); ++i) count_ *= words_.shape(static_cast<int>(i));
}

QuantizedMatrix QuantizedOperands::matrix(int64_t i) const {
  QuantizedMatrix m{layout_};
  m.rows = words_.shape(-2), m.columns = layout_.columns(words_.shape(-1));
  const int64_t groups = m.rows * layout_.groups(m.columns);
  const int64_t at = i * groups * static_cast<int64_t>(scales_.itemsize());
  m.words = words_.data<uint32_t>() + i * m.rows * words_.shape(-1);
  m.scales = scales_.data<char>() + at;
  m.biases = layout_.affine() ? biases_.data<char>() + at : nullptr;
  m.scale_type = scale_type_of(layout_, scales_.dtype());
  return m;
}

std::vector<int64_t> batch_indices(const array& a, const Shape& batch) {
  int64_t count = 1;
  for (const auto n : batch) count *= n;
  std::vector<int64_t> out(static_cast<size_t>(count));
  const size_t own = a.ndim() - 2, skipped = batch.size() - own;
  for (int64_t i = 0; i < count; ++i) {
    int64_t rest = i, at = 0, stride = 1;
    for (size_t d = batch.size(); d-- > 0;) {
      const int64_t index = rest % batch[d];
      rest /= batch[d];
      if (d < skipped) break;
      const int64_t size = a.shape()[d - skipped];
      if (size != 1) at += index * stride;
      stride *= size;
    }
    out[static_cast<size_t>(i)] = at;
  }
  return out;
}

}  // namespace mlx::core::cpu

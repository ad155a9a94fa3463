// Convolutions and the gradients of their weights. A kernel of one tap is a product of matrices, groups of
// one channel have kernels of their own, three by three taps are transformed where that pays, and the rest
// gathers its operands (metal/kernels/conv.metal). The gradient of the input is a convolution.
#include "metal/host/conv.h"

#include <algorithm>
#include <numeric>

#include "metal/host/elementwise.h"
#include "metal/host/matmul.h"

namespace mlx::core::metal {
namespace {

constexpr size_t kMostPositions = size_t{1} << 31;

// The array as a matrix with the last axis as its columns.
array as_rows(const array& a) {
  const auto columns = a.shape(-1);
  const Shape shape{static_cast<ShapeElem>(a.size() / static_cast<size_t>(columns)), columns};
  array out(shape, a.dtype(), nullptr, {});
  const Strides strides{columns, 1};
  out.copy_shared_buffer(a, strides, flags_of(shape, strides, a.size()), a.size(), 0);
  return out;
}
array turned(const array& a) {
  const Shape shape{a.shape(1), a.shape(0)};
  array out(shape, a.dtype(), nullptr, {});
  const Strides strides{a.strides(1), a.strides(0)};
  out.copy_shared_buffer(a, strides, flags_of(shape, strides, a.data_size()), a.data_size(), 0);
  return out;
}

bool is_product(const ConvParameters& given, const ConvParams& p) {
  const auto all_are = [](const std::vector<int>& values, int wanted) {
    return std::all_of(values.begin(), values.end(), [&](int v) { return v == wanted; });
  };
  return p.groups == 1 && p.all_taps() == 1 && p.unit_strides() && !p.dilated_input() &&
         all_are(given.padding_lo, 0) && std::equal(p.in, p.in + 3, p.out);
}

// The function constants of metal/kernels/conv.metal, in their order.
struct Flags {
  bool vectors = false, plain_vectors = false, phased = false, split = false, folded = false,
       exchanged = false;
  std::vector<FunctionConstant> constants() const {
    return {{0, vectors}, {1, plain_vectors}, {2, phased}, {3, split}, {4, folded}, {5, exchanged}};
  }
};

array partial_results(const ConvParams& p) {
  array partial({static_cast<ShapeElem>(p.parts), static_cast<ShapeElem>(p.size)}, float32, nullptr, {});
  allocate(partial);
  return partial;
}

void run(const char* kernel, const array& a, const array& b, const array& out, ConvParams& p,
         const Tile& tile, Size groups, int64_t k, Flags flags, const Stream& s) {
  const Parts cut = parts_for(k, int64_t{groups.x} * groups.y * groups.z, tile);
  flags.split = cut.count > 1;
  flags.folded = (flags.split ? cut.length : k) > kLongSum;
  p.part = static_cast<int32_t>(cut.length), p.parts = static_cast<int32_t>(cut.count);
  p.size = static_cast<int64_t>(out.size());
  const std::optional<array> partial = flags.split ? std::optional(partial_results(p)) : std::nullopt;
  {
    Dispatch d(s, instantiated("conv", kernel, tile.arguments(out.dtype()), flags.constants()));
    d.in(a).in(b);
    flags.split ? d.skip() : d.out(out);
    d.value(p);
    if (flags.split) d.out(*partial);
    groups.z *= static_cast<uint32_t>(p.parts);
    d.groups(groups, {128, 1, 1});
  }
  if (flags.split) sum_parts(*partial, out, p, s);
}

void implicit_gemm(const Dense& x, const Dense& w, const array& out, ConvParams p, const Stream& s) {
  // The largest phase is the first one.
  int64_t rows = p.batch, phases = 1;
  for (int d = 0; d < 3; ++d) {
    rows *= ceil_div(static_cast<size_t>(p.out[d]), static_cast<size_t>(p.input_dilation[d]));
    phases *= p.input_dilation[d];
  }
  const Tile tile = tile_for(rows, p.outputs, phases * p.groups, out.dtype());
  const Size groups{ceil_div(static_cast<size_t>(p.outputs), static_cast<size_t>(tile.n)),
                    ceil_div(static_cast<size_t>(rows), static_cast<size_t>(tile.m)),
                    static_cast<uint32_t>(p.groups * phases)};
  const bool fours = p.channels % 4 == 0;
  // Of a phase with all the taps that one can have.
  int64_t k = p.channels;
  for (int d = 0; d < 3; ++d)
    k *= ceil_div(static_cast<size_t>(p.taps[d]), static_cast<size_t>(p.tap_step[d]));
  Flags flags;
  flags.vectors = fours && x.aligned, flags.plain_vectors = fours && w.aligned;
  flags.phased = p.dilated_input();
  run("conv", x.held, w.held, out, p, tile, groups, k, flags, s);
}

void convolution(const Convolution& primitive, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  allocate(out);
  if (out.size() == 0) return;
  const Stream s = primitive.stream();
  if (inputs[0].size() == 0 || inputs[1].size() == 0) return fill(array(0.0f), out, s);
  const Dense x = dense(inputs[0], s), w = dense(inputs[1], s);
  const ConvParams p = conv_params(primitive.p, x.held.shape(), w.held.shape(), out.shape());
  if (is_product(primitive.p, p)) return multiply(as_rows(x.held), turned(as_rows(w.held)), as_rows(out), s);
  if (depthwise_fits(p, out.dtype())) return depthwise(x.held, w.held, out, p, s);
  if (winograd_pays(p, primitive.p)) return winograd(x.held, w.held, out, p, primitive.p.flip, s);
  implicit_gemm(x, w, out, p, s);
}

void weight_gradient(const ConvolutionWeightGradient& primitive, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  allocate(out);
  if (out.size() == 0) return;
  const Stream s = primitive.stream();
  if (inputs[0].size() == 0 || inputs[1].size() == 0) return fill(array(0.0f), out, s);
  Dense x = dense(inputs[0], s), g = dense(inputs[1], s);
  ConvParams p = conv_params(primitive.p, x.held.shape(), primitive.weight, g.held.shape());
  if (is_product(primitive.p, p)) return multiply(turned(as_rows(g.held)), as_rows(x.held), as_rows(out), s);
  if (depthwise_fits(p, out.dtype())) return depthwise_weights(x.held, g.held, out, p, s);
  // Positions of the operand with fewer of them, so that none is met in vain.
  const bool exchange = p.dilated_input() && p.unit_strides();
  if (exchange) {
    p = exchanged(p);
    std::swap(x, g);
  }
  p.k = p.positions();
  const int64_t columns = p.all_taps() * p.channels;
  const Tile tile = tile_for(p.outputs, columns, p.groups, out.dtype());
  const Size groups{ceil_div(static_cast<size_t>(columns), static_cast<size_t>(tile.n)),
                    ceil_div(static_cast<size_t>(p.outputs), static_cast<size_t>(tile.m)),
                    static_cast<uint32_t>(p.groups)};
  Flags flags;
  flags.vectors = p.channels % 4 == 0 && x.aligned, flags.plain_vectors = p.outputs % 4 == 0 && g.aligned;
  flags.phased = p.dilated_input(), flags.exchanged = exchange;
  run("conv_weights", g.held, x.held, out, p, tile, groups, p.k, flags, s);
}

bool supports(const Primitive& p, const Arrays& inputs, const Arrays& outputs) {
  return without_float64(p, inputs, outputs) && inputs[0].size() < kMostPositions &&
         inputs[1].size() < kMostPositions && outputs[0].size() < kMostPositions;
}

const bool registered = add_kernel<Convolution>(convolution, supports) &&
                        add_kernel<ConvolutionWeightGradient>(weight_gradient, supports);

}  // namespace

ConvParams conv_params(const ConvParameters& given, const Shape& x, const Shape& w, const Shape& out) {
  ConvParams p;
  p.batch = x[0], p.groups = given.groups;
  p.channels = w[w.size() - 1], p.outputs = w[0] / given.groups;
  const size_t n = given.stride.size();
  for (size_t i = 0; i < n; ++i) {
    const size_t d = 3 - n + i;
    p.in[d] = x[i + 1], p.taps[d] = w[i + 1], p.out[d] = out[i + 1];
    p.stride[d] = given.stride[i], p.input_dilation[d] = given.input_dilation[i];
    p.low[d] = given.padding_lo[i], p.dilation[d] = given.kernel_dilation[i];
    p.tap_step[d] = p.input_dilation[d] / std::gcd(p.input_dilation[d], p.dilation[d]);
    // Mirrored, tap t of w is where tap kernel - 1 - t would be.
    if (given.flip) {
      p.low[d] -= (p.taps[d] - 1) * p.dilation[d];
      p.dilation[d] = -p.dilation[d];
    }
  }
  return p;
}

// x'[u * 1 - low + t * e] = x[i] where i * d = u - low + t * e: u = i * d - (-low) + t * (-e).
ConvParams exchanged(const ConvParams& p) {
  ConvParams q = p;
  std::swap(q.channels, q.outputs);
  for (int d = 0; d < 3; ++d) {
    std::swap(q.in[d], q.out[d]);
    q.stride[d] = p.input_dilation[d], q.input_dilation[d] = 1, q.tap_step[d] = 1;
    q.low[d] = -p.low[d], q.dilation[d] = -p.dilation[d];
  }
  return q;
}

Dense dense(const array& a, const Stream& s) {
  const array held = row_contiguous(a, s);
  // What lies outside of the device's memory is copied to the begin of a buffer.
  const auto at = on_device(held) ? reinterpret_cast<uintptr_t>(held.data<char>()) : 0;
  return {held, at % (4 * held.itemsize()) == 0};
}

void sum_parts(const array& partial, const array& out, const ConvParams& p, const Stream& s) {
  Dispatch d(s, instantiated("conv", "conv_sum", type_name(out.dtype()), Flags{}.constants()));
  d.in(partial).out(out).value(p);
  const Line all = line(out.size());
  d.threads(all.threads, all.per_group);
}

}  // namespace mlx::core::metal

// Fourier transforms (metal/kernels/fft.metal): one dispatch where a line fits in threadgroup memory, two
// where its length is a product of two that do, and a convolution with a chirp where it has large prime
// factors.
#include "mlx/ops/fft.h"

#include <algorithm>
#include <bit>

#include "metal/host/elementwise.h"
#include "metal/host/matmul.h"

namespace mlx::core::metal {
namespace {

using fft::FFT;
using fft::Kind;

constexpr int64_t kMostNumbers = 4096;  // in threadgroup memory
constexpr int64_t kLongest = kMostNumbers * kMostNumbers;

// As in metal/kernels/fft.metal.
enum Form : int32_t { kComplex, kReals, kPacked, kHalf, kPackedHalf, kChirp };
struct Side {
  int64_t outer = 0, inner = 0, stride = 1;
  uint32_t step = 1, mid = 0;
};
struct Lines {
  Side in, out;
  uint32_t lines = 1, per_group = 1, mids = 1, inners = 1;
  uint32_t pitch = 0, n = 0, length = 0;
  float scale = 1;
};
// The function constants, in their order.
struct Flags {
  int32_t source = kComplex, target = kComplex;
  bool conjugate_in = false, conjugate_out = false, in_across = false, out_across = false, stepped = false;
  bool chirped_in = false, chirped_out = false, convolved = false, multiplied = false;

  std::vector<FunctionConstant> constants() const {
    return {{0, source},      {1, target},     {2, conjugate_in}, {3, conjugate_out},
            {4, in_across},   {5, out_across}, {6, stepped},      {7, chirped_in},
            {8, chirped_out}, {9, convolved},  {10, multiplied}};
  }
};

// Of passes; empty where there are none (1, or other prime factors).
std::vector<int> radices_of(int64_t n) {
  std::vector<int> out;
  const int twos = std::countr_zero(static_cast<uint64_t>(n));
  n >>= twos;
  // As few passes as there can be, of 8 and 4: 2 only where nothing can be taken from an 8.
  int eights = twos / 3;
  const int rest = twos % 3;
  if (rest == 1 && eights > 0) {
    --eights;
    out.insert(out.end(), {4, 4});
  } else if (rest > 0) {
    out.push_back(rest == 1 ? 2 : 4);
  }
  out.insert(out.end(), static_cast<size_t>(eights), 8);
  for (const int r : {3, 5, 7, 11, 13})
    for (; n % r == 0; n /= r) out.push_back(r);
  return n == 1 ? out : std::vector<int>{};
}
bool smooth(int64_t n) { return n == 1 || !radices_of(n).empty(); }
bool fits(int64_t n) { return n <= kMostNumbers && smooth(n); }

// n = first * second, both of which fit, as equal as can be; 0, 0 where there are none.
struct Split {
  int64_t first = 0, second = 0;
};
Split split_of(int64_t n) {
  Split best;
  if (n > kLongest || !smooth(n)) return best;
  for (int64_t a = 2; a * a <= n; ++a)
    if (n % a == 0 && n / a <= kMostNumbers) best = {a, n / a};
  return best;
}

// Of a longer line: n = first * second, of which the first fits and the second is split again.
Split long_split_of(int64_t n) {
  Split best;
  if (n <= kLongest || n >= (int64_t{1} << 29) || !smooth(n))
    return best;  // the kernel counts 4 n in 32 bits
  for (int64_t a = 2; a <= kMostNumbers; ++a)
    if (n % a == 0 && split_of(n / a).first > 0) {
      best = {a, n / a};
      if (a * a * a >= n) break;
    }
  return best;
}

array numbers(int64_t n) {
  array out({static_cast<ShapeElem>(n)}, complex64, nullptr, {});
  allocate(out);
  return out;
}

void run(int64_t n, const array& in, const array& out, Lines p, const Flags& flags, const array* chirp,
         const Stream& s) {
  const auto length = static_cast<uint32_t>(n), threads = ceil_div(static_cast<size_t>(n), 8);
  const bool across = flags.in_across || flags.out_across;
  // Lines side by side: some, so that a threadgroup has work, or where their neighbours lie together.
  const uint32_t wanted =
      across ? std::min<uint32_t>(std::max(8u, 256 / threads), 512 / threads) : 256 / threads;
  p.per_group = std::clamp(
      std::min(wanted, static_cast<uint32_t>((across ? kMostNumbers : kMostNumbers / 2) / n)), 1u, p.lines);
  // Lines of a power of two would all begin in the same bank.
  p.pitch = p.per_group > 1 && p.per_group * (length + 1) <= kMostNumbers ? length + 1 : length;
  std::string arguments = std::to_string(length) + ", " + std::to_string(threads);
  for (const int r : radices_of(n)) arguments += ", " + std::to_string(r);
  Dispatch d(s, instantiated("fft", "fft", arguments, flags.constants()));
  flags.source == kChirp ? d.skip() : d.in(in);
  d.out(out).value(p);
  if (chirp) d.in(*chirp);
  d.threadgroup_memory(p.per_group * p.pitch * 2 * sizeof(float));
  d.groups({ceil_div(p.lines, p.per_group), 1, 1}, {threads * p.per_group, 1, 1});
}

// The first half of four steps: second columns of length first, times factors.
void columns_of(const Split& split, const array& in, const array& half_way, Lines p, Flags flags,
                const Side& between, const Stream& s) {
  const auto second = static_cast<uint32_t>(split.second);
  p.mids = second, p.lines *= second, p.scale = 1;
  p.in.step = second, p.in.mid = 1;
  p.out = between, p.out.step = second, p.out.mid = 1;
  flags.target = kComplex, flags.stepped = flags.in_across = flags.out_across = true;
  flags.conjugate_out = flags.chirped_out = flags.multiplied = false;
  run(split.first, in, half_way, p, flags, nullptr, s);
}

// One dispatch or two for transforms of length n, which fits or can be split; p: its sides, and mids of 1.
void transform(int64_t n, const array& in, const array& out, Lines p, const Flags& flags, const array* chirp,
               const Stream& s) {
  p.length = static_cast<uint32_t>(n);
  if (fits(n)) return run(n, in, out, p, flags, chirp, s);
  const Split split = split_of(n);
  const auto first = static_cast<uint32_t>(split.first);
  const array half_way = numbers(int64_t{p.lines} * n);
  const Side between{n * p.inners, 1, p.inners, 1, 0};
  columns_of(split, in, half_way, p, flags, between, s);
  Lines b = p;
  b.mids = first, b.lines *= first;
  b.in = between, b.in.step = 1, b.in.mid = static_cast<uint32_t>(split.second);
  b.out.step = first, b.out.mid = 1;
  Flags rows = flags;
  rows.source = kComplex, rows.in_across = p.inners > 1, rows.out_across = true;
  rows.conjugate_in = rows.chirped_in = false;
  run(split.second, half_way, out, b, rows, chirp, s);
}

// Lines that lie together and are too long for that: the rows of the first half's result are lines side by
// side, whose numbers lie apart in the end.
void long_transform(int64_t n, const array& in, const array& out, Lines p, const Flags& flags,
                    const Stream& s) {
  const Split split = long_split_of(n);
  const array half_way = numbers(int64_t{p.lines} * n);
  p.length = static_cast<uint32_t>(n);
  const int64_t end = p.out.outer;
  columns_of(split, in, half_way, p, flags, {n, 1, 1, 1, 0}, s);
  p.inners = static_cast<uint32_t>(split.first), p.lines *= p.inners;
  p.in = {n, split.second, 1, 1, 0};
  p.out = {end, 1, split.first, 1, 0};
  Flags rows = flags;
  rows.source = kComplex, rows.conjugate_in = false, rows.out_across = true;
  transform(split.second, half_way, out, p, rows, nullptr, s);
}

// Bluestein: a convolution of length m.
void with_chirp(const array& in, const array& out, const Lines& p, const Flags& flags, const Stream& s) {
  const auto m = static_cast<int64_t>(std::bit_ceil(2 * uint64_t{p.n} - 1));
  const array chirp = numbers(m);
  Lines one;
  one.n = p.n;
  Flags make;
  make.source = kChirp;
  transform(m, chirp, chirp, one, make, nullptr, s);
  Flags there = flags, back = flags;
  there.chirped_in = back.chirped_out = true;
  Lines last = p;
  last.scale = p.scale / static_cast<float>(m);
  if (fits(m)) {
    there.chirped_out = there.convolved = true;
    return transform(m, in, out, last, there, &chirp, s);
  }
  const array product = numbers(int64_t{p.lines} * m);
  const Side between{m * p.inners, 1, p.inners, 1, 0};
  Lines to = p;
  to.out = between, to.scale = 1, last.in = between;
  there.target = kComplex, there.conjugate_out = false, there.multiplied = true;
  transform(m, in, product, to, there, &chirp, s);
  back.source = kComplex, back.conjugate_in = false;
  transform(m, product, out, last, back, nullptr, s);
}

// A view of `a` whose last axis is `axis`.
array with_last(const array& a, int axis) {
  Shape shape = a.shape();
  Strides strides = a.strides();
  std::rotate(shape.begin() + axis, shape.begin() + axis + 1, shape.end());
  std::rotate(strides.begin() + axis, strides.begin() + axis + 1, strides.end());
  array out(shape, a.dtype(), nullptr, {});
  out.copy_shared_buffer(a, strides, flags_of(shape, strides, a.data_size()), a.data_size(), 0);
  return out;
}

// Along an axis of two row-contiguous arrays.
void transform_along(const FFT& f, const array& x, int axis, const array& out) {
  const Stream s = f.stream();
  Lines p;
  for (int d = axis + 1; d < static_cast<int>(x.ndim()); ++d) p.inners *= static_cast<uint32_t>(x.shape(d));
  p.lines = static_cast<uint32_t>(x.size() / static_cast<size_t>(x.shape(axis)));
  p.in = {int64_t{x.shape(axis)} * p.inners, 1, p.inners, 1, 0};
  p.out = {int64_t{out.shape(axis)} * p.inners, 1, p.inners, 1, 0};
  p.n = static_cast<uint32_t>(f.n), p.scale = static_cast<float>(f.scale);
  Flags flags;
  flags.in_across = flags.out_across = p.inners > 1;
  flags.conjugate_in = flags.conjugate_out = f.inverse;
  const bool from_reals = f.kind == Kind::real_to_half, to_reals = f.kind == Kind::half_to_real;
  if ((from_reals || to_reals) && f.n % 2 == 0 && fits(f.n / 2)) {
    flags.source = from_reals ? kPacked : kPackedHalf;
    flags.target = from_reals ? kPackedHalf : kPacked;
    return transform(f.n / 2, x, out, p, flags, nullptr, s);
  }
  flags.source = from_reals ? kReals : to_reals ? kHalf : kComplex;
  flags.target = from_reals ? kHalf : to_reals ? kReals : kComplex;
  if (fits(f.n) || split_of(f.n).first > 0) return transform(f.n, x, out, p, flags, nullptr, s);
  if (long_split_of(f.n).first == 0) return with_chirp(x, out, p, flags, s);
  if (axis + 1 < static_cast<int>(x.ndim())) {  // these need lines: turned before and afterwards
    const array there = row_contiguous(with_last(x, axis), s), back = with_last(out, axis);
    array lines(back.shape(), back.dtype(), nullptr, {});
    allocate(lines);
    transform_along(f, there, static_cast<int>(x.ndim()) - 1, lines);
    return copy_into(lines, back, s);
  }
  if (!from_reals) return long_transform(f.n, x, out, p, flags, s);
  // Half a line is what is left of a whole one.
  const array whole = numbers(int64_t{p.lines} * f.n);
  p.out.outer = f.n, flags.target = kComplex;
  long_transform(f.n, x, whole, p, flags, s);
  array half(out.shape(), complex64, nullptr, {});
  Strides strides(half.ndim(), 1);
  int64_t step = f.n;
  for (size_t d = half.ndim() - 1; d-- > 0; step *= half.shape()[d]) strides[d] = step;
  half.copy_shared_buffer(whole, strides, flags_of(half.shape(), strides, whole.size()), whole.size(), 0);
  copy_to(half, out, s);
}

void fft_kernel(const FFT& f, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  allocate(out);
  if (out.size() > 0) transform_along(f, row_contiguous(inputs[0], f.stream()), f.axis, out);
}

bool supports(const Primitive& p, const Arrays& inputs, const Arrays& outputs) {
  const auto& f = static_cast<const FFT&>(p);
  const int64_t n = f.n;
  constexpr size_t most = size_t{1} << 30;
  return inputs[0].size() < most && outputs[0].size() < most &&
         (split_of(n).first > 0 || fits(n) || 2 * n - 1 <= kLongest || long_split_of(n).first > 0);
}
const bool registered = add_kernel<FFT>(fft_kernel, supports);

}  // namespace
}  // namespace mlx::core::metal

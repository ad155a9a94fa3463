// Fourier transforms of lines of N complex numbers: Stockham's passes of radix 2 to 13 in threadgroup memory.
//
//     out[k] = scale * sum over j of in[j] exp(-2 pi i j k / n)        (inverse: conjugate before and after)
//
// Bytes moved: each number is read once and written once where a line fits in threadgroup memory (N up to 4096, n up to
// 8192 real numbers). Pairs of real numbers are transformed as complex ones of half the length, and taken apart when they
// are stored (`packed`). Longer lines are n = N1 N2 (four steps): N2 columns of length N1, a factor for each element, N1
// rows of length N2; each number is read and written twice, three times where rows are such transforms again (beyond 2^24).
// Lengths with other prime factors are convolutions with a chirp (Bluestein): j k = (j^2 + k^2 - (k - j)^2) / 2, so with
// c[j] = exp(-pi i j^2 / n)
//
//     out[k] = c[k] sum over j of (in[j] c[j]) conj(c[k - j])
//
// a product of transforms of a length N >= 2 n - 1; in threadgroup memory still one reading and one writing, and that of
// the chirp's transform. Operations: about 5 log2(N) per number of 16 bytes moved: 3.75 per byte at 4096, bound by memory.
// Threadgroup memory: 8 N bytes per line, at most 32 KiB. Registers: a thread has 8 to 16 complex numbers.
//
// Accuracy: factors are exact to half a unit (angles are reduced as integers to an eighth of a turn), and their powers are
// products of at most four of them: the error is that of the additions, below 1e-6 of the largest result.
#include "metal/kernels/types.h"

// What lines are made of, and what becomes of them.
constant constexpr int complex_numbers = 0, reals = 1, packed = 2, half_line = 3, packed_half = 4, chirp_source = 5;
constant int source [[function_constant(0)]];
constant int target [[function_constant(1)]];  // complex_numbers, half_line, packed_half; reals, packed
constant bool conjugate_in [[function_constant(2)]];
constant bool conjugate_out [[function_constant(3)]];
constant bool in_across [[function_constant(4)]];   // neighbours in memory belong to neighbouring lines
constant bool out_across [[function_constant(5)]];
constant bool stepped [[function_constant(6)]];     // the first half of four steps: factors
constant bool chirped_in [[function_constant(7)]];
constant bool chirped_out [[function_constant(8)]];
constant bool convolved [[function_constant(9)]];    // times the chirp's transform, and back
constant bool multiplied [[function_constant(10)]];  // the same in four steps: only times, and conjugated
constant bool has_chirp = convolved || multiplied;
constant bool has_source = source != chirp_source;

// Number g of a line is at outer * (..) + inner * (..) + g * stride, and element e of a transform is number
// e * step + (..) * mid.
struct Side {
  long outer, inner, stride;
  uint step, mid;
};
struct Lines {
  Side in, out;
  uint lines, per_group, mids, inners;
  uint pitch;   // of a line in threadgroup memory
  uint n;       // numbers of the whole line, of which a half line has n / 2 + 1; with a chirp: before it
  uint length;  // four steps: N1 N2
  float scale;
};

METAL_FUNC float2 times(float2 a, float2 b) { return float2(a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x); }
METAL_FUNC float2 conjugated(float2 a) { return float2(a.x, -a.y); }

// exp(-2 pi i k / n) of k < n < 2^29
METAL_FUNC float2 root(uint k, uint n) {
  const uint quarter = 4 * k / n, rest = 4 * k - quarter * n;  // of turns: quarter / 4 + rest / 4 n
  const bool second = 2 * rest > n;
  const float x = static_cast<float>(second ? n - rest : rest) / static_cast<float>(2 * n);  // at most 1/4 of pi
  const float a = cospi(x), b = sinpi(x), c = second ? b : a, s = second ? a : b;
  return quarter == 0 ? float2(c, -s) : quarter == 1 ? float2(-s, -c) : quarter == 2 ? float2(-c, s) : float2(s, c);
}
METAL_FUNC float2 chirp(uint j, uint n) {
  return root(static_cast<uint>(static_cast<ulong>(j) * j % (2 * static_cast<ulong>(n))), 2 * n);
}

// cos and sin of 2 pi j / R, j = 1 ... R / 2, of R = 3, 5, 7, 11, 13.
constant constexpr float cosines[] = {-0.5f, 0.309016994f, -0.809016994f, 0.623489802f, -0.222520934f, -0.900968868f,
                                      0.841253533f, 0.415415013f, -0.142314838f, -0.654860734f, -0.959492974f,
                                      0.885456026f, 0.568064747f, 0.120536680f, -0.354604887f, -0.748510748f,
                                      -0.970941817f};
constant constexpr float sines[] = {0.866025404f, 0.951056516f, 0.587785252f, 0.781831482f, 0.974927912f, 0.433883739f,
                                    0.540640817f, 0.909631995f, 0.989821442f, 0.755749574f, 0.281732557f,
                                    0.464723172f, 0.822983866f, 0.992708874f, 0.935016243f, 0.663122658f,
                                    0.239315664f};

template <int R>
METAL_FUNC void butterfly(thread float2* v) {
  constexpr int first = R == 3 ? 0 : R == 5 ? 1 : R == 7 ? 3 : R == 11 ? 6 : 11;
  constexpr int pairs = R / 2;
  float2 sums[pairs], differences[pairs];
  const float2 v0 = v[0];
  for (int j = 0; j < pairs; ++j) {
    sums[j] = v[j + 1] + v[R - 1 - j];
    differences[j] = v[j + 1] - v[R - 1 - j];
    v[0] += sums[j];
  }
  for (int k = 1; k <= pairs; ++k) {
    float2 even = v0, odd = float2(0.0f);
    for (int j = 1; j <= pairs; ++j) {
      const int turn = j * k % R;
      const bool beyond = turn > pairs;
      const int at = first + (beyond ? R - turn : turn) - 1;
      even += cosines[at] * sums[j - 1];
      odd += (beyond ? -sines[at] : sines[at]) * differences[j - 1];
    }
    v[k] = even + float2(odd.y, -odd.x);
    v[R - k] = even - float2(odd.y, -odd.x);
  }
}
template <>
METAL_FUNC void butterfly<2>(thread float2* v) {
  const float2 a = v[0], b = v[1];
  v[0] = a + b;
  v[1] = a - b;
}
template <>
METAL_FUNC void butterfly<4>(thread float2* v) {
  const float2 a = v[0] + v[2], b = v[0] - v[2], c = v[1] + v[3], d = v[1] - v[3];
  v[0] = a + c;
  v[2] = a - c;
  v[1] = float2(b.x + d.y, b.y - d.x);
  v[3] = float2(b.x - d.y, b.y + d.x);
}
template <>
METAL_FUNC void butterfly<8>(thread float2* v) {
  const float r = 0.707106781f;
  float2 even[4] = {v[0], v[2], v[4], v[6]}, odd[4] = {v[1], v[3], v[5], v[7]};
  butterfly<4>(even);
  butterfly<4>(odd);
  odd[1] = float2((odd[1].x + odd[1].y) * r, (odd[1].y - odd[1].x) * r);
  odd[2] = float2(odd[2].y, -odd[2].x);
  odd[3] = float2((odd[3].y - odd[3].x) * r, (odd[3].x + odd[3].y) * -r);
  for (int k = 0; k < 4; ++k) {
    v[k] = even[k] + odd[k];
    v[k + 4] = even[k] - odd[k];
  }
}

// Passes over a line of N numbers by T threads, of which this is number t; L: the product of the radices before.
template <int N, int T, int L, int... Radices>
struct Passes {
  static METAL_FUNC void run(threadgroup float2*, uint) {}
};
template <int N, int T, int L, int R, int... Radices>
struct Passes<N, T, L, R, Radices...> {
  static METAL_FUNC void run(threadgroup float2* line, uint t) {
    constexpr int count = N / R, each = (count + T - 1) / T;
    float2 v[each][R];
    for (int i = 0; i < each; ++i) {
      const int b = static_cast<int>(t) + i * T;
      if (b >= count) continue;
      for (int j = 0; j < R; ++j) v[i][j] = line[b + j * count];
      if (L > 1) {
        float2 w[R];
        w[1] = root(b % L, L * R);
        for (int j = 2; j < R; ++j) w[j] = times(w[j / 2], w[j - j / 2]);
        for (int j = 1; j < R; ++j) v[i][j] = times(v[i][j], w[j]);
      }
      butterfly<R>(v[i]);
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (int i = 0; i < each; ++i) {
      const int b = static_cast<int>(t) + i * T;
      if (b >= count) continue;
      threadgroup float2* to = line + b / L * (L * R) + b % L;
      for (int j = 0; j < R; ++j) to[j * L] = v[i][j];
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    Passes<N, T, L * R, Radices...>::run(line, t);
  }
};

struct Place {
  long base;  // of the whole line
  uint mid;
};
METAL_FUNC Place place_of(uint line, constant Lines& p, constant Side& side) {
  const uint inner = line % p.inners, rest = line / p.inners;
  return {static_cast<long>(rest / p.mids) * side.outer + static_cast<long>(inner) * side.inner, rest % p.mids};
}

// Number g of half a line, of which the rest is its mirror image.
METAL_FUNC float2 of_half(device const float2* in, long base, long stride, uint g, uint n) {
  const bool mirrored = 2 * g > n;
  float2 v = in[base + static_cast<long>(mirrored ? n - g : g) * stride];
  if (g == 0 || 2 * g == n) v.y = 0;
  return mirrored ? conjugated(v) : v;
}

METAL_FUNC float2 load_number(device const float* in, constant Lines& p, uint line, uint e) {
  const Place at = place_of(line, p, p.in);
  const uint g = e * p.in.step + at.mid * p.in.mid;
  device const float2* complex = reinterpret_cast<device const float2*>(in);
  if (source == chirp_source) {
    // conj(c[j]) of -n < j < n, around the end of the line
    const uint j = g < p.n ? g : p.length - g;
    return j < p.n ? conjugated(chirp(j, p.n)) : float2(0.0f);
  }
  if (chirped_in && g >= p.n) return float2(0.0f);
  float2 v;
  if (source == complex_numbers) {
    v = complex[at.base + g * p.in.stride];
  } else if (source == reals) {
    v = float2(in[at.base + g * p.in.stride], 0.0f);
  } else if (source == packed) {
    v = float2(in[at.base + 2 * g * p.in.stride], in[at.base + (2 * g + 1) * p.in.stride]);
  } else if (source == half_line) {
    v = of_half(complex, at.base, p.in.stride, g, p.n);
  } else {
    // (X[g] + X[m - g]*) + i exp(2 pi i g / n) (X[g] - X[m - g]*), m = n / 2
    const float2 a = of_half(complex, at.base, p.in.stride, g, p.n);
    const float2 b = conjugated(of_half(complex, at.base, p.in.stride, p.n / 2 - g, p.n));
    const float2 d = times(a - b, conjugated(root(g, p.n)));
    v = a + b + float2(-d.y, d.x);
  }
  if (conjugate_in) v = conjugated(v);
  return chirped_in ? times(v, chirp(g, p.n)) : v;
}

template <int N, int T, int... Radices>
[[kernel, max_total_threads_per_threadgroup(512)]] void fft(
    device const float* in [[buffer(0), function_constant(has_source)]], device float* out [[buffer(1)]], constant Lines& p [[buffer(2)]],
    device const float2* transformed_chirp [[buffer(3), function_constant(has_chirp)]],
    threadgroup float2* tile [[threadgroup(0)]], uint group [[threadgroup_position_in_grid]],
    uint index [[thread_index_in_threadgroup]], uint threads [[threads_per_threadgroup]]) {
  const uint first = group * p.per_group, here = min(p.per_group, p.lines - first);
  for (uint i = index; i < p.per_group * N; i += threads) {
    const uint l = in_across ? i % p.per_group : i / N, e = in_across ? i / p.per_group : i % N;
    float2 v = float2(0.0f);
    if (l < here) v = load_number(in, p, first + l, e);
    tile[l * p.pitch + e] = v;
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  threadgroup float2* line = tile + index / T * p.pitch;
  Passes<N, T, 1, Radices...>::run(line, index % T);
  if (convolved) {
    // The inverse transform, but for conjugations and a factor.
    for (int e = static_cast<int>(index % T); e < N; e += T)
      line[e] = conjugated(times(line[e], transformed_chirp[e]));
    threadgroup_barrier(mem_flags::mem_threadgroup);
    Passes<N, T, 1, Radices...>::run(line, index % T);
  }

  // What is stored of a transform: numbers 0 ... count - 1.
  const uint count = target == packed_half ? N + 1 : N;
  device float2* complex = reinterpret_cast<device float2*>(out);
  for (uint i = index; i < p.per_group * count; i += threads) {
    const uint l = out_across ? i % p.per_group : i / count, e = out_across ? i / p.per_group : i % count;
    if (l >= here) continue;
    const Place at = place_of(first + l, p, p.out);
    const uint g = e * p.out.step + at.mid * p.out.mid;
    threadgroup const float2* numbers = tile + l * p.pitch;
    float2 v;
    if (target == packed_half) {
      // (Z[g] + Z[m - g]*) / 2 + exp(-2 pi i g / n) (Z[g] - Z[m - g]*) / 2i, m = n / 2 = N
      const float2 a = numbers[e % N], b = conjugated(numbers[(N - e) % N]);
      const float2 d = times(a - b, root(e, p.n));
      v = 0.5f * (a + b + float2(d.y, -d.x));
    } else {
      v = numbers[e];
    }
    if (stepped) v = times(v, root(e * at.mid, p.length));
    if (multiplied) v = conjugated(times(v, transformed_chirp[g]));
    if (chirped_out) {
      if (g >= p.n) continue;
      v = times(conjugated(v), chirp(g, p.n));
    }
    if (conjugate_out) v = float2(v.x, 0.0f - v.y);  // of reals no zeros below zero
    v *= p.scale;
    if (target == complex_numbers || target == packed_half) {
      complex[at.base + g * p.out.stride] = v;
    } else if (target == half_line) {
      if (2 * g <= p.n) complex[at.base + g * p.out.stride] = v;
    } else if (target == reals) {
      out[at.base + g * p.out.stride] = v.x;
    } else {
      out[at.base + 2 * g * p.out.stride] = v.x;
      out[at.base + (2 * g + 1) * p.out.stride] = v.y;
    }
  }
}

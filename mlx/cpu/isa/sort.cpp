#include "mlx/cpu/isa/sort.h"

#include "mlx/cpu/isa/reduce_impl.h"

namespace mlx::core::cpu::MLX_ISA {
namespace {

using namespace rows;

// --- keys ---

template <class T>
struct KeyOf {
  using type = std::conditional_t<
      sizeof(T) == 1, uint8_t,
      std::conditional_t<sizeof(T) == 2, uint16_t, std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>>>;
};
template <class T>
using Key = typename KeyOf<T>::type;

template <class T>
inline constexpr bool is_signed_integer = std::is_integral_v<T> && std::is_signed_v<T>;
template <class T>
inline constexpr int kMantissa = std::is_same_v<T, Half>    ? 10
                                 : std::is_same_v<T, BHalf> ? 7
                                 : std::is_same_v<T, float> ? 23
                                                            : 52;

template <class T>
inline Key<T> real_key(Key<T> u, bool merge_zeros) {
  using K = Key<T>;
  constexpr int bits = 8 * sizeof(K);
  constexpr K sign = static_cast<K>(K{1} << (bits - 1));
  constexpr K inf = static_cast<K>(((K{1} << (bits - 1 - kMantissa<T>)) - 1) << kMantissa<T>);
  const K magnitude = u & static_cast<K>(~sign);
  if (merge_zeros && magnitude == 0) u = 0;
  const K ordered = u & sign ? static_cast<K>(~u) : static_cast<K>(u | sign);
  return magnitude > inf ? static_cast<K>(~K{0}) : ordered;
}

template <class T>
inline Key<T> to_key(T x, bool merge_zeros) {
  using K = Key<T>;
  if constexpr (is_real<T>) {
    return real_key<T>(bits_to<K>(x), merge_zeros);
  } else if constexpr (std::is_same_v<T, Complex>) {
    const bool nan = x.re != x.re || x.im != x.im;
    const uint64_t re = real_key<float>(bits_to<uint32_t>(x.re), true);
    const uint64_t im = real_key<float>(bits_to<uint32_t>(x.im), true);
    return nan ? ~uint64_t{0} : re << 32 | im;
  } else {
    return bits_to<K>(x) ^ (is_signed_integer<T> ? static_cast<K>(K{1} << (8 * sizeof(K) - 1)) : K{0});
  }
}
template <class T>
inline T from_key(Key<T> k) {
  using K = Key<T>;
  constexpr K sign = static_cast<K>(K{1} << (8 * sizeof(K) - 1));
  if constexpr (is_real<T>) {
    return bits_to<T>(k & sign ? static_cast<K>(k ^ sign) : static_cast<K>(~k));
  } else {
    return bits_to<T>(static_cast<K>(k ^ (is_signed_integer<T> ? sign : K{0})));
  }
}

// --- records ---

template <class K>
struct Bare {  // a key alone
  K key;
  K get() const { return key; }
};
struct Packed {  // a key of up to 32 bits above an index of 32
  uint64_t word;
  uint32_t get() const { return static_cast<uint32_t>(word >> 32); }
  uint32_t index() const { return static_cast<uint32_t>(word); }
};
struct Wide {
  uint64_t key, at;
  uint64_t get() const { return key; }
  uint32_t index() const { return static_cast<uint32_t>(at); }
};

template <class R>
inline uint32_t digit(const R& r, int shift, uint32_t mask) {
  return static_cast<uint32_t>(r.get() >> shift) & mask;
}

template <class R>
void insertion_sort(R* r, int64_t n) {
  for (int64_t i = 1; i < n; ++i) {
    const R x = r[i];
    int64_t j = i;
    for (; j > 0 && r[j - 1].get() > x.get(); --j) r[j] = r[j - 1];
    r[j] = x;
  }
}

// Numbers that order records: the key, and the index behind it where one word has both.
template <class R>
using Word =
    std::conditional_t<(sizeof(R) == 8), uint64_t, std::conditional_t<(sizeof(R) == 4), uint32_t, uint16_t>>;
template <class R>
inline constexpr bool is_word = sizeof(R) == 2 || sizeof(R) == 4 || sizeof(R) == 8;

// Up to this many records are sorted by counting, for each, those that come before it: a vector of counts at
// a time, without a branch. Older sets have no comparison of unsigned numbers, and fewer lanes.
template <class R>
inline constexpr int64_t kRanked =
    is_word<R> && MLX_ISA_LEVEL >= 4 ? kLanes<float> * 4 / static_cast<int64_t>(sizeof(R)) * 8 : 0;

template <class R>
void rank_sort(R* records, R* scratch, int64_t n) {
  using W = Word<R>;
  constexpr int lanes = 4 * kLanes<float> / static_cast<int>(sizeof(W));
  typedef W Words __attribute__((vector_size(sizeof(W) * lanes)));
  const W* from = reinterpret_cast<const W*>(records);
  W x[kRanked<R> + lanes];
  for (int64_t i = 0; i < n; ++i) x[i] = from[i];
  for (int64_t i = n; i < n + lanes; ++i) x[i] = 0;
  W* to = reinterpret_cast<W*>(scratch);
  Words lane;
  for (int l = 0; l < lanes; ++l) lane[l] = static_cast<W>(l);
  for (int64_t i = 0; i < n; i += lanes) {
    const Words own = loadu<Words>(x + i);
    Words rank{};
    // Of equal ones the first comes first.
    const int64_t within = n - i < lanes ? n : i + lanes;
    const auto all = [](W w) { return Words{} + w; };
    for (int64_t j = 0; j < i; ++j) rank -= reinterpret_cast<Words>(all(x[j]) <= own);
    for (int64_t j = i; j < within; ++j) {
      const Words other = all(x[j]);
      rank -= reinterpret_cast<Words>((other < own) | ((other == own) & (all(static_cast<W>(j - i)) < lane)));
    }
    for (int64_t j = within; j < n; ++j) rank -= reinterpret_cast<Words>(all(x[j]) < own);
    W ranks[lanes];
    storeu(ranks, rank);
    for (int64_t l = 0; l < within - i; ++l) to[ranks[l]] = x[i + l];
  }
  __builtin_memcpy(records, scratch, static_cast<size_t>(n) * sizeof(R));
}

template <class R>
void sort_few(R* records, R* scratch, int64_t n) {
  if constexpr (kRanked<R> > 0) {
    if (n > 8 && n <= kRanked<R>) return rank_sort(records, scratch, n);
  }
  insertion_sort(records, n);
}
template <class R>
inline constexpr int64_t kFew = kRanked<R> > 48 ? kRanked<R> : 48;

// Least significant digit first, eight bits at a time; digits that all records share are skipped.
template <class R, int kBits>
void radix_sort(R* records, R* scratch, int64_t n) {
  if (n <= kFew<R>) return sort_few(records, scratch, n);
  constexpr int passes = kBits / 8;
  int64_t counts[passes][256];
  __builtin_memset(counts, 0, sizeof counts);
  for (int64_t i = 0; i < n; ++i) {
    const auto key = records[i].get();
    for (int p = 0; p < passes; ++p) ++counts[p][(key >> (8 * p)) & 255];
  }
  R *from = records, *to = scratch;
  for (int p = 0; p < passes; ++p) {
    int64_t* offsets = counts[p];
    if (offsets[digit(records[0], 8 * p, 255)] == n) continue;
    int64_t sum = 0;
    for (int d = 0; d < 256; ++d) {
      const int64_t c = offsets[d];
      offsets[d] = sum;
      sum += c;
    }
    for (int64_t i = 0; i < n; ++i) to[offsets[digit(from[i], 8 * p, 255)]++] = from[i];
    R* t = from;
    from = to, to = t;
  }
  if (from != records) __builtin_memcpy(records, from, n * sizeof(R));
}

// Most significant digit first, following only the bucket that holds k; each step is a stable three-way
// split.
template <class R, int kBits>
void radix_partition(R* records, R* scratch, int64_t n, int64_t k) {
  for (int shift = kBits - 8; shift >= 0; shift -= 8) {
    if (n <= kFew<R>) return sort_few(records, scratch, n);
    int64_t counts[256] = {};
    for (int64_t i = 0; i < n; ++i) ++counts[digit(records[i], shift, 255)];
    int64_t below = 0;
    uint32_t bucket = 0;
    while (below + counts[bucket] <= k) below += counts[bucket++];
    const int64_t inside = counts[bucket];
    if (inside != n) {
      int64_t offsets[3] = {0, below, below + inside};
      for (int64_t i = 0; i < n; ++i) {
        const uint32_t d = digit(records[i], shift, 255);
        scratch[offsets[(d >= bucket) + (d > bucket)]++] = records[i];
      }
      __builtin_memcpy(records, scratch, n * sizeof(R));
    }
    records += below;
    k -= below;
    n = inside;
  }
}

// Those below the pivot come first, both parts in their order; returns their number.
template <class R>
int64_t split(R* records, R* scratch, int64_t n, decltype(R{}.get()) pivot) {
  int64_t below = 0, others = 0, i = 0;
#if MLX_ISA_LEVEL >= 4
  if constexpr (sizeof(R) == 4 && sizeof(pivot) == 4) {
    const __m512i at = _mm512_set1_epi32(static_cast<int>(pivot));
    for (; i + 16 <= n; i += 16) {
      const __m512i x = _mm512_loadu_si512(records + i);
      const __mmask16 less = _mm512_cmplt_epu32_mask(x, at);
      const int count = __builtin_popcount(less);
      _mm512_storeu_si512(records + below, _mm512_maskz_compress_epi32(less, x));
      below += count;
      if (count == 16) continue;
      _mm512_mask_storeu_epi32(scratch + others, static_cast<__mmask16>(0xffffu >> count),
                               _mm512_maskz_compress_epi32(static_cast<__mmask16>(~less), x));
      others += 16 - count;
    }
  } else if constexpr (sizeof(R) == 8) {
    const uint64_t word =
        sizeof(pivot) == 4 ? static_cast<uint64_t>(pivot) << 32 : static_cast<uint64_t>(pivot);
    const __m512i at = _mm512_set1_epi64(static_cast<int64_t>(word));
    for (; i + 8 <= n; i += 8) {
      const __m512i x = _mm512_loadu_si512(records + i);
      const __mmask8 less = _mm512_cmplt_epu64_mask(x, at);
      const int count = __builtin_popcount(less);
      _mm512_storeu_si512(records + below, _mm512_maskz_compress_epi64(less, x));
      below += count;
      if (count == 8) continue;
      _mm512_mask_storeu_epi64(scratch + others, static_cast<__mmask8>(0xffu >> count),
                               _mm512_maskz_compress_epi64(static_cast<__mmask8>(~less), x));
      others += 8 - count;
    }
  }
#endif
  for (; i < n; ++i) {
    const R x = records[i];
    const bool less = x.get() < pivot;
    records[below] = x, scratch[others] = x;
    below += less, others += !less;
  }
  __builtin_memcpy(records + below, scratch, static_cast<size_t>(others) * sizeof(R));
  return below;
}

// Splits at elements of a sample that lie just beside place k, on the side with more records: what is left is
// a small part of them. What samples do not make smaller (equal records, an order that they do not show) goes
// by digits.
template <class R, int kBits>
void partition(R* records, R* scratch, int64_t n, int64_t k) {
  constexpr int64_t sampled = 64, least = 1024;
  for (int round = 0; round < 8 && n > least; ++round) {
    R sample[sampled], space[sampled];
    for (int64_t i = 0; i < sampled; ++i) sample[i] = records[i * n / sampled + n / (2 * sampled)];
    radix_sort<R, kBits>(sample, space, sampled);
    const bool upper = 2 * k >= n;  // cut off what lies below, else above
    const int64_t beyond = upper ? n - k : k + 1;
    int64_t rank = beyond * sampled / n;
    int64_t margin = 2;
    while (margin * margin < 4 * rank) ++margin;  // two standard deviations of a sample's rank
    rank += margin;
    const int64_t at = upper ? sampled - 1 - rank : rank;
    if (at < 0 || at >= sampled) break;
    const int64_t below = split(records, scratch, n, sample[at].get());
    const int64_t before = n;
    if (k < below) {
      n = below;
    } else {
      records += below, k -= below, n -= below;
    }
    if (n > before - before / 8) break;
  }
  radix_partition<R, kBits>(records, scratch, n, k);
}

// --- short rows ---

// The comparisons of Batcher's merge sort for n elements: the first of a pair gets the smaller one.
struct Network {
  explicit Network(int64_t n) {
    for (int p = 1; p < n; p *= 2)
      for (int k = p; k >= 1; k /= 2)
        for (int j = k % p; j + k < n; j += 2 * k)
          for (int i = 0; i < k && i + j + k < n; ++i)
            if ((i + j) / (2 * p) == (i + j + k) / (2 * p)) pair[count++] = {i + j, i + j + k};
  }
  struct Pair {
    int first, second;
  };
  Pair pair[64];
  int count = 0;
};

// A row in each lane of the vectors: element j of all of them is one vector. Records are compared as words: a
// key, or a key and the index behind it.
template <class T, bool kIndices>
void sort_short(const void* in, int64_t rows, int64_t row_stride, int64_t n, int64_t stride, void* out) {
  using W = std::conditional_t<kIndices || (sizeof(T) > 4), uint64_t, uint32_t>;
  using V = Vec<W>;
  constexpr int lanes = kLanes<W>;
  const Network network(n);
  const T* p = static_cast<const T*>(in);
  alignas(64) T element[kShortRow * lanes];
  alignas(64) W word[kShortRow * lanes];
  for (int64_t r = 0; r < rows; r += lanes) {
    const int64_t count = rows - r < lanes ? rows - r : lanes;
    for (int64_t l = 0; l < lanes; ++l) {
      const T* row = p + (r + (l < count ? l : 0)) * row_stride;
      for (int64_t j = 0; j < n; ++j) element[j * lanes + l] = row[j * stride];
    }
    for (int64_t i = 0; i < n * lanes; ++i) {
      const W key = to_key(element[i], kIndices);
      word[i] = kIndices ? key << 32 | static_cast<W>(i / lanes) : key;
    }
    for (int c = 0; c < network.count; ++c) {
      W *first = word + network.pair[c].first * lanes, *second = word + network.pair[c].second * lanes;
      const V a = loadu<V>(first), b = loadu<V>(second);
      storeu(first, a < b ? a : b);
      storeu(second, a < b ? b : a);
    }
    if constexpr (kIndices) {
      uint32_t* o = static_cast<uint32_t*>(out) + r * n;
      for (int64_t l = 0; l < count; ++l)
        for (int64_t j = 0; j < n; ++j) o[l * n + j] = static_cast<uint32_t>(word[j * lanes + l]);
    } else {
      T* o = static_cast<T*>(out) + r * n;
      for (int64_t i = 0; i < n * lanes; ++i) element[i] = from_key<T>(static_cast<Key<T>>(word[i]));
      for (int64_t l = 0; l < count; ++l)
        for (int64_t j = 0; j < n; ++j) o[l * n + j] = element[j * lanes + l];
    }
  }
}

template <class R, int kBits>
void add_passes(SortKernel& k) {
  k.count = [](const void* records, int64_t n, int shift, int width, int64_t* counts) {
    const R* r = static_cast<const R*>(records);
    const uint32_t mask = (1u << width) - 1;
    __builtin_memset(counts, 0, sizeof(int64_t) << width);
    for (int64_t i = 0; i < n; ++i) ++counts[digit(r[i], shift, mask)];
  };
  k.scatter = [](const void* records, int64_t n, int shift, int width, int64_t* offsets, void* out) {
    const R* r = static_cast<const R*>(records);
    R* o = static_cast<R*>(out);
    const uint32_t mask = (1u << width) - 1;
    for (int64_t i = 0; i < n; ++i) o[offsets[digit(r[i], shift, mask)]++] = r[i];
  };
  k.sort = [](void* records, void* scratch, int64_t n) {
    radix_sort<R, kBits>(static_cast<R*>(records), static_cast<R*>(scratch), n);
  };
  k.partition = [](void* records, void* scratch, int64_t n, int64_t at) {
    partition<R, kBits>(static_cast<R*>(records), static_cast<R*>(scratch), n, at);
  };
  k.record_bytes = sizeof(R);
  k.bits = kBits;
}

template <class T>
SortKernel make_values() {
  using R = Bare<Key<T>>;
  SortKernel k;
  k.pack = [](const void* in, int64_t n, int64_t stride, int64_t, void* records) {
    const T* p = static_cast<const T*>(in);
    R* r = static_cast<R*>(records);
    if (stride == 1)
      for (int64_t i = 0; i < n; ++i) r[i].key = to_key(p[i], false);
    else
      for (int64_t i = 0; i < n; ++i) r[i].key = to_key(p[i * stride], false);
  };
  k.unpack = [](const void* records, int64_t n, void* out) {
    const R* r = static_cast<const R*>(records);
    T* o = static_cast<T*>(out);
    for (int64_t i = 0; i < n; ++i) o[i] = from_key<T>(r[i].key);
  };
  add_passes<R, 8 * sizeof(Key<T>)>(k);
  k.sort_short = sort_short<T, false>;
  return k;
}
template <class T>
SortKernel make_indices() {
  using K = Key<T>;
  using R = std::conditional_t<(sizeof(K) > 4), Wide, Packed>;
  SortKernel k;
  k.pack = [](const void* in, int64_t n, int64_t stride, int64_t first, void* records) {
    const T* p = static_cast<const T*>(in);
    R* r = static_cast<R*>(records);
    for (int64_t i = 0; i < n; ++i) {
      const K key = to_key(p[i * stride], true);
      if constexpr (sizeof(K) > 4)
        r[i] = {key, static_cast<uint64_t>(first + i)};
      else
        r[i] = {static_cast<uint64_t>(key) << 32 | static_cast<uint32_t>(first + i)};
    }
  };
  k.unpack = [](const void* records, int64_t n, void* out) {
    const R* r = static_cast<const R*>(records);
    uint32_t* o = static_cast<uint32_t*>(out);
    for (int64_t i = 0; i < n; ++i) o[i] = r[i].index();
  };
  add_passes<R, 8 * sizeof(K)>(k);
  if constexpr (sizeof(K) <= 4) k.sort_short = sort_short<T, true>;
  return k;
}

}  // namespace

const SortTable& sort_kernels_table() {
  static const SortTable table = [] {
    SortTable t;
    for_elements([&](auto v) {
      using T = Element<v>;
      if constexpr (!std::is_same_v<T, Complex>) t.values[v] = make_values<T>();
      t.indices[v] = make_indices<T>();
    });
    return t;
  }();
  return table;
}

}  // namespace mlx::core::cpu::MLX_ISA

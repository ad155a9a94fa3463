// Stable sorting of rows by merging; T is defined in front of this text. A threadgroup sorts a block of 2048 elements in
// its own memory, then passes over device memory merge runs that are twice as long each time. A pass is cut into tiles of
// 2048 results: where in the two runs a tile's elements begin is found by bisection (O. Green, R. McColl, D. A. Bader,
// GPU merge path, 2012), so that all threads have the same work, however the values lie.
//
// Bytes moved: rows of up to a block are read once and written once, the least there is. Longer ones once per pass, of
// which there are 1 + log2(n / 2048), rounded up: keys as wide as the elements, and 4 bytes for each place where places are
// asked for. About 10 comparisons per element and pass, in threadgroup memory: 16 KiB of it, 24 for 64-bit keys.
#include "metal/kernels/keys.h"

typedef Key<T>::type K;
typedef Key<T>::stored S;

constant bool with_places [[function_constant(0)]];  // each key carries the place where its element was
constant bool last [[function_constant(1)]];         // of the passes: results, not keys
constant int result [[function_constant(2)]];
constant constexpr int values_result = 0, places_result = 1, elements_result = 2;
constant bool writes_keys = !last;
constant bool writes_places = with_places && (!last || result == places_result);
constant bool writes_values = last && result != places_result;
constant bool reads_elements = last && result == elements_result;

constant constexpr uint items = 8;  // per thread
constant constexpr uint tile = 2048;

// (outer, n, inner): row r is (r / inner, :, r % inner). Between passes rows lie one after the other.
struct Sort {
  uint n, inner, rows;
  uint width;  // of the runs that are merged
};
METAL_FUNC ulong place_of(constant Sort& p, uint row, uint i) {
  return (static_cast<ulong>(row / p.inner) * p.n + i) * p.inner + row % p.inner;
}

// How many of the first `diagonal` results of merging come from `a`; of equal keys those of `a` are first.
template <class Keys>
METAL_FUNC uint taken_of_first(Keys a, uint a_count, Keys b, uint b_count, uint diagonal) {
  uint low = diagonal > b_count ? diagonal - b_count : 0, high = min(diagonal, a_count);
  while (low < high) {
    const uint middle = (low + high) / 2;
    if (a[middle] <= b[diagonal - 1 - middle]) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

// A thread's share of merging keys [a, a + a_count) and [b, b + b_count): results from `diagonal` on.
METAL_FUNC void merge_items(threadgroup const K* keys, threadgroup const uint* places, uint a, uint a_count, uint b,
                            uint b_count, uint diagonal, thread K* key, thread uint* place) {
  uint i = taken_of_first(keys + a, a_count, keys + b, b_count, diagonal), j = diagonal - i;
  for (uint k = 0; k < items; ++k) {
    if (i + j >= a_count + b_count) break;
    const bool first = j >= b_count || (i < a_count && keys[a + i] <= keys[b + j]);
    const uint from = first ? a + i++ : b + j++;
    key[k] = keys[from];
    if (with_places) place[k] = places[from];
  }
}

METAL_FUNC void write_result(K key, uint place, uint row, uint i, constant Sort& p, device const T* in, device S* keys_out,
                             device uint* places_out, device T* values_out) {
  if (last) {
    const ulong to = place_of(p, row, i);
    if (result == values_result) values_out[to] = Key<T>::value(static_cast<S>(key));
    if (result == places_result) places_out[to] = place;
    if (result == elements_result) values_out[to] = in[place_of(p, row, place)];
  } else {
    const ulong to = static_cast<ulong>(row) * p.n + i;
    keys_out[to] = static_cast<S>(key);
    if (with_places) places_out[to] = place;
  }
}

// Threadgroups of (threads per row, rows); y of the grid counts the blocks of a row.
kernel void sort_blocks(device const T* in [[buffer(0)]], device S* keys_out [[buffer(1), function_constant(writes_keys)]],
                        device uint* places_out [[buffer(2), function_constant(writes_places)]],
                        device T* values_out [[buffer(3), function_constant(writes_values)]],
                        constant Sort& p [[buffer(4)]], threadgroup K* all_keys [[threadgroup(0)]],
                        threadgroup uint* all_places [[threadgroup(1)]], uint2 group [[threadgroup_position_in_grid]],
                        uint2 at [[thread_position_in_threadgroup]], uint2 size [[threads_per_threadgroup]]) {
  const uint row = group.x * size.y + at.y, room = size.x * items, start = group.y * room;
  threadgroup K* keys = all_keys + at.y * room;
  threadgroup uint* places = all_places + (with_places ? at.y * room : 0);
  const uint count = row < p.rows ? min(room, p.n - start) : 0;
  // What a row lacks is filled up with keys that are behind all others.
  for (uint i = at.x; i < room; i += size.x) {
    keys[i] = i < count ? static_cast<K>(Key<T>::of(in[place_of(p, row, start + i)], with_places)) : ~static_cast<K>(0);
    if (with_places) places[i] = start + i;
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  K key[items];
  uint place[items];
  const uint first = at.x * items;
  for (uint k = 0; k < items; ++k) {
    key[k] = keys[first + k];
    place[k] = with_places ? places[first + k] : 0;
  }
  for (uint round = 0; round < items; ++round)
    for (uint k = round % 2; k + 1 < items; k += 2)
      if (key[k] > key[k + 1]) {
        const K x = key[k];
        const uint y = place[k];
        key[k] = key[k + 1], place[k] = place[k + 1];
        key[k + 1] = x, place[k + 1] = y;
      }
  for (uint width = items; width < room; width *= 2) {
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (uint k = 0; k < items; ++k) {
      keys[first + k] = key[k];
      if (with_places) places[first + k] = place[k];
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    const uint pair = first / (2 * width) * (2 * width);
    merge_items(keys, places, pair, width, pair + width, width, first - pair, key, place);
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  for (uint k = 0; k < items; ++k) {
    keys[first + k] = key[k];
    if (with_places) places[first + k] = place[k];
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  for (uint i = at.x; i < count; i += size.x)
    write_result(keys[i], with_places ? places[i] : 0, row, start + i, p, in, keys_out, places_out, values_out);
}

// A threadgroup of 256 threads per tile (x) and row (y).
kernel void merge_runs(device const S* keys_in [[buffer(0)]],
                       device const uint* places_in [[buffer(1), function_constant(with_places)]],
                       device const T* in [[buffer(2), function_constant(reads_elements)]],
                       device S* keys_out [[buffer(3), function_constant(writes_keys)]],
                       device uint* places_out [[buffer(4), function_constant(writes_places)]],
                       device T* values_out [[buffer(5), function_constant(writes_values)]], constant Sort& p [[buffer(6)]],
                       threadgroup K* keys [[threadgroup(0)]], threadgroup uint* places [[threadgroup(1)]],
                       uint2 group [[threadgroup_position_in_grid]], uint thread_index [[thread_index_in_threadgroup]]) {
  threadgroup uint begins[2];
  const uint row = group.y, start = group.x * tile, threads = tile / items;
  const uint pair = start / (2 * p.width) * (2 * p.width), middle = min(pair + p.width, p.n);
  const uint a_all = middle - pair, b_all = min(middle + p.width, p.n) - middle;
  const ulong base = static_cast<ulong>(row) * p.n;
  device const S *a = keys_in + base + pair, *b = keys_in + base + middle;
  const uint diagonal = start - pair, count = min(tile, a_all + b_all - diagonal);
  if (thread_index < 2) begins[thread_index] = taken_of_first(a, a_all, b, b_all, diagonal + thread_index * count);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  const uint a_begin = begins[0], a_count = begins[1] - a_begin;
  const uint b_begin = diagonal - a_begin, b_count = count - a_count;
  for (uint i = thread_index; i < count; i += threads) {
    const uint from = i < a_count ? pair + a_begin + i : middle + b_begin + (i - a_count);
    keys[i] = static_cast<K>(keys_in[base + from]);
    if (with_places) places[i] = places_in[base + from];
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  K key[items];
  uint place[items];
  const uint first = thread_index * items;
  if (first < count) merge_items(keys, places, 0, a_count, a_count, b_count, first, key, place);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  for (uint k = 0; k < items; ++k) {
    if (first + k >= count) break;
    keys[first + k] = key[k];
    if (with_places) places[first + k] = place[k];
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  for (uint i = thread_index; i < count; i += threads)
    write_result(keys[i], with_places ? places[i] : 0, row, start + i, p, in, keys_out, places_out, values_out);
}

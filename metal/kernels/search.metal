// Places in sorted sequences, and where in an order distinct values begin; T is defined in front of this text. Values are
// compared as sorting does (keys.h), -0 with 0 as equal.
#include "metal/kernels/keys.h"

typedef Key<T>::type K;

struct Search {
  uint n, right;
};
// A thread per value: log2(n) elements of the sequence are looked at.
kernel void search(device const T* sequence [[buffer(0)]], device const T* values [[buffer(1)]], device uint* out [[buffer(2)]],
                   constant Search& p [[buffer(3)]], uint i [[thread_position_in_grid]]) {
  const K key = static_cast<K>(Key<T>::of(values[i], true));
  uint low = 0, high = p.n;
  while (low < high) {
    const uint middle = low + (high - low) / 2;
    const K x = static_cast<K>(Key<T>::of(sequence[middle], true));
    if (p.right ? x <= key : x < key) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  out[i] = low;
}

// --- distinct values ---

// Whether a new one begins at each place of the order; each nan is one of its own.
kernel void unique_begins(device const T* in [[buffer(0)]], device const uint* order [[buffer(1)]], device bool* out [[buffer(2)]],
                          uint i [[thread_position_in_grid]]) {
  const K key = static_cast<K>(Key<T>::of(in[order[i]], true));
  out[i] = i == 0 || Key<T>::is_nan(key) || key != static_cast<K>(Key<T>::of(in[order[i - 1]], true));
}

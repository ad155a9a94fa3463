// h[i] = a[i] h[i - 1] + b[i] along an axis of row-contiguous memory (outer, n, inner), from h = 0; T is defined in front of
// this text. A thread per line, element after element: products of many a, which joining parts would take, may leave the
// range of floats. Two operations per element that is read twice and written once: memory decides.
#include "metal/kernels/types.h"

constant bool reverse [[function_constant(0)]];

struct Recurrence {
  uint n, inner, lines;
};

METAL_FUNC complex64_t next_state(complex64_t a, complex64_t h, complex64_t b) { return a * h + b; }
METAL_FUNC float next_state(float a, float h, float b) { return fma(a, h, b); }
template <class X>
struct State {
  typedef float type;
};
template <>
struct State<complex64_t> {
  typedef complex64_t type;
};
kernel void recurrence(device const T* a [[buffer(0)]], device const T* b [[buffer(1)]], device T* out [[buffer(2)]],
                       constant Recurrence& p [[buffer(3)]], uint line [[thread_position_in_grid]]) {
  typedef State<T>::type H;
  const ulong base = static_cast<ulong>(line / p.inner) * p.n * p.inner + line % p.inner;
  H h = cast_to<H>(0.0f);
  for (uint i = 0; i < p.n; ++i) {
    const ulong at = base + static_cast<ulong>(reverse ? p.n - 1 - i : i) * p.inner;
    h = next_state(static_cast<H>(a[at]), h, static_cast<H>(b[at]));
    out[at] = cast_to<T>(h);
  }
}

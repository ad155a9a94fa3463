#include "mlx/cpu/isa/copy.h"

#include <cstddef>

#include "mlx/cpu/isa/copy_transpose.h"

namespace mlx::core::cpu::MLX_ISA {
namespace {

// A run of bytes. Short ones as two overlapping moves: a call of memcpy costs more than the run itself.
inline void copy_run(char* out, const char* in, int64_t bytes) {
  const auto ends = [&]<int n>() {
    struct Block {
      char bytes[n];
    };
    Block head, tail;
    __builtin_memcpy(&head, in, n);
    __builtin_memcpy(&tail, in + bytes - n, n);
    __builtin_memcpy(out, &head, n);
    __builtin_memcpy(out + bytes - n, &tail, n);
  };
  if (bytes > 512) {
    __builtin_memcpy(out, in, static_cast<size_t>(bytes));
  } else if (bytes > 32) {
    for (int64_t k = 0; k + 32 < bytes; k += 32) __builtin_memcpy(out + k, in + k, 32);
    __builtin_memcpy(out + bytes - 32, in + bytes - 32, 32);
  } else if (bytes >= 16) {
    ends.template operator()<16>();
  } else if (bytes >= 8) {
    ends.template operator()<8>();
  } else if (bytes >= 4) {
    ends.template operator()<4>();
  } else {
    for (int64_t k = 0; k < bytes; ++k) out[k] = in[k];
  }
}

// One row whose input stride is known to the compiler, which makes shuffles of it.
template <int64_t stride, class T>
inline void strided_row(const T* in, T* out, int64_t n) {
  for (int64_t j = 0; j < n; ++j) out[j] = in[j * stride];
}

template <class T>
inline void row(const T* __restrict in, int64_t si, T* __restrict out, int64_t so, int64_t n) {
  if (so != 1) {
    for (int64_t j = 0; j < n; ++j) out[j * so] = in[j * si];
    return;
  }
  switch (si) {
    case 1:
      return copy_run(reinterpret_cast<char*>(out), reinterpret_cast<const char*>(in),
                      n * int64_t{sizeof(T)});
    case 0: {
      const T value = *in;
      for (int64_t j = 0; j < n; ++j) out[j] = value;
      return;
    }
    case -1:
      return strided_row<-1>(in, out, n);
    case 2:
      return strided_row<2>(in, out, n);
    case 3:
      return strided_row<3>(in, out, n);
    case 4:
      return strided_row<4>(in, out, n);
    default:
      for (int64_t j = 0; j < n; ++j) out[j] = in[j * si];
  }
}

// Every element several times in a row: shuffles, as the compiler knows all strides.
template <int times, class T>
inline void repeated(const T* __restrict in, T* __restrict out, int64_t n) {
  for (int64_t i = 0; i < n; ++i)
    for (int j = 0; j < times; ++j) out[i * times + j] = in[i];
}

// Rows of a few elements: the long loop inside.
template <int n1, class T>
inline void narrow_grid(const T* __restrict in, int64_t si0, int64_t si1, T* __restrict out, int64_t so0,
                        int64_t so1, int64_t n0) {
  if (si0 == 1 && si1 == 0 && so0 == n1 && so1 == 1) return repeated<n1>(in, out, n0);
  for (int64_t i = 0; i < n0; ++i)
    for (int j = 0; j < n1; ++j) out[i * so0 + j * so1] = in[i * si0 + j * si1];
}

template <class T>
void grid(const void* in_bytes, int64_t si0, int64_t si1, void* out_bytes, int64_t so0, int64_t so1,
          int64_t n0, int64_t n1) {
  const T* in = static_cast<const T*>(in_bytes);
  T* out = static_cast<T*>(out_bytes);
  switch (n1) {
    case 1:
      return row(in, si0, out, so0, n0);
    case 2:
      return narrow_grid<2>(in, si0, si1, out, so0, so1, n0);
    case 3:
      return narrow_grid<3>(in, si0, si1, out, so0, so1, n0);
    case 4:
      return narrow_grid<4>(in, si0, si1, out, so0, so1, n0);
    default:
      for (int64_t i = 0; i < n0; ++i) row(in + i * si0, si1, out + i * so0, so1, n1);
  }
}

void stream_bytes(const void* in_bytes, void* out_bytes, int64_t bytes) {
  const char* in = static_cast<const char*>(in_bytes);
  char* out = static_cast<char*>(out_bytes);
#ifdef MLX_X86
  const int64_t head = -reinterpret_cast<intptr_t>(out) & 63;
  if (bytes >= 1024) {
    __builtin_memcpy(out, in, static_cast<size_t>(head));
    int64_t k = head;
    for (; k + 64 <= bytes; k += 64) stream_line(out + k, in + k);
    _mm_sfence();
    in += k;
    out += k;
    bytes -= k;
  }
#endif
  __builtin_memcpy(out, in, static_cast<size_t>(bytes));
}

}  // namespace

const CopyTable& copy_kernels_table() {
  static const CopyTable table = {
      {grid<uint8_t>, grid<uint16_t>, grid<uint32_t>, grid<uint64_t>},
      {transpose<uint8_t>, transpose<uint16_t>, transpose<uint32_t>, transpose<uint64_t>},
      stream_bytes,
  };
  return table;
}

}  // namespace mlx::core::cpu::MLX_ISA

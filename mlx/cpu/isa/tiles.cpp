// The table of this instruction set, and the functions that only move items: select, fill, gather, scatter.
#include "mlx/cpu/isa/tiles.h"

#include "mlx/cpu/isa/reduce_vec.h"
#include "mlx/cpu/isa/stream.h"
#include "mlx/cpu/isa/tile_loops.h"

namespace mlx::core::cpu::MLX_ISA {

template <class U>
void select_items(void* out, const void* a, const void* b, const void* c, int64_t n) {
  run<row::Select, U, U>(static_cast<U*>(out), n, static_cast<const b8*>(a), static_cast<const U*>(b),
                         static_cast<const U*>(c));
}

template <class U>
void fill_items(void* out, const void* values, int64_t stride, int64_t rows, int64_t n) {
  using Items = rows::Vec<U>;
  constexpr int64_t lanes = rows::kVecBytes / sizeof(U);
  const U* x = static_cast<const U*>(values);
  U* y = static_cast<U*>(out);
  const int64_t reach = (n + lanes - 1) / lanes * lanes;
  // Whole vectors, whose ends the next row writes over.
  for (; rows * n >= reach && rows > 0; --rows, x += stride, y += n) {
    const Items items = Items{} + *x;
    for (int64_t i = 0; i < n; i += lanes) rows::storeu(y + i, items);
  }
  for (; rows > 0; --rows, x += stride, y += n)
    for (int64_t i = 0; i < n; ++i) y[i] = *x;
}

template <class U>
void gather_items(void* out, const void* in, int64_t stride, int64_t n) {
  U* y = static_cast<U*>(out);
  const U* x = static_cast<const U*>(in);
  if (stride == 1) {
    __builtin_memcpy(out, in, static_cast<size_t>(n) * sizeof(U));
  } else if (stride == 2) {  // as real and imaginary parts lie: two loads and a shuffle
    for (int64_t i = 0; i < n; ++i) y[i] = x[2 * i];
  } else if (stride == 3) {  // points, colours
    for (int64_t i = 0; i < n; ++i) y[i] = x[3 * i];
  } else if (stride == 4) {
    for (int64_t i = 0; i < n; ++i) y[i] = x[4 * i];
  } else if (stride == -1) {
    for (int64_t i = 0; i < n; ++i) y[i] = x[-i];
  } else {
    for (int64_t i = 0; i < n; ++i) y[i] = x[i * stride];
  }
}

template <class U>
void scatter_items(void* out, int64_t stride, const void* in, int64_t n) {
  U* y = static_cast<U*>(out);
  const U* x = static_cast<const U*>(in);
  for (int64_t i = 0; i < n; ++i) y[i * stride] = x[i];
}

// Whole lines: one that is written in pieces would be read for it.
static void stream_lines(char* out, const char* in, int64_t lines) {
  for (int64_t i = 0; i < 64 * lines; i += rows::kVecBytes)
    stream_store(reinterpret_cast<float*>(out + i), rows::loadu<rows::F>(in + i));
}
static void stream(void* out, const void* in, int64_t bytes) {
  char* y = static_cast<char*>(out);
  const char* x = static_cast<const char*>(in);
  const auto to_line = static_cast<int64_t>(-reinterpret_cast<uintptr_t>(y) % 64);
  const int64_t head = to_line < bytes ? to_line : bytes, lines = (bytes - head) / 64;
  __builtin_memcpy(y, x, static_cast<size_t>(head));
  stream_lines(y + head, x + head, lines);
  const int64_t done = head + 64 * lines;
  __builtin_memcpy(y + done, x + done, static_cast<size_t>(bytes - done));
}
template <class U>
void enter_copies_of(Tiles& tiles, int size) {
  tiles.fill[size] = fill_items<U>;
  tiles.gather[size] = gather_items<U>;
  tiles.scatter[size] = scatter_items<U>;
}

// Selecting looks at no value: dtypes of one size share a function.
void enter_select(Tiles& tiles) {
  constexpr int sizes[kDtypes] = {1, 1, 2, 4, 8, 1, 2, 4, 8, 2, 4, 8, 2, 8};
  for (int d = 0; d < kDtypes; ++d)
    tiles.op[row::op_of<row::Select>][d] = sizes[d] == 1   ? select_items<uint8_t>
                                           : sizes[d] == 2 ? select_items<uint16_t>
                                           : sizes[d] == 4 ? select_items<uint32_t>
                                                           : select_items<uint64_t>;
}

static Tiles make_tiles() {
  Tiles tiles{};
  enter_float32_unary(tiles);
  enter_float32_binary(tiles);
  enter_float64(tiles);
  enter_complex64(tiles);
  enter_half(tiles);
  enter_integers8(tiles);
  enter_integers16(tiles);
  enter_integers32(tiles);
  enter_integers64(tiles);
  enter_casts(tiles);
  enter_select(tiles);
  tiles.stream = stream;
  tiles.fence = stream_fence;
  enter_copies_of<uint8_t>(tiles, 0);
  enter_copies_of<uint16_t>(tiles, 1);
  enter_copies_of<uint32_t>(tiles, 2);
  enter_copies_of<uint64_t>(tiles, 3);
  return tiles;
}

const Tiles& tiles_table() {
  static const Tiles table = make_tiles();
  return table;
}

}  // namespace mlx::core::cpu::MLX_ISA

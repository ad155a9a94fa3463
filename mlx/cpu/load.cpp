// Reads an array's bytes: in pieces on all threads where the reader can, and puts them into shape piece by
// piece, while they are in the cache.
#include "mlx/io/load.h"

#include <algorithm>
#include <bit>

#include "mlx/cpu/parallel.h"
#include "mlx/graph/kernels.h"

namespace mlx::core::cpu {
namespace {

constexpr int64_t kPiece = int64_t{4} << 20;  // bytes; a multiple of every element's size

template <class T>
T swapped(T value) {
  if constexpr (sizeof(T) == 2) return __builtin_bswap16(value);
  if constexpr (sizeof(T) == 4) return __builtin_bswap32(value);
  if constexpr (sizeof(T) == 8) return __builtin_bswap64(value);
}

template <class T>
void swap_all(char* data, size_t bytes) {
  T* values = reinterpret_cast<T*>(data);
  for (size_t i = 0; i < bytes / sizeof(T); ++i) values[i] = swapped(values[i]);
}

void finish(const Load& p, char* data, size_t bytes) {
  // A file may hold any byte where C++ allows two for a bool.
  if (p.dtype == bool_) std::transform(data, data + bytes, data, [](char c) -> char { return c != 0; });
  if (!p.swap) return;
  const size_t size = p.dtype == complex64 ? 4 : p.dtype.size();
  if (size == 2) swap_all<uint16_t>(data, bytes);
  if (size == 4) swap_all<uint32_t>(data, bytes);
  if (size == 8) swap_all<uint64_t>(data, bytes);
}

void load(const Load& p, const Arrays&, Arrays& outputs) {
  array& out = outputs[0];
  out.set_data(allocator::malloc(out.nbytes()));
  char* data = out.data<char>();
  io::Reader& reader = *p.source->reader;
  if (!reader.concurrent()) {
    std::lock_guard lock(p.source->mutex);
    if (out.nbytes() > 0) reader.read(data, out.nbytes(), p.offset);
    finish(p, data, out.nbytes());
    return;
  }
  parallel_ranges(static_cast<int64_t>(out.nbytes()), kPiece, [&](int64_t begin, int64_t end) {
    const auto bytes = static_cast<size_t>(end - begin);
    reader.read(data + begin, bytes, p.offset + static_cast<size_t>(begin));
    finish(p, data + begin, bytes);
  });
}

const bool registered = kernels(Device::cpu).add<Load>(load);

}  // namespace
}  // namespace mlx::core::cpu

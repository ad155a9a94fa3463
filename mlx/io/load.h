// The node that reads an array's bytes when it is evaluated.
#pragma once

#include <memory>
#include <mutex>

#include "mlx/io/stream.h"
#include "mlx/ops/creation.h"

namespace mlx::core {

namespace io {

// A reader that several nodes share. The mutex is held while a reader is used that is not concurrent.
struct Source {
  explicit Source(std::shared_ptr<Reader> reader) : reader(std::move(reader)) {}
  const std::shared_ptr<Reader> reader;
  std::mutex mutex;
};

// Bytes from the start to the end; the position is where it was.
size_t size_of(Reader& reader);
// Raises std::runtime_error where the stream cannot be read.
void check_readable(const Reader& reader, const char* function);
// Elements of a shape as 64-bit numbers times the size of one; raises std::runtime_error, with `what` before
// the message, where a dimension has more than 31 bits or the bytes cannot be counted.
uint64_t checked_bytes(const std::vector<uint64_t>& shape, Dtype dtype, const std::string& what);

}  // namespace io

// Row-major elements from byte `offset` on, with the other byte order where `swap` is set.
class Load final : public Generator {
 public:
  Load(Stream s, Shape shape, Dtype dtype, std::shared_ptr<io::Source> source, size_t offset, bool swap)
      : Generator(s, std::move(shape), dtype), source(std::move(source)), offset(offset), swap(swap) {}
  const std::shared_ptr<io::Source> source;
  const size_t offset;
  const bool swap;
  const char* name() const override { return "load"; }
  bool is_equivalent(const Primitive& other) const override;
};

// On the cpu unless another stream is asked for, whatever the default device.
array load_node(Shape shape, Dtype dtype, std::shared_ptr<io::Source> source, size_t offset, bool swap,
                StreamOrDevice s);

}  // namespace mlx::core

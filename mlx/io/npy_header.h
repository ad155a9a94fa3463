// The header of .npy files: a magic, a version, and a Python dict in the notation of source code.
#pragma once

#include <string>
#include <string_view>

#include "mlx/array.h"
#include "mlx/io/stream.h"

namespace mlx::core::io {

struct NpyHeader {
  Dtype dtype = float32;
  bool other_byte_order = false;
  bool fortran_order = false;
  Shape shape;
  size_t data = 0;   // where the elements begin, in bytes from the start of the stream
  size_t bytes = 0;  // how many bytes they are
};

// Reads and checks the header at the stream's position; `what` begins the messages of errors. The stream then
// stands at the data, which are known to be there.
NpyHeader read_npy_header(Reader& reader, const std::string& what);
// Magic, version and dict, padded so that the elements begin at a multiple of 64 bytes.
std::string npy_header(Dtype dtype, bool fortran_order, const Shape& shape);

}  // namespace mlx::core::io

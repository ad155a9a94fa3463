#include "mlx/io/load.h"

#include <limits>

#include "mlx/io/text.h"

namespace mlx::core {
namespace io {

size_t size_of(Reader& reader) {
  const size_t at = reader.tell();
  reader.seek(0, std::ios_base::end);
  const size_t size = reader.tell();
  reader.seek(static_cast<int64_t>(at));
  return size;
}

void check_readable(const Reader& reader, const char* function) {
  if (!reader.is_open() || !reader.good())
    throw std::runtime_error(text("[", function, "] cannot read ", in_quotes(reader.label())));
}

uint64_t checked_bytes(const std::vector<uint64_t>& shape, Dtype dtype, const std::string& what) {
  uint64_t bytes = dtype.size();
  bool empty = false, countable = true;
  for (const uint64_t d : shape) {
    if (d > static_cast<uint64_t>(std::numeric_limits<ShapeElem>::max()))
      throw std::runtime_error(text(what, "got a dimension of size ", d, ", expected at most 2147483647"));
    empty = empty || d == 0;
    countable = countable && !__builtin_mul_overflow(bytes, d, &bytes);
  }
  if (empty) return 0;
  if (!countable) throw std::runtime_error(what + "got a shape whose bytes a 64-bit integer cannot count");
  return bytes;
}

}  // namespace io

bool Load::is_equivalent(const Primitive& other) const {
  const Load* o = same_kind(*this, other);
  return o && o->source->reader == source->reader && o->offset == offset && o->swap == swap &&
         o->shape == shape && o->dtype == dtype;
}

array load_node(Shape shape, Dtype dtype, std::shared_ptr<io::Source> source, size_t offset, bool swap,
                StreamOrDevice s) {
  const Stream stream = to_stream(s, Device::cpu);
  Shape copy = shape;
  return array(std::move(copy), dtype,
               std::make_shared<Load>(stream, std::move(shape), dtype, std::move(source), offset, swap), {});
}

}  // namespace mlx::core

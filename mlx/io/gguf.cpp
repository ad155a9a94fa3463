// Reading the GGUF format: a header, metadata, what lies where, and the aligned data of all tensors.
#include "mlx/io/gguf.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <unordered_set>

#include "mlx/io.h"
#include "mlx/io/file.h"
#include "mlx/io/load.h"
#include "mlx/io/text.h"

namespace mlx::core {
namespace {

constexpr size_t kPiece = size_t{1} << 18;  // bytes of the header that are read at once
using Metadata = std::unordered_map<std::string, GGUFMetaData>;

template <class... T>
std::runtime_error wrong(const T&... parts) {
  return std::runtime_error(text(parts...));
}

// Reads the header from its beginning to its end. No count is believed that the file is too short for.
class Cursor {
 public:
  // From the reader's position, which is where the file begins.
  explicit Cursor(io::Reader& reader)
      : reader_(reader), start_(reader.tell()), size_(std::max(io::size_of(reader), start_) - start_) {}
  bool other_byte_order = false;

  size_t start() const { return start_; }
  size_t size() const { return size_; }
  size_t at() const { return at_; }
  size_t left() const { return size_ - at_; }

  void bytes(char* to, size_t n) {
    if (n > left())
      throw wrong("got the end of the file at byte ", size_, ", expected ", n - left(), " more bytes");
    while (n > 0) {
      if (at_ == filled_) fill();
      const size_t some = std::min(n, filled_ - at_);
      std::memcpy(to, buffer_.data() + (buffer_.size() - (filled_ - at_)), some);
      at_ += some, to += some, n -= some;
    }
  }
  template <class T>
  T number() {
    char raw[sizeof(T)];
    bytes(raw, sizeof(T));
    if (other_byte_order) std::reverse(raw, raw + sizeof(T));
    T value;
    std::memcpy(&value, raw, sizeof(T));
    return value;
  }
  // A count of things that take at least `each` bytes of the file.
  uint64_t count(const char* what, uint64_t each) {
    const auto n = number<uint64_t>();
    if (n > left() / each)
      throw wrong("got ", n, " ", what, ", more than the ", left(), " bytes that are left can hold");
    return n;
  }
  std::string string() {
    std::string out(count("characters", 1), '\0');
    bytes(out.data(), out.size());
    return out;
  }
  // A name, which users and other files spell.
  std::string name(const char* what) {
    std::string out = string();
    if (!io::is_utf8(out)) throw wrong("got the ", what, " ", io::in_quotes(out), ", expected UTF-8");
    return out;
  }

 private:
  void fill() {
    buffer_.resize(std::min(kPiece, left()));
    reader_.read(buffer_.data(), buffer_.size(), start_ + at_);
    filled_ = at_ + buffer_.size();
  }
  io::Reader& reader_;
  size_t start_, size_;
  size_t at_ = 0, filled_ = 0;  // bytes that were given out, and that were read
  std::string buffer_;          // the last ones that were read
};

array read_numbers(Cursor& in, Dtype dtype, const Shape& shape) {
  array out(shape, dtype, nullptr, {});
  out.set_data(allocator::malloc(out.nbytes()));
  char* data = out.data<char>();
  in.bytes(data, out.nbytes());
  if (in.other_byte_order)
    for (size_t i = 0; i < out.nbytes(); i += dtype.size()) std::reverse(data + i, data + i + dtype.size());
  // A file may hold any byte where C++ allows two for a bool.
  if (dtype == bool_) std::transform(data, data + out.nbytes(), data, [](char c) -> char { return c != 0; });
  return out;
}

Dtype number_type(uint32_t type) {
  for (const io::GgufNumber& row : io::kGgufNumbers)
    if (row.number == type) return row.dtype;
  if (type == static_cast<uint32_t>(io::GgufValue::array))
    throw wrong("got an array of arrays, expected numbers or texts in it");
  throw wrong("got the type ", type, ", expected 0 to 12");
}

GGUFMetaData read_value(Cursor& in) {
  constexpr auto kString = static_cast<uint32_t>(io::GgufValue::string);
  auto type = in.number<uint32_t>();
  if (type == kString) return in.string();
  if (type != static_cast<uint32_t>(io::GgufValue::array)) return read_numbers(in, number_type(type), {});
  type = in.number<uint32_t>();
  if (type == kString) {
    std::vector<std::string> out;  // grows as texts come: an empty one is larger here than in the file
    for (uint64_t n = in.count("texts", 8); n > 0; --n) out.push_back(in.string());
    return out;
  }
  const Dtype dtype = number_type(type);
  const uint64_t n = in.count("numbers", dtype.size());
  if (n > static_cast<uint64_t>(std::numeric_limits<ShapeElem>::max()))
    throw wrong("got ", n, " numbers, expected at most 2147483647");
  return read_numbers(in, dtype, {static_cast<ShapeElem>(n)});
}

Metadata read_metadata(Cursor& in, uint64_t count) {
  Metadata out;
  for (; count > 0; --count) {
    const std::string key = in.name("key");
    try {
      if (!out.emplace(key, read_value(in)).second) throw wrong("it occurs twice");
    } catch (const std::runtime_error& e) {
      throw wrong("metadata ", io::in_quotes(key), ": ", e.what());
    }
  }
  return out;
}

uint64_t alignment_of(const Metadata& metadata) {
  const auto it = metadata.find(std::string(io::kGgufAlignment));
  if (it == metadata.end()) return io::kGgufDefaultAlignment;
  const array* a = std::get_if<array>(&it->second);
  if (!a || a->dtype() != uint32 || a->ndim() != 0)
    throw wrong("general.alignment: expected a number of type uint32");
  const uint64_t value = *a->data<uint32_t>();
  if (value == 0 || (value & (value - 1)) != 0)
    throw wrong("general.alignment: got ", value, ", expected a power of two");
  return value;
}

struct Tensor {
  std::string name;
  std::vector<uint64_t> shape;  // the last dimension is the one without gaps
  const io::GgufKind* kind = nullptr;
  uint64_t blocks = 0, bytes = 0, begin = 0;
};

template <class... T>
std::runtime_error wrong_tensor(const Tensor& t, const T&... parts) {
  return wrong("tensor ", io::in_quotes(t.name), ": ", parts...);
}

// Blocks lie along the last dimension and do not cross rows.
void measure(Tensor& t, uint32_t kind) {
  const auto* row = std::find_if(std::begin(io::kGgufKinds), std::end(io::kGgufKinds),
                                 [&](const io::GgufKind& k) { return k.number == kind; });
  if (row == std::end(io::kGgufKinds)) throw wrong_tensor(t, "the kind ", kind, " is not known");
  if (row->use == io::GgufUse::refused) throw wrong_tensor(t, "the kind ", row->name, " is not supported");
  t.kind = row;
  io::checked_bytes(t.shape, float64, text("tensor ", io::in_quotes(t.name), ": "));  // of any result
  const auto elements = static_cast<uint64_t>(row->elements);
  if (elements > 1 && (t.shape.empty() || t.shape.back() % elements != 0))
    throw wrong_tensor(t, "got ", t.shape.empty() ? 1 : t.shape.back(),
                       " elements in a row, expected a multiple of ", elements, ", as the kind is ",
                       row->name);
  t.blocks = 1;
  for (const uint64_t d : t.shape) t.blocks *= d;
  t.blocks /= elements;
  t.bytes = t.blocks * static_cast<uint64_t>(row->bytes);
}

std::vector<Tensor> read_tensors(Cursor& in, uint64_t count) {
  std::vector<Tensor> out;
  for (; count > 0; --count) {
    Tensor t;
    t.name = in.name("name");
    const auto dims = in.number<uint32_t>();
    if (dims > io::kGgufMaxDims)
      throw wrong_tensor(t, "got ", dims, " dimensions, expected at most ", io::kGgufMaxDims);
    for (uint32_t i = 0; i < dims; ++i) t.shape.push_back(in.number<uint64_t>());
    std::reverse(t.shape.begin(), t.shape.end());
    measure(t, in.number<uint32_t>());
    t.begin = in.number<uint64_t>();
    out.push_back(std::move(t));
  }
  return out;
}

// Every byte belongs to one tensor at most, so that what is read is not larger than the file.
void check_places(const std::vector<Tensor>& tensors, uint64_t alignment, uint64_t data) {
  std::vector<const Tensor*> order;
  for (const Tensor& t : tensors) {
    if (t.begin % alignment != 0)
      throw wrong_tensor(t, "begins at byte ", t.begin, " of the data, expected a multiple of ", alignment);
    if (t.begin > data || t.bytes > data - t.begin)
      throw wrong_tensor(t, t.bytes, " bytes from byte ", t.begin, " on lie outside the ", data,
                         " bytes of data");
    if (t.bytes > 0) order.push_back(&t);
  }
  std::sort(order.begin(), order.end(), [](auto* a, auto* b) { return a->begin < b->begin; });
  for (size_t i = 1; i < order.size(); ++i)
    if (order[i]->begin < order[i - 1]->begin + order[i - 1]->bytes)
      throw wrong_tensor(*order[i], "overlaps the tensor ", io::in_quotes(order[i - 1]->name));
}

// "layer.weight" has "layer.scales", any other name has the word appended.
std::string companion(std::string_view name, std::string_view word) {
  if (name.ends_with(".weight")) name.remove_suffix(std::string_view(".weight").size());
  return text(name, ".", word);
}

Shape to_shape(const std::vector<uint64_t>& dims) {
  Shape out;
  for (const uint64_t d : dims) out.push_back(static_cast<ShapeElem>(d));
  return out;
}

// The arrays that a tensor becomes, by name.
std::vector<std::pair<std::string, array>> make_arrays(const Tensor& t,
                                                       const std::shared_ptr<io::Source>& source, size_t data,
                                                       bool swap, StreamOrDevice s) {
  const io::GgufKind& kind = *t.kind;
  const size_t offset = data + t.begin;
  Shape shape = to_shape(t.shape);
  if (kind.use == io::GgufUse::plain)
    return {{t.name, load_node(shape, kind.dtype, source, offset, swap, s)}};
  if (swap) throw wrong_tensor(t, "the kind ", kind.name, " is not supported in big-endian files");
  const std::vector<uint64_t> raw{t.blocks, static_cast<uint64_t>(kind.bytes)};
  io::checked_bytes(raw, uint8, text("tensor ", io::in_quotes(t.name), ": "));
  const array blocks = load_node(to_shape(raw), uint8, source, offset, false, s);
  std::vector<Shape> shapes{shape};
  std::vector<Dtype> dtypes{kind.dtype};
  std::vector<std::string> names{t.name};
  if (kind.use == io::GgufUse::affine) {
    shapes[0].back() = static_cast<ShapeElem>(t.shape.back() * static_cast<uint64_t>(kind.bits) / 32);
    shape.back() /= kind.elements;
    shapes.insert(shapes.end(), 2, shape);
    dtypes = {uint32, kind.dtype, kind.dtype};
    names.push_back(companion(t.name, "scales"));
    names.push_back(companion(t.name, "biases"));
  }
  const Arrays made = array::make_arrays(
      shapes, dtypes, std::make_shared<UnpackBlocks>(to_stream(s, Device::cpu), kind, shapes), {blocks});
  std::vector<std::pair<std::string, array>> out;
  for (size_t i = 0; i < made.size(); ++i) out.emplace_back(names[i], made[i]);
  return out;
}

GGUFLoad read(std::shared_ptr<io::Reader> reader, StreamOrDevice s) {
  Cursor in(*reader);
  char magic[4];
  in.bytes(magic, 4);
  if (std::string_view(magic, 4) != io::kGgufMagic) throw wrong("got a file that does not begin with GGUF");
  auto version = in.number<uint32_t>();
  // Versions are small: one whose lower half is empty was written with the other byte order.
  in.other_byte_order = (version & 0xffff) == 0;
  if (in.other_byte_order) version = __builtin_bswap32(version);
  if (version != 2 && version != 3) throw wrong("got version ", version, " of the format, expected 2 or 3");
  const uint64_t tensor_count = in.count("tensors", 24), value_count = in.count("metadata values", 13);
  GGUFLoad out;
  out.second = read_metadata(in, value_count);
  const uint64_t alignment = alignment_of(out.second);
  const std::vector<Tensor> tensors = read_tensors(in, tensor_count);
  // Where the data begin; a file without data may end before.
  const size_t data = std::min<uint64_t>((in.at() + alignment - 1) / alignment * alignment, in.size());
  check_places(tensors, alignment, in.size() - data);
  reader->seek(static_cast<int64_t>(in.start() + in.size()));
  auto source = std::make_shared<io::Source>(std::move(reader));
  for (const Tensor& t : tensors)
    for (auto& [name, a] : make_arrays(t, source, in.start() + data, in.other_byte_order, s))
      if (!out.first.emplace(name, std::move(a)).second)
        throw wrong_tensor(t, "the name ", io::in_quotes(name), " occurs twice");
  return out;
}

}  // namespace

bool UnpackBlocks::is_equivalent(const Primitive& other) const {
  const UnpackBlocks* o = same_kind(*this, other);
  return o && &o->kind == &kind && o->shapes == shapes;
}

GGUFLoad load_gguf(std::shared_ptr<io::Reader> in_stream, StreamOrDevice s) {
  io::check_readable(*in_stream, "load_gguf");
  const std::string label = io::in_quotes(in_stream->label());
  try {
    return read(std::move(in_stream), s);
  } catch (const std::runtime_error& e) {
    const std::string message = e.what();
    if (message.starts_with("[")) throw;  // the reader's own
    throw std::runtime_error(text("[load_gguf] ", message, " (in ", label, ")"));
  }
}

GGUFLoad load_gguf(const std::string& file, StreamOrDevice s) {
  return load_gguf(std::make_shared<io::FileReader>(file, "load_gguf"), s);
}

}  // namespace mlx::core

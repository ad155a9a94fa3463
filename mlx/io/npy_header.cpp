#include "mlx/io/npy_header.h"

#include <limits>
#include <stdexcept>
#include <vector>

#include "mlx/io/load.h"
#include "mlx/io/text.h"

namespace mlx::core::io {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr size_t kLongest = size_t{1} << 20;  // of a header: far more than any array's needs

// The few forms of Python literals that a header is made of.
class Literal {
 public:
  Literal(std::string_view text, const std::string& what) : text_(text), what_(what) {}

  [[noreturn]] void fail(const std::string& expected) const {
    const std::string got = at_ < text_.size() ? in_quotes(text_.substr(at_, 20)) : "the end";
    throw std::runtime_error(what_ + "the header has " + got + " at byte " + std::to_string(at_) +
                             ", expected " + expected);
  }
  void space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t')) ++at_;
  }
  bool take(char c) {
    space();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!take(c)) fail(std::string("'") + c + "'");
  }
  std::string string(const char* expected) {
    const bool single = take('\'');
    if (!single && !take('"')) fail(expected);
    const size_t stop = text_.find(single ? '\'' : '"', at_);
    if (stop == std::string_view::npos) fail("the end of a string");
    const std::string out(text_.substr(at_, stop - at_));
    at_ = stop + 1;
    return out;
  }
  bool boolean() {
    space();
    for (const bool value : {false, true}) {
      const std::string_view word = value ? "True" : "False";
      if (text_.substr(at_, word.size()) != word) continue;
      at_ += word.size();
      return value;
    }
    fail("True or False");
  }
  uint64_t size() {
    space();
    const size_t start = at_;
    uint64_t value = 0;
    for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_)
      if (__builtin_mul_overflow(value, uint64_t{10}, &value) ||
          __builtin_add_overflow(value, static_cast<uint64_t>(text_[at_] - '0'), &value))
        fail("a size of at most 64 bits");
    if (at_ == start) fail("a size");
    take('L');  // as Python 2 wrote
    return value;
  }
  std::vector<uint64_t> sizes() {
    std::vector<uint64_t> out;
    expect('(');
    while (!take(')')) {
      out.push_back(size());
      if (take(')')) {
        if (out.size() == 1) fail("',' in a tuple of one size");
        return out;
      }
      expect(',');
    }
    return out;
  }
  void end() {
    space();
    if (at_ < text_.size()) fail("the end");
  }

 private:
  std::string_view text_;
  const std::string& what_;
  size_t at_ = 0;
};

// An element type as "<f4". bfloat16 stands as raw data of two bytes, which is what ml_dtypes makes of it.
void read_descr(std::string_view descr, NpyHeader& header, const std::string& what) {
  std::string_view name = descr;
  bool big = false;
  if (!name.empty() && std::string_view("<>|=").find(name[0]) != std::string_view::npos) {
    big = name[0] == '>';
    name.remove_prefix(1);
  }
  if (name == "?") name = "b1";
  for (const Dtype dtype : {bool_, uint8, uint16, uint32, uint64, int8, int16, int32, int64, float16, float32,
                            float64, bfloat16, complex64}) {
    if (dtype_to_array_protocol(dtype).substr(1) != name) continue;
    header.dtype = dtype;
    header.other_byte_order = big && dtype.size() > 1;
    return;
  }
  throw std::runtime_error(what + "got elements of type " + in_quotes(descr) +
                           ", expected bool, integers, floats of at most 64 bits or complex64");
}

void read_dict(std::string_view text, NpyHeader& header, std::vector<uint64_t>& shape,
               const std::string& what) {
  Literal in(text, what);
  bool descr = false, order = false, sizes = false;
  const auto once = [&](bool& seen) {
    if (seen) in.fail("each key once");
    seen = true;
  };
  in.expect('{');
  while (!in.take('}')) {
    const std::string key = in.string("one of the keys 'descr', 'fortran_order' and 'shape'");
    in.expect(':');
    if (key == "descr") {
      once(descr);
      read_descr(in.string("the name of an element type, as '<f4' (records are not supported)"), header,
                 what);
    } else if (key == "fortran_order") {
      once(order);
      header.fortran_order = in.boolean();
    } else if (key == "shape") {
      once(sizes);
      shape = in.sizes();
    } else {
      in.fail("no key besides 'descr', 'fortran_order' and 'shape'");
    }
    if (in.take('}')) break;
    in.expect(',');
  }
  in.end();
  if (!descr || !order || !sizes) in.fail("'descr', 'fortran_order' and 'shape' before it");
}

}  // namespace

NpyHeader read_npy_header(Reader& reader, const std::string& what) {
  const size_t start = reader.tell(), size = size_of(reader);
  size_t left = size > start ? size - start : 0;
  const auto take = [&](size_t n) {
    if (n > left)
      throw std::runtime_error(what + "the file ends within the header, after " +
                               std::to_string(size - start) + " bytes");
    std::string out(n, '\0');
    reader.read(out.data(), n);
    left -= n;
    return out;
  };
  const auto number = [&](size_t bytes) {
    const std::string raw = take(bytes);
    size_t value = 0;
    for (size_t i = bytes; i-- > 0;) value = value << 8 | static_cast<unsigned char>(raw[i]);
    return value;
  };
  if (left < kMagic.size() || take(kMagic.size()) != kMagic)
    throw std::runtime_error(what +
                             "got a file that does not begin with \\x93NUMPY, expected one in .npy format");
  const size_t version = number(2);  // the major one in the lower byte
  if (version != 1 && version != 2 && version != 3)
    throw std::runtime_error(what + "got version " + std::to_string(version & 255) + "." +
                             std::to_string(version >> 8) + " of the format, expected 1.0, 2.0 or 3.0");
  const size_t length = number(version == 1 ? 2 : 4);
  if (length > kLongest)
    throw std::runtime_error(what + "got a header of " + std::to_string(length) +
                             " bytes, expected at most " + std::to_string(kLongest));
  NpyHeader header;
  std::vector<uint64_t> shape;
  read_dict(take(length), header, shape, what);
  header.bytes = checked_bytes(shape, header.dtype, what);
  if (header.bytes > left)
    throw std::runtime_error(what + "got " + std::to_string(left) + " bytes of data, expected " +
                             std::to_string(header.bytes));
  for (const uint64_t d : shape) header.shape.push_back(static_cast<ShapeElem>(d));
  header.data = size - left;
  return header;
}

std::string npy_header(Dtype dtype, bool fortran_order, const Shape& shape) {
  std::string dict = "{'descr': '" + dtype_to_array_protocol(dtype) +
                     "', 'fortran_order': " + (fortran_order ? "True" : "False") + ", 'shape': (";
  for (const ShapeElem d : shape) dict += std::to_string(d) + (shape.size() == 1 ? "," : ", ");
  if (shape.size() > 1) dict.resize(dict.size() - 2);
  dict += "), }";
  // The length takes two bytes in version 1 and four in version 2.
  const size_t two = kMagic.size() + 4;
  const bool first = two + dict.size() + 64 <= std::numeric_limits<uint16_t>::max();
  const size_t before = first ? two : two + 2;
  dict.append(63 - (before + dict.size()) % 64, ' ');
  dict += '\n';
  std::string out(kMagic);
  out += {static_cast<char>(first ? 1 : 2), '\0'};
  for (int i = 0; i < (first ? 2 : 4); ++i) out += static_cast<char>(dict.size() >> (8 * i) & 255);
  return out + dict;
}

}  // namespace mlx::core::io

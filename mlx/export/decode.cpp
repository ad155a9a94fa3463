// Reads bytes that anybody may have written: no count is believed before as many bytes are there, no
// reference before what it names.
#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>

#include "mlx/export/format.h"
#include "mlx/io/load.h"

namespace mlx::core::exported {
namespace {

constexpr Dtype kByNumber[] = {bool_, uint8, uint16,  uint32,  uint64,  int8,     int16,
                               int32, int64, float16, float32, float64, bfloat16, complex64};
static_assert(std::size(kByNumber) == kDtypes && kByNumber[9].val() == Dtype::Val::float16);

class Decoder {
 public:
  Decoder(const std::string& bytes, const std::string& what) : bytes_(bytes), what_(what) {}

  [[noreturn]] void fail(const std::string& message) const {
    throw std::runtime_error(what_ + message + " (at byte " + std::to_string(at_) + " of the graph)");
  }
  size_t left() const { return bytes_.size() - at_; }

  template <class T>
  T number() {
    need(sizeof(T));
    std::make_unsigned_t<T> bits = 0;
    for (size_t i = 0; i < sizeof(T); ++i)
      bits |= static_cast<decltype(bits)>(
          static_cast<decltype(bits)>(static_cast<unsigned char>(bytes_[at_ + i])) << (8 * i));
    at_ += sizeof(T);
    return static_cast<T>(bits);
  }
  size_t byte(size_t below, const char* meaning) {
    const size_t value = number<uint8_t>();
    if (value >= below) fail("got " + std::to_string(value) + " for " + meaning);
    return value;
  }
  // The number of entries of at least `bytes` bytes each.
  size_t count(size_t bytes) {
    const size_t n = number<uint32_t>();
    if (n > left() / bytes)
      fail("a list of " + std::to_string(n) + " entries does not fit into the " + std::to_string(left()) +
           " bytes that are left");
    return n;
  }
  std::string text() {
    const size_t n = count(1);
    std::string s = bytes_.substr(at_, n);
    at_ += n;
    return s;
  }
  template <class F>
  auto list(size_t bytes, F&& entry) {
    std::vector<decltype(entry())> out;
    const size_t n = count(bytes);
    out.reserve(n);
    for (size_t i = 0; i < n; ++i) out.push_back(entry());
    return out;
  }
  template <class T>
  std::vector<T> numbers() {
    return list(sizeof(T), [&] { return number<T>(); });
  }
  Shape shape() {
    const auto sizes = numbers<int32_t>();
    return Shape(sizes.begin(), sizes.end());
  }
  Dtype dtype() { return kByNumber[byte(kDtypes, "a dtype")]; }
  Spec spec() {
    const Dtype type = dtype();
    Spec out{shape(), type};
    check_countable(out.shape, type);
    return out;
  }
  uint64_t check_countable(const Shape& shape, Dtype dtype) const {
    std::vector<uint64_t> sizes;
    for (const ShapeElem n : shape) {
      if (n < 0) fail("got a shape with the size " + std::to_string(n));
      sizes.push_back(static_cast<uint64_t>(n));
    }
    const uint64_t bytes = io::checked_bytes(sizes, dtype, what_);
    if (bytes > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
      fail("got an array that no memory holds");
    return bytes;
  }
  StateT parameter() {
    switch (byte(std::variant_size_v<StateT>, "the type of a parameter")) {
      case 0:
        return byte(2, "a truth value") != 0;
      case 1:
        return static_cast<int>(number<int32_t>());
      case 2:
        return static_cast<size_t>(number<uint64_t>());
      case 3:
        return std::bit_cast<float>(number<uint32_t>());
      case 4:
        return std::bit_cast<double>(number<uint64_t>());
      case 5:
        return dtype();
      case 6:
        return shape();
      case 7: {
        const auto strides = numbers<int64_t>();
        return Strides(strides.begin(), strides.end());
      }
      case 8:
        return numbers<int>();
      default:
        return text();
    }
  }
  Source source(size_t inputs, size_t values, size_t constants) {
    const auto kind = static_cast<Source::Kind>(byte(3, "the kind of a reference"));
    const Source s{kind, number<uint32_t>()};
    const size_t there = kind == Source::input ? inputs : kind == Source::node ? values : constants;
    if (s.index >= there)
      fail("a reference names " +
           std::string(kind == Source::input  ? "input "
                       : kind == Source::node ? "value "
                                              : "constant ") +
           std::to_string(s.index) + " of " + std::to_string(there));
    return s;
  }

 private:
  void need(size_t n) const {
    if (left() < n) fail("the graph ends early");
  }

  const std::string& bytes_;
  const std::string& what_;
  size_t at_ = 0;
};

Constant decode_constant(Decoder& d, uint64_t data_bytes) {
  Constant c{d.spec(), d.numbers<int>(), d.shape(), d.number<uint64_t>()};
  const size_t n = c.spec.shape.size();
  bool fits = c.stored.size() == n && c.axes.size() == n;
  std::vector<bool> seen(n);
  for (size_t i = 0; fits && i < n; ++i) {
    const auto axis = static_cast<size_t>(c.axes[i]);
    fits = axis < n && !seen[axis] && (c.stored[i] == c.spec.shape[axis] || c.stored[i] == 1);
    if (fits) seen[axis] = true;
  }
  if (!fits) d.fail("a constant is stored in a shape that does not become its own");
  const uint64_t bytes = d.check_countable(c.stored, c.spec.dtype);
  if (c.offset > data_bytes || bytes > data_bytes - c.offset)
    d.fail("a constant's elements lie behind the end of the data");
  return c;
}

Graph decode_function(Decoder& d, size_t constants) {
  Graph f;
  f.shapeless = d.byte(2, "a truth value") != 0;
  f.positional = d.list(5, [&] { return d.spec(); });
  f.keywords = d.list(9, [&] {
    std::string name = d.text();
    return std::pair(std::move(name), d.spec());
  });
  for (size_t i = 1; i < f.keywords.size(); ++i)
    if (f.keywords[i].first <= f.keywords[i - 1].first) d.fail("keywords are not in order");
  size_t values = 0;
  f.nodes = d.list(17, [&] {
    Node node;
    node.kind = d.text();
    node.place = static_cast<Place>(d.byte(3, "a device"));
    node.state = d.list(2, [&] { return d.parameter(); });
    node.inputs = d.list(5, [&] { return d.source(f.inputs(), values, constants); });
    // What depends on no input was computed before the file was written: a file cannot make its reader work.
    if (std::none_of(node.inputs.begin(), node.inputs.end(),
                     [](Source s) { return s.kind != Source::constant; }))
      d.fail("a node depends on constants alone");
    node.outputs = d.list(5, [&] { return d.spec(); });
    if (node.outputs.empty()) d.fail("a node has no outputs");
    values += node.outputs.size();
    return node;
  });
  f.outputs = d.list(5, [&] { return d.source(f.inputs(), values, constants); });
  return f;
}

}  // namespace

bool Graph::matches(const std::vector<Spec>& args,
                    const std::vector<std::pair<std::string, Spec>>& kwargs) const {
  const auto same = [&](const Spec& mine, const Spec& given) {
    return mine.dtype == given.dtype &&
           (shapeless ? mine.shape.size() == given.shape.size() : mine.shape == given.shape);
  };
  return std::equal(positional.begin(), positional.end(), args.begin(), args.end(), same) &&
         std::equal(
             keywords.begin(), keywords.end(), kwargs.begin(), kwargs.end(),
             [&](const auto& a, const auto& b) { return a.first == b.first && same(a.second, b.second); });
}

Header decode_header(const std::string& bytes, uint64_t file_bytes, const std::string& what) {
  if (bytes.size() < kHeaderBytes || std::memcmp(bytes.data(), "MLXfunc\0", 8) != 0)
    throw std::runtime_error(what + "it is no file of exported functions");
  Decoder d(bytes, what);
  d.number<uint64_t>();
  const auto version = d.number<uint32_t>(), reserved = d.number<uint32_t>();
  if (version != 1 || reserved != 0)
    throw std::runtime_error(what + "it has version " + std::to_string(version) + ", expected 1");
  const auto graph = d.number<uint64_t>(), data = d.number<uint64_t>(), sum = d.number<uint64_t>();
  if (graph > file_bytes - kHeaderBytes || aligned(kHeaderBytes + graph) > file_bytes ||
      data != file_bytes - aligned(kHeaderBytes + graph))
    throw std::runtime_error(what + "it has " + std::to_string(file_bytes) +
                             " bytes, which are not those that its header names: it is damaged");
  return {graph, data, sum};
}

Contents decode(const std::string& graph, const Header& header, const std::string& what) {
  if (checksum(graph) != header.checksum)
    throw std::runtime_error(what + "the checksum of its graph is wrong: it is damaged");
  Decoder d(graph, what);
  Contents c;
  c.metadata = d.text();
  c.constants = d.list(21, [&] { return decode_constant(d, header.data_bytes); });
  c.functions = d.list(17, [&] { return decode_function(d, c.constants.size()); });
  if (d.left() != 0) d.fail("there are bytes behind the last function");
  return c;
}

}  // namespace mlx::core::exported

#include <type_traits>

#include "mlx/export/format.h"

namespace mlx::core::exported {
namespace {

class Encoder {
 public:
  template <class T>
    requires std::is_integral_v<T>
  void number(T value) {
    const auto bits = static_cast<std::make_unsigned_t<T>>(value);
    for (size_t i = 0; i < sizeof(T); ++i) out.push_back(static_cast<char>((bits >> (8 * i)) & 0xff));
  }
  void byte(size_t value) { out.push_back(static_cast<char>(value)); }
  void count(size_t n) {
    if (n > UINT32_MAX) throw std::runtime_error("[export_function] the graph is too large for a file");
    number(static_cast<uint32_t>(n));
  }
  void text(const std::string& s) {
    count(s.size());
    out += s;
  }
  template <class List, class F>
  void list(const List& entries, F&& entry) {
    count(entries.size());
    for (const auto& e : entries) entry(e);
  }
  template <class Numbers>
  void numbers(const Numbers& values) {
    list(values, [&](auto v) { number(v); });
  }
  void spec(const Spec& s) {
    byte(static_cast<size_t>(s.dtype.val()));
    numbers(s.shape);
  }
  void source(const Source& s) {
    byte(s.kind);
    number(s.index);
  }
  void parameter(const StateT& p) {
    byte(p.index());
    std::visit([&](const auto& value) { this->value(value); }, p);
  }

  std::string out;

 private:
  void value(bool v) { byte(v); }
  void value(int v) { number(static_cast<int32_t>(v)); }
  void value(size_t v) { number(static_cast<uint64_t>(v)); }
  void value(float v) { number(std::bit_cast<uint32_t>(v)); }
  void value(double v) { number(std::bit_cast<uint64_t>(v)); }
  void value(Dtype v) { byte(static_cast<size_t>(v.val())); }
  void value(const std::string& v) { text(v); }
  template <class Numbers>
  void value(const Numbers& v) {
    numbers(v);
  }
};

void encode_function(Encoder& e, const Graph& f) {
  e.byte(f.shapeless);
  e.list(f.positional, [&](const Spec& s) { e.spec(s); });
  e.list(f.keywords, [&](const auto& keyword) {
    e.text(keyword.first);
    e.spec(keyword.second);
  });
  e.list(f.nodes, [&](const Node& node) {
    e.text(node.kind);
    e.byte(static_cast<size_t>(node.place));
    e.list(node.state, [&](const StateT& p) { e.parameter(p); });
    e.list(node.inputs, [&](const Source& s) { e.source(s); });
    e.list(node.outputs, [&](const Spec& s) { e.spec(s); });
  });
  e.list(f.outputs, [&](const Source& s) { e.source(s); });
}

}  // namespace

uint64_t checksum(const std::string& bytes) {
  uint64_t hash = 0xcbf29ce484222325ull;
  for (const char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
  return hash;
}

std::string encode(const Contents& contents, uint64_t data_bytes) {
  Encoder graph;
  graph.text(contents.metadata);
  graph.list(contents.constants, [&](const Constant& c) {
    graph.spec(c.spec);
    graph.numbers(c.axes);
    graph.numbers(c.stored);
    graph.number(c.offset);
  });
  graph.list(contents.functions, [&](const Graph& f) { encode_function(graph, f); });

  Encoder file;
  file.out.assign("MLXfunc\0", 8);
  file.number(uint32_t{1});
  file.number(uint32_t{0});
  file.number(static_cast<uint64_t>(graph.out.size()));
  file.number(data_bytes);
  file.number(checksum(graph.out));
  file.out += graph.out;
  file.out.resize(aligned(file.out.size()), '\0');
  return std::move(file.out);
}

}  // namespace mlx::core::exported

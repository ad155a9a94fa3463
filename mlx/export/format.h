// The file of exported functions, version 1. All numbers are little-endian.
//
//   8 bytes   "MLXfunc" and a zero
//   u32       version
//   u32       0
//   u64       bytes of the graph part
//   u64       bytes of the data part
//   u64       FNV-1a of the graph part
//   graph     metadata, constants, functions (below)
//   zeros     up to a multiple of 64
//   data      the constants' elements, row-major, each at a multiple of 64
//
// In the graph part: `list` is a u32 count and that many entries, `text` a list of bytes, `shape` a list of
// i32, `spec` a dtype (u8, its number) and a shape.
//
//   metadata   text
//   constants  list of { spec, axes: list of i32, shape of the stored array, u64 offset in the data part }
//   functions  list of {
//                shapeless u8
//                positional inputs: list of spec
//                keyword inputs: list of { text, spec }, sorted by the text, each once
//                nodes: list of { kind text, device u8, parameters list, inputs: list of reference,
//                                 outputs: list of spec }
//                outputs: list of reference }
//   parameter  u8 which type, value
//   reference  u8 (0 input, 1 value of an earlier node, 2 constant), u32 index
//
// A constant is the stored array with axis i as axis axes[i], broadcast along axes of size 1. So zeros take
// one element, and a matrix and its transpose are the same bytes.
//
// Inputs count through positional and then keyword ones; values count through the outputs of all nodes.
#pragma once

#include <string>
#include <vector>

#include "mlx/export.h"
#include "mlx/transforms/replay.h"

namespace mlx::core::exported {

using detail::Source;

struct Spec {
  Shape shape;
  Dtype dtype;
  bool operator==(const Spec&) const = default;
};

// Where a node runs: on the default stream of the caller, or on the device that its function named.
enum class Place : uint8_t { anywhere, cpu, gpu };

struct Node {
  std::string kind;
  Place place;
  std::vector<StateT> state;
  std::vector<Source> inputs;
  std::vector<Spec> outputs;
};

// One trace.
struct Graph {
  bool shapeless = false;
  std::vector<Spec> positional;
  std::vector<std::pair<std::string, Spec>> keywords;
  std::vector<Node> nodes;
  std::vector<Source> outputs;

  size_t inputs() const { return positional.size() + keywords.size(); }
  const Spec& input(size_t i) const {
    return i < positional.size() ? positional[i] : keywords[i - positional.size()].second;
  }
  // Whether a call with such inputs is this function's.
  bool matches(const std::vector<Spec>& args, const std::vector<std::pair<std::string, Spec>>& kwargs) const;
};

struct Constant {
  Spec spec;
  std::vector<int> axes;
  Shape stored;
  uint64_t offset = 0;  // in the data part
};

struct Contents {
  std::string metadata;
  std::vector<Constant> constants;
  std::vector<Graph> functions;
};

inline constexpr size_t kHeaderBytes = 40;
inline constexpr uint64_t kAlignment = 64;
constexpr uint64_t aligned(uint64_t n) { return (n + kAlignment - 1) / kAlignment * kAlignment; }
uint64_t checksum(const std::string& bytes);

// Header and graph part, padded.
std::string encode(const Contents& contents, uint64_t data_bytes);

struct Header {
  uint64_t graph_bytes, data_bytes, checksum;
};
// std::runtime_error where it is not the header of such a file with `file_bytes` bytes, `what` before the
// message.
Header decode_header(const std::string& bytes, uint64_t file_bytes, const std::string& what);
// Checks everything that the graph part alone can tell: counts, references, order. Not whether operations
// accept their inputs.
Contents decode(const std::string& graph, const Header& header, const std::string& what);

}  // namespace mlx::core::exported

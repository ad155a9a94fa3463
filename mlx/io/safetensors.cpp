// The safetensors format: a length, a JSON header that says what lies where, and the data of all tensors
// without holes.
#include <algorithm>
#include <string_view>
#include <tuple>

#include "mlx/io.h"
#include "mlx/io/file.h"
#include "mlx/io/json.h"
#include "mlx/io/load.h"
#include "mlx/io/text.h"
#include "mlx/ops.h"
#include "mlx/transforms.h"

namespace mlx::core {
namespace {

constexpr uint64_t kLongestHeader = 100'000'000;  // as the format's other implementations have it
constexpr std::string_view kMetadata = "__metadata__";
using Metadata = std::unordered_map<std::string, std::string>;

struct TypeName {
  std::string_view name;
  Dtype dtype;
};
// What is written is the first name of a type. Eight-bit floats are read as their bits.
constexpr TypeName kTypes[] = {
    {"BOOL", bool_},    {"U8", uint8},      {"U16", uint16},    {"U32", uint32},
    {"U64", uint64},    {"I8", int8},       {"I16", int16},     {"I32", int32},
    {"I64", int64},     {"F16", float16},   {"F32", float32},   {"F64", float64},
    {"BF16", bfloat16}, {"C64", complex64}, {"F8_E4M3", uint8}, {"F8_E8M0", uint8},
};

struct Tensor {
  std::string name;
  Dtype dtype = float32;
  std::vector<uint64_t> shape;
  uint64_t begin = 0, end = 0;
};

template <class... T>
std::runtime_error wrong(const Tensor& t, const T&... parts) {
  return std::runtime_error(text("tensor ", io::in_quotes(t.name), ": ", parts...));
}

Tensor read_tensor(io::JsonReader& json, const std::string& name) {
  Tensor t;
  t.name = name;
  bool typed = false, shaped = false, placed = false;
  json.object([&](const std::string& key) {
    if (key == "dtype") {
      const std::string type = json.string();
      const auto* row =
          std::find_if(std::begin(kTypes), std::end(kTypes), [&](auto& r) { return r.name == type; });
      if (row == std::end(kTypes)) throw wrong(t, "the dtype ", io::in_quotes(type), " is not supported");
      t.dtype = row->dtype;
      typed = true;
    } else if (key == "shape") {
      json.array([&] { t.shape.push_back(json.unsigned_integer()); });
      shaped = true;
    } else if (key == "data_offsets") {
      std::vector<uint64_t> offsets;
      json.array([&] { offsets.push_back(json.unsigned_integer()); });
      if (offsets.size() != 2) throw wrong(t, "got ", offsets.size(), " data_offsets, expected 2");
      t.begin = offsets[0];
      t.end = offsets[1];
      placed = true;
    } else {
      json.skip();
    }
  });
  if (!typed || !shaped || !placed) throw wrong(t, "expected dtype, shape and data_offsets");
  return t;
}

std::vector<Tensor> read_header(std::string_view header, Metadata& metadata) {
  std::vector<Tensor> tensors;
  io::JsonReader json(header);
  json.object([&](const std::string& name) {
    if (name != kMetadata) {
      tensors.push_back(read_tensor(json, name));
    } else if (!json.null()) {
      json.object([&](const std::string& key) { metadata[key] = json.string(); });
    }
  });
  json.end();
  return tensors;
}

// The tensors cover the data, in some order, each byte once.
void check_places(std::vector<Tensor>& tensors, uint64_t data) {
  for (const Tensor& t : tensors) {
    if (t.begin > t.end || t.end > data)
      throw wrong(t, "offsets [", t.begin, ", ", t.end, ") lie outside the ", data, " bytes of data");
    const uint64_t bytes = io::checked_bytes(t.shape, t.dtype, text("tensor ", io::in_quotes(t.name), ": "));
    if (bytes != t.end - t.begin)
      throw wrong(t, "offsets [", t.begin, ", ", t.end, ") hold ", t.end - t.begin, " bytes, expected ",
                  bytes, " for its shape and dtype");
  }
  std::sort(tensors.begin(), tensors.end(), [](const Tensor& a, const Tensor& b) {
    return std::tie(a.begin, a.end) < std::tie(b.begin, b.end);
  });
  uint64_t covered = 0;
  for (const Tensor& t : tensors) {
    if (t.begin < covered) throw wrong(t, "overlaps the one before it, which ends at byte ", covered);
    if (t.begin > covered)
      throw wrong(t, "begins at byte ", t.begin, ", expected ", covered,
                  ": bytes between belong to no tensor");
    covered = t.end;
  }
  if (covered != data) throw std::runtime_error(text("got ", data, " bytes of data, expected ", covered));
}

// What lies where in a file: the header, checked against the size of the data.
std::vector<Tensor> read_layout(std::string_view header, uint64_t data, Metadata& metadata,
                                const std::string& label) {
  const auto fail = [&](const char* where, const std::exception& e) {
    return std::runtime_error(text("[load_safetensors] ", where, e.what(), " (in ", label, ")"));
  };
  try {
    std::vector<Tensor> tensors = read_header(header, metadata);
    check_places(tensors, data);
    return tensors;
  } catch (const io::JsonError& e) {
    throw fail("the header is malformed at ", e);
  } catch (const std::runtime_error& e) {
    throw fail("", e);
  }
}

// Larger elements first, so that each tensor begins at a multiple of its elements' size; then by name, so
// that the same arrays give the same file.
std::vector<std::pair<std::string, array>> in_file_order(std::unordered_map<std::string, array> arrays) {
  std::vector<std::pair<std::string, array>> out;
  out.reserve(arrays.size());
  for (auto& [name, a] : arrays) {
    if (name == kMetadata)
      throw invalid("save_safetensors", "got an array of the name '__metadata__', which the format reserves");
    if (!io::is_utf8(name))
      throw invalid("save_safetensors", "got the name ", io::in_quotes(name), ", expected UTF-8");
    out.emplace_back(name, std::move(a));
  }
  std::sort(out.begin(), out.end(), [](const auto& x, const auto& y) {
    return std::pair(-x.second.dtype().size(), std::string_view(x.first)) <
           std::pair(-y.second.dtype().size(), std::string_view(y.first));
  });
  return out;
}

std::string make_header(const std::vector<std::pair<std::string, array>>& arrays, const Metadata& metadata) {
  std::string json = "{";
  if (!metadata.empty()) {
    std::vector<std::pair<std::string, std::string>> sorted(metadata.begin(), metadata.end());
    std::sort(sorted.begin(), sorted.end());
    json += io::json_string(kMetadata) + ":{";
    for (const auto& [key, value] : sorted) {
      if (!io::is_utf8(key) || !io::is_utf8(value))
        throw invalid("save_safetensors", "got the metadata ", io::in_quotes(key), ": ", io::in_quotes(value),
                      ", expected UTF-8");
      json += (json.back() == '{' ? "" : ",") + io::json_string(key) + ":" + io::json_string(value);
    }
    json += "}";
  }
  uint64_t offset = 0;
  for (const auto& [name, a] : arrays) {
    const auto* row =
        std::find_if(std::begin(kTypes), std::end(kTypes), [&](auto& r) { return r.dtype == a.dtype(); });
    if (json.size() > 1) json += ",";
    json += io::json_string(name) + ":{\"dtype\":" + io::json_string(row->name) + ",\"shape\":[";
    for (const ShapeElem d : a.shape()) json += (json.back() == '[' ? "" : ",") + std::to_string(d);
    json +=
        "],\"data_offsets\":[" + std::to_string(offset) + "," + std::to_string(offset + a.nbytes()) + "]}";
    offset += a.nbytes();
  }
  json += "}";
  json.append((8 - json.size() % 8) % 8, ' ');  // the data are aligned
  if (json.size() > kLongestHeader)
    throw invalid("save_safetensors", "got names, shapes and metadata of ", json.size(),
                  " bytes, expected at most ", kLongestHeader);
  return json;
}

void write(io::Writer& out, const std::vector<std::pair<std::string, array>>& arrays,
           const Metadata& metadata) {
  const std::string header = make_header(arrays, metadata);
  char length[8];
  for (int i = 0; i < 8; ++i) length[i] = static_cast<char>(header.size() >> (8 * i) & 255);
  out.write(length, 8);
  out.write(header.data(), header.size());
  for (const auto& [name, original] : arrays) {
    array a = original;
    if (!a.flags().row_contiguous) {  // copied one at a time: memory for one copy is enough
      a = contiguous(a, false, Device::cpu);
      a.eval();
    }
    if (a.nbytes() > 0) out.write(a.data<char>(), a.nbytes());
  }
}

void eval_all(const std::unordered_map<std::string, array>& arrays) {
  Arrays all;
  for (const auto& [name, a] : arrays) all.push_back(a);
  eval(std::move(all));
}

}  // namespace

SafetensorsLoad load_safetensors(std::shared_ptr<io::Reader> in_stream, StreamOrDevice s) {
  io::check_readable(*in_stream, "load_safetensors");
  const std::string label = io::in_quotes(in_stream->label());
  const auto fail = [&](const auto&... parts) {
    return std::runtime_error(text("[load_safetensors] ", parts..., " (in ", label, ")"));
  };
  const size_t start = in_stream->tell(), end = io::size_of(*in_stream);
  const size_t size = end > start ? end - start : 0;
  if (size < 8) throw fail("got ", size, " bytes, expected the 8 of the header's length");
  uint8_t raw[8];
  in_stream->read(reinterpret_cast<char*>(raw), 8);
  uint64_t length = 0;
  for (int i = 8; i-- > 0;) length = length << 8 | raw[i];
  if (length > kLongestHeader)
    throw fail("got a header of ", length, " bytes, expected at most ", kLongestHeader);
  if (length > size - 8)
    throw fail("got a header of ", length, " bytes, expected at most the ", size - 8,
               " that follow its length");
  std::string header(length, '\0');
  in_stream->read(header.data(), length);
  SafetensorsLoad out;
  const std::vector<Tensor> tensors = read_layout(header, size - 8 - length, out.second, label);
  in_stream->seek(static_cast<int64_t>(end));

  auto source = std::make_shared<io::Source>(std::move(in_stream));
  for (const Tensor& t : tensors) {
    Shape shape;
    for (const uint64_t d : t.shape) shape.push_back(static_cast<ShapeElem>(d));
    out.first.emplace(t.name,
                      load_node(std::move(shape), t.dtype, source, start + 8 + length + t.begin, false, s));
  }
  return out;
}

SafetensorsLoad load_safetensors(const std::string& file, StreamOrDevice s) {
  return load_safetensors(std::make_shared<io::FileReader>(file, "load_safetensors"), s);
}

void save_safetensors(std::shared_ptr<io::Writer> out_stream, std::unordered_map<std::string, array> arrays,
                      std::unordered_map<std::string, std::string> metadata) {
  if (!out_stream->is_open() || !out_stream->good())
    throw std::runtime_error(text("[save_safetensors] cannot write ", io::in_quotes(out_stream->label())));
  eval_all(arrays);
  write(*out_stream, in_file_order(std::move(arrays)), metadata);
}

void save_safetensors(std::string file, std::unordered_map<std::string, array> arrays,
                      std::unordered_map<std::string, std::string> metadata) {
  if (!file.ends_with(".safetensors")) file += ".safetensors";
  eval_all(arrays);  // before there is a file: a failure leaves nothing to be removed
  auto out = std::make_shared<io::FileWriter>(std::move(file), "save_safetensors");
  save_safetensors(out, std::move(arrays), std::move(metadata));
  out->finish();
}

}  // namespace mlx::core

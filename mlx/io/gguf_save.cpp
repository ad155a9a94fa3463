// Writing the GGUF format.
#include <algorithm>
#include <map>
#include <string_view>

#include "mlx/io.h"
#include "mlx/io/file.h"
#include "mlx/io/gguf.h"
#include "mlx/io/text.h"
#include "mlx/ops.h"
#include "mlx/transforms.h"

namespace mlx::core {
namespace {

// By name, so that the same contents give the same file.
using Tensors = std::map<std::string, array>;
using Metadata = std::map<std::string, GGUFMetaData>;

template <class... T>
std::invalid_argument wrong(const T&... parts) {
  return invalid("save_gguf", parts...);
}

template <class T>
void put(std::string& out, T value) {
  for (size_t i = 0; i < sizeof(T); ++i) out += static_cast<char>(value >> (8 * i) & 255);
}
void put_text(std::string& out, std::string_view text) {
  put(out, static_cast<uint64_t>(text.size()));
  out += text;
}
void put_name(std::string& out, const std::string& name, const char* what) {
  if (!io::is_utf8(name)) throw wrong("got the ", what, " ", io::in_quotes(name), ", expected UTF-8");
  put_text(out, name);
}

// Row-major and computed.
array settled(const array& a) {
  array out = a;
  out.eval();
  if (out.flags().row_contiguous) return out;
  out = contiguous(out, false, Device::cpu);
  out.eval();
  return out;
}

void put_numbers(std::string& out, const std::string& key, const array& a) {
  const auto* row = std::find_if(std::begin(io::kGgufNumbers), std::end(io::kGgufNumbers),
                                 [&](const io::GgufNumber& r) { return r.dtype == a.dtype(); });
  if (row == std::end(io::kGgufNumbers))
    throw wrong("metadata ", io::in_quotes(key), ": got an array of ", a.dtype(),
                ", expected bool, integers, float32 or float64");
  if (a.ndim() > 1)
    throw wrong("metadata ", io::in_quotes(key), ": got an array of shape ", a.shape(),
                ", expected at most one dimension");
  if (a.ndim() == 1) {
    put(out, static_cast<uint32_t>(io::GgufValue::array));
    put(out, row->number);
    put(out, static_cast<uint64_t>(a.size()));
  } else {
    put(out, row->number);
  }
  const array numbers = settled(a);
  if (a.size() > 0) out.append(numbers.data<char>(), numbers.nbytes());
}

void put_value(std::string& out, const std::string& key, const GGUFMetaData& value) {
  constexpr auto kString = static_cast<uint32_t>(io::GgufValue::string);
  if (const array* a = std::get_if<array>(&value)) return put_numbers(out, key, *a);
  if (const std::string* s = std::get_if<std::string>(&value)) {
    put(out, kString);
    return put_text(out, *s);
  }
  const auto* list = std::get_if<std::vector<std::string>>(&value);
  if (!list) throw wrong("metadata ", io::in_quotes(key), ": got no value, expected an array or text");
  put(out, static_cast<uint32_t>(io::GgufValue::array));
  put(out, kString);
  put(out, static_cast<uint64_t>(list->size()));
  for (const std::string& s : *list) put_text(out, s);
}

uint64_t alignment_of(const Metadata& metadata) {
  const auto it = metadata.find(std::string(io::kGgufAlignment));
  if (it == metadata.end()) return io::kGgufDefaultAlignment;
  const array* a = std::get_if<array>(&it->second);
  if (!a || a->dtype() != uint32 || a->ndim() != 0)
    throw wrong(
        "got a general.alignment of another type, expected an array of dtype uint32 and no dimensions");
  const uint64_t value = array(*a).item<uint32_t>();
  if (value < 8 || (value & (value - 1)) != 0)
    throw wrong("got a general.alignment of ", value, ", expected a power of two of at least 8");
  return value;
}

uint64_t rounded_up(uint64_t n, uint64_t alignment) { return (n + alignment - 1) / alignment * alignment; }

const io::GgufKind& kind_of(const std::string& name, const array& a) {
  for (const io::GgufKind& row : io::kGgufKinds)
    if (row.use == io::GgufUse::plain && row.dtype == a.dtype()) return row;
  throw wrong("got the array ", io::in_quotes(name), " of dtype ", a.dtype(),
              ", expected float16, bfloat16, float32, float64 or signed integers");
}

std::string make_header(const Tensors& tensors, const Metadata& metadata, uint64_t alignment) {
  std::string out(io::kGgufMagic);
  put(out, io::kGgufVersion);
  put(out, static_cast<uint64_t>(tensors.size()));
  put(out, static_cast<uint64_t>(metadata.size()));
  for (const auto& [key, value] : metadata) {
    put_name(out, key, "key");
    put_value(out, key, value);
  }
  uint64_t offset = 0;
  for (const auto& [name, a] : tensors) {
    put_name(out, name, "name");
    if (a.ndim() > io::kGgufMaxDims)
      throw wrong("got the array ", io::in_quotes(name), " of ", a.ndim(), " dimensions, expected at most ",
                  io::kGgufMaxDims);
    put(out, static_cast<uint32_t>(a.ndim()));
    for (size_t i = a.ndim(); i-- > 0;) put(out, static_cast<uint64_t>(a.shape(static_cast<int>(i))));
    put(out, kind_of(name, a).number);
    put(out, offset);
    offset += rounded_up(a.nbytes(), alignment);
  }
  return out;
}

void pad(io::Writer& out, uint64_t n) {
  const std::string zeros(std::min<uint64_t>(n, 1 << 16), '\0');
  for (; n > 0; n -= std::min<uint64_t>(n, zeros.size()))
    out.write(zeros.data(), std::min<uint64_t>(n, zeros.size()));
}

// What can be wrong with the contents is found before anything is written.
struct Contents {
  Contents(const std::unordered_map<std::string, array>& arrays,
           const std::unordered_map<std::string, GGUFMetaData>& meta_data)
      : tensors(arrays.begin(), arrays.end()) {
    const Metadata metadata(meta_data.begin(), meta_data.end());
    alignment = alignment_of(metadata);
    header = make_header(tensors, metadata, alignment);
    Arrays all;
    for (const auto& [name, a] : tensors) all.push_back(a);
    eval(std::move(all));
  }
  void write(io::Writer& out) const {
    out.write(header.data(), header.size());
    pad(out, rounded_up(header.size(), alignment) - header.size());
    for (const auto& [name, original] : tensors) {
      const array a = settled(original);  // one copy at a time
      if (a.nbytes() > 0) out.write(a.data<char>(), a.nbytes());
      pad(out, rounded_up(a.nbytes(), alignment) - a.nbytes());
    }
  }
  Tensors tensors;
  uint64_t alignment = 0;
  std::string header;
};

}  // namespace

void save_gguf(std::shared_ptr<io::Writer> out_stream, std::unordered_map<std::string, array> array_map,
               std::unordered_map<std::string, GGUFMetaData> meta_data) {
  if (!out_stream->is_open() || !out_stream->good())
    throw std::runtime_error(text("[save_gguf] cannot write ", io::in_quotes(out_stream->label())));
  Contents(array_map, meta_data).write(*out_stream);
}

void save_gguf(std::string file, std::unordered_map<std::string, array> array_map,
               std::unordered_map<std::string, GGUFMetaData> meta_data) {
  if (!file.ends_with(".gguf")) file += ".gguf";
  const Contents contents(array_map, meta_data);
  io::FileWriter out(std::move(file), "save_gguf");
  contents.write(out);
  out.finish();
}

}  // namespace mlx::core

// The GGUF format through the C++ interface: arrays, every type of metadata, packed kinds, damaged files.
#include <unistd.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include "mlx/mlx.h"
#include "tests/cpp/io/check.h"
#include "tests/cpp/io/memory.h"

using namespace mlx::core;
using io_test::check;
using io_test::contents;
using io_test::Memory;
using io_test::same_values;
namespace fs = std::filesystem;

namespace {

void round_trip(const fs::path& folder) {
  const std::unordered_map<std::string, array> arrays{
      {"a", arange(5)},
      {"b.weight", astype(ones({2, 3}), bfloat16)},
      {"c", transpose(reshape(arange(6.0), {2, 3}))},
      {"d", astype(ones({1, 0, 2}), int8)},
  };
  const std::vector<std::string> words{"one", "", "three"};
  const std::unordered_map<std::string, GGUFMetaData> metadata{
      {"text", std::string("value")},
      {"words", words},
      {"number", array(2.5f)},
      {"list", array({1, 2, 3}, int64)},
      {"general.alignment", array(64, uint32)},
  };
  const std::string path = (folder / "x").string();
  save_gguf(path, arrays, metadata);
  auto memory = std::make_shared<Memory>();
  save_gguf(memory, arrays, metadata);
  check(contents(path + ".gguf") == memory->bytes, "the same file whatever it is written to");
  check(memory->bytes.size() % 64 == 0, "the file ends aligned");
  memory->at = 0;
  for (const GGUFLoad& loaded : {load_gguf(path + ".gguf"), load_gguf(memory)}) {
    check(loaded.first.size() == arrays.size() && loaded.second.size() == metadata.size(), "counts");
    for (const auto& [name, a] : arrays) check(same_values(loaded.first.at(name), a), "tensor " + name);
    check(std::get<std::string>(loaded.second.at("text")) == "value", "a text");
    check(std::get<std::vector<std::string>>(loaded.second.at("words")) == words, "texts");
    check(same_values(std::get<array>(loaded.second.at("number")), array(2.5f)), "a number");
    check(same_values(std::get<array>(loaded.second.at("list")), array({1, 2, 3}, int64)), "numbers");
  }
  check(memory->at == memory->bytes.size(), "the stream stands at its end");
}

template <class T>
void put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(T));
}

// One tensor "w.weight" of 2 blocks of Q4_0, with codes 0 to 15 and scales 1 and 2.
std::string packed_file() {
  std::string out = "GGUF";
  put<uint32_t>(out, 3);
  put<uint64_t>(out, 1);
  put<uint64_t>(out, 0);
  put<uint64_t>(out, 8);
  out += "w.weight";
  put<uint32_t>(out, 2);
  put<uint64_t>(out, 32);
  put<uint64_t>(out, 2);
  put<uint32_t>(out, 2);
  put<uint64_t>(out, 0);
  out.resize((out.size() + 31) / 32 * 32);
  for (const uint16_t scale : {0x3c00, 0x4000}) {
    put(out, scale);
    for (int i = 0; i < 16; ++i) out += static_cast<char>(i | (15 - i) << 4);
  }
  return out;
}

void packed() {
  auto memory = std::make_shared<Memory>();
  memory->bytes = packed_file();
  const auto arrays = load_gguf(memory).first;
  check(arrays.size() == 3, "codes, scales and biases");
  const array w = dequantize(arrays.at("w.weight"), arrays.at("w.scales"), arrays.at("w.biases"), 32, 4);
  check(w.shape() == Shape{2, 32} && w.dtype() == float16, "the shape of the matrix");
  const array values = astype(w, float32);
  eval(values);
  bool right = true;
  for (int row = 0; row < 2; ++row)
    for (int i = 0; i < 32; ++i) {
      const int code = i < 16 ? i : 31 - i;
      right = right && values.data<float>()[row * 32 + i] == static_cast<float>((row + 1) * (code - 8));
    }
  check(right, "the values of the matrix");
}

void refused() {
  const std::string whole = packed_file();
  for (size_t size = 0; size < whole.size(); ++size) {
    auto memory = std::make_shared<Memory>();
    memory->bytes = whole.substr(0, size);
    io_test::refused<std::runtime_error>("[load_gguf] ", "a file cut at byte " + std::to_string(size),
                                         [&] { load_gguf(memory); });
  }
  auto out = std::make_shared<Memory>();
  const auto save_one = [&](const array& a, const GGUFMetaData& value) {
    save_gguf(out, {{"x", a}}, {{"k", value}});
  };
  using Invalid = std::invalid_argument;
  io_test::refused<Invalid>("'x' of dtype", "a dtype", [&] { save_one(array(1, uint32), std::string()); });
  io_test::refused<Invalid>("'k'", "no value", [&] { save_one(array(1), std::monostate()); });
  io_test::refused<Invalid>("'k'", "complex", [&] { save_one(array(1), array(complex64_t{1, 1})); });
  io_test::refused<Invalid>("'k'", "a matrix", [&] { save_one(array(1), ones({2, 2})); });
  io_test::refused<Invalid>("UTF-8", "a name", [&] { save_gguf(out, {{"\xff", array(1)}}); });
  check(out->bytes.empty(), "nothing is written before everything is checked");
  io_test::refused<std::runtime_error>("No such file", "no file", [] { load_gguf("/absent/x.gguf"); });
}

// Nodes of one stream that only one thread at a time may read.
void threads() {
  auto memory = std::make_shared<Memory>();
  std::unordered_map<std::string, array> arrays;
  for (int k = 0; k < 8; ++k) arrays.emplace(std::to_string(k), full({10'000}, k, int32));
  save_gguf(memory, arrays);
  memory->at = 0;
  const auto loaded = load_gguf(memory).first;
  std::array<bool, 4> right{};
  std::vector<std::thread> workers;
  for (bool& ok : right)
    workers.emplace_back([&loaded, &ok] {
      ok = true;
      for (int k = 0; k < 8; ++k) ok = ok && sum(loaded.at(std::to_string(k))).item<int>() == k * 10'000;
    });
  for (std::thread& t : workers) t.join();
  check(right[0] && right[1] && right[2] && right[3], "several threads evaluate");
}

}  // namespace

int main() {
  const fs::path folder = fs::temp_directory_path() / ("mlx-gguf-test-" + std::to_string(getpid()));
  fs::create_directory(folder);
  round_trip(folder);
  packed();
  refused();
  threads();
  fs::remove_all(folder);
  return io_test::report();
}

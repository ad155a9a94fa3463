// Files and streams of the program's own through the C++ interface.
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "mlx/io/file.h"
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

void npy(const fs::path& folder) {
  const array x = reshape(arange(24), {2, 3, 4});
  const std::string path = (folder / "x").string();
  for (const array& a : {x, transpose(x), slice(x, {0, 1, 0}, {2, 3, 4}, {1, 1, 2}), array(2.5f)}) {
    save(path, a);
    check(same_values(load(path + ".npy"), a), "an array saved to a file and loaded");
    auto memory = std::make_shared<Memory>();
    save(memory, a);
    save(memory, a);
    memory->at = 0;
    const array first = load(memory), second = load(memory);
    check(same_values(first, a) && same_values(second, a), "two arrays in one stream");
    check(memory->at == memory->bytes.size(), "the stream stands at its end");
  }
  const array large = arange(3'000'000);
  save(path, large);
  check(same_values(load(path + ".npy"), large), "an array of several pieces");
}

void safetensors(const fs::path& folder) {
  const std::unordered_map<std::string, array> arrays{{"a", arange(5)},
                                                      {"b", astype(ones({2, 3}), bfloat16)},
                                                      {"c", transpose(reshape(arange(6.0), {2, 3}))}};
  const std::string path = (folder / "x.safetensors").string();
  save_safetensors(path, arrays, {{"key", "value"}});
  auto memory = std::make_shared<Memory>();
  save_safetensors(memory, arrays, {{"key", "value"}});
  check(contents(path) == memory->bytes, "the same file whatever it is written to");
  memory->at = 0;
  for (const SafetensorsLoad& loaded : {load_safetensors(path), load_safetensors(memory)}) {
    check(loaded.first.size() == 3 && loaded.second.at("key") == "value", "names and metadata");
    for (const auto& [name, a] : arrays) check(same_values(loaded.first.at(name), a), "tensor " + name);
  }
}

// An evaluation that fails leaves the array pending: it can be tried again.
void retried() {
  auto memory = std::make_shared<Memory>();
  save(memory, arange(10));
  memory->at = 0;
  array a = load(memory);
  const std::string whole = memory->bytes;
  memory->bytes.resize(90);
  io_test::refused<std::runtime_error>("beyond the end", "a stream cut after load()", [&] { a.eval(); });
  memory->bytes = whole;
  check(same_values(a, arange(10)), "the array after a second attempt");
}

void replacement(const fs::path& folder) {
  const fs::path path = folder / "kept";
  std::ofstream(path) << "old";
  {
    io::FileWriter out(path.string());
    out.write("new and longer", 14);
    check(contents(path) == "old", "the old file before finish()");
  }
  check(contents(path) == "old", "the old file after a writer that did not finish");
  {
    io::FileWriter out(path.string());
    out.write("new!", 4);
    out.seek(0);
    out.write("N", 1);
    check(out.tell() == 1, "the writer's position");
    out.finish();
  }
  check(contents(path) == "New!", "the new file after finish()");
  io_test::refused<std::runtime_error>("absent", "a folder that is not there",
                                       [&] { io::FileWriter((folder / "absent" / "x").string()); });
  const auto left = std::count_if(fs::directory_iterator(folder), fs::directory_iterator(),
                                  [](const auto& entry) { return entry.path().extension() == ".tmp"; });
  check(left == 0, "no temporary files");
  io::FileReader in(path.string());
  char text[4];
  in.seek(-2, std::ios_base::end);
  in.read(text, 2);
  check(text[0] == 'w' && in.tell() == 4, "reading from the end");
  io_test::refused<std::runtime_error>("ends at byte 4", "reading beyond the end", [&] { in.read(text, 1); });
  io_test::refused<std::runtime_error>("seek", "a negative position", [&] { in.seek(-1); });
}

}  // namespace

int main() {
  const fs::path folder = fs::temp_directory_path() / ("mlx-io-test-" + std::to_string(getpid()));
  fs::create_directory(folder);
  npy(folder);
  safetensors(folder);
  retried();
  replacement(folder);
  fs::remove_all(folder);
  return io_test::report();
}

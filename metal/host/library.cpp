#include "metal/host/library.h"

#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <mutex>
#include <sstream>
#include <unordered_map>
#include <unordered_set>

#include "metal/host/embedded.h"

namespace mlx::core::metal {
namespace {

struct Compiled {
  std::shared_ptr<Library> library;
  std::unordered_map<std::string, std::shared_ptr<Pipeline>> pipelines;  // by kernel and constants
};
struct Cache {
  std::mutex mutex;
  std::unordered_map<std::string, Compiled> libraries;
};
Cache& cache() {
  // Never destroyed: threads of the device may outlive main.
  static Cache* const all = std::make_unique<Cache>().release();
  return *all;
}

std::string text_of(const std::vector<FunctionConstant>& constants) {
  std::ostringstream os;
  for (const FunctionConstant& c : constants) {
    os << '|' << c.index << '=' << c.value.index() << ':';
    std::visit([&](auto v) { os << v; }, c.value);
  }
  return os.str();
}

const char* embedded(const std::string& name) {
  for (const EmbeddedFile* file = embedded_files; file->name; ++file)
    if (name == file->name) return file->text;
  return nullptr;
}

void flatten(const std::string& source, const std::string& name, std::unordered_set<std::string>& seen,
             std::ostringstream& out) {
  std::istringstream in(source);
  std::string line;
  out << "#line 1 \"" << name << "\"\n";
  for (int number = 1; std::getline(in, line); ++number) {
    const std::string start = "#include \"metal/kernels/";
    if (line.rfind(start, 0) != 0) {
      if (line != "#pragma once") out << line;
      out << '\n';
      continue;
    }
    const std::string file = line.substr(start.size(), line.find('"', start.size()) - start.size());
    const char* text = embedded(file);
    if (!text)
      throw std::invalid_argument("[metal] " + name + " includes metal/kernels/" + file +
                                  ", which is no file of the library");
    if (seen.insert(file).second) flatten(text, "metal/kernels/" + file, seen, out);
    out << "#line " << number + 1 << " \"" << name << "\"\n";
  }
}

// Where MLX_METAL_KEEP_SOURCES names a folder, what the device is given to compile lies there, one file each.
void keep(const std::string& source, const std::string& name) {
  static const char* const folder = std::getenv("MLX_METAL_KEEP_SOURCES");
  if (!folder || !*folder) return;
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  std::ostringstream file;
  for (const char c : name.substr(0, 80)) file << (std::isalnum(static_cast<unsigned char>(c)) ? c : '_');
  file << '-' << std::hex << std::hash<std::string>{}(source) << ".metal";
  std::ofstream(std::filesystem::path(folder) / file.str()) << source;
}

}  // namespace

std::string flattened(const std::string& source, const std::string& name) {
  std::unordered_set<std::string> seen;
  std::ostringstream out;
  flatten(source, name, seen, out);
  return out.str();
}

std::shared_ptr<Pipeline> pipeline_of(const std::string& key, const std::string& kernel,
                                      const std::vector<FunctionConstant>& constants,
                                      const std::function<std::string()>& source,
                                      const CompileOptions& options) {
  Cache& all = cache();
  std::lock_guard lock(all.mutex);
  Compiled& compiled = all.libraries[key];
  if (!compiled.library) {
    const std::string name = key.substr(0, key.find('\n'));
    const std::string text = flattened(source(), name);
    keep(text, name);
    compiled.library = device()->compile(text, name, options);
  }
  auto& pipeline = compiled.pipelines[kernel + text_of(constants)];
  if (!pipeline) pipeline = compiled.library->pipeline(kernel, constants);
  return pipeline;
}

std::shared_ptr<Pipeline> pipeline_for(const std::string& file, const std::string& variant,
                                       const std::string& definitions, const std::string& kernel,
                                       const std::vector<FunctionConstant>& constants) {
  return pipeline_of("metal/kernels/" + file + ".metal " + variant, kernel, constants,
                     [&] { return definitions + "#include \"metal/kernels/" + file + ".metal\"\n"; });
}

std::shared_ptr<Pipeline> pipeline(const std::string& file, const std::string& kernel,
                                   const std::vector<FunctionConstant>& constants) {
  return pipeline_of("metal/kernels/" + file + ".metal", kernel, constants, [&]() -> std::string {
    const char* text = embedded(file + ".metal");
    if (!text) throw std::invalid_argument("[metal] there is no metal/kernels/" + file + ".metal");
    return text;
  });
}

}  // namespace mlx::core::metal

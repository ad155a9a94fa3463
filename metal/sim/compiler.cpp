#include "metal/sim/compiler.h"

#include <dlfcn.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <map>
#include <mutex>
#include <optional>
#include <sstream>
#include <stdexcept>

#include "metal/sim/cache.h"
#include "metal/sim/headers.h"
#include "metal/sim/lasting.h"
#include "metal/sim/process.h"
#include "metal/sim/transform.h"

namespace mlx::core::metal::sim {

namespace fs = std::filesystem;

namespace {

std::optional<Compiler> try_compiler(std::vector<std::string> command) {
  std::vector<std::string> ask = command;
  ask.push_back("--version");
  const Finished said = run_process(ask);
  if (said.status != 0) return std::nullopt;
  Compiler c;
  c.command = std::move(command);
  c.version = said.output.substr(0, said.output.find('\n'));
  c.clang = said.output.find("clang") != std::string::npos;
  return c;
}

std::vector<std::string> words(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> out;
  for (std::string w; in >> w;) out.push_back(w);
  return out;
}

Compiler find_compiler() {
  if (const char* named = std::getenv("MLX_METAL_SIMULATOR_CXX")) {
    if (auto c = try_compiler(words(named))) return *c;
    throw std::runtime_error(std::string("[metal simulator] MLX_METAL_SIMULATOR_CXX=") + named +
                             " is no C++ compiler that runs");
  }
  for (const char* name : {"g++", "clang++", "c++"})
    if (const std::string file = find_program(name); !file.empty())
      if (auto c = try_compiler({file})) return *c;
  for (const char* python : {"python", "python3"})
    if (const std::string file = find_program(python); !file.empty())
      if (auto c = try_compiler({file, "-m", "ziglang", "c++"})) return *c;
  throw std::runtime_error(
      "[metal simulator] found no C++ compiler: install g++ or clang++, or `pip install ziglang`, or name "
      "one in "
      "MLX_METAL_SIMULATOR_CXX");
}

const std::string& headers_key() {
  static const std::string key = [] {
    std::string all;
    for (const auto& [name, text] : headers()) (all += name) += text;
    return hash(all);
  }();
  return key;
}

std::string this_library() {
  Dl_info info{};
  if (!dladdr(reinterpret_cast<void*>(&this_library), &info) || !info.dli_fname)
    throw std::runtime_error("[metal simulator] cannot find its own library");
  return info.dli_fname;
}

std::vector<std::string> flags(bool fast_math) {
  // Loads and stores stay as they were written, one for each: no vectorisation.
  std::vector<std::string> f{"-std=c++17",
                             "-O2",
                             "-g1",
                             "-gdwarf-4",
                             "-w",
                             "-fPIC",
                             "-fno-exceptions",
                             "-fsigned-char",
                             "-fno-strict-aliasing",
                             "-fwrapv",
                             "-fno-finite-loops",
                             "-fstack-clash-protection",
                             "-ffp-contract=off",
                             "-fno-math-errno",
                             "-fsanitize=thread,integer-divide-by-zero",
                             "-fno-sanitize-recover=integer-divide-by-zero"};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    f.insert(f.end(), {"-mfma", "-mavx2", "-mf16c"});
#endif
  if (compiler().clang)
    f.insert(f.end(),
             {"-fno-vectorize", "-fno-slp-vectorize", "-mllvm", "-tsan-instrument-read-before-write=1"});
  else
    f.insert(f.end(), {"-fno-tree-vectorize", "-fno-gnu-unique"});
  if (fast_math) f.push_back("-DMETAL_SIMULATOR_FAST_MATH=1");
  return f;
}

// The functions of sanitizers that hooks.cpp has under names of its own.
std::vector<std::string> own_runtime() {
  std::vector<std::string> names{"tsan_read_range",
                                 "tsan_write_range",
                                 "tsan_memcpy",
                                 "tsan_memmove",
                                 "tsan_memset",
                                 "tsan_vptr_update",
                                 "tsan_vptr_read",
                                 "tsan_func_entry",
                                 "tsan_func_exit",
                                 "tsan_init",
                                 "ubsan_handle_divrem_overflow",
                                 "ubsan_handle_divrem_overflow_abort"};
  for (const char* kind : {"", "unaligned_", "volatile_", "unaligned_volatile_"})
    for (const char* access : {"read", "write"})
      for (const char* size : {"1", "2", "4", "8", "16"})
        names.push_back(std::string("tsan_") + kind + access + size);
  for (std::string& name : names) name = "-Wl,--wrap=__" + name;
  return names;
}

// metal_stdlib, parsed once for all kernels: what the compiler is to be told to use it. Where it cannot be
// made, the compiler reads the headers themselves.
std::vector<std::string> precompiled(bool fast_math) {
  static std::mutex mutex;
  static std::map<bool, std::vector<std::string>> made;
  const std::lock_guard lock(mutex);
  if (const auto found = made.find(fast_math); found != made.end()) return found->second;
  std::string key = compiler().version;
  for (const std::string& word : flags(fast_math)) key += word + ' ';
  const fs::path header = include_folder() / "metal_stdlib";
  // g++ looks for header.gch by itself, and in a folder of this name for one that fits.
  const fs::path folder = compiler().clang ? include_folder() : fs::path(header.string() + ".gch");
  const fs::path file = folder / (hash(key) + ".pch");
  std::error_code error;
  if (own_folder(folder) && !fs::exists(file, error)) {
    const std::string part = cache_folder() / ("header" + unique_suffix());
    std::vector<std::string> command = compiler().command;
    for (std::string& flag : flags(fast_math)) command.push_back(std::move(flag));
    command.insert(command.end(),
                   {"-x", "c++-header", header.string(), "-I", include_folder().string(), "-o", part});
    if (run_process(command).status == 0)
      fs::rename(part, file, error);
    else
      fs::remove(part, error);
  }
  std::vector<std::string> use;
  if (compiler().clang && fs::exists(file, error)) use = {"-include-pch", file.string()};
  return made[fast_math] = use;
}

std::string preprocess(const std::string& source, const std::string& name) {
  const fs::path file = cache_folder() / ("source" + unique_suffix() + ".cpp");
  write_file(file, "#line 1 \"" + name + "\"\n" + source + "\n");
  std::vector<std::string> command = compiler().command;
  command.insert(command.end(), {"-std=c++17", "-w", "-E", "-nostdinc", "-imacros",
                                 (include_folder() / "metal_macros").string(), file.string()});
  const Finished done = run_process(command);
  std::error_code error;
  fs::remove(file, error);
  if (done.status != 0)
    throw std::invalid_argument("[metal simulator] " + name + " does not compile:\n" + done.output);
  return done.output;
}

// #include <metal_...> is left out: every kernel starts with all of it.
std::string without_metal_includes(const std::string& source) {
  std::istringstream in(source);
  std::string out;
  for (std::string line; std::getline(in, line);) {
    const size_t hash_at = line.find_first_not_of(" \t");
    if (hash_at != std::string::npos && line[hash_at] == '#') {
      const size_t word = line.find_first_not_of(" \t", hash_at + 1);
      if (word != std::string::npos && line.compare(word, 7, "include") == 0 &&
          line.find("<metal_") != std::string::npos)
        line.clear();
    }
    out += line + '\n';
  }
  return out;
}

}  // namespace

const fs::path& include_folder() {
  static const fs::path& folder = lasting([] {
    const fs::path place = cache_folder() / ("include-" + headers_key());
    if (!own_folder(place)) throw std::runtime_error("[metal simulator] cannot write " + place.string());
    for (const auto& [name, text] : headers())
      if (std::error_code error; fs::file_size(place / name, error) != text.size())
        write_file(place / name, text);
    return fs::path(place);
  });
  return folder;
}

const Compiler& compiler() {
  static const Compiler& c = lasting(find_compiler);
  return c;
}

std::filesystem::path build_object(const std::string& source, const std::string& name, bool fast_math) {
  std::string key = MLX_SIM_REWRITING + compiler().version + headers_key() + name + '\n' + source;
  for (const std::string& word : compiler().command) key += word + ' ';
  for (const std::string& flag : flags(fast_math)) key += flag + ' ';
  const fs::path object = cache_folder() / (hash(key) + ".so");
  std::error_code error;
  if (fs::exists(object, error)) {
    fs::last_write_time(object, fs::file_time_type::clock::now(), error);  // for who bounds the folder
    return object;
  }
  const std::string text = transform(preprocess(without_metal_includes(source), name), name);
  const std::string stem = (cache_folder() / (hash(key) + unique_suffix())).string();
  write_file(stem + ".cpp", "#include <metal_stdlib>\n" + text);
  std::vector<std::string> command = compiler().command;
  for (std::string& flag : flags(fast_math)) command.push_back(std::move(flag));
  for (std::string& flag : precompiled(fast_math)) command.push_back(std::move(flag));
  // Names of sources stay as #line gives them.
  command.push_back("-fdebug-prefix-map=" + fs::current_path(error).string() + "=.");
  command.insert(command.end(), {"-I", include_folder().string(), "-shared", "-nodefaultlibs",
                                 "-Wl,-Bsymbolic", stem + ".cpp", this_library(), "-o", stem + ".so"});
  for (std::string& word : own_runtime()) command.push_back(std::move(word));
  const Finished done = run_process(command);
  if (!std::getenv("MLX_METAL_SIMULATOR_KEEP_SOURCE")) fs::remove(stem + ".cpp", error);
  if (done.status != 0)
    throw std::invalid_argument("[metal simulator] " + name + " does not compile:\n" + done.output);
  fs::rename(stem + ".so", object);
  static std::atomic<unsigned> built{0};
  if (built++ % 64 == 0) trim_cache();
  return object;
}

}  // namespace mlx::core::metal::sim

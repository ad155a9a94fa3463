#include "metal/sim/cache.h"
#include "metal/sim/lasting.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <vector>

namespace mlx::core::metal::sim {

namespace fs = std::filesystem;

std::string hash(const std::string& text) {
  // FNV-1a over 128 bits, as two lanes with different seeds.
  uint64_t a = 1469598103934665603ull, b = 0x9e3779b97f4a7c15ull;
  for (const char c : text) {
    a = (a ^ static_cast<unsigned char>(c)) * 1099511628211ull;
    b = (b ^ static_cast<unsigned char>(c)) * 0x100000001b3ull + (b >> 29);
  }
  char out[40];
  std::snprintf(out, sizeof(out), "%016llx%016llx", static_cast<unsigned long long>(a),
                static_cast<unsigned long long>(b));
  return out;
}

bool own_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  struct stat s;
  return lstat(folder.c_str(), &s) == 0 && S_ISDIR(s.st_mode) && s.st_uid == geteuid() &&
         access(folder.c_str(), W_OK) == 0;
}

// Of this user, writable: objects from it are executed.
const fs::path& cache_folder() {
  static const fs::path& folder = lasting([] {
    std::vector<fs::path> places;
    if (const char* x = std::getenv("XDG_CACHE_HOME"); x && *x) places.emplace_back(x);
    if (const char* x = std::getenv("HOME"); x && *x) places.push_back(fs::path(x) / ".cache");
    for (fs::path& p : places)
      if (own_folder(p / "mlx" / "metal-simulator")) return p / "mlx" / "metal-simulator";
    std::error_code error;
    const fs::path temporary =
        fs::temp_directory_path(error) / ("mlx-metal-simulator-" + std::to_string(geteuid()));
    if (!own_folder(temporary))
      throw std::runtime_error("[metal simulator] no folder for compiled kernels: " + temporary.string());
    fs::permissions(temporary, fs::perms::owner_all, error);
    return fs::path(temporary);
  });
  return folder;
}

std::string unique_suffix() {
  static std::atomic<unsigned> count{0};
  return "." + std::to_string(getpid()) + "." + std::to_string(count++);
}

void write_file(const fs::path& file, std::string_view text) {
  const fs::path part = file.string() + unique_suffix();
  std::ofstream out(part, std::ios::binary);
  out << text;
  out.close();
  if (!out) throw std::runtime_error("[metal simulator] cannot write " + part.string());
  fs::rename(part, file);
}

uint64_t cache_limit() {
  const char* text = std::getenv("MLX_METAL_SIMULATOR_CACHE");
  if (!text || !*text) return uint64_t{256} << 20;
  char* end = nullptr;
  const uint64_t n = std::strtoull(text, &end, 0);
  if (*end)
    throw std::invalid_argument(
        std::string("[metal simulator] MLX_METAL_SIMULATOR_CACHE must be a number of bytes, not ") + text);
  return n;
}

void trim_cache() {
  struct Entry {
    fs::file_time_type used;
    uint64_t size;
    fs::path file;
  };
  std::vector<Entry> entries;
  uint64_t total = 0;
  std::error_code error;
  for (const auto& e : fs::directory_iterator(cache_folder(), error)) {
    std::error_code gone;
    if (!e.is_regular_file(gone)) continue;
    const uint64_t size = e.file_size(gone);
    entries.push_back({e.last_write_time(gone), size, e.path()});
    total += size;
  }
  if (total <= cache_limit()) return;
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.used < b.used; });
  // A quarter more than needed, so that this is rare. A process that has an object open keeps it.
  for (const Entry& e : entries) {
    if (total <= cache_limit() / 4 * 3) break;
    fs::remove(e.file, error);
    total -= std::min(total, e.size);
  }
}

}  // namespace mlx::core::metal::sim

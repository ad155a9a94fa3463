#include "mlx/graph/system.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>

#ifdef __linux__
#include <sched.h>
#include <sys/mman.h>
#endif
#ifdef __APPLE__
#include <sys/sysctl.h>
#endif

namespace mlx::core::system {
namespace {

#ifdef __linux__
int allowed_cpus() {
  cpu_set_t set;
  return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 0;
}

// CPUs granted by a cgroup v2 quota ("max 100000" or "150000 100000"); 0 where there is none.
int granted_cpus() {
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  std::string quota;
  double period = 0;
  if (!(file >> quota >> period) || quota == "max" || period <= 0) return 0;
  return std::max(1, static_cast<int>(std::atof(quota.c_str()) / period + 0.5));
}
#else
int allowed_cpus() { return 0; }
int granted_cpus() { return 0; }
#endif

}  // namespace

#ifdef __linux__
void prefer_huge_pages(void* memory, size_t size) { madvise(memory, size, MADV_HUGEPAGE); }
#else
void prefer_huge_pages(void*, size_t) {}
#endif

int usable_cpus() {
  int n = static_cast<int>(std::thread::hardware_concurrency());
  if (const int allowed = allowed_cpus()) n = allowed;
  if (const int granted = granted_cpus()) n = std::min(n, granted);
  return std::max(1, n);
}

#ifdef __linux__
size_t last_level_cache() {
  // Not sysconf, which gives the sum over all caches of the package.
  std::ifstream file("/sys/devices/system/cpu/cpu0/cache/index3/size");
  size_t kibibytes = 0;
  return file >> kibibytes ? kibibytes << 10 : 0;
}
#else
size_t last_level_cache() { return 0; }
#endif

size_t physical_memory() {
  const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGE_SIZE);
  return pages > 0 && page > 0 ? static_cast<size_t>(pages) * static_cast<size_t>(page) : size_t{8} << 30;
}

#ifdef __APPLE__
size_t gpu_resources() {
  size_t limit = 0, length = sizeof limit;
  return sysctlbyname("iogpu.rsrc_limit", &limit, &length, nullptr, 0) == 0 ? limit : 0;
}
#else
size_t gpu_resources() { return 0; }
#endif

}  // namespace mlx::core::system

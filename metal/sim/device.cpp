#include "metal/sim/device.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <new>
#include <stdexcept>

#include "metal/sim/buffer.h"
#include "metal/sim/counters.h"
#include "metal/sim/library.h"

namespace mlx::core::metal::sim {

namespace {

size_t page() {
  static const auto size = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return size;
}

// A page that nobody may touch lies on both sides.
class OwnBuffer final : public SimulatedBuffer {
 public:
  OwnBuffer(std::byte* mapping, size_t mapped, size_t length, std::shared_ptr<std::atomic<size_t>> allocated)
      : SimulatedBuffer(mapping + page(), length),
        mapping_(mapping),
        mapped_(mapped),
        allocated_(std::move(allocated)) {}
  ~OwnBuffer() override {
    munmap(mapping_, mapped_);
    *allocated_ -= length();
  }

 private:
  void* mapping_;
  size_t mapped_;
  std::shared_ptr<std::atomic<size_t>> allocated_;
};

// Mappings that a process may have; Linux's default where it does not say.
size_t most_mappings() {
  std::ifstream file("/proc/sys/vm/max_map_count");
  size_t n = 0;
  return file >> n && n > 0 ? n : 65530;
}

size_t environment_size(const char* name, size_t otherwise) {
  const char* text = std::getenv(name);
  if (!text || !*text) return otherwise;
  char* end = nullptr;
  const unsigned long long n = std::strtoull(text, &end, 0);
  if (*end)
    throw std::invalid_argument(std::string("[metal simulator] ") + name +
                                " must be a number of bytes, not " + text);
  return n;
}

}  // namespace

SimulatedDevice::SimulatedDevice() {
  info_.name = "Metal simulator";
  info_.architecture = "simulator";
  info_.family = 9;
  const size_t machine = static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) * page();
  info_.memory_size = environment_size("MLX_METAL_SIMULATOR_MEMORY", machine);
  info_.max_buffer_length = info_.memory_size / 4 * 3;
  info_.resource_limit = most_mappings() / 2;  // the guards of neighbours are one mapping
  info_.recommended_working_set = info_.memory_size / 4 * 3;
}

std::shared_ptr<Buffer> SimulatedDevice::allocate(size_t length) {
  if (length > info_.max_buffer_length)
    throw std::invalid_argument("[metal simulator] a buffer of " + std::to_string(length) +
                                " bytes is beyond max_buffer_length (" +
                                std::to_string(info_.max_buffer_length) + ")");
  if (injected(Injection::NoMemory)) throw std::bad_alloc();
  if ((*allocated_ += length) > info_.memory_size) {
    *allocated_ -= length;
    throw std::bad_alloc();
  }
  const size_t inside = (length + page() - 1) / page() * page(), mapped = inside + 2 * page();
  void* p = mmap(nullptr, mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED ||
      (inside && mprotect(static_cast<std::byte*>(p) + page(), inside, PROT_READ | PROT_WRITE) != 0)) {
    if (p != MAP_FAILED) munmap(p, mapped);
    *allocated_ -= length;
    throw std::bad_alloc();
  }
  auto* bytes = static_cast<std::byte*>(p);
  // Who reads what nobody wrote sees no zeros.
  std::memset(bytes + page(), 0xcb, std::min<size_t>(length, 1 << 20));
  return std::make_shared<OwnBuffer>(bytes, mapped, length, allocated_);
}

std::shared_ptr<Buffer> SimulatedDevice::wrap(void* memory, size_t length) {
  if (reinterpret_cast<uintptr_t>(memory) % page() || length % page()) return nullptr;
  return std::make_shared<SimulatedBuffer>(memory, length);
}

std::shared_ptr<Library> SimulatedDevice::compile(const std::string& source, const std::string& name,
                                                  const CompileOptions& options) {
  return compile_library(source, name, options);
}

std::shared_ptr<Queue> SimulatedDevice::new_queue() { return make_queue(); }
std::shared_ptr<Event> SimulatedDevice::new_event() { return make_event(); }

void SimulatedDevice::set_wired_limit(size_t bytes) {
  if (bytes > info_.recommended_working_set)
    throw std::invalid_argument("[metal simulator] a wired limit of " + std::to_string(bytes) +
                                " bytes is beyond the recommended working set (" +
                                std::to_string(info_.recommended_working_set) + ")");
}

void SimulatedDevice::start_capture(const std::string&) {
  throw std::runtime_error("[metal simulator] cannot capture");
}
void SimulatedDevice::stop_capture() {}

extern "C" __attribute__((visibility("default"))) Device* mlx_metal_simulator_device() {
  // Never destroyed: threads of queues may outlive static objects.
  static auto* const device = new SimulatedDevice;
  allocated_bytes = [] { return device->allocated(); };
  return device;
}

}  // namespace mlx::core::metal::sim

#include "mlx/stream.h"

#include <sys/utsname.h>

#include <mutex>
#include <stdexcept>

#include "mlx/graph/backend.h"
#include "mlx/graph/flight.h"
#include "mlx/graph/system.h"
#include "mlx/graph/worker.h"
#include "mlx/utils.h"
#include "mlx/version.h"

namespace mlx::core {
namespace {

constexpr Device::DeviceType kinds[] = {Device::cpu, Device::gpu};

// The first stream of each device has the number of its kind (cpu: 0).
Stream first_stream(Device::DeviceType kind) { return Stream(static_cast<int>(kind), kind); }

std::vector<Stream> first_streams() {
  std::vector<Stream> out;
  for (const auto kind : kinds)
    if (is_available(kind)) out.push_back(first_stream(kind));
  return out;
}

struct Registry {
  std::mutex mutex;
  std::vector<Stream> streams = first_streams();
  int thread_local_streams = 0;
  Device device = is_available(Device::gpu) ? Device::gpu : Device::cpu;
};
Registry& registry() {
  static Registry r;
  return r;
}

void check_available(const Device& d, const char* op) {
  if (is_available(d)) return;
  const bool gpu = is_available(Device::gpu);
  throw std::invalid_argument(std::string("[") + op + "] there is no " +
                              (d.type == Device::gpu ? gpu ? "such GPU" : "GPU" : "such CPU device") +
                              " on this machine, expected Device(cpu, 0)" +
                              (gpu ? " or Device(gpu, 0)" : ""));
}

// Each thread has default streams of its own, which start as the first ones.
struct DefaultStreams {
  Stream cpu = Stream(0, Device::cpu), gpu = Stream(1, Device::gpu);
  Stream& operator[](Device::DeviceType kind) { return kind == Device::cpu ? cpu : gpu; }
};
thread_local DefaultStreams default_streams;
thread_local std::vector<Stream> own_streams;  // by index of ThreadLocalStream

}  // namespace

const char* version() { return "0.32.4"; }

const Device& default_device() { return registry().device; }
void set_default_device(const Device& d) {
  check_available(d, "set_default_device");
  registry().device = d;
}
bool is_available(const Device& d) { return d.index == 0 && (d.type == Device::cpu || gpu_backend()); }
int device_count(Device::DeviceType type) { return is_available(type) ? 1 : 0; }

const std::unordered_map<std::string, std::variant<std::string, size_t>>& device_info(const Device& d) {
  check_available(d, "device_info");
  if (d.type == Device::gpu) return gpu_backend()->info();
  static const auto info = [] {
    utsname names{};
    uname(&names);
    return std::unordered_map<std::string, std::variant<std::string, size_t>>{
        {"architecture", std::string(names.machine)},
        {"device_name", std::string("cpu")},
        {"memory_size", system::physical_memory()},
    };
  }();
  return info;
}

Stream default_stream(Device d) {
  check_available(d, "default_stream");
  return default_streams[d.type];
}
std::optional<Stream> peek_default_stream(Device d) {
  if (!is_available(d)) return std::nullopt;
  return default_streams[d.type];
}
void set_default_stream(Stream s) {
  check_available(s.device, "set_default_stream");
  default_streams[s.device.type] = s;
}
Stream new_stream(Device d) {
  check_available(d, "new_stream");
  Registry& r = registry();
  std::lock_guard lock(r.mutex);
  r.streams.emplace_back(static_cast<int>(r.streams.size()), d);
  return r.streams.back();
}
Stream new_thread_unsafe_stream(Device d) { return new_stream(d); }
ThreadLocalStream new_thread_local_stream(Device d) {
  check_available(d, "new_thread_local_stream");
  Registry& r = registry();
  std::lock_guard lock(r.mutex);
  return ThreadLocalStream(r.thread_local_streams++, d);
}
Stream stream_from_thread_local_stream(ThreadLocalStream tls) {
  while (own_streams.size() <= static_cast<size_t>(tls.index)) own_streams.push_back(new_stream(tls.device));
  return own_streams[static_cast<size_t>(tls.index)];
}
std::vector<Stream> get_streams() {
  Registry& r = registry();
  std::lock_guard lock(r.mutex);
  return r.streams;
}
void synchronize() {
  detail::wait_for_worker();
  detail::wait_for_flights();
}
void synchronize(Stream) { synchronize(); }
void synchronize(ThreadLocalStream) { synchronize(); }
void clear_streams() {
  synchronize();
  Registry& r = registry();
  std::lock_guard lock(r.mutex);
  r.streams = first_streams();
}

Stream to_stream(StreamOrDevice s) {
  if (std::holds_alternative<std::monostate>(s)) return default_streams[registry().device.type];
  if (const auto* stream = std::get_if<Stream>(&s)) return *stream;
  if (const auto* own = std::get_if<ThreadLocalStream>(&s)) return stream_from_thread_local_stream(*own);
  return default_stream(std::get<Device>(s));
}
Stream to_stream(StreamOrDevice s, Device default_) {
  return std::holds_alternative<std::monostate>(s) ? default_stream(default_) : to_stream(s);
}

// What is replaced is kept: the default device, and the default stream of the device that `s` is on.
StreamContext::StreamContext(StreamOrDevice s)
    : device_(default_device()), stream_(default_stream(to_stream(s).device)) {
  const Stream stream = to_stream(s);
  if (stream.device != device_) set_default_device(stream.device);
  set_default_stream(stream);
}
StreamContext::~StreamContext() {
  if (default_device() != device_) set_default_device(device_);
  default_streams[stream_.device.type] = stream_;
}

}  // namespace mlx::core

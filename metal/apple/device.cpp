#include "metal/apple/device.h"

#include <unistd.h>

#include <algorithm>
#include <new>

#include "metal/apple/apple.h"
#include "mlx/graph/system.h"

namespace mlx::core::metal::apple {
namespace {

class AppleDevice final : public Device {
 public:
  explicit AppleDevice(Ref device)
      : device_(std::move(device)),
        residency_(std::make_shared<Residency>(device_)),
        heaps_(device_, residency_) {
    Pool pool;
    info_.name = text(mtl::name(device_));
    info_.architecture = text(mtl::architecture_name(mtl::architecture(device_)));
    for (long family = kFamilyApple10; family >= long{kFamilyApple1} && info_.family == 0; --family)
      if (mtl::supports_family(device_, family))
        info_.family = static_cast<int>(family - kFamilyApple1.value) + 1;
    info_.memory_size = system::physical_memory();
    info_.max_buffer_length = mtl::max_buffer_length(device_);
    info_.recommended_working_set = mtl::working_set(device_);
    // Metal has no question for it; the kernel's own default stands where it does not say.
    info_.resource_limit = system::gpu_resources();
    if (info_.resource_limit == 0) info_.resource_limit = 499000;
    info_.max_threadgroup_memory = mtl::max_threadgroup_memory(device_);
    const Extent most = mtl::max_threads(device_);
    info_.max_threads_per_threadgroup = {static_cast<uint32_t>(most.width),
                                         static_cast<uint32_t>(most.height),
                                         static_cast<uint32_t>(most.depth)};
  }

  const DeviceInfo& info() const override { return info_; }

  std::shared_ptr<Buffer> allocate(size_t length) override {
    check_length("allocate", length);
    Pool pool;
    length = std::max<size_t>(length, 1);  // Metal has no empty buffers
    if (auto buffer = heaps_.allocate(length)) return buffer;
    Ref object = Ref::owned(mtl::new_buffer(device_, length, kMemory));
    if (!object) throw std::bad_alloc();
    void* contents = const_cast<void*>(mtl::contents(object));
    return alone(std::move(object), contents, length);
  }

  std::shared_ptr<Buffer> wrap(void* memory, size_t length) override {
    static const auto page = static_cast<size_t>(sysconf(_SC_PAGE_SIZE));
    if (length == 0 || reinterpret_cast<uintptr_t>(memory) % page != 0 || length % page != 0 ||
        length > info_.max_buffer_length)
      return nullptr;
    Pool pool;
    Ref object = Ref::owned(mtl::new_buffer_around(device_, memory, length, kMemory, nullptr));
    if (!object) return nullptr;
    return alone(std::move(object), memory, length);
  }

  std::shared_ptr<Library> compile(const std::string& source, const std::string& name,
                                   const CompileOptions& options) override {
    Pool pool;
    const Ref settings = make("MTLCompileOptions");
    if (mtl::set_math_mode.understood_by(settings)) {  // macOS 15
      mtl::set_math_mode(settings, options.fast_math ? long{kMathFast} : long{kMathSafe});
    } else {
      mtl::set_fast_math(settings, options.fast_math);
    }
    mtl::set_language(settings, (static_cast<UInteger>(options.language_major) << 16) +
                                    static_cast<UInteger>(options.language_minor));
    Id error = nullptr;
    Ref library = Ref::owned(mtl::new_library(device_, string(source), settings, &error));
    if (!library) throw std::invalid_argument("[metal] " + name + " does not compile: " + describe(error));
    return make_library(device_, std::move(library), name);
  }

  std::shared_ptr<Queue> new_queue() override { return make_queue(device_, residency_); }

  std::shared_ptr<Event> new_event() override {
    Ref event = Ref::owned(mtl::new_shared_event(device_));
    if (!event) throw std::runtime_error("[metal] " + info_.name + " has no more events");
    return std::make_shared<AppleEvent>(std::move(event));
  }

  void set_wired_limit(size_t bytes) override {
    Pool pool;
    residency_->set_limit(std::min(bytes, info_.recommended_working_set));
  }

  void start_capture(const std::string& path) override {
    Pool pool;
    const Id manager = mtl::shared_capture_manager(runtime().get_class("MTLCaptureManager"));
    if (mtl::is_capturing(manager)) throw std::runtime_error("[start_capture] a capture is running already");
    if (!mtl::supports_destination(manager, kTraceDocument))
      throw std::runtime_error(
          "[start_capture] the device writes no traces: the environment variable MTL_CAPTURE_ENABLED must be "
          "1 "
          "when the process starts");
    const Ref descriptor = make("MTLCaptureDescriptor");
    mtl::set_capture_object(descriptor, Id{device_});
    mtl::set_capture_destination(descriptor, kTraceDocument);
    mtl::set_output_url(descriptor, ns::file_url(runtime().get_class("NSURL"), Id{string(path)}));
    Id error = nullptr;
    if (!mtl::start_capture(manager, descriptor, &error))
      throw std::runtime_error("[start_capture] " + path + ": " + describe(error));
  }

  void stop_capture() override {
    Pool pool;
    const Id manager = mtl::shared_capture_manager(runtime().get_class("MTLCaptureManager"));
    if (!mtl::is_capturing(manager)) throw std::runtime_error("[stop_capture] no capture is running");
    mtl::stop_capture(manager);
  }

 private:
  std::shared_ptr<Buffer> alone(Ref object, void* contents, size_t length) const {
    auto memory = std::make_shared<const Allocation>(object, length, residency_);
    return std::make_shared<AppleBuffer>(std::move(object), contents, length, std::move(memory));
  }
  void check_length(const char* what, size_t length) const {
    if (length > info_.max_buffer_length)
      throw std::invalid_argument(std::string("[") + what + "] got " + std::to_string(length) +
                                  " bytes, a buffer of " + info_.name + " has at most " +
                                  std::to_string(info_.max_buffer_length));
  }

  Ref device_;
  DeviceInfo info_;
  std::shared_ptr<Residency> residency_;
  Heaps heaps_;
};

}  // namespace

Device* apple_device(const char* library) {
  static const std::unique_ptr<AppleDevice> device = [&]() -> std::unique_ptr<AppleDevice> {
    if (!open_runtime(library)) return nullptr;
    Pool pool;
    Ref found = Ref::owned(runtime().default_device());
    return found ? std::make_unique<AppleDevice>(std::move(found)) : nullptr;
  }();
  return device.get();
}

}  // namespace mlx::core::metal::apple

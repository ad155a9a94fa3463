// The GPU of evaluation (mlx/graph/backend.h) on a Metal device.
#include <pthread.h>

#include <atomic>
#include <map>
#include <mutex>
#include <typeindex>

#include "metal/host/kernels.h"
#include "metal/host/memory.h"
#include "mlx/graph/backend.h"
#include "mlx/graph/out_of_memory.h"

namespace mlx::core::metal {
namespace {

std::unordered_map<std::type_index, Supports>& supports() {
  static std::unordered_map<std::type_index, Supports> table;
  return table;
}

struct Counts {
  std::mutex mutex;
  std::map<std::string, uint64_t> hand_overs, waits;
};
Counts& counts() {
  static Counts* const all = std::make_unique<Counts>().release();
  return *all;
}

std::atomic<bool> forked{false};  // the threads and connections of the device stayed behind

class MetalBackend final : public GpuBackend {
 public:
  explicit MetalBackend(Device& device) : device_(device) {
    const DeviceInfo& d = device.info();
    info_ = {{"device_name", d.name},
             {"architecture", d.architecture},
             {"memory_size", d.memory_size},
             {"max_buffer_length", d.max_buffer_length},
             {"max_recommended_working_set_size", d.recommended_working_set},
             {"resource_limit", d.resource_limit}};
    take_memory_from(device);
    pthread_atfork(nullptr, nullptr, [] { forked = true; });
  }

  std::unique_ptr<Work> begin() override {
    if (forked)
      throw std::runtime_error(
          "[gpu] this process was forked from one that has the GPU, which works only there; expected the CPU "
          "(set_default_device) or a process that was started anew (multiprocessing's spawn)");
    return std::make_unique<Encoder>(device_);
  }

  void run(Primitive& p, const Arrays& inputs, Arrays& outputs) override {
    Encoder& encoder = Encoder::current();
    encoder.set_operation(p.name());
    const KernelTable::Kernel* kernel = kernels(core::Device::gpu).find(typeid(p));
    const auto supported = supports().find(typeid(p));
    if (kernel && (supported == supports().end() || supported->second(p, inputs, outputs)))
      return (*kernel)(p, inputs, outputs);
    count_hand_over(p.name());
    encoder.finish_for(inputs);
    p.eval_cpu(inputs, outputs);
  }

  const Info& info() const override { return info_; }
  size_t set_wired_limit(size_t limit) override {
    if (limit > device_.info().recommended_working_set)
      throw std::invalid_argument("[set_wired_limit] got " + std::to_string(limit) +
                                  " bytes, expected at most the recommended working set, " +
                                  std::to_string(device_.info().recommended_working_set));
    device_.set_wired_limit(limit);
    return wired_.exchange(limit);
  }
  void start_capture(const std::string& path) override { device_.start_capture(path); }
  void stop_capture() override { device_.stop_capture(); }
  std::map<std::string, uint64_t> hand_overs() const override {
    std::lock_guard lock(counts().mutex);
    return counts().hand_overs;
  }
  std::map<std::string, uint64_t> waits() const override {
    std::lock_guard lock(counts().mutex);
    return counts().waits;
  }

 private:
  Device& device_;
  Info info_;
  std::atomic<size_t> wired_{0};
};

GpuBackend* make_backend() {
  Device* d = device();
  if (!d) return nullptr;
  return std::make_unique<MetalBackend>(*d).release();  // never destroyed, as the device
}
const bool registered = add_gpu_backend(make_backend);

bool has(const Arrays& arrays, Dtype dtype) {
  for (const array& a : arrays)
    if (a.dtype() == dtype) return true;
  return false;
}

}  // namespace

void set_support(const std::type_info& type, Supports f) { supports()[type] = f; }

void count_hand_over(const std::string& name) {
  std::lock_guard lock(counts().mutex);
  ++counts().hand_overs[name];
}
void count_wait(const std::string& name) {
  std::lock_guard lock(counts().mutex);
  ++counts().waits[name];
}

bool without_float64(const Primitive&, const Arrays& inputs, const Arrays& outputs) {
  return !has(inputs, float64) && !has(outputs, float64);
}
bool real_only(const Primitive& p, const Arrays& inputs, const Arrays& outputs) {
  return without_float64(p, inputs, outputs) && !has(inputs, complex64) && !has(outputs, complex64);
}
bool anything(const Primitive&, const Arrays&, const Arrays&) { return true; }

const char* type_name(Dtype dtype) {
  switch (dtype.val()) {
    case Dtype::Val::bool_:
      return "bool";
    case Dtype::Val::uint8:
      return "uint8_t";
    case Dtype::Val::uint16:
      return "uint16_t";
    case Dtype::Val::uint32:
      return "uint32_t";
    case Dtype::Val::uint64:
      return "uint64_t";
    case Dtype::Val::int8:
      return "int8_t";
    case Dtype::Val::int16:
      return "int16_t";
    case Dtype::Val::int32:
      return "int32_t";
    case Dtype::Val::int64:
      return "int64_t";
    case Dtype::Val::float16:
      return "half";
    case Dtype::Val::float32:
      return "float";
    case Dtype::Val::bfloat16:
      return "bfloat";
    case Dtype::Val::complex64:
      return "complex64_t";
    default:
      throw std::invalid_argument("[metal] there is no type for float64");
  }
}

std::shared_ptr<Pipeline> typed_pipeline(const std::string& file, Dtype dtype, const std::string& kernel,
                                         const std::vector<FunctionConstant>& constants) {
  const std::string type = type_name(dtype);
  return pipeline_for(file, dtype_name(dtype),
                      "#include \"metal/kernels/types.h\"\ntypedef " + type + " T;\n", kernel, constants);
}

void allocate(array& out) {
  try {
    out.set_data(allocator::malloc(out.nbytes()));
  } catch (const OutOfMemory& e) {
    const size_t most = device()->info().max_buffer_length;
    if (out.nbytes() > most)
      throw OutOfMemory("malloc",
                        e.message() + ", a buffer of the device has at most " + std::to_string(most));
    // What the device is still using of freed memory comes back when it is done.
    Encoder::current().wait_for_all();
    out.set_data(allocator::malloc(out.nbytes()));
  }
}
bool on_device(const array& a) {
  return a.data_shared_ptr()->is_owned() && place_of(a.buffer(), a.data<char>()).buffer;
}
void take_or_allocate(array& out, std::span<const array> inputs) {
  for (const array& in : inputs)
    if (in.is_donatable() && in.flags().row_contiguous && in.nbytes() == out.nbytes() && on_device(in))
      return out.copy_shared_buffer(in);
  allocate(out);
}

Line line(size_t n) {
  constexpr size_t kMost = size_t{1} << 31;
  if (n <= kMost)
    return {{static_cast<uint32_t>(n), 1, 1}, {static_cast<uint32_t>(std::min<size_t>(n, 256)), 1, 1}};
  return {{static_cast<uint32_t>(kMost), ceil_div(n, kMost), 1}, {256, 1, 1}};
}

}  // namespace mlx::core::metal

// Command buffers and queues: encoding checks what Metal's validation layer checks.
#include "metal/sim/device.h"
#include "metal/sim/library.h"
#include "metal/sim/worker.h"

namespace mlx::core::metal::sim {

namespace {

[[noreturn]] void misuse(const std::string& what) {
  throw std::invalid_argument("[metal simulator] " + what);
}

class SimulatedCommandBuffer final : public CommandBuffer {
 public:
  explicit SimulatedCommandBuffer(std::shared_ptr<Worker> worker) : worker_(std::move(worker)) {}

  void set_pipeline(std::shared_ptr<Pipeline> pipeline) override {
    encoding("set_pipeline");
    state_.pipeline = std::dynamic_pointer_cast<KernelPipeline>(pipeline);
    if (!state_.pipeline) misuse("set_pipeline: not a pipeline of this device");
  }
  void set_buffer(uint32_t index, std::shared_ptr<Buffer> buffer, size_t offset, size_t length) override {
    encoding("set_buffer");
    Binding& b = binding(state_.buffers, index, "set_buffer");
    if (!buffer) misuse("set_buffer: no buffer for index " + std::to_string(index));
    if (offset > buffer->length() || length > buffer->length() - offset)
      misuse("set_buffer: " + std::to_string(length) + " bytes from " + std::to_string(offset) +
             " on do not fit in a buffer of " + std::to_string(buffer->length()));
    b = {std::move(buffer), offset, length, nullptr, 0};
  }
  void set_bytes(uint32_t index, const void* bytes, size_t length) override {
    encoding("set_bytes");
    Binding& b = binding(state_.buffers, index, "set_bytes");
    if (length == 0 || length > 4096)
      misuse("set_bytes: " + std::to_string(length) + " bytes; 1 to 4096 are allowed");
    const auto* first = static_cast<const std::byte*>(bytes);
    b = {nullptr, 0, 0, std::make_shared<std::vector<std::byte>>(first, first + length), 0};
  }
  void set_threadgroup_memory(uint32_t index, size_t bytes) override {
    encoding("set_threadgroup_memory");
    if (bytes % 16)
      misuse("set_threadgroup_memory: " + std::to_string(bytes) + " bytes are no multiple of 16");
    binding(state_.threadgroup, index, "set_threadgroup_memory").threadgroup = bytes;
  }
  void dispatch_threads(Size threads, Size per_group, const std::string& operation) override {
    const auto groups = [](uint32_t n, uint32_t by) { return by ? (n + by - 1) / by : 0; };
    add(threads,
        {groups(threads.x, per_group.x), groups(threads.y, per_group.y), groups(threads.z, per_group.z)},
        per_group, operation);
  }
  void dispatch_groups(Size groups, Size per_group, const std::string& operation) override {
    add({groups.x * per_group.x, groups.y * per_group.y, groups.z * per_group.z}, groups, per_group,
        operation);
  }
  void barrier() override {
    encoding("barrier");
    work_->commands.emplace_back(Barrier{});
  }
  void wait_for(std::shared_ptr<Event> event, uint64_t value) override {
    encoding("wait_for");
    work_->commands.emplace_back(WaitFor{of_this_device(event, "wait_for"), value});
  }
  void signal(std::shared_ptr<Event> event, uint64_t value) override {
    encoding("signal");
    work_->commands.emplace_back(Signal{of_this_device(event, "signal"), value});
  }
  void commit(std::function<void(std::exception_ptr)> done) override {
    encoding("commit");
    committed_ = true;
    work_->done = std::move(done);
    worker_->add(work_);
  }
  void wait() override {
    if (!committed_) misuse("wait: the command buffer was not committed");
    work_->wait();
  }

 private:
  static std::shared_ptr<SimulatedEvent> of_this_device(const std::shared_ptr<Event>& event,
                                                        const char* what) {
    auto e = std::dynamic_pointer_cast<SimulatedEvent>(event);
    if (!e) misuse(std::string(what) + ": not an event of this device");
    return e;
  }
  void encoding(const char* what) const {
    if (committed_) misuse(std::string(what) + ": the command buffer was committed already");
  }
  Binding& binding(std::vector<Binding>& all, uint32_t index, const char* what) {
    if (index > 30) misuse(std::string(what) + ": index " + std::to_string(index) + "; 0 to 30 are allowed");
    if (all.size() <= index) all.resize(index + 1);
    return all[index];
  }
  void add(Size threads, Size groups, Size per_group, const std::string& operation) {
    encoding("dispatch");
    if (!state_.pipeline) misuse("dispatch: " + operation + " has no pipeline");
    const uint64_t n = per_group.count();
    const uint32_t most = state_.pipeline->max_threads_per_threadgroup();
    if (n == 0 || n > most)
      throw std::invalid_argument("[" + operation + "] threadgroups of " + std::to_string(n) +
                                  " threads; kernel " + state_.pipeline->kernel()->name + " allows 1 to " +
                                  std::to_string(most));
    Dispatch d = state_;
    d.threads = threads;
    d.groups = groups;
    d.group_size = per_group;
    d.operation = operation;
    work_->commands.emplace_back(std::move(d));
  }

  std::shared_ptr<Worker> worker_;
  std::shared_ptr<Work> work_ = std::make_shared<Work>();
  Dispatch state_;
  bool committed_ = false;
};

class SimulatedQueue final : public Queue {
 public:
  std::shared_ptr<CommandBuffer> command_buffer() override {
    return std::make_shared<SimulatedCommandBuffer>(worker_);
  }

 private:
  std::shared_ptr<Worker> worker_ = std::make_shared<Worker>();
};

}  // namespace

std::shared_ptr<Queue> make_queue() { return std::make_shared<SimulatedQueue>(); }

}  // namespace mlx::core::metal::sim

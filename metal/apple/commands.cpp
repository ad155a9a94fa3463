// Queues and command buffers. All that can go wrong on the device comes back through the completion handler
// of a command buffer, as an exception that is kept, never thrown, there.
#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <tuple>

#include "metal/apple/device.h"

namespace mlx::core::metal::apple {
namespace {

constexpr size_t kMostBytes = 4096;  // of setBytes

// Metal lets passes overlap that have no memory in common, and knows that of tracked memory only, which this
// is not: each encoder of a queue waits for the fence that the one before it updates. An encoder that is the
// first must not wait for what nobody will do.
struct Turn {
  Ref fence;
  std::atomic<bool> updated{false};  // by an encoder whose command buffer is committed
};

// A queue whose device gave up answers everything with errors: the next command buffer gets a new one.
class QueueState {
 public:
  QueueState(Ref device, std::shared_ptr<Residency> residency)
      : device_(std::move(device)), residency(std::move(residency)) {
    Pool pool;
    std::lock_guard lock(mutex_);
    renew();
  }
  std::pair<Ref, std::shared_ptr<Turn>> command_buffer() {
    std::lock_guard lock(mutex_);
    if (dead_.exchange(false)) renew();
    const Ref descriptor = make("MTLCommandBufferDescriptor");
    mtl::set_error_options(descriptor, kEncoderStatus);
    mtl::set_retained_references(descriptor, false);  // Commands keeps them
    Ref made = Ref::shared(mtl::command_buffer(queue_, Id{descriptor}));
    if (!made) throw DeviceError("[metal] the queue gives no more command buffers");
    return {std::move(made), turn_};
  }
  void give_up() { dead_ = true; }

 private:
  void renew() {
    queue_ = Ref::owned(mtl::new_queue(device_));
    if (!queue_) throw DeviceError("[metal] the device gives no more command queues");
    residency->attach(queue_);
    turn_ = std::make_shared<Turn>();
    turn_->fence = Ref::owned(mtl::new_fence(device_));
    if (!turn_->fence) throw DeviceError("[metal] the device gives no more fences");
  }
  std::mutex mutex_;
  Ref device_, queue_;
  std::shared_ptr<Turn> turn_;
  std::atomic<bool> dead_{false};

 public:
  const std::shared_ptr<Residency> residency;
};

// Operations that one encoder works for, as its label: "Matmul, Softmax and 3 more".
class Label {
 public:
  void add(const std::string& operation) {
    if (std::find(names_.begin(), names_.end(), operation) != names_.end()) return;
    if (names_.size() < kNamed) {
      names_.push_back(operation);
    } else {
      ++more_;
    }
  }
  std::string text() const {
    std::string out;
    for (const std::string& name : names_) out += (out.empty() ? "" : ", ") + name;
    if (more_) out += " and " + std::to_string(more_) + " more";
    return out;
  }

 private:
  static constexpr size_t kNamed = 8;
  std::vector<std::string> names_;
  size_t more_ = 0;
};

// What is shared by a command buffer, whoever waits for it, and the completion handler.
struct Outcome {
  std::mutex mutex;
  std::condition_variable changed;
  bool finished = false;
  std::exception_ptr error;
  std::function<void(std::exception_ptr)> done;
  std::vector<std::shared_ptr<const void>> kept;  // buffers, pipelines, events that the commands use
  std::shared_ptr<QueueState> queue;
  std::string operations;
};

// Labels of the encoders that an error concerns: those that faulted, else those it affected.
std::string culprits(Id error) {
  if (!runtime().encoder_info_key) return "";
  const Id infos = ns::value_of(ns::user_info(error), *runtime().encoder_info_key);
  std::string faulted, affected;
  for (UInteger i = 0, n = ns::count(infos); i < n; ++i) {
    const Id info = ns::at(infos, i);
    const Integer state = mtl::info_state(info);
    std::string* list = state == long{kEncoderFaulted}    ? &faulted
                        : state == long{kEncoderAffected} ? &affected
                                                          : nullptr;
    const std::string label = text(mtl::info_label(info));
    if (list && !label.empty()) *list += (list->empty() ? "" : ", ") + label;
  }
  return faulted.empty() ? affected : faulted;
}

const char* kind_of(Integer code) {
  if (code == long{kTimeout}) return "it took too long";
  if (code == long{kOutOfMemory}) return "there was not enough memory";
  if (code == long{kAccessRevoked}) return "the device refuses work after earlier errors";
  if (code == long{kDeviceRemoved}) return "the device is gone";
  return "the device stopped";
}

std::exception_ptr error_of(Id buffer, Outcome& outcome) {
  if (mtl::status(buffer) != UInteger{kStatusError}) return nullptr;
  const Id error = mtl::error(buffer);
  const Integer code = error ? ns::code(error) : 0;
  if (code == long{kAccessRevoked} || code == long{kDeviceRemoved}) outcome.queue->give_up();
  std::string who = culprits(error);
  if (who.empty()) who = outcome.operations;
  return std::make_exception_ptr(
      DeviceError("[" + (who.empty() ? "metal" : who) + "] " + kind_of(code) + ": " + describe(error)));
}

void finish(Id buffer, Outcome& outcome) noexcept {
  std::exception_ptr error;
  {
    Pool pool;
    try {
      error = error_of(buffer, outcome);
    } catch (...) {  // no memory for the message
      error = std::current_exception();
    }
  }
  std::function<void(std::exception_ptr)> done;
  std::vector<std::shared_ptr<const void>> kept;
  {
    std::lock_guard lock(outcome.mutex);
    outcome.error = error;
    done.swap(outcome.done);
    kept.swap(outcome.kept);
  }
  kept.clear();
  try {
    if (done) done(error);
  } catch (...) {  // it promised not to; there is nobody here to tell
  }
  {
    std::lock_guard lock(outcome.mutex);
    outcome.finished = true;
  }
  outcome.changed.notify_all();
}

struct Binding {
  std::shared_ptr<Buffer> buffer;  // null: bytes
  size_t offset = 0;
  std::string bytes;
};

class AppleCommands final : public CommandBuffer {
 public:
  explicit AppleCommands(std::shared_ptr<QueueState> queue) : outcome_(std::make_shared<Outcome>()) {
    Pool pool;
    std::tie(buffer_, turn_) = queue->command_buffer();
    outcome_->kept.push_back(turn_);
    outcome_->queue = std::move(queue);
  }
  ~AppleCommands() override {
    Pool pool;
    end();  // Metal does not let go of an encoder that is open
  }

  void set_pipeline(std::shared_ptr<Pipeline> pipeline) override {
    check_open("set_pipeline");
    pipeline_ = std::move(pipeline);
    outcome_->kept.push_back(pipeline_);
    if (encoder_) mtl::set_pipeline(encoder_, state_of(*pipeline_));
  }

  void set_buffer(uint32_t index, std::shared_ptr<Buffer> buffer, size_t offset, size_t length) override {
    check_open("set_buffer");
    if (!buffer)
      throw std::invalid_argument("[set_buffer] got no buffer for argument " + std::to_string(index));
    if (offset > buffer->length() || length > buffer->length() - offset)
      throw std::invalid_argument("[set_buffer] got bytes " + std::to_string(offset) + " to " +
                                  std::to_string(offset + length) + " of a buffer of " +
                                  std::to_string(buffer->length()));
    outcome_->kept.push_back(buffer);
    Binding& binding = bindings_[index];
    binding = {std::move(buffer), offset, {}};
    if (encoder_) bind(index, binding);
  }

  void set_bytes(uint32_t index, const void* bytes, size_t length) override {
    check_open("set_bytes");
    if (length == 0 || length > kMostBytes)
      throw std::invalid_argument("[set_bytes] got " + std::to_string(length) + " bytes, expected 1 to " +
                                  std::to_string(kMostBytes));
    Binding& binding = bindings_[index];
    binding = {nullptr, 0, std::string(static_cast<const char*>(bytes), length)};
    if (encoder_) bind(index, binding);
  }

  void set_threadgroup_memory(uint32_t index, size_t bytes) override {
    check_open("set_threadgroup_memory");
    threadgroup_[index] = (bytes + 15) / 16 * 16;  // Metal takes multiples of 16
    if (encoder_) mtl::set_threadgroup_memory(encoder_, threadgroup_[index], index);
  }

  void dispatch_threads(Size threads, Size threads_per_group, const std::string& operation) override {
    dispatch(mtl::dispatch_threads, threads, threads_per_group, operation);
  }
  void dispatch_groups(Size groups, Size threads_per_group, const std::string& operation) override {
    dispatch(mtl::dispatch_groups, groups, threads_per_group, operation);
  }

  void barrier() override {
    check_open("barrier");
    if (encoder_) mtl::barrier(encoder_, kBuffers);
  }

  void wait_for(std::shared_ptr<Event> event, uint64_t value) override {
    check_open("wait_for");
    Pool pool;
    end();
    in_turn_ = false;
    mtl::encode_wait(buffer_, object_of(event), value);
    outcome_->kept.push_back(std::move(event));
  }
  void signal(std::shared_ptr<Event> event, uint64_t value) override {
    check_open("signal");
    Pool pool;
    take_turn();
    mtl::encode_signal(buffer_, object_of(event), value);
    outcome_->kept.push_back(std::move(event));
  }

  void commit(std::function<void(std::exception_ptr)> done) override {
    check_open("commit");
    Pool pool;
    take_turn();
    if (turn_->updated.exchange(true) && !behind_)
      throw std::logic_error("[commit] two command buffers of a queue were begun as its first ones");
    committed_ = true;
    outcome_->operations = operations_.text();
    outcome_->done = std::move(done);
    mtl::set_buffer_label(buffer_, Id{string(outcome_->operations)});
    Handler handler([outcome = outcome_](Id buffer) noexcept { finish(buffer, *outcome); });
    mtl::add_completed(buffer_, handler.block());
    outcome_->queue->residency->update();
    mtl::commit(buffer_);
    bindings_.clear();
  }

  void wait() override {
    if (!committed_) throw std::logic_error("[wait] the command buffer was not committed");
    {
      Pool pool;
      mtl::wait(buffer_);
    }
    std::unique_lock lock(outcome_->mutex);
    outcome_->changed.wait(lock, [&] { return outcome_->finished; });
    if (outcome_->error) std::rethrow_exception(outcome_->error);
  }

 private:
  void check_open(const char* what) const {
    if (committed_)
      throw std::logic_error(std::string("[") + what + "] the command buffer was committed already");
  }
  static Id state_of(const Pipeline& p) { return static_cast<const ApplePipeline&>(p).object(); }
  static Id object_of(const std::shared_ptr<Event>& event) {
    return static_cast<const AppleEvent&>(*event).object();
  }

  void bind(uint32_t index, const Binding& b) {
    if (b.buffer) {
      mtl::set_buffer(encoder_, static_cast<const AppleBuffer&>(*b.buffer).object(), b.offset, index);
    } else {
      mtl::set_bytes(encoder_, b.bytes.data(), b.bytes.size(), index);
    }
  }

  // Opens an encoder, with all that was set before.
  void begin() {
    if (encoder_) return;
    encoder_ = Ref::shared(mtl::compute_encoder(buffer_, kConcurrent));
    if (!encoder_) throw DeviceError("[metal] the command buffer gives no encoder");
    label_ = {};
    if (!began_) behind_ = turn_->updated;
    if (std::exchange(began_, true) || behind_) mtl::wait_for_fence(encoder_, Id{turn_->fence});
    if (pipeline_) mtl::set_pipeline(encoder_, state_of(*pipeline_));
    for (const auto& [index, binding] : bindings_) bind(index, binding);
    for (const auto& [index, bytes] : threadgroup_) mtl::set_threadgroup_memory(encoder_, bytes, index);
  }
  void end() {
    if (!encoder_) return;
    mtl::set_encoder_label(encoder_, Id{string(label_.text())});
    mtl::update_fence(encoder_, Id{turn_->fence});
    mtl::end_encoding(encoder_);
    encoder_ = {};
    in_turn_ = true;
  }
  // What follows, in this command buffer or in the queue, does so behind all that came before: an encoder
  // without commands stands for a command buffer, or the end of one, that has none.
  void take_turn() {
    if (!in_turn_) begin();
    end();
  }

  void dispatch(const Message<void(Extent, Extent)>& message, Size grid, Size group,
                const std::string& operation) {
    check_open("dispatch");
    if (!pipeline_) throw std::logic_error("[" + operation + "] no kernel was set");
    const auto& pipeline = static_cast<const ApplePipeline&>(*pipeline_);
    if (group.count() == 0 || group.count() > pipeline.max_threads_per_threadgroup())
      throw std::invalid_argument("[" + operation + "] kernel '" + pipeline.kernel + "' runs at most " +
                                  std::to_string(pipeline.max_threads_per_threadgroup()) +
                                  " threads in a threadgroup, got " + std::to_string(group.count()));
    if (grid.count() == 0) return;
    Pool pool;
    begin();
    message(encoder_, extent(grid), extent(group));
    label_.add(operation);
    operations_.add(operation);
  }

  Ref buffer_, encoder_;
  std::shared_ptr<Outcome> outcome_;
  std::shared_ptr<Pipeline> pipeline_;
  std::map<uint32_t, Binding> bindings_;
  std::map<uint32_t, size_t> threadgroup_;
  Label label_, operations_;
  std::shared_ptr<Turn> turn_;
  bool began_ = false, behind_ = false;  // an encoder; what was committed to the queue
  bool in_turn_ = false;                 // an encoder stands behind all that was encoded
  bool committed_ = false;
};

class AppleQueue final : public Queue {
 public:
  AppleQueue(Ref device, std::shared_ptr<Residency> residency)
      : state_(std::make_shared<QueueState>(std::move(device), std::move(residency))) {}
  std::shared_ptr<CommandBuffer> command_buffer() override { return std::make_shared<AppleCommands>(state_); }

 private:
  std::shared_ptr<QueueState> state_;
};

}  // namespace

std::shared_ptr<Queue> make_queue(Ref device, std::shared_ptr<Residency> residency) {
  return std::make_shared<AppleQueue>(std::move(device), std::move(residency));
}

}  // namespace mlx::core::metal::apple

// A device whose kernels are functions of the test, run by a thread per queue: what evaluation and the host
// code do with a device that is behind, without Metal or the simulator. ThreadSanitizer sees everything.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <new>
#include <thread>

#include "metal/device/device.h"

namespace cpu_device {

using namespace mlx::core::metal;

// The arguments of a kernel, by index: memory, or a copy of bytes.
using Arguments = std::map<uint32_t, char*>;

class Kernel final : public Pipeline {
 public:
  using Run = std::function<void(const Arguments&)>;
  explicit Kernel(Run run) : run(std::move(run)) {}
  uint32_t max_threads_per_threadgroup() const override { return 1024; }
  uint32_t simd_width() const override { return 32; }
  size_t static_threadgroup_memory() const override { return 0; }
  const Run run;
};

class Memory final : public Buffer {
 public:
  explicit Memory(size_t length) : Buffer(::operator new(length, std::align_val_t{64}), length) {}
  ~Memory() override { ::operator delete(contents(), std::align_val_t{64}); }
};

class Counter final : public Event {
 public:
  uint64_t value() const override {
    std::lock_guard lock(mutex_);
    return value_;
  }
  void signal(uint64_t value) override {
    std::lock_guard lock(mutex_);
    value_ = std::max(value_, value);
    changed_.notify_all();
  }
  bool wait(uint64_t value, uint64_t timeout_ms) override {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::milliseconds(timeout_ms), [&] { return value_ >= value; });
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  uint64_t value_ = 0;
};

// What a queue and its thread share. After an error everything fails that is behind it.
struct Line {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::function<void(bool broken)>> commands;
  bool closed = false;

  void work() {
    bool broken = false;
    std::unique_lock lock(mutex);
    while (true) {
      changed.wait(lock, [&] { return closed || !commands.empty(); });
      if (commands.empty()) return;
      auto next = std::move(commands.front());
      commands.pop_front();
      lock.unlock();
      try {
        next(broken);
      } catch (...) {
        broken = true;
      }
      next = nullptr;  // which may be the end of the queue: without the lock
      lock.lock();
    }
  }
};

class Commands final : public CommandBuffer, public std::enable_shared_from_this<Commands> {
 public:
  Commands(std::shared_ptr<Line> line, std::shared_ptr<Queue> queue)
      : line_(std::move(line)), queue_(std::move(queue)) {}

  void set_pipeline(std::shared_ptr<Pipeline> pipeline) override {
    kernel_ = std::static_pointer_cast<Kernel>(std::move(pipeline));
  }
  void set_buffer(uint32_t index, std::shared_ptr<Buffer> buffer, size_t offset, size_t) override {
    arguments_[index] = static_cast<char*>(buffer->contents()) + offset;
    kept_.push_back(std::move(buffer));
  }
  void set_bytes(uint32_t index, const void* bytes, size_t length) override {
    copies_.emplace_back(static_cast<const char*>(bytes), static_cast<const char*>(bytes) + length);
    arguments_[index] = copies_.back().data();
  }
  void set_threadgroup_memory(uint32_t, size_t) override {}
  void dispatch_threads(Size, Size, const std::string&) override {
    steps_.push_back([kernel = kernel_, arguments = arguments_] { kernel->run(arguments); });
  }
  void dispatch_groups(Size groups, Size, const std::string& operation) override {
    dispatch_threads(groups, {}, operation);
  }
  void barrier() override {}
  void wait_for(std::shared_ptr<Event> event, uint64_t value) override {
    steps_.push_back([event, value] {
      if (!event->wait(value, 60000)) throw DeviceError("[event] nobody has signalled it for a minute");
    });
  }
  // Whatever became of what is in front of it: others wait.
  void signal(std::shared_ptr<Event> event, uint64_t value) override {
    at_end_.push_back([event, value] { event->signal(value); });
  }

  void commit(std::function<void(std::exception_ptr)> done) override {
    std::lock_guard lock(line_->mutex);
    line_->commands.push_back([self = shared_from_this(), done = std::move(done)](bool broken) {
      std::exception_ptr error;
      try {
        if (broken) throw DeviceError("[command buffer] something in front of it in its queue has failed");
        for (const auto& step : self->steps_) step();
      } catch (...) {
        error = std::current_exception();
      }
      for (const auto& step : self->at_end_) step();
      if (done) done(error);
      {
        std::lock_guard done_lock(self->mutex_);
        self->error_ = error;
        self->is_done_ = true;
        self->changed_.notify_all();
      }
      if (error) std::rethrow_exception(error);
    });
    line_->changed.notify_all();
  }
  void wait() override {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return is_done_; });
    if (error_) std::rethrow_exception(error_);
  }

 private:
  const std::shared_ptr<Line> line_;
  const std::shared_ptr<Queue> queue_;  // stays until the commands are done
  std::shared_ptr<Kernel> kernel_;
  Arguments arguments_;
  std::vector<std::shared_ptr<Buffer>> kept_;
  std::deque<std::vector<char>> copies_;
  std::vector<std::function<void()>> steps_, at_end_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::exception_ptr error_;
  bool is_done_ = false;
};

class Lane final : public Queue, public std::enable_shared_from_this<Lane> {
 public:
  Lane() {
    std::thread([line = line_] { line->work(); }).detach();
  }
  ~Lane() override {
    std::lock_guard lock(line_->mutex);
    line_->closed = true;
    line_->changed.notify_all();
  }
  std::shared_ptr<CommandBuffer> command_buffer() override {
    return std::make_shared<Commands>(line_, shared_from_this());
  }

 private:
  const std::shared_ptr<Line> line_ = std::make_shared<Line>();
};

class CpuDevice final : public Device {
 public:
  const DeviceInfo& info() const override { return info_; }
  std::shared_ptr<Buffer> allocate(size_t length) override { return std::make_shared<Memory>(length); }
  std::shared_ptr<Buffer> wrap(void*, size_t) override { return nullptr; }
  std::shared_ptr<Library> compile(const std::string&, const std::string& name,
                                   const CompileOptions&) override {
    throw std::logic_error("[compile] got " + name + ", expected no source: kernels are functions here");
  }
  std::shared_ptr<Queue> new_queue() override { return std::make_shared<Lane>(); }
  std::shared_ptr<Event> new_event() override { return std::make_shared<Counter>(); }
  void set_wired_limit(size_t) override {}
  void start_capture(const std::string&) override {}
  void stop_capture() override {}

 private:
  const DeviceInfo info_{.name = "a thread of this test",
                         .architecture = "cpu",
                         .memory_size = size_t{1} << 30,
                         .max_buffer_length = size_t{1} << 28,
                         .recommended_working_set = size_t{1} << 30,
                         .resource_limit = 1 << 16};
};

}  // namespace cpu_device

// How host code gives kernels to the device. One evaluation has one Encoder, or goes on with that of earlier
// ones whose values it needs; it makes command buffers, splits them before they become too long, puts
// barriers where a dispatch meets what an earlier one wrote, and keeps memory until the device is done with
// it.
//
//   Dispatch d(p.stream(), pipeline);       // arguments in the order of the kernel's buffer indices
//   d.in(x).out(y).value(params);
//   d.threads({n, 1, 1}, {256, 1, 1});
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "metal/device/device.h"
#include "mlx/array.h"
#include "mlx/graph/backend.h"

namespace mlx::core::metal {

// Somebody waits for the GPU while work for it is being encoded.
void count_wait(const std::string& name);

// The bytes that an array's elements lie in, and where in them the first element is.
struct Extent {
  char* begin;
  size_t bytes;
  int64_t first;  // in elements, from `begin`
};
Extent extent_of(const array& a);

class Encoder final : public GpuBackend::Work {
 public:
  explicit Encoder(Device& device);
  ~Encoder() override;

  // The one of the evaluation that runs on this thread. Throws std::logic_error outside of any.
  static Encoder& current();

  void enter() override;
  void leave() override;
  void submit() override;
  void count_wait(const std::string& name) override { metal::count_wait(name); }
  bool retire() override;
  bool has_commands() const override { return in_flight_.load(std::memory_order_acquire) > 0; }

  // Before the CPU reads these arrays or writes into them. Throws Stopped where something went wrong.
  void finish_for(const std::vector<array>& arrays);
  void finish_for(const std::vector<const array*>& arrays);
  // Returns when everything encoded so far is done. Throws Stopped where something went wrong.
  void wait_for_all();

  // A word for the dispatch that is encoded next on this stream, by which its kernel says that values which
  // only the device knows are wrong: it has all bits set until the kernel gives it another value (the least
  // of several, atomically). What `error` makes of that value is thrown when the work is waited for, and the
  // values of the node that is being encoded, and of what was made of them, are lost.
  array watch(const Stream& stream, std::function<std::exception_ptr(uint32_t)> error);

  // What kernels made of an array for others to use: transformed weights, for a second convolution with them.
  // `made` stays for this evaluation, while the array lives (its value does not change then) and as long as
  // there is not too much else. An empty result: nothing is there.
  std::optional<array> derived(const array& from, const std::string& what);
  void keep_derived(const array& from, std::string what, const array& made);

  // What messages call the work that follows.
  void set_operation(std::string name) { operation_ = std::move(name); }
  const std::string& operation() const { return operation_; }

 private:
  friend class Dispatch;
  struct Span {
    const char* begin;
    const char* end;
    bool meets(const Span& other) const { return begin < other.end && other.begin < end; }
  };
  struct Watch {
    array word;
    size_t node;
    std::function<std::exception_ptr(uint32_t)> error;
  };
  struct Commands {
    std::shared_ptr<CommandBuffer> buffer;
    std::vector<Watch> watches;
    std::unordered_set<void*> pinned;
    std::vector<Span> read, written;  // since the last barrier
    std::string first, last;          // operations
    size_t dispatches = 0, bytes = 0;
    size_t nodes = 0;  // in front of this one nothing else is to be done
  };

  struct Derived {
    std::weak_ptr<array::ArrayDesc> from;
    std::string what;
    array made;
  };

  // Throws std::logic_error while the arguments of a dispatch are being set: what is encoded then would
  // change them, or end the command buffer that they are for.
  void check_no_dispatch(const char* what) const;
  Commands& commands(const Stream& stream);
  std::shared_ptr<Queue> queue_of(const Stream& stream);
  void open(const Stream& stream);
  void commit();
  void finish_if(bool used);
  static std::exception_ptr named(std::exception_ptr error, const Commands& commands);
  void keep(Commands& c, const array& a);
  void order(Commands& c, const std::vector<Span>& read, const std::vector<Span>& written);

  Device& device_;
  const uint32_t user_;
  uint32_t outer_user_ = 0;
  Encoder* outer_ = nullptr;
  std::string operation_;
  bool dispatch_open_ = false;
  std::unordered_map<int, std::shared_ptr<Queue>> queues_;  // by stream
  std::optional<Stream> stream_;                            // of the open commands
  std::optional<Commands> open_;
  mutable std::mutex mutex_;  // of `queues_` and `committed_`, which others than the owner look at
  std::deque<Commands> committed_;
  std::atomic<size_t> in_flight_{0};  // of `committed_`, for those who have no time to wait for the lock
  std::deque<Derived> derived_;       // what was used last is at the end
  std::optional<array> words_;        // for watches; `used_words_` of them have one
  size_t used_words_ = 0;
  std::shared_ptr<Event> event_;  // between streams
  uint64_t event_value_ = 0;
};

// From its making to `threads` or `groups` nothing else may be encoded: what has to be copied first, such as
// operands for row_contiguous, is copied before.
class Dispatch {
 public:
  Dispatch(const Stream& stream, std::shared_ptr<Pipeline> pipeline);
  ~Dispatch();
  Dispatch(const Dispatch&) = delete;
  Dispatch& operator=(const Dispatch&) = delete;

  Dispatch& in(const array& a);
  Dispatch& out(const array& a);
  // One that the kernel reads and writes.
  Dispatch& in_out(const array& a);
  Dispatch& bytes(const void* data, size_t length);
  template <class T>
  Dispatch& value(const T& v) {
    return bytes(&v, sizeof(T));
  }
  template <class T>
  Dispatch& values(const std::vector<T>& v) {
    return bytes(v.data(), v.size() * sizeof(T));
  }
  // A threadgroup argument; these count by themselves.
  Dispatch& threadgroup_memory(size_t length);
  // Leaves an index without an argument.
  Dispatch& skip();

  void threads(Size threads, Size per_group);
  void groups(Size groups, Size per_group);

 private:
  static Encoder& ready_encoder();
  void bind(const array& a, bool reads, bool writes);
  void start();
  void end();

  Encoder& encoder_;
  Encoder::Commands& commands_;
  std::shared_ptr<Pipeline> pipeline_;
  bool open_ = false;
  uint32_t next_ = 0, next_threadgroup_ = 0;
  std::vector<Encoder::Span> read_, written_;
};

}  // namespace mlx::core::metal

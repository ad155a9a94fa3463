#include "metal/host/encoder.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <mutex>
#include <unordered_map>

#include "metal/host/kernels.h"
#include "metal/host/memory.h"

namespace mlx::core::metal {
namespace {

// A command buffer ends after so much: the watchdog must not fire, and the device starts early.
constexpr size_t kMostDispatches = 64;
constexpr size_t kMostBytes = size_t{64} << 20;  // that its dispatches touch: what they free comes back then
constexpr size_t kMostCommitted = 2;             // command buffers that wait for the device
constexpr size_t kMostDerived = size_t{64} << 20;  // bytes of what is kept for this evaluation
constexpr size_t kMostSpans = 128;  // looked through for each dispatch; then a barrier is cheaper
constexpr ShapeElem kWords = 64;    // of watches, in one block
constexpr uint32_t kUntouched = ~uint32_t{0};

thread_local Encoder* current_encoder = nullptr;

uint32_t new_user() {
  static std::atomic<uint32_t> last{0};
  uint32_t user = ++last;
  while (user == 0 || user == ~uint32_t{0}) user = ++last;
  return user;
}

// Queues that no evaluation has. Evaluations share none: what fails in one may take what is behind it in its
// queue along.
struct Queues {
  std::mutex mutex;
  std::vector<std::shared_ptr<Queue>> idle;
};
Queues& queues() {
  static Queues* const all = std::make_unique<Queues>().release();
  return *all;
}

}  // namespace

Extent extent_of(const array& a) {
  const auto itemsize = static_cast<int64_t>(a.itemsize());
  auto* data = const_cast<char*>(a.data<char>());
  if (a.size() == 0) return {data, 0, 0};
  if (a.flags().row_contiguous) return {data, a.nbytes(), 0};
  int64_t lowest = 0, highest = 0;
  for (size_t i = 0; i < a.ndim(); ++i) {
    const int64_t reach = a.strides()[i] * (a.shape()[i] - 1);
    (reach < 0 ? lowest : highest) += reach;
  }
  return {data + lowest * itemsize, static_cast<size_t>((highest - lowest + 1) * itemsize), -lowest};
}

Encoder::Encoder(Device& device) : device_(device), user_(new_user()) {}

Encoder::~Encoder() {
  submit();
  while (retire()) {
  }
  if (queues_.empty()) return;
  std::lock_guard lock(queues().mutex);
  for (auto& [stream, queue] : queues_) queues().idle.push_back(std::move(queue));
}

void Encoder::enter() {
  outer_ = current_encoder;
  outer_user_ = allocator::pin_user();
  current_encoder = this;
  allocator::set_pin_user(user_);
}

void Encoder::leave() {
  derived_.clear();
  current_encoder = outer_;
  allocator::set_pin_user(outer_user_);
}

Encoder& Encoder::current() {
  if (!current_encoder) throw std::logic_error("a kernel of the GPU runs outside of an evaluation");
  return *current_encoder;
}

void Encoder::check_no_dispatch(const char* what) const {
  if (dispatch_open_)
    throw std::logic_error(
        "[" + operation_ + "] " + what +
        " while the arguments of a dispatch are being set; it belongs before that dispatch");
}

Encoder::Commands& Encoder::commands(const Stream& stream) {
  const bool behind_another = stream_ && *stream_ != stream && (open_ || has_commands());
  if (behind_another) {
    if (!open_) open(*stream_);
    if (!event_) event_ = device_.new_event();
    open_->buffer->signal(event_, ++event_value_);
    commit();
  }
  if (!open_) {
    open(stream);
    if (behind_another) open_->buffer->wait_for(event_, event_value_);
  }
  return *open_;
}

std::shared_ptr<Queue> Encoder::queue_of(const Stream& stream) {
  std::scoped_lock lock(mutex_, queues().mutex);
  std::shared_ptr<Queue>& queue = queues_[stream.index];
  if (queue) return queue;
  std::vector<std::shared_ptr<Queue>>& idle = queues().idle;
  if (idle.empty()) return queue = device_.new_queue();
  queue = std::move(idle.back());
  idle.pop_back();
  return queue;
}

void Encoder::open(const Stream& stream) {
  open_.emplace();
  open_->buffer = queue_of(stream)->command_buffer();
  stream_ = stream;
}

void Encoder::commit() {
  if (!open_) return;
  const std::shared_ptr<CommandBuffer> buffer = open_->buffer;
  open_->nodes = node;
  {
    std::lock_guard lock(mutex_);
    committed_.push_back(std::move(*open_));
    buffer->commit();  // before anybody can wait for it
    ++in_flight_;
  }
  open_.reset();
  while (in_flight_ > kMostCommitted) retire();
}

void Encoder::submit() {
  commit();
  // Nodes without commands of their own, and what was encoded when the last buffer was full.
  std::lock_guard lock(mutex_);
  if (!committed_.empty()) {
    committed_.back().nodes = node;
  } else if (retired) {
    retired({node, {}, nullptr});
  }
}

bool Encoder::retire() {
  std::shared_ptr<CommandBuffer> oldest;
  {
    std::lock_guard lock(mutex_);
    if (committed_.empty()) return false;
    oldest = committed_.front().buffer;
  }
  Retired out{0, {}, nullptr};
  try {
    oldest->wait();
  } catch (...) {
    out.error = std::current_exception();
  }
  Commands done;  // goes without the lock
  std::lock_guard lock(mutex_);
  if (committed_.empty() || committed_.front().buffer != oldest) return true;
  done = std::move(committed_.front());
  committed_.pop_front();
  --in_flight_;
  out.nodes = done.nodes;
  if (out.error) {
    out.error = named(out.error, done);
    queues_.clear();  // they may be dead
  } else {
    for (const Watch& w : done.watches)
      if (const uint32_t found = *w.word.data<uint32_t>(); found != kUntouched)
        out.late.push_back({w.error(found), w.node});
  }
  if (out.error || !out.late.empty()) trouble.store(true, std::memory_order_release);
  for (void* memory : done.pinned) allocator::unpin(allocator::Buffer(memory));
  if (retired) retired(std::move(out));
  return true;
}

// What went wrong with all commands of a buffer together names none: then this does.
std::exception_ptr Encoder::named(std::exception_ptr error, const Commands& commands) {
  try {
    std::rethrow_exception(error);
  } catch (const DeviceError& e) {
    const std::string what = e.what(), all = "[command buffer]";
    const std::string names =
        commands.first == commands.last ? commands.first : commands.first + " ... " + commands.last;
    if (what.rfind(all, 0) != 0 || names.empty()) return error;
    return std::make_exception_ptr(DeviceError("[" + names + "]" + what.substr(all.size())));
  } catch (...) {
    return error;
  }
}

void Encoder::wait_for_all() {
  check_no_dispatch("waits for the device");
  commit();
  while (retire()) {
  }
  if (trouble.load(std::memory_order_acquire)) throw Stopped();
}

void Encoder::finish_if(bool used) {
  if (used) {
    count_wait(operation_);
    wait_for_all();
  }
  // What went wrong may have been told of on another thread, and nobody used the values since.
  if (trouble.load(std::memory_order_acquire)) throw Stopped();
}
void Encoder::finish_for(const std::vector<array>& arrays) { finish_if(used_by_gpu(arrays)); }
void Encoder::finish_for(const std::vector<const array*>& arrays) {
  finish_if(std::any_of(arrays.begin(), arrays.end(), [](const array* a) { return used_by_gpu({*a}); }));
}

array Encoder::watch(const Stream& stream, std::function<std::exception_ptr(uint32_t)> error) {
  if (!words_ || used_words_ == kWords) {
    words_.emplace(Shape{kWords}, uint32, nullptr, std::vector<array>{});
    allocate(*words_);
    std::fill_n(words_->data<uint32_t>(), kWords, kUntouched);
    used_words_ = 0;
  }
  array word({1}, uint32, nullptr, {});
  word.copy_shared_buffer(*words_, {1}, {true, true, true}, 1, static_cast<int64_t>(used_words_++));
  commands(stream).watches.push_back({word, node, std::move(error)});
  return word;
}

void Encoder::keep(Commands& c, const array& a) {
  allocator::Buffer buffer = a.buffer();
  if (c.pinned.insert(buffer.ptr()).second) allocator::pin(buffer, user_);
}

std::optional<array> Encoder::derived(const array& from, const std::string& what) {
  const auto at = std::find_if(derived_.begin(), derived_.end(), [&](const Derived& d) {
    return d.what == what && d.from.lock().get() == from.desc();
  });
  if (at == derived_.end()) return std::nullopt;
  std::rotate(at, at + 1, derived_.end());
  return derived_.back().made;
}

void Encoder::keep_derived(const array& from, std::string what, const array& made) {
  if (made.nbytes() > kMostDerived) return;
  derived_.push_back({from.desc()->weak_from_this(), std::move(what), made});
  size_t bytes = 0;
  for (const Derived& d : derived_) bytes += d.made.nbytes();
  for (; bytes > kMostDerived; derived_.pop_front()) bytes -= derived_.front().made.nbytes();
}

void Encoder::order(Commands& c, const std::vector<Span>& read, const std::vector<Span>& written) {
  const auto meets = [](const std::vector<Span>& before, const std::vector<Span>& now) {
    return std::any_of(now.begin(), now.end(), [&](const Span& n) {
      return std::any_of(before.begin(), before.end(), [&](const Span& b) { return n.meets(b); });
    });
  };
  if (meets(c.written, read) || meets(c.written, written) || meets(c.read, written) ||
      c.read.size() + c.written.size() > kMostSpans) {
    c.buffer->barrier();
    c.read.clear();
    c.written.clear();
  }
  c.read.insert(c.read.end(), read.begin(), read.end());
  c.written.insert(c.written.end(), written.begin(), written.end());
}

Dispatch::Dispatch(const Stream& stream, std::shared_ptr<Pipeline> pipeline)
    : encoder_(ready_encoder()), commands_(encoder_.commands(stream)), pipeline_(std::move(pipeline)) {
  commands_.buffer->set_pipeline(pipeline_);
  open_ = encoder_.dispatch_open_ = true;
}
Dispatch::~Dispatch() {
  if (open_) encoder_.dispatch_open_ = false;
}

Encoder& Dispatch::ready_encoder() {
  Encoder& encoder = Encoder::current();
  encoder.check_no_dispatch("encodes another kernel");
  return encoder;
}

void Dispatch::bind(const array& a, bool reads, bool writes) {
  const Extent e = extent_of(a);
  const auto& data = a.data_shared_ptr();
  Place place{nullptr, 0};
  if (data->is_owned()) place = place_of(data->buffer(), e.begin);
  if (place.buffer) {
    encoder_.keep(commands_, a);
    commands_.buffer->set_buffer(next_++, place.buffer, place.offset, e.bytes);
    const Encoder::Span span{e.begin, e.begin + e.bytes};
    if (reads) read_.push_back(span);
    if (writes) written_.push_back(span);
  } else if (writes) {
    throw std::logic_error("[metal] " + encoder_.operation() +
                           " writes into memory that is not the device's");
  } else {
    // From outside: the device gets a copy.
    array copy(allocator::malloc(e.bytes), Shape{static_cast<ShapeElem>(0)}, uint8);
    std::memcpy(copy.data<char>(), e.begin, e.bytes);
    place = place_of(copy.buffer(), copy.data<char>());
    encoder_.keep(commands_, copy);
    commands_.buffer->set_buffer(next_++, place.buffer, place.offset, e.bytes);
  }
  commands_.bytes += e.bytes;
}

Dispatch& Dispatch::in(const array& a) {
  bind(a, true, false);
  return *this;
}
Dispatch& Dispatch::out(const array& a) {
  bind(a, false, true);
  return *this;
}
Dispatch& Dispatch::in_out(const array& a) {
  bind(a, true, true);
  return *this;
}
Dispatch& Dispatch::bytes(const void* data, size_t length) {
  commands_.buffer->set_bytes(next_++, data, length);
  return *this;
}
Dispatch& Dispatch::threadgroup_memory(size_t length) {
  // Metal wants multiples of 16 bytes.
  commands_.buffer->set_threadgroup_memory(next_threadgroup_++, (length + 15) / 16 * 16);
  return *this;
}
Dispatch& Dispatch::skip() {
  ++next_;
  return *this;
}

void Dispatch::start() {
  encoder_.order(commands_, read_, written_);
  if (commands_.dispatches == 0) commands_.first = encoder_.operation();
  commands_.last = encoder_.operation();
}
void Dispatch::end() {
  open_ = encoder_.dispatch_open_ = false;
  if (++commands_.dispatches >= kMostDispatches || commands_.bytes >= kMostBytes) encoder_.commit();
}

void Dispatch::threads(Size threads, Size per_group) {
  start();
  commands_.buffer->dispatch_threads(threads, per_group, encoder_.operation());
  end();
}
void Dispatch::groups(Size groups, Size per_group) {
  start();
  commands_.buffer->dispatch_groups(groups, per_group, encoder_.operation());
  end();
}

}  // namespace mlx::core::metal

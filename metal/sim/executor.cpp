#include "metal/sim/executor.h"

#include <sys/mman.h>

#include "metal/sim/library.h"

namespace mlx::core::metal::sim {

namespace {

constexpr size_t threadgroup_limit = 32768;

// Threadgroup memory of the group that runs: the variables first, then what the host asked for.
std::byte* arena() {
  static std::byte* const p = [] {
    void* m =
        mmap(nullptr, 2 * threadgroup_limit, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (m == MAP_FAILED) throw std::bad_alloc();
    return static_cast<std::byte*>(m);
  }();
  return p;
}

size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

}  // namespace

Executor& executor() {
  static Executor e;
  return e;
}

void fault(std::string what, const Place& place) { executor().raise(std::move(what), place); }

void Executor::raise(std::string what, const Place& place) {
  const auto& p = group.position().values[metal_simulator::ThreadPositionInGrid];
  fault_ = "[" + running_->operation + "] " + what + "; kernel " + running_->pipeline->kernel()->name +
           ", thread (" + std::to_string(p[0]) + ", " + std::to_string(p[1]) + ", " + std::to_string(p[2]) +
           ") of the grid";
  if (place.file) fault_ += ", " + std::string(place.file) + ":" + std::to_string(place.line);
  group.abandon();
}

void* Executor::threadgroup_variable(metal_simulator::Site* site) {
  if (site->stamp != stamp_) {
    const size_t at = round_up(threadgroup_used_, std::max(site->align, 16u));
    if (at + site->size > threadgroup_limit)
      fault("too much threadgroup memory: " + std::to_string(at + site->size) + " bytes with " + site->name +
                ", at most " + std::to_string(threadgroup_limit),
            {0, site->file, site->line});
    site->stamp = stamp_;
    site->offset = static_cast<unsigned>(at);
    threadgroup_used_ = at + site->size;
    Segment s;
    s.low = reinterpret_cast<uintptr_t>(arena() + at);
    s.size = site->size;
    s.kind = Segment::Threadgroup;
    memory.add(s);
  }
  return arena() + site->offset;
}

std::vector<void*> Executor::bind(const Dispatch& d) {
  memory.clear();
  memory.segments().reserve(256);
  memory.add({group.stacks().low(), group.stacks().bytes(), Segment::Private, -1, 0, 0});
  memory.add({d.pipeline->object().low(), d.pipeline->object().size(), Segment::Private, -1, 0, 0});
  std::vector<void*> arguments;
  const metal_simulator::Kernel& k = *d.pipeline->kernel();
  threadgroup_used_ = 0;
  for (int i = 0; i < k.parameter_count; ++i) {
    const metal_simulator::Parameter& p = k.parameters[i];
    void* at = nullptr;
    const auto missing = [&](const std::string& what) {
      return DeviceError("[" + d.operation + "] kernel " + k.name + ": argument " + p.name + " (" + what +
                         " " + std::to_string(p.index) + ") is not set");
    };
    if (p.condition && !*p.condition) {
      // no such argument
    } else if (p.kind == metal_simulator::KindBuffer) {
      const size_t index = static_cast<size_t>(p.index);
      if (index >= d.buffers.size() || (!d.buffers[index].buffer && !d.buffers[index].bytes))
        throw missing("buffer");
      const Binding& b = d.buffers[index];
      at = b.buffer ? static_cast<std::byte*>(b.buffer->contents()) + b.offset : b.bytes->data();
      const size_t length = b.buffer ? b.length : b.bytes->size();
      if (p.reference && length < p.size)
        throw DeviceError("[" + d.operation + "] kernel " + k.name + ": argument " + p.name + " (buffer " +
                          std::to_string(p.index) + ") has " + std::to_string(length) + " bytes, its type " +
                          std::to_string(p.size));
      memory.add({reinterpret_cast<uintptr_t>(at), length, p.constant ? Segment::Constant : Segment::Device,
                  p.index, 0, 0});
    } else if (p.kind == metal_simulator::KindThreadgroup) {
      const size_t index = static_cast<size_t>(p.index);
      if (index >= d.threadgroup.size() || !d.threadgroup[index].threadgroup)
        throw missing("threadgroup memory");
      const size_t size = d.threadgroup[index].threadgroup;
      const size_t offset = round_up(threadgroup_used_, 16);
      if (offset + size > threadgroup_limit)
        throw DeviceError("[" + d.operation + "] kernel " + k.name + ": too much threadgroup memory");
      at = arena() + offset;
      threadgroup_used_ = offset + size;
      memory.add({reinterpret_cast<uintptr_t>(at), size, Segment::Threadgroup, p.index, 0, 0});
    }
    arguments.push_back(at);
  }
  return arguments;
}

void Executor::execute(const Dispatch& d) {
  const std::lock_guard lock(mutex_);
  group.reserve_stacks();
  d.pipeline->set_constants();
  const std::vector<void*> arguments = bind(d);
  struct Running {
    Executor& e;
    ~Running() {
      e.running_ = nullptr;
      e.memory.clear();
    }
  } ended{*this};
  running_ = &d;
  ++stamp_;
  fault_.clear();
  Group::Layout layout{};
  const uint32_t full[3] = {d.group_size.x, d.group_size.y, d.group_size.z};
  const uint32_t groups[3] = {d.groups.x, d.groups.y, d.groups.z},
                 threads[3] = {d.threads.x, d.threads.y, d.threads.z};
  for (int i = 0; i < 3; ++i)
    layout.full[i] = full[i], layout.groups[i] = groups[i], layout.threads[i] = threads[i];
  uint32_t (&at)[3] = layout.position;
  for (at[2] = 0; at[2] < groups[2]; ++at[2])
    for (at[1] = 0; at[1] < groups[1]; ++at[1])
      for (at[0] = 0; at[0] < groups[0]; ++at[0]) {
        for (int i = 0; i < 3; ++i) layout.size[i] = std::min(full[i], threads[i] - at[i] * full[i]);
        group.run(d.pipeline->kernel(), arguments.data(), layout);
        if (!fault_.empty()) throw DeviceError(fault_);
      }
}

}  // namespace mlx::core::metal::sim

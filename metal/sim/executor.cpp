#include "metal/sim/executor.h"

#include <sys/mman.h>

#include <algorithm>

#include "metal/sim/buffer.h"
#include "metal/sim/counters.h"
#include "metal/sim/lasting.h"
#include "metal/sim/library.h"
#include "metal/sim/lines.h"
#include "metal/sim/signals.h"

namespace mlx::core::metal::sim {

namespace {

constexpr size_t threadgroup_limit = 32768;
// Beyond it, what earlier dispatches did is forgotten.
constexpr size_t shadow_limit = size_t{1} << 30;

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

Shadow& arena_shadow() {
  static const auto& shadow = lasting([] { return std::make_unique<Shadow>(2 * threadgroup_limit); });
  return *shadow;
}

Segment threadgroup_segment(const std::byte* at, size_t size, std::string name) {
  return {reinterpret_cast<uintptr_t>(at),     size, Segment::Threadgroup, std::move(name), &arena_shadow(),
          reinterpret_cast<uintptr_t>(arena())};
}

size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

}  // namespace

Executor the_executor;

void fault(std::string what, const Place& place, const Place& other) {
  executor().raise(std::move(what), place, other);
}

void Executor::raise(std::string what, const Place& place, const Place& other) {
  fault_ = {std::move(what), place, other, group.thread()};
  group.abandon();
}

// On a stack of its own again: asks for lines of source.
void Executor::throw_fault() {
  std::string text = "[" + running_->operation + "] " + fault_.what;
  if (const size_t at = text.find("{}"); at != std::string::npos) {
    const std::string where = line(fault_.other);
    text.replace(at, 2, where.empty() ? "" : " at " + where);
  }
  const auto triple = [&](int kind) {
    const auto& p = group.position(fault_.thread).values[kind];
    return "(" + std::to_string(p[0]) + ", " + std::to_string(p[1]) + ", " + std::to_string(p[2]) + ")";
  };
  text += "; kernel " + std::string(running_->pipeline->kernel()->name) + ", thread " +
          triple(metal_simulator::ThreadPositionInGrid) + " of the grid, " +
          triple(metal_simulator::ThreadPositionInThreadgroup) + " of threadgroup " +
          triple(metal_simulator::ThreadgroupPositionInGrid);
  if (const std::string where = line(fault_.place); !where.empty()) text += ", " + where;
  throw DeviceError(text);
}

namespace {
std::string out_of_time() {
  char text[64];
  std::snprintf(text, sizeof(text), "the command buffer ran out of time (%g s)", time_limit());
  return text;
}
}  // namespace

bool Executor::in_kernel(uintptr_t code) const {
  const Object& o = running_->pipeline->object();
  return code - o.low() < o.size();
}

void Executor::timed_out(const Place& place) { raise(out_of_time(), place, {}); }

std::string Executor::line(const Place& place) const {
  if (place.file) return std::string(place.file) + ":" + std::to_string(place.line);
  if (!place.code) return "";
  const Object& o = running_->pipeline->object();
  return line_of(o.file(), o.low(), place.code);
}

void Executor::barrier() {
  const std::lock_guard lock(mutex_);
  memory.clock.start_barrier();
  dispatches_.clear();
}

std::string Executor::describe(Id id) const {
  const Clock& c = memory.clock;
  if (id < c.dispatch_base) {
    auto after = std::upper_bound(dispatches_.begin(), dispatches_.end(), id,
                                  [](Id x, const auto& d) { return x < d.first; });
    return after == dispatches_.begin() ? "an earlier dispatch" : "dispatch " + std::prev(after)->second;
  }
  const auto g =
      static_cast<uint32_t>(std::upper_bound(c.groups.begin(), c.groups.end(), id) - c.groups.begin() - 1);
  if (id >= c.group_base) {
    const auto& p = group.position(c.thread_of(id)).values[metal_simulator::ThreadPositionInGrid];
    return "thread (" + std::to_string(p[0]) + ", " + std::to_string(p[1]) + ", " + std::to_string(p[2]) +
           ")";
  }
  const Size& n = running_->groups;
  return "a thread of threadgroup (" + std::to_string(g % n.x) + ", " + std::to_string(g / n.x % n.y) + ", " +
         std::to_string(g / n.x / n.y) + ")";
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
    memory.add(
        threadgroup_segment(arena() + at, site->size, std::string("threadgroup variable ") + site->name));
  }
  return arena() + site->offset;
}

std::vector<void*> Executor::bind(const Dispatch& d) {
  memory.clear();
  arena_shadow().coarsen();
  memory.code_low = d.pipeline->object().low();
  memory.add({group.stacks().low(), group.stacks().bytes(), Segment::Private, "private memory", nullptr, 0});
  memory.add({d.pipeline->object().low(), d.pipeline->object().size(), Segment::Private, "private memory",
              nullptr, 0});
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
      if (length && reinterpret_cast<uintptr_t>(at) % p.align)
        throw DeviceError("[" + d.operation + "] kernel " + k.name + ": argument " + p.name + " (buffer " +
                          std::to_string(p.index) + ") is misaligned: its offset " +
                          std::to_string(b.offset) + " is no multiple of " + std::to_string(p.align));
      Segment s{reinterpret_cast<uintptr_t>(at),
                length,
                p.constant ? Segment::Constant : Segment::Device,
                "buffer " + std::to_string(p.index) + " (" + p.name + ")",
                nullptr,
                0};
      if (b.buffer) {
        s.shadow = &static_cast<SimulatedBuffer&>(*b.buffer).shadow;
        s.shadow_low = reinterpret_cast<uintptr_t>(b.buffer->contents());
      }
      memory.add(std::move(s));
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
      memory.add(threadgroup_segment(arena() + offset, size,
                                     "threadgroup memory " + std::to_string(p.index) + " (" + p.name + ")"));
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
  if (Watchdog::expired()) throw DeviceError("[" + d.operation + "] " + out_of_time());
  const CatchSignals signals;
  running_ = &d;
  ++stamp_;
  fault_ = {};
  if (Shadow::total_bytes() > shadow_limit) Shadow::clear_all();
  memory.clock.start_dispatch();
  dispatches_.emplace_back(memory.clock.dispatch_base,
                           d.operation + " (kernel " + d.pipeline->kernel()->name + ")");
  KernelCounters counters;
  counters.kernel = d.pipeline->kernel()->name;
  counters.dispatches = 1;
  counters.threads = d.threads.count();
  counters.threadgroups = d.groups.count();
  group.barriers = group.meetings = 0;
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
        memory.clock.start_group(layout.size[0] * layout.size[1] * layout.size[2]);
        group.run(d.pipeline->kernel(), arguments.data(), layout);
        if (!fault_.what.empty()) throw_fault();
      }
  counters.barriers = group.barriers;
  counters.simd_operations = group.meetings;
  counters.read = memory.device.read;
  counters.constant_read = memory.device.constant_read;
  counters.written = memory.device.written;
  counters.unique_read = memory.device.unique_read;
  counters.unique_written = memory.device.unique_written;
  count(counters);
}

}  // namespace mlx::core::metal::sim

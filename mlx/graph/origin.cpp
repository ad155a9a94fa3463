#include "mlx/graph/origin.h"

#include <algorithm>
#include <mutex>
#include <unordered_map>

#include "mlx/graph/observe.h"

namespace mlx::core {
namespace detail {

std::atomic<int> origin_recorders{0};

}  // namespace detail

namespace {

using debug::Origin;
using debug::Relation;
using detail::OriginScope;

std::atomic<debug::SiteHook> site_hook{nullptr};
std::atomic<int64_t> time_taken{0};
thread_local OriginScope::State state;
thread_local uint32_t module_here = 0;
thread_local int64_t built_before = 0;

std::mutex listeners_mutex;
std::vector<detail::BuildListener*> listeners;  // guarded by listeners_mutex

// Every distinct origin once; programs have as many as they have lines, not as many as they build nodes.
class Origins {
 public:
  uint32_t id_of(const Origin& origin) {
    std::lock_guard lock(mutex_);
    const auto [at, is_new] = ids_.try_emplace(origin, static_cast<uint32_t>(all_.size()) + 1);
    if (is_new) all_.push_back(origin);
    return at->second;
  }
  Origin get(uint32_t id) const {
    std::lock_guard lock(mutex_);
    return id == 0 || id > all_.size() ? Origin{} : all_[id - 1];
  }

 private:
  struct Hash {
    size_t operator()(const Origin& o) const {
      size_t hash = o.site;
      for (const size_t part : {size_t{o.module}, size_t{o.of}, static_cast<size_t>(o.relation)})
        hash = hash * 0x9e3779b97f4a7c15ull + part;
      return hash;
    }
  };
  mutable std::mutex mutex_;
  std::unordered_map<Origin, uint32_t, Hash> ids_;
  std::vector<Origin> all_;
};

Origins& origins() {
  static Origins all;
  return all;
}

uint32_t origin_here() {
  if (state.kind == OriginScope::same) return state.of;
  Origin origin{0, 0, state.of, state.relation};
  if (state.kind == OriginScope::program) {
    const debug::SiteHook hook = site_hook.load(std::memory_order_acquire);
    origin.site = hook ? hook() : 0;
    origin.module = module_here;
    if (origin == Origin{}) return 0;
  }
  return origins().id_of(origin);
}

}  // namespace

namespace detail {

int64_t origin_time() { return time_taken.load(std::memory_order_relaxed); }

uint32_t new_origin(const char* operation) {
  const int64_t from = now_ns();
  const uint32_t id = origin_here();
  if (operation) {
    std::lock_guard lock(listeners_mutex);
    for (BuildListener* listener : listeners) listener->built(operation, id, built_before, from);
  }
  const int64_t to = now_ns();
  if (operation) built_before = to;
  time_taken.fetch_add(to - from, std::memory_order_relaxed);
  return id;
}

void add_listener(BuildListener* listener) {
  std::lock_guard lock(listeners_mutex);
  listeners.push_back(listener);
}
void remove_listener(BuildListener* listener) {
  std::lock_guard lock(listeners_mutex);
  std::erase(listeners, listener);
}

void OriginScope::enter(Kind kind, uint32_t of) {
  outer_ = state;
  switch (kind) {
    case program:
      // Whose rule this is stays: a rule that calls the program is that of the same node.
      if (state.kind == same) state = {};
      state.kind = program;
      break;
    case same:
      state = {same, Relation::none, of};
      break;
    case backward:
      state = {backward, Relation::backward, of};
      break;
    case tangent:
      state = {tangent, Relation::tangent, of};
      break;
  }
}
void OriginScope::leave() { state = outer_; }

}  // namespace detail

namespace debug {

void set_site_hook(SiteHook hook) { site_hook.store(hook, std::memory_order_release); }
uint32_t set_module(uint32_t module) { return std::exchange(module_here, module); }
RecordOrigins::RecordOrigins() { ++detail::origin_recorders; }
RecordOrigins::~RecordOrigins() { --detail::origin_recorders; }
Origin origin(uint32_t id) { return origins().get(id); }

}  // namespace debug
}  // namespace mlx::core

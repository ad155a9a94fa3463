#include "mlx/graph/origin.h"

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

}  // namespace

namespace detail {

int64_t origin_time() { return time_taken.load(std::memory_order_relaxed); }

uint32_t new_origin() {
  if (state.kind == OriginScope::same) return state.of;
  struct Timed {
    const int64_t from = now_ns();
    ~Timed() { time_taken.fetch_add(now_ns() - from, std::memory_order_relaxed); }
  } timed;
  Origin origin{0, 0, state.of, state.relation};
  if (state.kind == OriginScope::program) {
    const debug::SiteHook hook = site_hook.load(std::memory_order_acquire);
    origin.site = hook ? hook() : 0;
    origin.module = module_here;
    if (origin == Origin{}) return 0;
  }
  return origins().id_of(origin);
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

// Recording where nodes come from (mlx/debug.h). The constructor of a node asks one flag; the transforms say
// with a scope whose node they are making another one from.
#pragma once

#include <atomic>

#include "mlx/debug.h"

namespace mlx::core::detail {

// Hidden: read for every node, so that it has to be one load.
[[gnu::visibility("hidden")]] extern std::atomic<int> origin_recorders;
inline bool recording_origins() { return origin_recorders.load(std::memory_order_relaxed) != 0; }
// The origin of a node that this thread is building, which is an operation's; null: of something else, which
// nobody is told of.
[[gnu::cold]] uint32_t new_origin(const char* operation = nullptr);
// What that took so far, in ns, on all threads.
int64_t origin_time();

// Told of every node that is built while it is registered and origins are recorded, by the thread that builds
// it: `begin` is when this thread had built the node before it. Builds nothing itself.
class BuildListener {
 public:
  virtual ~BuildListener() = default;
  virtual void built(const char* operation, uint32_t origin, int64_t begin, int64_t end) = 0;
};
void add_listener(BuildListener* listener);
// It is not called any more afterwards.
void remove_listener(BuildListener* listener);

// What nodes built on this thread come from while it lives. Nothing happens where no origins are recorded.
class OriginScope {
 public:
  enum Kind : uint8_t {
    program,  // the user's program: it is asked for its place. Inside a rule it is still part of the rule.
    same,     // the origin `of` itself: a copy, a replay, a batched version
    backward,
    tangent,
  };
  explicit OriginScope(Kind kind, uint32_t of = 0) : on_(recording_origins()) {
    if (on_) enter(kind, of);
  }
  ~OriginScope() {
    if (on_) leave();
  }
  OriginScope(const OriginScope&) = delete;
  OriginScope& operator=(const OriginScope&) = delete;

  struct State {
    Kind kind = program;
    debug::Relation relation = debug::Relation::none;
    uint32_t of = 0;
  };

 private:
  void enter(Kind kind, uint32_t of);
  void leave();
  const bool on_;
  State outer_;
};

}  // namespace mlx::core::detail

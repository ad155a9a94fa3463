// Tools for people who train models. Nodes of the graph can remember who built them, and evaluation can be
// watched: for the first value that is not finite, for time and traffic per operation, for who holds memory
// at its peak. All of it costs one branch while nobody asks. Python's mlx.debug is made of this.
#pragma once

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "mlx/array.h"

namespace mlx::core::debug {

// ---- where nodes come from

// How a node came from the node `Origin::of`.
enum class Relation : uint8_t { none, backward, tangent };

struct Origin {
  uint32_t site = 0;    // what the site hook said: a place in the user's program; 0: none
  uint32_t module = 0;  // what set_module said
  uint32_t of = 0;      // the origin that this one is derived from
  Relation relation = Relation::none;
  bool operator==(const Origin&) const = default;
};

// Asked for every node that is built while origins are recorded, on the thread that builds it.
using SiteHook = uint32_t (*)();
void set_site_hook(SiteHook hook);
// The part of the user's model that this thread is in, until it says otherwise. Returns the previous one.
uint32_t set_module(uint32_t module);

// Origins are recorded while one of these lives.
class RecordOrigins {
 public:
  RecordOrigins();
  ~RecordOrigins();
  RecordOrigins(const RecordOrigins&) = delete;
  RecordOrigins& operator=(const RecordOrigins&) = delete;
};

// Identifies the origin of an array; 0 where nobody asked when it was built.
inline uint32_t origin_id(const array& a) { return a.desc()->origin; }
// Empty for ids that are not known.
Origin origin(uint32_t id);

// What this thread evaluates in between is not watched: tools evaluate too. Pairs nest.
void pause_watching();
void resume_watching();

// ---- the first value that is not finite

struct NotFinite {
  std::string operation;
  std::string group;  // the operations of the fused group that it is in, joined by +; else empty
  uint32_t origin = 0;
  bool nan = false, inf = false;  // what the output has
  int bad_input = -1;             // the input that had a nan before; the operation is not to blame then
  std::vector<array> inputs;
  std::vector<array> outputs;
  bool told = false;  // for whoever shows it to the user
};

// What evaluation throws; its nodes are pending again.
class NotFiniteError : public std::runtime_error {
 public:
  explicit NotFiniteError(std::shared_ptr<NotFinite> found);
  const std::shared_ptr<NotFinite>& found() const { return found_; }

 private:
  std::shared_ptr<NotFinite> found_;  // copies of exceptions share it
};

// While it lives, every evaluation looks at what it computes, and throws NotFiniteError at the first
// operation that makes a nan from inputs without one, or an infinity from finite inputs, or that passes on a
// nan it was given. Inputs are kept until their consumer has run, so nothing is computed in place.
class CheckFinite {
 public:
  explicit CheckFinite(bool infinities = true);
  ~CheckFinite();
  CheckFinite(const CheckFinite&) = delete;
  CheckFinite& operator=(const CheckFinite&) = delete;
  // What was thrown last, maybe on a thread that nobody waits for (async_eval): waits until that is idle.
  std::shared_ptr<NotFinite> last_found() const;

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

// ---- time and traffic per operation

struct ProfileKind {
  std::vector<std::string> names;  // of the operations that ran together, in order; one where it was alone
  std::vector<uint32_t> origins;   // of each
  bool elementwise = false;        // a group, maybe with reductions at its end
  Shape shape;                     // of the values of a group
  std::vector<std::pair<Shape, Dtype>> inputs, outputs;
};
struct ProfileEvent {
  uint32_t kind = 0;              // position in Profile::kinds
  uint32_t thread = 0;            // 0, 1, ... in the order of appearance
  int64_t begin = 0, end = 0;     // ns since the profile began
  int64_t read = 0, written = 0;  // bytes
  bool shares_memory = false;     // the output is a view of an input, or took its memory over
};
// A span of an evaluation that ran no kernel: collecting what is pending, deciding what runs together,
// freeing these decisions.
struct ProfileSpan {
  uint32_t thread = 0;
  int64_t begin = 0, end = 0;
};
// A node that was built: what the program and this library did for it since the node before, or since an
// evaluation in between.
struct ProfileBuilt {
  std::string operation;
  uint32_t origin = 0;
  uint32_t thread = 0;
  int64_t begin = 0, end = 0;
  int64_t alone = 0;  // ns of these in which nothing was evaluated
};
struct ProfileData {
  std::vector<ProfileKind> kinds;
  std::vector<ProfileEvent> events;
  std::vector<ProfileSpan> planning;
  std::vector<ProfileSpan> evaluations;  // planning, kernels and what is between them
  std::vector<ProfileBuilt> built;       // while origins were recorded, and outside of evaluations
  int64_t overhead = 0;                  // ns of the profiler itself, within evaluations
  int64_t recording = 0;                 // ns of noting where nodes were built, before them
  int64_t wall = 0;                      // ns, until now or until it was stopped
};

class Profiler {
 public:
  Profiler();
  ~Profiler();
  Profiler(const Profiler&) = delete;
  Profiler& operator=(const Profiler&) = delete;
  // Waits for what async_eval has begun.
  void stop();
  ProfileData data() const;

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

// Multiply-adds of independent registers on every thread, float32, in operations per second (a multiply-add
// is two); measured at the first call. 0 where the backend cannot say.
double multiply_add_peak();

// ---- who holds memory at its peak

struct MemoryShare {
  uint32_t origin = 0;
  std::string operation;  // that allocated; empty: no operation, as for data from the program
  int64_t bytes = 0;
};
struct MemoryData {
  int64_t peak = 0;                 // the most bytes of active memory while watched
  int64_t before = 0;               // of these, in buffers from before
  int64_t cached = 0;               // freed buffers that were kept at that moment, on top of the peak
  std::vector<MemoryShare> shares;  // with `before` they add up to the peak
  std::vector<std::pair<std::uintptr_t, int64_t>> gone;  // buffers from before, freed before the peak
};

class MemoryWatch {
 public:
  MemoryWatch();
  ~MemoryWatch();
  MemoryWatch(const MemoryWatch&) = delete;
  MemoryWatch& operator=(const MemoryWatch&) = delete;
  // Waits for what async_eval has begun.
  void stop();
  MemoryData data() const;

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

// ---- the graph as data, for pictures

struct GraphNode {
  std::string operation;  // empty: an array without operation
  std::vector<array> inputs, outputs;
  int group = -1;  // those that would run together share a number
};
// What is behind `outputs`, inputs first. Evaluates nothing.
std::vector<GraphNode> graph(const std::vector<array>& outputs);

}  // namespace mlx::core::debug

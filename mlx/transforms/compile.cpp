// compile: a function is traced once per signature of its inputs. A call then rebuilds the graph on its own
// inputs (replay.h), and the evaluator fuses it as any other.
#include "mlx/compile.h"

#include <atomic>
#include <list>
#include <memory>
#include <mutex>

#include "mlx/ops/rules.h"
#include "mlx/transforms/replay.h"

namespace mlx::core {

using detail::Trace;
using detail::TraceOptions;

namespace {

CompileMode mode_from_environment() {
  return env::get_var("MLX_DISABLE_COMPILE", 0) ? CompileMode::disabled : CompileMode::enabled;
}
std::atomic<CompileMode> compile_mode{mode_from_environment()};

struct Signature {
  std::vector<uint64_t> constants;
  std::vector<Dtype> dtypes;
  std::vector<Shape> shapes;
  bool shapeless;

  bool matches(const Arrays& inputs, const std::vector<uint64_t>& with) const {
    if (inputs.size() != dtypes.size() || with != constants) return false;
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (inputs[i].dtype() != dtypes[i]) return false;
      if (shapeless ? inputs[i].ndim() != shapes[i].size() : inputs[i].shape() != shapes[i]) return false;
    }
    return true;
  }
};

// The traces of one function. Recently used ones first; a call never holds the lock while it traces or
// replays.
class Cache {
 public:
  std::shared_ptr<Trace> find(const Arrays& inputs, const std::vector<uint64_t>& constants) {
    std::lock_guard lock(mutex_);
    for (auto it = entries_.begin(); it != entries_.end(); ++it) {
      if (!it->first.matches(inputs, constants)) continue;
      if (!it->second
               ->knows_enough_origins()) {  // a tool is on: traced again, its trace takes this one's place
        entries_.erase(it);
        return nullptr;
      }
      entries_.splice(entries_.begin(), entries_, it);
      return it->second;
    }
    return nullptr;
  }
  void add(Signature signature, std::shared_ptr<Trace> trace) {
    std::lock_guard lock(mutex_);
    entries_.emplace_front(std::move(signature), std::move(trace));
    if (entries_.size() > kMaxTraces) entries_.pop_back();
  }

 private:
  static constexpr size_t kMaxTraces = 256;  // functions called with ever new shapes must not fill the memory
  std::mutex mutex_;
  std::list<std::pair<Signature, std::shared_ptr<Trace>>> entries_;
};

}  // namespace

namespace detail {

bool sizes_open(const array& a) { return OpenSizes::of(a); }

bool compile_enabled() { return compile_mode != CompileMode::disabled; }

std::function<std::pair<Arrays, std::shared_ptr<void>>(const Arrays&, const std::vector<uint64_t>&)>
compile_keyed(TracedFunction fun, bool shapeless) {
  return [fun = std::move(fun), shapeless, cache = std::make_shared<Cache>()](
             const Arrays& inputs,
             const std::vector<uint64_t>& constants) -> std::pair<Arrays, std::shared_ptr<void>> {
    if (!compile_enabled()) return fun(inputs);
    std::shared_ptr<Trace> trace = cache->find(inputs, constants);
    if (!trace) {
      trace = std::make_shared<Trace>(
          fun, inputs,
          TraceOptions{.shapeless = shapeless, .merge_equal = compile_mode != CompileMode::no_simplify});
      Signature signature{constants, {}, {}, shapeless};
      for (const array& in : inputs) {
        signature.dtypes.push_back(in.dtype());
        signature.shapes.push_back(in.shape());
      }
      cache->add(std::move(signature), trace);
    }
    return {trace->replay(inputs), trace->extra()};
  };
}

}  // namespace detail

std::function<Arrays(const Arrays&)> compile(std::function<Arrays(const Arrays&)> fun, bool shapeless) {
  auto keyed = detail::compile_keyed(
      [fun = std::move(fun)](const Arrays& inputs) {
        return std::make_pair(fun(inputs), std::shared_ptr<void>());
      },
      shapeless);
  return [keyed](const Arrays& inputs) { return keyed(inputs, {}).first; };
}
std::function<Arrays(const Arrays&)> compile(Arrays (*fun)(const Arrays&), bool shapeless) {
  return compile(std::function<Arrays(const Arrays&)>(fun), shapeless);
}

void disable_compile() { compile_mode = CompileMode::disabled; }
void enable_compile() { compile_mode = CompileMode::enabled; }
void set_compile_mode(CompileMode mode) { compile_mode = mode; }

}  // namespace mlx::core

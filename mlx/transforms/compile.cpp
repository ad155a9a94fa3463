// compile: a function is traced on placeholders once per signature of its inputs; what of the trace depends
// on them is kept in topological order, with equal nodes merged and everything else evaluated once. A call
// then rebuilds the graph on its own inputs, node by node and without Python, and the evaluator fuses it as
// any other.
#include "mlx/compile.h"

#include <atomic>
#include <cstring>
#include <list>
#include <memory>
#include <mutex>
#include <typeinfo>
#include <unordered_map>

#include "mlx/graph/eval.h"
#include "mlx/ops/rules.h"
#include "mlx/transforms.h"
#include "mlx/transforms/trace.h"

namespace mlx::core {
namespace {

bool same_type(const Primitive& a, const Primitive& b) { return typeid(a) == typeid(b); }

CompileMode mode_from_environment() {
  return env::get_var("MLX_DISABLE_COMPILE", 0) ? CompileMode::disabled : CompileMode::enabled;
}
std::atomic<CompileMode> compile_mode{mode_from_environment()};

// Where the replay finds a value: an input, an output of an earlier node, or a constant.
struct Source {
  enum Kind : uint8_t { input, node, constant } kind;
  uint32_t index;
};

struct TracedNode {
  std::shared_ptr<Primitive> primitive;
  std::vector<Source> inputs;
  std::vector<Shape> shapes;
  std::vector<Dtype> dtypes;
  uint32_t first_value;  // its outputs are values first_value, first_value + 1, ...
};

class Trace {
 public:
  Trace(const detail::TracedFunction& fun, const Arrays& examples, bool shapeless) : shapeless_(shapeless) {
    detail::InTracing tracing;
    Arrays placeholders;
    for (const array& example : examples) {
      array placeholder(example.shape(), example.dtype(), nullptr, {});
      placeholder.set_tracer(true);
      placeholders.push_back(std::move(placeholder));
    }
    auto [outputs, extra] = fun(placeholders);
    extra_ = std::move(extra);
    record(placeholders, outputs);
  }

  Arrays replay(const Arrays& inputs) const {
    Arrays values;
    values.reserve(values_);
    const auto value_of = [&](Source s) -> const array& {
      return s.kind == Source::input  ? inputs[s.index]
             : s.kind == Source::node ? values[s.index]
                                      : constants_[s.index];
    };
    for (const TracedNode& node : nodes_) {
      Arrays in;
      in.reserve(node.inputs.size());
      for (Source s : node.inputs) in.push_back(value_of(s));
      std::vector<Shape> shapes = shapeless_ ? node.primitive->output_shapes(in) : node.shapes;
      if (shapes.size() == 1) {
        values.emplace_back(std::move(shapes[0]), node.dtypes[0], node.primitive, std::move(in));
      } else {
        for (array& out : array::make_arrays(std::move(shapes), node.dtypes, node.primitive, in))
          values.push_back(std::move(out));
      }
    }
    Arrays out;
    out.reserve(outputs_.size());
    for (Source s : outputs_) out.push_back(value_of(s));
    return out;
  }

  const std::shared_ptr<void>& extra() const { return extra_; }

 private:
  void record(const Arrays& placeholders, const Arrays& outputs) {
    for (size_t i = 0; i < placeholders.size(); ++i)
      sources_.set(placeholders[i].id(), {Source::input, static_cast<uint32_t>(i)});
    detail::Dependents dependents(outputs, placeholders, true);
    for (const array& node : dependents.nodes()) add(node);
    for (const array& out : outputs) outputs_.push_back(source_of(out));
    // Computed once. Tracers among them belong to a transform around this one, which still needs their graph.
    Arrays pending;
    for (const array& c : constants_)
      if (!c.is_tracer()) pending.push_back(c);
    eval(std::move(pending));
    sources_ = {};
    merged_.clear();
  }

  Source source_of(const array& a) {
    if (const Source* known = sources_.find(a.id())) return *known;
    // A scalar that stands for the same number as an earlier one is the same constant.
    if (a.ndim() == 0 && a.is_available()) {
      for (size_t i = 0; i < constants_.size(); ++i) {
        const array& c = constants_[i];
        if (c.ndim() == 0 && c.dtype() == a.dtype() && c.is_available() &&
            std::memcmp(c.data<char>(), a.data<char>(), a.itemsize()) == 0)
          return sources_.set(a.id(), {Source::constant, static_cast<uint32_t>(i)});
      }
    }
    constants_.push_back(a);
    return sources_.set(a.id(), {Source::constant, static_cast<uint32_t>(constants_.size() - 1)});
  }

  void add(const array& a) {
    TracedNode node{a.primitive_ptr(), {}, {}, {}, static_cast<uint32_t>(values_)};
    const Primitive& primitive = *node.primitive;
    size_t hash = typeid(primitive).hash_code();
    for (const array& in : a.inputs()) {
      node.inputs.push_back(source_of(in));
      hash = hash * 31 + node.inputs.back().kind + 4 * node.inputs.back().index;
    }
    const Arrays outs = a.outputs();
    for (const array& out : outs) {
      node.shapes.push_back(out.shape());
      node.dtypes.push_back(out.dtype());
    }
    if (const TracedNode* twin = compile_mode == CompileMode::no_simplify ? nullptr : find_twin(hash, node)) {
      for (size_t i = 0; i < outs.size(); ++i)
        sources_.set(outs[i].id(), {Source::node, twin->first_value + static_cast<uint32_t>(i)});
      return;
    }
    for (const array& out : outs) sources_.set(out.id(), {Source::node, static_cast<uint32_t>(values_++)});
    merged_.emplace(hash, nodes_.size());
    nodes_.push_back(std::move(node));
  }

  const TracedNode* find_twin(size_t hash, const TracedNode& node) const {
    for (auto [it, end] = merged_.equal_range(hash); it != end; ++it) {
      const TracedNode& other = nodes_[it->second];
      const bool same_inputs =
          other.inputs.size() == node.inputs.size() &&
          std::equal(other.inputs.begin(), other.inputs.end(), node.inputs.begin(),
                     [](Source x, Source y) { return x.kind == y.kind && x.index == y.index; });
      if (same_inputs && other.primitive->stream() == node.primitive->stream() &&
          same_type(*other.primitive, *node.primitive) && other.primitive->is_equivalent(*node.primitive) &&
          other.shapes == node.shapes)
        return &other;
    }
    return nullptr;
  }

  const bool shapeless_;
  std::shared_ptr<void> extra_;
  std::vector<TracedNode> nodes_;
  Arrays constants_;
  std::vector<Source> outputs_;
  size_t values_ = 0;
  IdMap<Source> sources_;                           // while recording
  std::unordered_multimap<size_t, size_t> merged_;  // while recording
};

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

bool compile_enabled() { return compile_mode != CompileMode::disabled; }

std::function<std::pair<Arrays, std::shared_ptr<void>>(const Arrays&, const std::vector<uint64_t>&)>
compile_keyed(TracedFunction fun, bool shapeless) {
  return [fun = std::move(fun), shapeless, cache = std::make_shared<Cache>()](
             const Arrays& inputs,
             const std::vector<uint64_t>& constants) -> std::pair<Arrays, std::shared_ptr<void>> {
    if (!compile_enabled()) return fun(inputs);
    std::shared_ptr<Trace> trace = cache->find(inputs, constants);
    if (!trace) {
      trace = std::make_shared<Trace>(fun, inputs, shapeless);
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

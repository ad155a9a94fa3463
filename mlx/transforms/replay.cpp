#include "mlx/transforms/replay.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <typeinfo>

#include "mlx/graph/eval.h"
#include "mlx/graph/observe.h"
#include "mlx/graph/origin.h"
#include "mlx/graph/primitive_table.h"
#include "mlx/ops/view.h"
#include "mlx/transforms.h"
#include "mlx/transforms/fuse_trace.h"
#include "mlx/transforms/trace.h"

namespace mlx::core::detail {
namespace {

bool same_type(const Primitive& a, const Primitive& b) { return typeid(a) == typeid(b); }

void append(Arrays&& from, Arrays& to) { std::move(from.begin(), from.end(), std::back_inserter(to)); }

// The operation on inputs of other shapes, with its checks: nobody has seen these shapes before.
Arrays called(const TracedNode& node, const Arrays& in) {
  Primitive& p = *node.primitive;
  const PrimitiveTable::Type* type = primitive_table().find(p);
  if (!type) return array::make_arrays(p.output_shapes(in), node.dtypes, node.primitive, in);
  Arrays out = type->call(p, in, node.shapes.size());
  bool same = out.size() == node.dtypes.size();
  for (size_t i = 0; same && i < out.size(); ++i) same = out[i].dtype() == node.dtypes[i];
  if (!same) throw invalid(p.name(), "gives other dtypes for these shapes than for those it was traced with");
  return out;
}

void check(const Trace::Fixed& f, const Shape& shape) {
  bool same = shape.size() == f.shape.size();
  for (size_t i = 0; same && i < shape.size(); ++i)
    same = f.axis >= 0 && static_cast<size_t>(f.axis) != i ? true
           : f.ones_only                                   ? std::min(shape[i], 2) == std::min(f.shape[i], 2)
                                                           : shape[i] == f.shape[i];
  if (!same)
    throw invalid("compile", "a trace without shapes was made where ", f.op, " got the shape ", f.shape,
                  " and depends on ", f.ones_only ? "which of its sizes are 0 or 1" : "its sizes",
                  ", but now it gets ", shape, "; compile with shapeless=False");
}

}  // namespace

Trace::Trace(const TracedFunction& fun, const Arrays& examples, TraceOptions options) : options_(options) {
  InTracing tracing;
  const OriginScope from(OriginScope::program);
  with_origins_ = recording_origins();
  Arrays placeholders;
  for (const array& example : examples) {
    array placeholder(example.shape(), example.dtype(), nullptr, {});
    placeholder.set_tracer(true);
    placeholders.push_back(std::move(placeholder));
  }
  std::optional<OpenSizes> sizes;
  if (options_.shapeless) sizes.emplace();
  auto [outputs, extra] = fun(placeholders);
  extra_ = std::move(extra);
  record(placeholders, outputs, sizes ? &*sizes : nullptr);
}

bool Trace::knows_enough_origins() const { return with_origins_ || !recording_origins(); }

// Transforms and tools want to see every operation.
const TracedNodes& Trace::nodes_for(const Arrays& inputs) const {
  if (options_.shapeless || in_tracing() || retain_graph() || observed() || recording_origins()) return all_;
  std::call_once(fused_->once, [&] { fused_->nodes = fuse_small(all_, inputs, constants_); });
  return fused_->nodes;
}

Arrays Trace::replay(const Arrays& inputs) const {
  const TracedNodes& list = nodes_for(inputs);
  Arrays values;
  values.reserve(list.values);
  const auto value_of = [&](Source s) -> const array& {
    return s.kind == Source::input  ? inputs[s.index]
           : s.kind == Source::node ? values[s.index]
                                    : constants_[s.index];
  };
  // What depends on a size is checked before anything is computed from it.
  size_t checked = 0;
  const auto check_sizes = [&] {
    while (checked < fixed_.size() &&
           (fixed_[checked].source.kind == Source::input || fixed_[checked].source.index < values.size())) {
      const Fixed& f = fixed_[checked++];
      check(f, value_of(f.source).shape());
    }
  };
  for (const TracedNode& node : list.nodes) {
    const OriginScope from(OriginScope::same, node.origin);
    if (!options_.shapeless) {
      node.build(value_of, values);
      continue;
    }
    check_sizes();
    Arrays in;
    for (Source s : node.inputs) in.push_back(value_of(s));
    append(called(node, in), values);
  }
  check_sizes();
  Arrays out;
  out.reserve(list.outputs.size());
  for (Source s : list.outputs) out.push_back(value_of(s));
  return out;
}

void Trace::record(const Arrays& placeholders, const Arrays& outputs, const OpenSizes* sizes) {
  for (size_t i = 0; i < placeholders.size(); ++i)
    sources_.set(placeholders[i].id(), {Source::input, static_cast<uint32_t>(i)});
  Arrays wanted = outputs;
  if (sizes)
    for (const OpenSizes::Use& use : sizes->uses) wanted.push_back(use.a);
  Dependents dependents(wanted, placeholders, true);
  for (const array& node : dependents.nodes())
    if (!add_dropped(node)) add(node);
  for (const array& out : outputs) all_.outputs.push_back(source_of(out));
  if (sizes)
    for (const OpenSizes::Use& use : sizes->uses)
      if (const Source* known = sources_.find(use.a.id()); known && known->kind != Source::constant)
        fixed_.push_back({use.op, *known, use.a.shape(), use.ones_only, use.axis});
  const auto when = [](const Fixed& f) { return f.source.kind == Source::input ? 0 : f.source.index + 1; };
  std::stable_sort(fixed_.begin(), fixed_.end(),
                   [&](const Fixed& x, const Fixed& y) { return when(x) < when(y); });
  take_numbers();
  // Computed once. Tracers among them belong to a transform around this one, which still needs their graph.
  Arrays pending;
  for (const array& c : constants_)
    if (!c.is_tracer()) pending.push_back(c);
  eval(std::move(pending));
  sources_ = {};
  merged_.clear();
}

// Constants that repeat a number, read by element-wise operations only: these want the number, not an array.
void Trace::take_numbers() {
  std::vector<bool> stored(constants_.size(), false);
  const auto note = [&](Source s) {
    if (s.kind == Source::constant) stored[s.index] = true;
  };
  for (Source s : all_.outputs) note(s);
  for (const TracedNode& node : all_.nodes)
    if (node.primitive->opcode() < 0) std::for_each(node.inputs.begin(), node.inputs.end(), note);
  for (size_t i = 0; i < constants_.size(); ++i) {
    const array& c = constants_[i];
    if (stored[i] || c.is_tracer() || c.is_available()) continue;
    const auto* full = dynamic_cast<const Full*>(&c.primitive());
    if (!full || !c.inputs()[0].is_available()) continue;
    constants_[i] = full->repeated(c.inputs()[0]);
  }
}

Source Trace::source_of(const array& a) {
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

// Where the options say so: a node that only passes values through is left out.
bool Trace::add_dropped(const array& a) {
  if (!options_.drop_custom_rules || !input_behind(a.primitive(), 0)) return false;
  const Arrays outs = a.outputs();
  for (size_t i = 0; i < outs.size(); ++i) {
    const Source behind = source_of(a.inputs()[*input_behind(a.primitive(), i)]);
    sources_.set(outs[i].id(), behind);
  }
  return true;
}

void Trace::add(const array& a) {
  TracedNode node{a.primitive_ptr(), {}, {}, {}, static_cast<uint32_t>(all_.values), debug::origin_id(a)};
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
  if (const TracedNode* twin = options_.merge_equal ? find_twin(hash, node) : nullptr) {
    for (size_t i = 0; i < outs.size(); ++i)
      sources_.set(outs[i].id(), {Source::node, twin->first_value + static_cast<uint32_t>(i)});
    return;
  }
  for (const array& out : outs) sources_.set(out.id(), {Source::node, static_cast<uint32_t>(all_.values++)});
  merged_.emplace(hash, all_.nodes.size());
  all_.nodes.push_back(std::move(node));
}

const TracedNode* Trace::find_twin(size_t hash, const TracedNode& node) const {
  for (auto [it, end] = merged_.equal_range(hash); it != end; ++it) {
    const TracedNode& other = all_.nodes[it->second];
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

}  // namespace mlx::core::detail

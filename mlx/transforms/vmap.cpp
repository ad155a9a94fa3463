// vmap: trace the function on placeholders that lack the batch axis, then rebuild its graph node by node with
// each primitive's batching rule.
#include "mlx/graph/eval.h"
#include "mlx/graph/origin.h"
#include "mlx/ops.h"
#include "mlx/ops/rules.h"
#include "mlx/transforms.h"
#include "mlx/transforms/trace.h"

namespace mlx::core {
namespace {

struct Mapped {
  array value;
  int axis;
};

Axes filled(const Axes& axes, size_t n, const char* what) {
  if (axes.empty()) return Axes(n, 0);
  if (axes.size() != n)
    throw invalid("vmap", "got ", axes.size(), " ", what, " axes for ", n, ", expected as many");
  return axes;
}

// The placeholders; the batch size is left in `size`.
Arrays placeholders(const Arrays& inputs, Axes& axes, int& size) {
  Arrays out;
  size = -1;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const array& in = inputs[i];
    if (axes[i] == -1) {
      out.push_back(in);
      continue;
    }
    if (in.ndim() == 0) throw invalid("vmap", "argument ", i, " is 0-d, expected an axis to map over");
    axes[i] = checked_axis("vmap", axes[i] < -1 ? axes[i] + 1 : axes[i], in.shape());
    const int n = in.shape(axes[i]);
    if (size >= 0 && n != size)
      throw invalid("vmap", "got sizes ", size, " and ", n,
                    " along the mapped axes, expected one size: argument ", i, " has shape ", in.shape());
    size = n;
    Shape shape = in.shape();
    shape.erase(shape.begin() + axes[i]);
    array placeholder(std::move(shape), in.dtype(), nullptr, {});
    placeholder.set_tracer(true);
    out.push_back(std::move(placeholder));
  }
  if (size < 0) throw invalid("vmap", "no argument has an axis to map over, expected at least one");
  return out;
}

}  // namespace

ArrayFunction vmap(const ArrayFunction& fun, const Axes& in_axes, const Axes& out_axes) {
  return [=](const Arrays& inputs) {
    detail::InTracing tracing;
    Axes axes = filled(in_axes, inputs.size(), "input");
    int size = 0;
    const Arrays traced = placeholders(inputs, axes, size);
    const auto outputs_of = [&] {
      const detail::OriginScope from(detail::OriginScope::program);
      return fun(traced);
    };
    Arrays outputs = outputs_of();
    Axes to = filled(out_axes, outputs.size(), "output");

    Arrays sources;
    IdMap<Mapped> mapped;
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (axes[i] < 0) continue;
      sources.push_back(traced[i]);
      mapped.set(traced[i].id(), {inputs[i], axes[i]});
    }
    detail::Dependents dependents(outputs, sources, true);
    for (const array& node : dependents.nodes()) {
      Arrays in;
      Axes at;
      for (const array& input : node.inputs()) {
        const Mapped* m = mapped.find(input.id());
        in.push_back(m ? m->value : input);
        at.push_back(m ? m->axis : -1);
      }
      fix_sizes(node.primitive().name(), in);
      const detail::OriginScope from(detail::OriginScope::same, debug::origin_id(node));
      auto [values, value_axes] = node.primitive().vmap(in, at);
      const Arrays outs = node.outputs();
      for (size_t i = 0; i < outs.size(); ++i) mapped.set(outs[i].id(), {values[i], value_axes[i]});
    }

    Arrays results;
    for (size_t i = 0; i < outputs.size(); ++i) {
      const Mapped* m = mapped.find(outputs[i].id());
      const int rank = static_cast<int>(outputs[i].ndim()) + 1;
      const int target = to[i] < 0 ? to[i] + rank : to[i];
      if (target < 0 || target >= rank)
        throw std::out_of_range(text("[vmap] output axis ", to[i], " is outside [", -rank, ", ", rank, ")"));
      array value = m && m->axis >= 0 ? m->value : batch_to_front(m ? m->value : outputs[i], -1, size);
      const int from = m && m->axis >= 0 ? m->axis : 0;
      results.push_back(from == target ? value : moveaxis(value, from, target));
    }
    return results;
  };
}

std::function<array(const array&)> vmap(const std::function<array(const array&)>& fun, int in_axis,
                                        int out_axis) {
  auto many = vmap(ArrayFunction([fun](const Arrays& in) { return Arrays{fun(in[0])}; }), Axes{in_axis},
                   Axes{out_axis});
  return [many](const array& a) { return many({a})[0]; };
}

std::function<array(const array&, const array&)> vmap(
    const std::function<array(const array&, const array&)>& fun, int in_axis_a, int in_axis_b, int out_axis) {
  auto many = vmap(ArrayFunction([fun](const Arrays& in) { return Arrays{fun(in[0], in[1])}; }),
                   Axes{in_axis_a, in_axis_b}, Axes{out_axis});
  return [many](const array& a, const array& b) { return many({a, b})[0]; };
}

}  // namespace mlx::core

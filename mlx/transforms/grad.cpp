// vjp, jvp and value_and_grad. The function is run once on tracers; then its graph is walked: backwards with
// cotangents, or forwards with tangents. Nothing here recurses, so the depth of a graph does not matter.
#include <algorithm>
#include <functional>

#include "mlx/graph/eval.h"
#include "mlx/graph/origin.h"
#include "mlx/ops.h"
#include "mlx/ops/rules.h"
#include "mlx/transforms.h"
#include "mlx/transforms/trace.h"

namespace mlx::core {
namespace {

// Copies of the primals that are differentiated, marked as tracers; the others are passed as they are.
Arrays make_tracers(const Arrays& primals, const Axes& argnums) {
  Arrays traced = primals;
  for (int i : argnums) {
    const array& primal = primals[static_cast<size_t>(i)];
    const detail::OriginScope from(detail::OriginScope::same, debug::origin_id(primal));
    array tracer = copy(primal);
    tracer.set_tracer(true);
    traced[static_cast<size_t>(i)] = tracer;
  }
  return traced;
}

Arrays pick(const Arrays& arrays, const Axes& indices) {
  Arrays out;
  for (int i : indices) out.push_back(arrays[static_cast<size_t>(i)]);
  return out;
}

void check_like(const char* op, const char* what, const Arrays& values, const Arrays& of, const char* name) {
  if (values.size() != of.size())
    throw invalid(op, "got ", values.size(), " ", what, "s for ", of.size(), " ", name,
                  "s, expected as many");
  for (size_t i = 0; i < of.size(); ++i)
    if (values[i].shape() != of[i].shape())
      throw invalid(op, what, " ", i, " has shape ", values[i].shape(), ", expected ", of[i].shape(), " as ",
                    name, " ", i, " has");
}

// The user's function: its nodes come from his program, also where it is called by a rule (checkpoint).
Arrays called(const ArrayFunction& fun, const Arrays& traced) {
  const detail::OriginScope from(detail::OriginScope::program);
  return fun(traced);
}

using MakeCotangents = std::function<Arrays(const Arrays& outputs)>;

// `cotangents` is asked when the outputs are known; an output beyond those it answers for gets none.
std::pair<Arrays, Arrays> vjp_by(const ArrayFunction& fun, const Arrays& primals, const Axes& argnums,
                                 const MakeCotangents& make_cotangents) {
  detail::InTracing tracing;
  const Arrays traced = make_tracers(primals, argnums);
  const Arrays sources = pick(traced, argnums);
  Arrays outputs = called(fun, traced);
  const Arrays cotangents = make_cotangents(outputs);

  Arrays starts(outputs.begin(), outputs.begin() + static_cast<std::ptrdiff_t>(cotangents.size()));
  detail::Dependents dependents(starts, sources, false);
  IdMap<array> gradient;
  const auto accumulate = [&](const array& a, array g) {
    array* sum = gradient.find(a.id());
    gradient.set(a.id(), sum ? add(*sum, g) : std::move(g));
  };
  for (size_t i = 0; i < cotangents.size(); ++i)
    if (dependents.depends(outputs[i])) accumulate(outputs[i], cotangents[i]);

  const auto& nodes = dependents.nodes();
  for (size_t n = nodes.size(); n-- > 0;) {
    const array& node = nodes[n];
    const detail::OriginScope from(detail::OriginScope::backward, debug::origin_id(node));
    const Arrays outs = node.outputs();
    Arrays grads_out;
    bool any = false;
    for (const array& out : outs) {
      const array* g = gradient.find(out.id());
      any = any || g;
      grads_out.push_back(g ? *g : zeros_of(out));
    }
    if (!any) continue;
    Axes wanted;
    for (size_t i = 0; i < node.inputs().size(); ++i)
      if (dependents.depends(node.inputs()[i])) wanted.push_back(static_cast<int>(i));
    const bool follows = node.primitive().follows_sizes();
    if (!follows || node.inputs().size() > 1)  // one input does not broadcast
      fix_sizes(node.primitive().name(), node.inputs(), follows);
    Arrays grads = node.primitive().vjp(node.inputs(), grads_out, wanted, outs);
    for (size_t i = 0; i < wanted.size(); ++i)
      accumulate(node.inputs()[static_cast<size_t>(wanted[i])], std::move(grads[i]));
  }

  Arrays grads;
  for (const array& source : sources) {
    const array* g = gradient.find(source.id());
    grads.push_back(g ? *g : zeros_of(source));
  }
  return {std::move(outputs), std::move(grads)};
}

Axes every_index(const Arrays& arrays) {
  Axes all(arrays.size());
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int>(i);
  return all;
}

}  // namespace

std::pair<Arrays, Arrays> vjp(const ArrayFunction& fun, const Arrays& primals, const Arrays& cotangents) {
  return vjp_by(fun, primals, every_index(primals), [&](const Arrays& outputs) {
    check_like("vjp", "cotangent", cotangents, outputs, "output");
    return cotangents;
  });
}

std::pair<array, array> vjp(const std::function<array(const array&)>& fun, const array& primal,
                            const array& cotangent) {
  auto [outputs, grads] =
      vjp([&](const Arrays& in) { return Arrays{fun(in[0])}; }, Arrays{primal}, Arrays{cotangent});
  return {outputs[0], grads[0]};
}

ValueAndGradFn value_and_grad(const ArrayFunction& fun, const std::vector<int>& argnums) {
  if (argnums.empty()) throw invalid("grad", "got no argument number, expected at least one");
  return [fun, argnums](const Arrays& inputs) {
    Axes wanted;
    for (int arg : argnums) {
      const int n = static_cast<int>(inputs.size());
      if (arg < -n || arg >= n)
        throw invalid("grad", "argument number ", arg, " is outside the ", n, " arguments of the call");
      wanted.push_back(arg < 0 ? arg + n : arg);
    }
    return vjp_by(fun, inputs, wanted, [](const Arrays& outputs) {
      if (outputs.empty() || outputs[0].size() != 1 || outputs[0].ndim() != 0)
        throw invalid("grad", "the function returned ",
                      outputs.empty() ? text("nothing") : text("an array of shape ", outputs[0].shape()),
                      ", expected a scalar: only those have a gradient");
      return Arrays{like(outputs[0], 1)};
    });
  };
}

std::pair<Arrays, Arrays> jvp(const ArrayFunction& fun, const Arrays& primals, const Arrays& tangents) {
  check_like("jvp", "tangent", tangents, primals, "primal");
  detail::InTracing tracing;
  const Arrays sources = make_tracers(primals, every_index(primals));
  Arrays outputs = called(fun, sources);
  detail::Dependents dependents(outputs, sources, false);
  IdMap<array> tangent;
  for (size_t i = 0; i < sources.size(); ++i) tangent.set(sources[i].id(), tangents[i]);
  for (const array& node : dependents.nodes()) {
    Axes argnums;
    Arrays in_tangents;
    for (size_t i = 0; i < node.inputs().size(); ++i) {
      if (const array* t = tangent.find(node.inputs()[i].id())) {
        argnums.push_back(static_cast<int>(i));
        in_tangents.push_back(*t);
      }
    }
    const detail::OriginScope from(detail::OriginScope::tangent, debug::origin_id(node));
    const Arrays outs = node.outputs();
    fix_sizes(node.primitive().name(), node.inputs());
    Arrays out_tangents = node.primitive().jvp(node.inputs(), in_tangents, argnums);
    for (size_t i = 0; i < outs.size(); ++i) tangent.set(outs[i].id(), std::move(out_tangents[i]));
  }
  Arrays out_tangents;
  for (const array& out : outputs) {
    const array* t = tangent.find(out.id());
    out_tangents.push_back(t ? *t : zeros_of(out));
  }
  return {std::move(outputs), std::move(out_tangents)};
}

std::pair<array, array> jvp(const std::function<array(const array&)>& fun, const array& primal,
                            const array& tangent) {
  auto [outputs, tangents] =
      jvp([&](const Arrays& in) { return Arrays{fun(in[0])}; }, Arrays{primal}, Arrays{tangent});
  return {outputs[0], tangents[0]};
}

}  // namespace mlx::core

// custom_function and checkpoint: a node that passes the values of a function through and has rules of its
// own.
#include <algorithm>

#include "mlx/graph/eval.h"
#include "mlx/graph/forecast.h"
#include "mlx/graph/kernels.h"
#include "mlx/graph/origin.h"
#include "mlx/ops.h"
#include "mlx/ops/rules.h"
#include "mlx/ops/view.h"
#include "mlx/transforms.h"
#include "mlx/transforms/replay.h"

namespace mlx::core {
namespace {

// Inputs: the arguments, then the function's outputs, which become this node's. Derivatives by the arguments
// come from the rules; what reaches the outputs from elsewhere (captured arrays) goes through unchanged.
class CustomTransforms final : public Primitive {
 public:
  CustomTransforms(Stream s, size_t arguments, CustomVjp vjp, CustomJvp jvp, CustomVmap vmap)
      : Primitive(s),
        arguments_(arguments),
        vjp_(std::move(vjp)),
        jvp_(std::move(jvp)),
        vmap_(std::move(vmap)) {}

  void eval_cpu(const Arrays& inputs, Arrays& outputs) override { pass_through(inputs, outputs); }
  void eval_gpu(const Arrays& inputs, Arrays& outputs) override { pass_through(inputs, outputs); }

  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
             const Arrays& outputs) override {
    const bool by_argument = std::any_of(argnums.begin(), argnums.end(),
                                         [&](int i) { return static_cast<size_t>(i) < arguments_; });
    Arrays grads;
    if (by_argument) {
      const detail::OriginScope from(detail::OriginScope::program);
      grads = vjp_(arguments(primals), cotangents, outputs);
    }
    Arrays out;
    for (int i : argnums) {
      const auto at = static_cast<size_t>(i);
      if (at >= arguments_) {
        out.push_back(cotangents[at - arguments_]);
        continue;
      }
      if (grads.size() != arguments_)
        throw invalid("custom_function", "the vjp returned ", grads.size(), " arrays, expected ", arguments_,
                      ": one for each argument");
      if (grads[at].shape() != primals[at].shape())
        throw invalid("custom_function", "the vjp returned shape ", grads[at].shape(), " for argument ", i,
                      ", expected ", primals[at].shape());
      out.push_back(grads[at]);
    }
    return out;
  }

  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override {
    Arrays by_argument;
    Axes numbers;
    Arrays out(primals.begin() + static_cast<std::ptrdiff_t>(arguments_), primals.end());
    std::vector<std::optional<array>> total(out.size());
    for (size_t i = 0; i < argnums.size(); ++i) {
      const auto at = static_cast<size_t>(argnums[i]);
      if (at < arguments_) {
        by_argument.push_back(tangents[i]);
        numbers.push_back(argnums[i]);
      } else {
        total[at - arguments_] = tangents[i];
      }
    }
    if (!numbers.empty()) {
      const detail::OriginScope from(detail::OriginScope::program);
      const Arrays from_rule = jvp_(arguments(primals), by_argument, numbers);
      if (from_rule.size() != out.size())
        throw invalid("custom_function", "the jvp returned ", from_rule.size(), " arrays, expected ",
                      out.size(), ": one for each output");
      for (size_t i = 0; i < out.size(); ++i)
        total[i] = total[i] ? add(*total[i], from_rule[i]) : from_rule[i];
    }
    for (size_t i = 0; i < out.size(); ++i) out[i] = total[i] ? *total[i] : zeros_of(out[i]);
    return out;
  }

  Batched vmap(const Arrays& inputs, const Axes& axes) override {
    const auto split = static_cast<std::ptrdiff_t>(arguments_);
    if (std::all_of(axes.begin(), axes.begin() + split,
                    [](int axis) { return axis < 0; }))  // batched by a capture
      return {Arrays(inputs.begin() + split, inputs.end()), Axes(axes.begin() + split, axes.end())};
    const detail::OriginScope from(detail::OriginScope::program);
    return vmap_(arguments(inputs),
                 Axes(axes.begin(), axes.begin() + static_cast<std::ptrdiff_t>(arguments_)));
  }
  // The function's own outputs are among the inputs: what is replayed without shapes computes them first.
  std::vector<Shape> output_shapes(const Arrays& inputs) override {
    std::vector<Shape> shapes;
    for (size_t i = arguments_; i < inputs.size(); ++i) shapes.push_back(inputs[i].shape());
    return shapes;
  }
  const char* name() const override { return "custom_function"; }
  size_t arguments_before_outputs() const { return arguments_; }
  void pass_through(const Arrays& inputs, Arrays& outputs) const {
    for (size_t i = 0; i < outputs.size(); ++i) outputs[i].copy_shared_buffer(inputs[arguments_ + i]);
  }

 private:
  Arrays arguments(const Arrays& inputs) const {
    return Arrays(inputs.begin(), inputs.begin() + static_cast<std::ptrdiff_t>(arguments_));
  }

  const size_t arguments_;
  const CustomVjp vjp_;
  const CustomJvp jvp_;
  const CustomVmap vmap_;
};

void forecast(const CustomTransforms& p, const Arrays& inputs, Arrays& outputs, ShadowMemory&) {
  p.pass_through(inputs, outputs);
}
const bool has_memory_rules = memory_rules(Device::cpu).add<CustomTransforms>(forecast) &&
                              memory_rules(Device::gpu).add<CustomTransforms>(forecast);

Arrays without_gradient(const Arrays& arrays) {
  Arrays out;
  for (const array& a : arrays) out.push_back(make_view<StopGradient>(a.shape(), a.dtype(), {}, a, true));
  return out;
}

CustomVjp derived_vjp(const ArrayFunction& fun) {
  return [fun](const Arrays& primals, const Arrays& cotangents, const Arrays&) {
    return vjp(fun, primals, cotangents).second;
  };
}
CustomJvp derived_jvp(const ArrayFunction& fun) {
  return [fun](const Arrays& primals, const Arrays& tangents, const Axes& argnums) {
    const ArrayFunction of_these = [&](const Arrays& in) {
      Arrays all = primals;
      for (size_t i = 0; i < argnums.size(); ++i) all[static_cast<size_t>(argnums[i])] = in[i];
      return fun(all);
    };
    Arrays at;
    for (int i : argnums) at.push_back(primals[static_cast<size_t>(i)]);
    return jvp(of_these, at, tangents).second;
  };
}
CustomVmap derived_vmap(const ArrayFunction& fun) {
  return [fun](const Arrays& inputs, const Axes& axes) {
    Arrays out = vmap(fun, axes)(inputs);
    Axes at(out.size(), 0);
    return Batched(std::move(out), std::move(at));
  };
}

}  // namespace

namespace detail {

std::optional<size_t> input_behind(const Primitive& p, size_t output) {
  if (typeid(p) == typeid(CustomTransforms))
    return static_cast<const CustomTransforms&>(p).arguments_before_outputs() + output;
  if (typeid(p) == typeid(StopGradient) && static_cast<const StopGradient&>(p).of_custom_function)
    return output;
  return std::nullopt;
}

}  // namespace detail

ArrayFunction custom_function(ArrayFunction fun, std::optional<CustomVjp> fun_vjp,
                              std::optional<CustomJvp> fun_jvp, std::optional<CustomVmap> fun_vmap) {
  return [=](const Arrays& args) {
    const bool traced = std::any_of(args.begin(), args.end(), [](const array& a) { return a.is_tracer(); });
    if (!traced) return fun(args);
    const Arrays outputs = fun(without_gradient(args));
    std::vector<Shape> shapes;
    std::vector<Dtype> dtypes;
    Arrays inputs = args;
    for (const array& out : outputs) {
      shapes.push_back(out.shape());
      dtypes.push_back(out.dtype());
      inputs.push_back(out);
    }
    return array::make_arrays(
        std::move(shapes), dtypes,
        std::make_shared<CustomTransforms>(to_stream({}), args.size(), fun_vjp ? *fun_vjp : derived_vjp(fun),
                                           fun_jvp ? *fun_jvp : derived_jvp(fun),
                                           fun_vmap ? *fun_vmap : derived_vmap(fun)),
        inputs);
  };
}

ArrayFunction custom_vjp(ArrayFunction fun, CustomVjp fun_vjp) {
  return custom_function(std::move(fun), std::move(fun_vjp));
}

ArrayFunction checkpoint(ArrayFunction fun) {
  // The recomputation waits for the cotangents: otherwise it might run early and its results lie in memory
  // meanwhile.
  return custom_function(fun, [fun](const Arrays& primals, const Arrays& cotangents, const Arrays&) {
    Arrays dependencies = cotangents;
    return vjp(fun, depends(primals, dependencies), cotangents).second;
  });
}

}  // namespace mlx::core

// fast::layer_norm, fast::rms_norm. First derivatives are kernels; what is derived from those goes through
// the same formulas written in plain operations.
#include "mlx/ops/norms.h"

#include "mlx/fast.h"
#include "mlx/graph/primitive_table.h"
#include "mlx/ops.h"
#include "mlx/transforms.h"

namespace mlx::core::fast {
namespace {

// The formula in plain operations, in the compute dtype. Inputs as Norm has them, before the result is
// rounded.
array plain_norm(const Arrays& in, bool centre, double eps, bool weighted, bool biased, Dtype dtype,
                 StreamOrDevice s) {
  const Dtype wide = norm_dtype(dtype);
  array x = astype(in[0], wide, s);
  if (centre) x = subtract(x, mean(x, -1, true, s), s);
  const array scale = rsqrt(add(mean(square(x, s), -1, true, s), array(eps, wide), s), s);
  array y = multiply(x, scale, s);
  if (weighted) y = multiply(y, astype(in[1], wide, s), s);
  if (biased) y = add(y, astype(in.back(), wide, s), s);
  return astype(y, dtype, s);
}

// The gradients in plain operations: dx, dweight, dbias of inputs x, (weight,) g, the last two summed over
// `rows`.
Arrays plain_norm_vjp(const Arrays& in, bool centre, double eps, bool weighted, const Axes& rows,
                      StreamOrDevice s) {
  const Dtype dtype = in[0].dtype(), wide = norm_dtype(dtype);
  array x = astype(in[0], wide, s);
  const array g = astype(in.back(), wide, s);
  if (centre) x = subtract(x, mean(x, -1, true, s), s);
  const array scale = rsqrt(add(mean(square(x, s), -1, true, s), array(eps, wide), s), s);
  x = multiply(x, scale, s);
  const array gw = weighted ? multiply(g, astype(in[1], wide, s), s) : g;
  array dx = subtract(gw, multiply(x, mean(multiply(gw, x, s), -1, true, s), s), s);
  if (centre) dx = subtract(dx, mean(gw, -1, true, s), s);
  return {astype(multiply(dx, scale, s), dtype, s), sum(multiply(g, x, s), rows, false, s),
          sum(g, rows, false, s)};
}
Axes all_but_last(const array& x) {
  Axes axes = all_axes(x);
  axes.pop_back();
  return axes;
}

array norm(const char* name, bool centre, const array& x, const std::optional<array>& weight,
           const std::optional<array>& bias, double eps, StreamOrDevice s) {
  if (x.ndim() == 0) throw invalid(name, "got an array without dimensions, expected at least one");
  Dtype dtype = x.dtype();
  Arrays in;
  const auto check = [&](const char* what, const array& v) {
    if (v.ndim() != 1 || v.shape(0) != x.shape(-1))
      throw invalid(name, "got ", what, " of shape ", v.shape(), ", expected (", x.shape(-1),
                    ") for x of shape ", x.shape());
    dtype = promote_types(dtype, v.dtype());
  };
  if (weight) check("weight", *weight);
  if (bias) check("bias", *bias);
  if (!issubdtype(dtype, floating)) throw invalid(name, "got ", dtype, ", expected a real floating dtype");
  in.push_back(astype(x, dtype, s));
  if (weight) in.push_back(astype(*weight, norm_dtype(dtype), s));
  if (bias) in.push_back(astype(*bias, norm_dtype(dtype), s));
  return make<Norm>(x.shape(), dtype, s, in, centre, eps, weight.has_value(), bias.has_value());
}

// dx, dweight, dbias of inputs x, (weight,) g.
Arrays gradients(const Arrays& in, bool centre, double eps, bool weighted, Stream s) {
  const array& x = in[0];
  const Dtype wide = norm_dtype(x.dtype());
  const Shape row{x.shape(-1)};
  return array::make_arrays({x.shape(), row, row}, {x.dtype(), wide, wide},
                            std::make_shared<NormVjp>(s, centre, eps, weighted), in);
}

}  // namespace

Arrays Norm::vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums, const Arrays&) {
  Arrays in{primals[0]};
  if (weighted) in.push_back(primals[1]);
  in.push_back(cotangents[0]);
  const Arrays parts = gradients(in, centre, eps, weighted, stream());
  Arrays out;
  for (int i : argnums) out.push_back(parts[i == 0 ? 0 : weighted && i == 1 ? 1 : 2]);
  return out;
}
Arrays Norm::jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) {
  return jvp_of(
      [&](const Arrays& in) {
        return Arrays{plain_norm(in, centre, eps, weighted, biased, primals[0].dtype(), stream())};
      },
      primals, tangents, argnums);
}
Batched Norm::vmap(const Arrays& inputs, const Axes& at) {
  bool shared = true;  // the weights, by the whole batch
  for (size_t i = 1; i < at.size(); ++i) shared = shared && at[i] < 0;
  const int size = batch_size(inputs, at);
  const array x = batch_to_front(inputs[0], at[0], size);
  Arrays in{x};
  if (shared) {
    in.insert(in.end(), inputs.begin() + 1, inputs.end());
    return {{make<Norm>(x.shape(), x.dtype(), stream(), in, centre, eps, weighted, biased)}, {0}};
  }
  for (size_t i = 1; i < inputs.size(); ++i) {  // (batch, 1, ..., n) broadcasts against x
    const array w = batch_to_front(inputs[i], at[i], size);
    Shape shape(x.ndim(), 1);
    shape.front() = size;
    shape.back() = x.shape(-1);
    in.push_back(reshape(w, shape, stream()));
  }
  return {{plain_norm(in, centre, eps, weighted, biased, x.dtype(), stream())}, {0}};
}

Arrays NormVjp::vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums, const Arrays&) {
  return vjp_of(
      [&](const Arrays& in) {
        return plain_norm_vjp(in, centre, eps, weighted, all_but_last(in[0]), stream());
      },
      primals, cotangents, argnums);
}
Arrays NormVjp::jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) {
  return jvp_of(
      [&](const Arrays& in) {
        return plain_norm_vjp(in, centre, eps, weighted, all_but_last(in[0]), stream());
      },
      primals, tangents, argnums);
}
Batched NormVjp::vmap(const Arrays& inputs, const Axes& at) {
  const int size = batch_size(inputs, at);
  Arrays in;
  for (size_t i = 0; i < inputs.size(); ++i) in.push_back(batch_to_front(inputs[i], at[i], size));
  if (weighted) {  // (batch, 1, ..., n) broadcasts against x
    Shape shape(in[0].ndim(), 1);
    shape.front() = size;
    shape.back() = in[0].shape(-1);
    in[1] = reshape(in[1], shape, stream());
  }
  Axes rows = all_but_last(in[0]);
  rows.erase(rows.begin());
  return {plain_norm_vjp(in, centre, eps, weighted, rows, stream()), {0, 0, 0}};
}

array layer_norm(const array& x, const std::optional<array>& weight, const std::optional<array>& bias,
                 double eps, StreamOrDevice s) {
  return norm("layer_norm", true, x, weight, bias, eps, s);
}
array rms_norm(const array& x, const std::optional<array>& weight, double eps, StreamOrDevice s) {
  return norm("rms_norm", false, x, weight, std::nullopt, eps, s);
}

namespace {

bool is_normed(const array& x) { return x.ndim() > 0 && issubdtype(x.dtype(), floating); }

const bool kept_norms = primitive_table().add<Norm>("Norm", -1, [](const Norm& p, const Arrays& in) {
  bool fit = in.size() == 1u + p.weighted + p.biased && is_normed(in[0]);
  for (size_t i = 1; fit && i < in.size(); ++i) fit = is_norm_weight(in[i], in[0]);
  check_inputs(p, fit, in);
  return Arrays{
      make<Norm>(in[0].shape(), in[0].dtype(), p.stream(), in, p.centre, p.eps, p.weighted, p.biased)};
}) && primitive_table().add<NormVjp>("NormVjp", -1, [](const NormVjp& p, const Arrays& in) {
  check_inputs(p,
               in.size() == 2u + p.weighted && is_normed(in[0]) && alike(in.back(), in[0]) &&
                   (!p.weighted || is_norm_weight(in[1], in[0])),
               in);
  return gradients(in, p.centre, p.eps, p.weighted, p.stream());
});

}  // namespace

}  // namespace mlx::core::fast

// fast::lstm_steps. S. Hochreiter, J. Schmidhuber, "Long Short-Term Memory", doi:10.1162/neco.1997.9.8.1735.
//
// On the CPU float32 has a kernel; everything else is composed of other operations, as are derivatives of
// derivatives. The gradient has a form of its own in both: summed over the steps, that of the weight is one
// matrix product instead of one for each of them.
#include "mlx/ops/lstm.h"

#include <algorithm>

#include "mlx/fast.h"
#include "mlx/graph/primitive_table.h"
#include "mlx/ops.h"
#include "mlx/transforms.h"

namespace mlx::core::fast {
namespace {

constexpr const char* kName = "lstm_steps";
enum Input { kWeight, kHidden, kCell, kSequence };
enum GradientInput { kOfWeight, kOfCell, kCells, kGates, kByHiddens, kByCells, kByGates, kGradientInputs };

Arrays unfused(const Arrays& in, StreamOrDevice stream) {
  const StreamContext context(stream);
  const array turned = transpose(in[kWeight]);
  array hidden = expand_dims(in[kHidden], 0), cell = expand_dims(in[kCell], 0);
  Arrays hiddens, cells, gates;
  for (const array& step : split(in[kSequence], in[kSequence].shape(0), 0)) {
    gates.push_back(addmm(step, hidden, turned));
    const Arrays of = split(gates.back(), 4, -1);
    cell = sigmoid(of[1]) * cell + sigmoid(of[0]) * tanh(of[2]);
    hidden = sigmoid(of[3]) * tanh(cell);
    hiddens.push_back(hidden);
    cells.push_back(cell);
  }
  return {concatenate(hiddens, 0), concatenate(cells, 0), concatenate(gates, 0)};
}

// What does not depend on later steps is computed for all at once.
Arrays unfused_gradients(const Arrays& in, StreamOrDevice stream) {
  const StreamContext context(stream);
  const array &cells = in[kCells], &weight = in[kOfWeight];
  const int length = cells.shape(0);
  const Arrays of = split(in[kGates], 4, -1);
  const array i = sigmoid(of[0]), f = sigmoid(of[1]), g = tanh(of[2]), o = sigmoid(of[3]),
              active = tanh(cells);
  const array first = expand_dims(in[kOfCell], 0), one = ones_of(cells);
  const array before =
      length > 1
          ? concatenate({first, slice(cells, {0, 0, 0}, {length - 1, cells.shape(1), cells.shape(2)})}, 0)
          : first;
  const array to_cell = o * (one - active * active), to_o = active * o * (one - o);
  const array to_i = g * i * (one - i), to_f = before * f * (one - f), to_g = i * (one - g * g);
  const auto step = [](const array& x, int t) {
    return slice(x, {t, 0, 0}, {t + 1, x.shape(1), x.shape(2)});
  };
  array by_hidden = step(in[kByHiddens], length - 1), by_cell = zeros_like(first);
  Arrays rows;
  for (int t = length - 1; t >= 0; --t) {
    by_cell = by_cell + step(in[kByCells], t) + by_hidden * step(to_cell, t);
    rows.push_back(concatenate({by_cell * step(to_i, t), by_cell * step(to_f, t), by_cell * step(to_g, t),
                                by_hidden * step(to_o, t)},
                               -1) +
                   step(in[kByGates], t));
    by_cell = by_cell * step(f, t);
    by_hidden = t > 0 ? addmm(step(in[kByHiddens], t - 1), rows.back(), weight) : matmul(rows.back(), weight);
  }
  std::reverse(rows.begin(), rows.end());
  return {concatenate(rows, 0), squeeze(by_hidden, 0), squeeze(by_cell, 0)};
}

Arrays forward(const Arrays& in, Stream s) {
  const auto primitive = std::make_shared<LstmSteps>(s);
  return array::make_arrays(primitive->output_shapes(in), std::vector<Dtype>(3, float32), primitive, in);
}
Arrays gradients(const Arrays& in, Stream s) {
  const auto primitive = std::make_shared<LstmStepsGradient>(s);
  return array::make_arrays(primitive->output_shapes(in), std::vector<Dtype>(3, float32), primitive, in);
}

// Gradients of all inputs; `by_steps` computes what GradientInput says.
template <class F>
Arrays all_gradients(const Arrays& in, const Arrays& cotangents, const Arrays& outputs, Stream s,
                     F&& by_steps) {
  const array &hiddens = outputs[0], &sequence = in[kSequence];
  const int length = sequence.shape(0), batch = sequence.shape(1), size = hiddens.shape(2);
  const Arrays by = by_steps(
      Arrays{in[kWeight], in[kCell], outputs[1], outputs[2], cotangents[0], cotangents[1], cotangents[2]}, s);
  const auto weight = [&](const array& gates, const array& states) {
    return matmul(transpose(reshape(gates, {-1, 4 * size}, s), s), reshape(states, {-1, size}, s), s);
  };
  array of_weight = weight(slice(by[0], {0, 0, 0}, {1, batch, 4 * size}, s), in[kHidden]);
  if (length > 1)
    of_weight = add(of_weight,
                    weight(slice(by[0], {1, 0, 0}, {length, batch, 4 * size}, s),
                           slice(hiddens, {0, 0, 0}, {length - 1, batch, size}, s)),
                    s);
  return {of_weight, by[1], by[2], by[0]};
}

// The batch axis joins that of the sequences, where the weight has none.
template <class F>
Batched batched(const Arrays& inputs, const Axes& axes, Stream s, F&& call) {
  if (axes[0] >= 0) return one_by_one(inputs, axes, s, call);
  const int batch = batch_size(inputs, axes);
  Arrays in = {inputs[0]};
  for (size_t i = 1; i < inputs.size(); ++i) {
    const array x = batch_to_front(inputs[i], axes[i], batch);
    in.push_back(x.ndim() == 3 ? flatten(x, 0, 1, s) : flatten(moveaxis(x, 0, 1, s), 1, 2, s));
  }
  Arrays out = call(in);
  Axes at;
  for (array& o : out) {
    at.push_back(static_cast<int>(o.ndim()) - 2);
    o = unflatten(o, at.back(), {batch, batch ? o.shape(at.back()) / batch : 0}, s);
  }
  return {out, at};
}

}  // namespace

std::vector<Shape> LstmSteps::output_shapes(const Arrays& inputs) {
  const Shape& gates = inputs[kSequence].shape();
  const Shape states = {gates[0], gates[1], inputs[kHidden].shape(1)};
  return {states, states, gates};
}
std::vector<Shape> LstmStepsGradient::output_shapes(const Arrays& inputs) {
  return {inputs[kGates].shape(), inputs[kOfCell].shape(), inputs[kOfCell].shape()};
}

Arrays LstmSteps::vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
                      const Arrays& outputs) {
  return chosen(all_gradients(primals, cotangents, outputs, stream(), gradients), argnums);
}
Arrays LstmSteps::jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) {
  const Stream s = stream();
  return jvp_of([s](const Arrays& in) { return unfused(in, s); }, primals, tangents, argnums);
}
Batched LstmSteps::vmap(const Arrays& inputs, const Axes& axes) {
  return batched(inputs, axes, stream(), [&](const Arrays& in) { return forward(in, stream()); });
}

Arrays LstmStepsGradient::vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
                              const Arrays&) {
  const Stream s = stream();
  return vjp_of([s](const Arrays& in) { return unfused_gradients(in, s); }, primals, cotangents, argnums);
}
Arrays LstmStepsGradient::jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) {
  const Stream s = stream();
  return jvp_of([s](const Arrays& in) { return unfused_gradients(in, s); }, primals, tangents, argnums);
}
Batched LstmStepsGradient::vmap(const Arrays& inputs, const Axes& axes) {
  return batched(inputs, axes, stream(), [&](const Arrays& in) { return gradients(in, stream()); });
}

std::vector<array> lstm_steps(const array& weight, const array& hidden, const array& cell,
                              const array& inputs, StreamOrDevice stream) {
  const Stream s = to_stream(stream);
  if (weight.ndim() != 2 || weight.shape(0) != 4 * weight.shape(1))
    throw invalid(kName, "got a weight of shape ", weight.shape(), ", expected (4 H, H)");
  const int size = weight.shape(1);
  if (inputs.ndim() < 2 || inputs.shape(-1) != 4 * size)
    throw invalid(kName, "got inputs of shape ", inputs.shape(), ", expected (T, ..., ", 4 * size, ")");
  Shape states(inputs.shape().begin() + 1, inputs.shape().end());
  states.back() = size;
  for (const array* x : {&hidden, &cell})
    if (x->shape() != states)
      throw invalid(kName, "got a state of shape ", x->shape(), ", expected ", states);
  const Dtype dtype = promote_to_float(result_type(std::vector<array>{weight, hidden, cell, inputs}));
  if (dtype == complex64) throw invalid(kName, "got an array of complex64, expected real dtypes");
  Shape of_steps = states;
  of_steps.insert(of_steps.begin(), inputs.shape(0));
  if (inputs.size() == 0 || size == 0)
    return {zeros(of_steps, dtype, s), zeros(of_steps, dtype, s), astype(inputs, dtype, s)};

  Arrays in;
  for (const array* x : {&weight, &hidden, &cell, &inputs}) in.push_back(astype(*x, dtype, s));
  for (const Input i : {kHidden, kCell}) in[i] = reshape(in[i], {-1, size}, s);
  in[kSequence] = reshape(in[kSequence], {inputs.shape(0), -1, 4 * size}, s);
  const bool has_kernel = dtype == float32 && s.device == Device::cpu;
  Arrays out = has_kernel
                   ? forward(in, s)
                   : custom_vjp([s](const Arrays& x) { return unfused(x, s); },
                                [s](const Arrays& primals, const Arrays& cotangents, const Arrays& outputs) {
                                  return all_gradients(primals, cotangents, outputs, s, unfused_gradients);
                                })(in);
  return {reshape(out[0], of_steps, s), reshape(out[1], of_steps, s), reshape(out[2], inputs.shape(), s)};
}

namespace {

bool fits(const Arrays& in, size_t sequence, size_t state) {
  const array &weight = in[0], &x = in[sequence], &cell = in[state];
  return weight.ndim() == 2 && weight.shape(0) == 4 * weight.shape(1) && x.ndim() == 3 && x.size() > 0 &&
         x.shape(2) == weight.shape(0) && cell.shape() == Shape{x.shape(1), weight.shape(1)} &&
         std::all_of(in.begin(), in.end(), [](const array& a) { return a.dtype() == float32; });
}

const bool kept_lstm =
    primitive_table().add<LstmSteps>(
        "LstmSteps", 4,
        [](const LstmSteps& p, const Arrays& in) {
          check_inputs(p, fits(in, kSequence, kCell) && alike(in[kHidden], in[kCell]), in);
          return forward(in, p.stream());
        }) &&
    primitive_table().add<LstmStepsGradient>(
        "LstmStepsGradient", kGradientInputs, [](const LstmStepsGradient& p, const Arrays& in) {
          bool fit = fits(in, kGates, kOfCell) && alike(in[kGates], in[kByGates]);
          const Shape states =
              fit ? Shape{in[kGates].shape(0), in[kGates].shape(1), in[kOfCell].shape(1)} : Shape{};
          for (const GradientInput i : {kCells, kByHiddens, kByCells}) fit = fit && in[i].shape() == states;
          check_inputs(p, fit, in);
          return gradients(in, p.stream());
        });

}  // namespace

}  // namespace mlx::core::fast

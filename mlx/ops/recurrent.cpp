// fast::rnn_steps, gru_steps, lstm_steps. J. Elman, "Finding Structure in Time",
// doi:10.1207/s15516709cog1402_1; K. Cho et al., arXiv:1406.1078; S. Hochreiter, J. Schmidhuber, "Long
// Short-Term Memory", doi:10.1162/neco.1997.9.8.1735.
//
// On the CPU float32 and 16-bit floats have a kernel; everything else is composed of other operations, as are
// derivatives of derivatives. The gradient has a form of its own in both: summed over the steps, that of the
// weight is one matrix product instead of one for each of them.
#include "mlx/ops/recurrent.h"

#include <algorithm>

#include "mlx/fast.h"
#include "mlx/graph/primitive_table.h"
#include "mlx/ops.h"
#include "mlx/transforms.h"

namespace mlx::core::fast {
namespace {

using Cell = RecurrentCell;
using Steps = RecurrentSteps;
using Gradient = RecurrentStepsGradient;

array some(const array& x, int begin, int end) {  // of the steps
  return slice(x, {begin, 0, 0}, {end, x.shape(1), x.shape(2)});
}
array columns(const array& x, int begin, int end) {
  return slice(x, {0, 0, begin}, {x.shape(0), x.shape(1), end});
}
// States as they are before each step.
array shifted(const array& first, const array& states) {
  const array row = expand_dims(first, 0);
  const int length = states.shape(0);
  return length > 1 ? concatenate({row, some(states, 0, length - 1)}, 0) : row;
}

Arrays unfused(Cell cell, const Arrays& in, StreamOrDevice stream) {
  const StreamContext context(stream);
  const array turned = transpose(in[Steps::weight]);
  const int size = in[Steps::hidden].shape(1);
  array hidden = expand_dims(in[Steps::hidden], 0), one = ones_of(hidden);
  array memory = cell == Cell::lstm ? expand_dims(in[Steps::cell_or_bias], 0) : hidden;
  Arrays hiddens, gates, cells;
  for (const array& x : split(in[Steps::sequence], in[Steps::sequence].shape(0), 0)) {
    if (cell == Cell::gru) {
      const Arrays of_x = split(x, Shape{2 * size}, -1),
                   p = split(matmul(hidden, turned), Shape{2 * size}, -1);
      const Arrays rz = split(sigmoid(of_x[0] + p[0]), 2, -1);
      const array u = p[1] + in[Steps::cell_or_bias], n = tanh(of_x[1] + rz[0] * u);
      hidden = (one - rz[1]) * n + rz[1] * hidden;
      gates.push_back(concatenate({rz[0], rz[1], n, u}, -1));
    } else if (cell == Cell::lstm) {
      const Arrays of = split(addmm(x, hidden, turned), 4, -1);
      const array i = sigmoid(of[0]), f = sigmoid(of[1]), g = tanh(of[2]), o = sigmoid(of[3]);
      memory = f * memory + i * g;
      hidden = o * tanh(memory);
      gates.push_back(concatenate({i, f, g, o}, -1));
      cells.push_back(memory);
    } else {
      const array sum = addmm(x, hidden, turned);
      hidden = cell == Cell::tanh ? tanh(sum) : maximum(sum, like(sum, 0));
    }
    hiddens.push_back(hidden);
  }
  Arrays out;
  for (const Arrays* steps : {&hiddens, &gates, &cells})
    if (!steps->empty()) out.push_back(concatenate(*steps, 0));
  return out;
}

// What does not depend on later steps is computed for all at once.
Arrays unfused_gradients(Cell cell, const Arrays& in, StreamOrDevice stream) {
  const StreamContext context(stream);
  const array &weight = in[Gradient::weight], &states = in[Gradient::states], &by = in[Gradient::by_hiddens];
  const int length = states.shape(0);
  array by_hidden = some(by, length - 1, length), one = ones_of(states);
  const auto step = [](const array& x, int t) { return some(x, t, t + 1); };
  const auto slope = [&](const array& y) { return y * (one - y); };  // of the sigmoid
  // The gradient by the hidden state before, from that by the products.
  const auto to_before = [&](int t, const array& by_products, const std::optional<array>& rest = {}) {
    if (t == 0) return rest ? addmm(*rest, by_products, weight) : matmul(by_products, weight);
    return addmm(rest ? *rest + step(by, t - 1) : step(by, t - 1), by_products, weight);
  };
  const auto in_order = [](Arrays steps) {
    std::reverse(steps.begin(), steps.end());
    return concatenate(steps, 0);
  };
  Arrays rows;
  if (!has_gates(cell)) {
    const array factor =
        cell == Cell::tanh ? one - states * states : astype(greater(states, like(states, 0)), states.dtype());
    for (int t = length - 1; t >= 0; --t) {
      rows.push_back(by_hidden * step(factor, t));
      by_hidden = to_before(t, rows.back());
    }
    return {in_order(rows), squeeze(by_hidden, 0)};
  }
  const Arrays of = split(in[Gradient::gates], 4, -1), own = split(in[Gradient::by_gates], 4, -1);
  const array before = shifted(in[Gradient::first], states);
  if (cell == Cell::gru) {
    const array &r = of[0], &z = of[1], &n = of[2], &u = of[3];
    const array slope_r = slope(r), slope_z = slope(z), slope_n = one - n * n;
    const array to_n = (one - z) * slope_n, own_n = own[2] * slope_n, to_z = (before - n) * slope_z,
                own_z = own[1] * slope_z, to_r = u * slope_r, own_r = own[0] * slope_r;
    Arrays by_u;
    for (int t = length - 1; t >= 0; --t) {
      const array by_n = by_hidden * step(to_n, t) + step(own_n, t);
      const array by_z = by_hidden * step(to_z, t) + step(own_z, t);
      const array by_r = by_n * step(to_r, t) + step(own_r, t);
      by_u.push_back(by_n * step(r, t) + step(own[3], t));
      rows.push_back(concatenate({by_r, by_z, by_n}, -1));
      by_hidden = to_before(t, concatenate({by_r, by_z, by_u.back()}, -1), by_hidden * step(z, t));
    }
    return {in_order(rows), squeeze(by_hidden, 0), in_order(by_u)};
  }
  const array &i = of[0], &f = of[1], &g = of[2], &o = of[3], active = tanh(states);
  const array to_cell = o * (one - active * active), slope_o = slope(o), slope_f = slope(f),
              slope_i = slope(i), slope_g = one - g * g;
  const array to_i = g * slope_i, to_f = before * slope_f, to_g = i * slope_g, to_o = active * slope_o;
  const array rest = in[Gradient::by_gates] * concatenate({slope_i, slope_f, slope_g, slope_o}, -1);
  array by_cell = zeros_like(by_hidden);
  for (int t = length - 1; t >= 0; --t) {
    by_cell = by_cell + step(in[Gradient::by_cells], t) + by_hidden * step(to_cell, t);
    rows.push_back(concatenate({by_cell * step(to_i, t), by_cell * step(to_f, t), by_cell * step(to_g, t),
                                by_hidden * step(to_o, t)},
                               -1) +
                   step(rest, t));
    by_cell = by_cell * step(f, t);
    by_hidden = to_before(t, rows.back());
  }
  return {in_order(rows), squeeze(by_hidden, 0), squeeze(by_cell, 0)};
}

// The node itself.
template <class P>
Arrays by_kernel(Cell cell, const Arrays& in, StreamOrDevice s) {
  const auto primitive = std::make_shared<P>(to_stream(s), cell);
  const std::vector<Shape> shapes = primitive->output_shapes(in);
  return array::make_arrays(shapes, std::vector<Dtype>(shapes.size(), float32), primitive, in);
}

// Gradients of all inputs; `by_steps` computes those of the steps.
using BySteps = Arrays (*)(Cell, const Arrays&, StreamOrDevice);
Arrays all_gradients(Cell cell, const Arrays& in, const Arrays& cotangents, const Arrays& outputs, Stream s,
                     BySteps by_steps) {
  const StreamContext context(s);
  const array& hiddens = outputs[Steps::hiddens];
  const int size = hiddens.shape(2);
  Arrays given{in[Steps::weight], cotangents[Steps::hiddens],
               outputs[cell == Cell::lstm ? Steps::cells : Steps::hiddens]};
  if (has_gates(cell)) {
    given.push_back(in[cell == Cell::lstm ? Steps::cell_or_bias : Steps::hidden]);
    given.push_back(outputs[Steps::gates]);
    given.push_back(cotangents[Steps::gates]);
  }
  if (cell == Cell::lstm) given.push_back(cotangents[Steps::cells]);
  Arrays by = by_steps(cell, given, s);
  const array before = reshape(shifted(in[Steps::hidden], hiddens), {-1, size});
  const Dtype dtype = in[Steps::weight].dtype();
  const array columns_of_weight = astype(before, dtype);
  const auto of_weight = [&](const array& rows) {
    return matmul(transpose(reshape(astype(rows, dtype), {-1, rows.shape(2)})), columns_of_weight);
  };
  const array& rows = by[Gradient::by_sequence];
  if (cell == Cell::gru) {
    const array& u = by[Gradient::by_cell_or_u];
    return {concatenate({of_weight(columns(rows, 0, 2 * size)), of_weight(u)}, 0), rows,
            by[Gradient::by_hidden], sum(u, Axes{0, 1})};
  }
  Arrays out{of_weight(rows), rows, by[Gradient::by_hidden]};
  if (cell == Cell::lstm) out.push_back(by[Gradient::by_cell_or_u]);
  return out;
}

// The batch axis joins that of the sequences, where weights have none.
template <class P>
Batched batched(Cell cell, const Arrays& inputs, const Axes& axes, Stream s, int bias) {
  const auto call = [&](const Arrays& in) { return by_kernel<P>(cell, in, s); };
  const auto is_weight = [&](size_t i) { return i == 0 || static_cast<int>(i) == bias; };
  for (size_t i = 0; i < inputs.size(); ++i)
    if (is_weight(i) && axes[i] >= 0) return one_by_one(inputs, axes, s, call);
  const int batch = batch_size(inputs, axes);
  Arrays in;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const array x = is_weight(i) ? inputs[i] : batch_to_front(inputs[i], axes[i], batch);
    in.push_back(is_weight(i)    ? x
                 : x.ndim() == 3 ? flatten(x, 0, 1, s)
                                 : flatten(moveaxis(x, 0, 1, s), 1, 2, s));
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

std::vector<Shape> Steps::output_shapes(const Arrays& inputs) {
  const Shape &given = inputs[sequence].shape(), states{given[0], given[1], inputs[hidden].shape(1)};
  if (!has_gates(cell)) return {states};
  const Shape four{given[0], given[1], 4 * states[2]};
  return cell == Cell::lstm ? std::vector<Shape>{states, four, states} : std::vector<Shape>{states, four};
}
std::vector<Shape> Gradient::output_shapes(const Arrays& inputs) {
  const Shape &steps = inputs[states].shape(), state{steps[1], steps[2]};
  const Shape given{steps[0], steps[1], parts_of(cell) * steps[2]};
  if (!has_gates(cell)) return {given, state};
  return {given, state, cell == Cell::lstm ? state : steps};
}

Arrays Steps::vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
                  const Arrays& outputs) {
  return chosen(all_gradients(cell, primals, cotangents, outputs, stream(), by_kernel<Gradient>), argnums);
}
Arrays Steps::jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) {
  return jvp_of([&](const Arrays& in) { return unfused(cell, in, stream()); }, primals, tangents, argnums);
}
Batched Steps::vmap(const Arrays& inputs, const Axes& axes) {
  return batched<Steps>(cell, inputs, axes, stream(), cell == Cell::gru ? cell_or_bias : -1);
}

Arrays Gradient::vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums, const Arrays&) {
  return vjp_of([&](const Arrays& in) { return unfused_gradients(cell, in, stream()); }, primals, cotangents,
                argnums);
}
Arrays Gradient::jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) {
  return jvp_of([&](const Arrays& in) { return unfused_gradients(cell, in, stream()); }, primals, tangents,
                argnums);
}
Batched Gradient::vmap(const Arrays& inputs, const Axes& axes) {
  return batched<Gradient>(cell, inputs, axes, stream(), -1);
}

namespace {

// `more`: the cell state or the bias.
Arrays steps_of(const char* name, Cell cell, const array& weight, const array& hidden,
                const std::optional<array>& more, const array& inputs, StreamOrDevice stream) {
  const Stream s = to_stream(stream);
  const int parts = parts_of(cell);
  const std::string wide = parts > 1 ? text(parts, " H") : "H";
  if (weight.ndim() != 2 || weight.shape(0) != parts * weight.shape(1))
    throw invalid(name, "got a weight of shape ", weight.shape(), ", expected (", wide, ", H)");
  const int size = weight.shape(1);
  if (inputs.ndim() < 2 || inputs.shape(-1) != parts * size)
    throw invalid(name, "got inputs of shape ", inputs.shape(), ", expected (T, ..., ", parts * size, ")");
  Shape states(inputs.shape().begin() + 1, inputs.shape().end());
  states.back() = size;
  const auto check_state = [&](const array& x) {
    if (x.shape() != states) throw invalid(name, "got a state of shape ", x.shape(), ", expected ", states);
  };
  check_state(hidden);
  if (cell == Cell::lstm) check_state(*more);
  if (cell == Cell::gru && more->shape() != Shape{size})
    throw invalid(name, "got a bias of shape ", more->shape(), ", expected (", size, ")");
  Arrays in{weight, inputs, hidden};
  if (more) in.push_back(*more);
  const Dtype dtype = promote_to_float(result_type(in));
  if (dtype == complex64) throw invalid(name, "got an array of complex64, expected real dtypes");
  // The kernel computes in float32, with a bfloat16 weight as it is.
  const bool has_kernel =
      s.device == Device::cpu && (dtype == float32 || dtype == float16 || dtype == bfloat16);
  for (array& x : in) x = astype(x, has_kernel ? float32 : dtype, s);
  if (has_kernel && dtype == bfloat16) in[Steps::weight] = astype(weight, dtype, s);

  const auto steps_first = [&](int features) {
    Shape shape = inputs.shape();
    shape.back() = features;
    return shape;
  };
  const std::vector<Shape> shapes{steps_first(size), steps_first(4 * size), steps_first(size)};
  const size_t outputs = cell == Cell::lstm ? 3 : has_gates(cell) ? 2 : 1;
  Arrays out;
  if (inputs.size() == 0 || size == 0) {
    for (size_t i = 0; i < outputs; ++i) out.push_back(zeros(shapes[i], dtype, s));
    return out;
  }
  in[Steps::sequence] = reshape(in[Steps::sequence], {inputs.shape(0), -1, parts * size}, s);
  in[Steps::hidden] = reshape(in[Steps::hidden], {-1, size}, s);
  if (cell == Cell::lstm) in[Steps::cell_or_bias] = reshape(in[Steps::cell_or_bias], {-1, size}, s);
  out = has_kernel
            ? by_kernel<Steps>(cell, in, s)
            : custom_vjp([s, cell](const Arrays& x) { return unfused(cell, x, s); },
                         [s, cell](const Arrays& primals, const Arrays& cotangents, const Arrays& outputs) {
                           return all_gradients(cell, primals, cotangents, outputs, s, unfused_gradients);
                         })(in);
  for (size_t i = 0; i < outputs; ++i) out[i] = astype(reshape(out[i], shapes[i], s), dtype, s);
  return out;
}

}  // namespace

array rnn_steps(const array& weight, const array& hidden, const array& inputs,
                const std::string& nonlinearity, StreamOrDevice s) {
  if (nonlinearity != "tanh" && nonlinearity != "relu")
    throw invalid("rnn_steps", "got the nonlinearity \"", nonlinearity, "\", expected \"tanh\" or \"relu\"");
  return steps_of("rnn_steps", nonlinearity == "tanh" ? Cell::tanh : Cell::relu, weight, hidden, std::nullopt,
                  inputs, s)[0];
}
std::vector<array> gru_steps(const array& weight, const array& bias, const array& hidden, const array& inputs,
                             StreamOrDevice s) {
  return steps_of("gru_steps", Cell::gru, weight, hidden, bias, inputs, s);
}
std::vector<array> lstm_steps(const array& weight, const array& hidden, const array& cell,
                              const array& inputs, StreamOrDevice s) {
  const Arrays out = steps_of("lstm_steps", Cell::lstm, weight, hidden, cell, inputs, s);
  return {out[Steps::hiddens], out[Steps::cells], out[Steps::gates]};
}

namespace {

bool right_types(const Arrays& in) {
  return !in.empty() && (in[0].dtype() == float32 || in[0].dtype() == bfloat16) &&
         std::all_of(in.begin() + 1, in.end(), [](const array& a) { return a.dtype() == float32; });
}
bool is_weight(Cell cell, const array& weight) {
  return weight.ndim() == 2 && weight.size() > 0 && weight.shape(0) == parts_of(cell) * weight.shape(1);
}

const bool kept_recurrent =
    primitive_table().add<RecurrentSteps>(
        "RecurrentSteps", -1,
        [](const Steps& p, const Arrays& in) {
          bool fit = static_cast<int>(in.size()) == p.inputs() && right_types(in) && is_weight(p.cell, in[0]);
          if (fit) {
            const array &weight = in[Steps::weight], &x = in[Steps::sequence];
            const int size = weight.shape(1);
            fit = x.ndim() == 3 && x.size() > 0 && x.shape(2) == weight.shape(0) &&
                  in[Steps::hidden].shape() == Shape{x.shape(1), size};
            if (p.cell == Cell::gru) fit = fit && in[Steps::cell_or_bias].shape() == Shape{size};
            if (p.cell == Cell::lstm) fit = fit && alike(in[Steps::cell_or_bias], in[Steps::hidden]);
          }
          check_inputs(p, fit, in);
          return by_kernel<Steps>(p.cell, in, p.stream());
        }) &&
    primitive_table().add<RecurrentStepsGradient>(
        "RecurrentStepsGradient", -1, [](const Gradient& p, const Arrays& in) {
          bool fit = static_cast<int>(in.size()) == p.inputs() && right_types(in) && is_weight(p.cell, in[0]);
          if (fit) {
            const array& states = in[Gradient::states];
            const int size = in[Gradient::weight].shape(1);
            fit = states.ndim() == 3 && states.size() > 0 && states.shape(2) == size &&
                  alike(in[Gradient::by_hiddens], states);
            if (fit && has_gates(p.cell))
              fit = in[Gradient::first].shape() == Shape{states.shape(1), size} &&
                    in[Gradient::gates].shape() == Shape{states.shape(0), states.shape(1), 4 * size} &&
                    alike(in[Gradient::by_gates], in[Gradient::gates]);
            if (fit && p.cell == Cell::lstm) fit = alike(in[Gradient::by_cells], states);
          }
          check_inputs(p, fit, in);
          return by_kernel<Gradient>(p.cell, in, p.stream());
        });

}  // namespace

}  // namespace mlx::core::fast

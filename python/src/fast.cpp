// mlx.core.fast: operations fused by hand.
#include "mlx/fast.h"

#include <string>

#include "python/src/args.h"

namespace mlx::python {
namespace {

array rope(nb::handle a, int dims, bool traditional, std::optional<float> base, float scale,
           nb::handle offset, nb::handle freqs, StreamOrDevice s) {
  ArrayArg x = to_array(a, {"rope", "a", 1});
  const std::optional<array> f = to_optional_array(freqs, {"rope", "freqs", 0});
  if (is_int(offset))
    return core::fast::rope(x, dims, traditional, base, scale, to_int(offset, {"rope", "offset", 0}), f, s);
  return core::fast::rope(x, dims, traditional, base, scale, to_array(offset, {"rope", "offset", 0}), f, s);
}

array attention(nb::handle q, nb::handle k, nb::handle v, double scale, nb::handle mask, nb::handle sinks,
                bool fused, StreamOrDevice s) {
  const char* f = "scaled_dot_product_attention";
  std::string mode;
  std::optional<array> mask_array;
  if (PyUnicode_Check(mask.ptr())) {
    mode = nb::cast<std::string>(mask);
  } else if (!mask.is_none()) {
    mode = "array";
    mask_array = to_array(mask, {f, "mask", 0});
  }
  return core::fast::scaled_dot_product_attention(to_array(q, {f, "q", 1}), to_array(k, {f, "k", 2}),
                                                  to_array(v, {f, "v", 3}), scale, mode, mask_array,
                                                  to_optional_array(sinks, {f, "sinks", 0}), fused, s);
}

// Element-wise functions of x, and of a second operand where it has a name: a row each.
struct Pointwise {
  const char* name;
  const char* second;
  array (*of_one)(const array&, StreamOrDevice);
  array (*of_two)(const array&, const array&, StreamOrDevice);
  const char* text;
  const char* note = "";  // on the second operand
  const char* type = ", float32 for integers and booleans.";
  const char* source = "";
};

const Pointwise kPointwise[] = {
    {"leaky_relu", "slope", nullptr, core::fast::leaky_relu,
     "``x``, but ``slope * x`` where ``x`` is negative."},
    {"huber", "delta", nullptr, core::fast::huber,
     "``x ** 2 / 2`` where ``|x| <= delta``, beyond it ``delta * (|x| - delta / 2)``.", "",
     ", float32 for integers and booleans.",
     "\nSource: Huber 1964, https://doi.org/10.1214/aoms/1177703732."},
    {"hard_shrink", "limit", nullptr, core::fast::hard_shrink, "``x``, but 0 where ``|x| <= limit``.", "",
     "; integers stay what they are."},
    {"softshrink", "limit", nullptr, core::fast::softshrink,
     "``x`` moved towards 0 by ``limit``; 0 where ``|x| <= limit``.", "; ``limit`` is not negative"},
    {"hardswish", nullptr, core::fast::hardswish, nullptr,
     "``x * min(max(x + 3, 0), 6) / 6``, rounded once in 16-bit dtypes.", "",
     ", float32 for integers and booleans.", "\nSource: MobileNetV3, https://arxiv.org/abs/1905.02244."},
    {"gelu", nullptr, core::fast::gelu, nullptr,
     "``x * (1 + erf(x / sqrt(2))) / 2``, rounded once in 16-bit dtypes. The error is relative to ``x``.", "",
     ", float32 for integers and booleans.",
     "\nSource: Hendrycks and Gimpel 2016, https://arxiv.org/abs/1606.08415."},
};

void define(Module& m, const Pointwise& p) {
  const std::string stream = "\n  stream: where to run; ``None`` is the default stream.\nReturns:\n  ";
  const std::string begin = std::string(p.text) + "\n\nArgs:\n  x", sig = std::string("def ") + p.name;
  if (p.second) {
    const std::string doc = begin + ", " + p.second + ": arrays or numbers whose shapes broadcast" + p.note +
                            "." + stream + "The broadcast shape and the promoted dtype" + p.type +
                            "\nRaises:\n  ValueError: the shapes do not broadcast." + p.source;
    m.def(
        p.name,
        [p](nb::handle x, nb::handle second, StreamOrDevice s) {
          auto [a, b] = to_operands(x, second, p.name);
          return wrap(p.of_two(a, b, s));
        },
        "x"_a, nb::arg(p.second), nb::kw_only(), "stream"_a = nb::none(),
        nb::sig((sig + "(x: scalar | array, " + p.second +
                 ": scalar | array, *, stream: StreamOrDevice = None) -> array")
                    .c_str()),
        doc.c_str());
    return;
  }
  const std::string doc = begin + ": an array or a number." + stream + "Same shape as ``x`` and its dtype" +
                          p.type + "\nRaises:\n  ValueError: ``x`` is complex." + p.source;
  m.def(
      p.name,
      [p](nb::handle x, StreamOrDevice s) { return wrap(p.of_one(to_array(x, {p.name, "x", 1}), s)); }, "x"_a,
      nb::kw_only(), "stream"_a = nb::none(),
      nb::sig((sig + "(x: scalar | array, *, stream: StreamOrDevice = None) -> array").c_str()), doc.c_str());
}

}  // namespace

void init_fast(Module& parent) {
  Module m = parent.def_submodule("fast", "Operations of neural networks, each computed in one pass.");
  m.def(
      "rms_norm",
      [](nb::handle x, nb::handle weight, double eps, StreamOrDevice s) {
        return wrap(core::fast::rms_norm(to_array(x, {"rms_norm", "x", 1}),
                                         to_optional_array(weight, {"rms_norm", "weight", 2}), eps, s));
      },
      "x"_a, "weight"_a.none(), "eps"_a, nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def rms_norm(x: array, weight: array | None, eps: float, *, stream: StreamOrDevice = None) -> "
              "array"),
      R"(Root mean square normalisation, ``x / sqrt(mean(x^2) + eps) * weight`` over the last axis.

Args:
  x: at least one dimension. Sums are taken in float32.
  weight: a factor for each element of the last axis, or ``None``.
  eps: keeps the root away from zero.
  stream: where to run; ``None`` is the default stream.
Returns:
  Same shape and dtype as ``x``.
Raises:
  ValueError: the weight's size is not that of the last axis.
Source: Root Mean Square Layer Normalization, arXiv:1910.07467.)");
  m.def(
      "layer_norm",
      [](nb::handle x, nb::handle weight, nb::handle bias, double eps, StreamOrDevice s) {
        return wrap(core::fast::layer_norm(to_array(x, {"layer_norm", "x", 1}),
                                           to_optional_array(weight, {"layer_norm", "weight", 2}),
                                           to_optional_array(bias, {"layer_norm", "bias", 3}), eps, s));
      },
      "x"_a, "weight"_a.none(), "bias"_a.none(), "eps"_a, nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def layer_norm(x: array, weight: array | None, bias: array | None, eps: float, *, "
              "stream: StreamOrDevice = None) -> array"),
      R"(Layer normalisation, ``(x - mean(x)) / sqrt(var(x) + eps) * weight + bias`` over the last axis.

Args:
  x: at least one dimension. Sums are taken in float32.
  weight: a factor for each element of the last axis, or ``None``.
  bias: a summand for each, or ``None``.
  eps: keeps the root away from zero.
  stream: where to run; ``None`` is the default stream.
Returns:
  Same shape and dtype as ``x``.
Raises:
  ValueError: a size is not that of the last axis.
Source: Layer Normalization, arXiv:1607.06450.)");
  m.def(
      "group_norm",
      [](nb::handle x, int groups, nb::handle weight, nb::handle bias, double eps, bool interleaved,
         StreamOrDevice s) {
        return wrap(core::fast::group_norm(to_array(x, {"group_norm", "x", 1}), groups,
                                           to_optional_array(weight, {"group_norm", "weight", 3}),
                                           to_optional_array(bias, {"group_norm", "bias", 4}), eps,
                                           interleaved, s));
      },
      "x"_a, "groups"_a, "weight"_a.none(), "bias"_a.none(), "eps"_a, nb::kw_only(), "interleaved"_a = false,
      "stream"_a = nb::none(),
      nb::sig(
          "def group_norm(x: array, groups: int, weight: array | None, bias: array | None, eps: float, *, "
          "interleaved: bool = False, stream: StreamOrDevice = None) -> array"),
      R"(Group normalisation, ``(x - mean) / sqrt(var + eps) * weight + bias``, with the mean and the variance of a group of
channels of a sample, over all axes between the first and the last one.

Args:
  x: samples first and channels last, at least two dimensions. Sums are taken in float32 or better.
  groups: their number, a divisor of the number of channels.
  weight: a factor for each channel, or ``None``.
  bias: a summand for each, or ``None``.
  eps: keeps the root away from zero.
  interleaved: every ``groups``-th channel belongs to the same group, instead of channels in a row.
  stream: where to run; ``None`` is the default stream.
Returns:
  Same shape and dtype as ``x``.
Raises:
  ValueError: ``groups`` does not divide the number of channels, or a size is not that of the last axis.
Source: Group Normalization, arXiv:1803.08494.)");
  m.def(
      "cross_entropy",
      [](nb::handle logits, nb::handle targets, StreamOrDevice s) {
        return wrap(core::fast::cross_entropy(to_array(logits, {"cross_entropy", "logits", 1}),
                                              to_array(targets, {"cross_entropy", "targets", 2}), s));
      },
      "logits"_a, "targets"_a, nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def cross_entropy(logits: array, targets: array, *, stream: StreamOrDevice = None) -> array"),
      R"(The cross entropy of class indices, ``logsumexp(logits) - logits[target]`` over the last axis.

Args:
  logits: shape (..., classes).
  targets: shape (...), integers.
  stream: where to run; ``None`` is the default stream.
Returns:
  One loss per target.
Raises:
  ValueError: the shapes do not go together.)");
  for (const Pointwise& p : kPointwise) define(m, p);
  m.def(
      "rope",
      [](nb::handle a, int dims, bool traditional, std::optional<float> base, float scale, nb::handle offset,
         nb::handle freqs,
         StreamOrDevice s) { return wrap(rope(a, dims, traditional, base, scale, offset, freqs, s)); },
      "a"_a, "dims"_a, nb::kw_only(), "traditional"_a, "base"_a.none(), "scale"_a, "offset"_a,
      "freqs"_a = nb::none(), "stream"_a = nb::none(),
      nb::sig("def rope(a: array, dims: int, *, traditional: bool, base: float | None, scale: float, "
              "offset: int | array, freqs: array | None = None, stream: StreamOrDevice = None) -> array"),
      R"(Rotary position embedding: pairs of features turned by an angle that grows with the position.

Args:
  a: shape (..., positions, features).
  dims: how many of the features are turned.
  traditional: turn neighbours (2i, 2i + 1); otherwise i and ``i + dims / 2``.
  base: pair i turns by ``position * scale * base^(-2i / dims)``; ``None`` where ``freqs`` is given.
  scale: a factor for positions.
  offset: the first position; an array gives one for each sequence of the batch.
  freqs: the reciprocal of the frequencies themselves, instead of ``base``.
  stream: where to run; ``None`` is the default stream.
Raises:
  ValueError: both or neither of ``base`` and ``freqs`` are given, or the sizes do not fit.
Source: RoFormer, arXiv:2104.09864.)");
  m.def(
      "scaled_dot_product_attention",
      [](nb::handle q, nb::handle k, nb::handle v, double scale, nb::handle mask, nb::handle sinks,
         bool fused, StreamOrDevice s) { return wrap(attention(q, k, v, scale, mask, sinks, fused, s)); },
      "q"_a, "k"_a, "v"_a, nb::kw_only(), "scale"_a, "mask"_a = nb::none(), "sinks"_a = nb::none(),
      "force_fused"_a = false, "stream"_a = nb::none(),
      nb::sig("def scaled_dot_product_attention(q: array, k: array, v: array, *, scale: float, "
              "mask: None | str | array = None, sinks: array | None = None, force_fused: bool = False, "
              "stream: StreamOrDevice = None) -> array"),
      R"(Attention, ``softmax(scale * q k^T + mask) v``, without storing the matrix of scores.

Args:
  q: shape (batch, heads, queries, features).
  k, v: shape (batch, kv_heads, keys, features); ``heads`` is a multiple of ``kv_heads``.
  scale: usually ``1 / sqrt(features)``.
  mask: ``"causal"`` lets each query see the keys up to its own position, counted from the end; a bool array says what
    is seen, any other is added to the scores; both broadcast to (batch, heads, queries, keys).
  sinks: for each head a score that takes part in the softmax without a value.
  force_fused: raise an error rather than compute in several steps.
  stream: where to run; ``None`` is the default stream.
Returns:
  The shape of ``q`` with the features of ``v``; the softmax is computed in float32.
Raises:
  ValueError: the shapes, the dtype or the mask do not go together.)");
  m.def(
      "rnn_steps",
      [](nb::handle weight, nb::handle hidden, nb::handle inputs, const std::string& nonlinearity,
         StreamOrDevice s) {
        return wrap(core::fast::rnn_steps(to_array(weight, {"rnn_steps", "weight", 1}),
                                          to_array(hidden, {"rnn_steps", "hidden", 2}),
                                          to_array(inputs, {"rnn_steps", "inputs", 3}), nonlinearity, s));
      },
      "weight"_a, "hidden"_a, "inputs"_a, "nonlinearity"_a = "tanh", "stream"_a = nb::none(),
      nb::sig("def rnn_steps(weight: array, hidden: array, inputs: array, nonlinearity: str = 'tanh', "
              "stream: StreamOrDevice = None) -> array"),
      R"(A simple recurrent layer over all steps of a sequence. For each step::

    hidden = tanh(inputs[t] + hidden @ weight.T)

Args:
  weight: shape (H, H).
  hidden: the state before the first step, shape (..., H).
  inputs: what the layer gets from the sequence, shape (T, ..., H).
  nonlinearity: ``"tanh"`` or ``"relu"``.
  stream: where to run; ``None`` is the default stream.
Returns:
  The state after every step, shape (T, ..., H), in the promoted dtype of all arrays (float32 for integers).
Raises:
  ValueError: the shapes do not go together, an array is complex, or ``nonlinearity`` is none of the two.
Source: Elman, Finding Structure in Time, Cognitive Science 14 (1990), doi:10.1207/s15516709cog1402_1.)");
  m.def(
      "gru_steps",
      [](nb::handle weight, nb::handle bias, nb::handle hidden, nb::handle inputs, StreamOrDevice s) {
        return wrap_list(core::fast::gru_steps(
            to_array(weight, {"gru_steps", "weight", 1}), to_array(bias, {"gru_steps", "bias", 2}),
            to_array(hidden, {"gru_steps", "hidden", 3}), to_array(inputs, {"gru_steps", "inputs", 4}), s));
      },
      "weight"_a, "bias"_a, "hidden"_a, "inputs"_a, "stream"_a = nb::none(),
      nb::sig("def gru_steps(weight: array, bias: array, hidden: array, inputs: array, "
              "stream: StreamOrDevice = None) -> list[array]"),
      R"(Gated recurrent units over all steps of a sequence. For each step::

    x_r, x_z, x_n = split(inputs[t], 3, axis=-1)
    p_r, p_z, p_n = split(hidden @ weight.T, 3, axis=-1)
    r, z = sigmoid(x_r + p_r), sigmoid(x_z + p_z)
    u = p_n + bias
    n = tanh(x_n + r * u)
    hidden = (1 - z) * n + z * hidden

Args:
  weight: shape (3 H, H).
  bias: shape (H,).
  hidden: the state before the first step, shape (..., H).
  inputs: what the gates get from the sequence, shape (T, ..., 3 H).
  stream: where to run; ``None`` is the default stream.
Returns:
  For every step the state, shape (T, ..., H), and ``concatenate([r, z, n, u], axis=-1)``, shape (T, ..., 4 H); in the
  promoted dtype of all arrays (float32 for integers).
Raises:
  ValueError: the shapes do not go together, or an array is complex.
Source: Cho et al., Learning Phrase Representations using RNN Encoder-Decoder, arXiv:1406.1078.)");
  m.def(
      "lstm_steps",
      [](nb::handle weight, nb::handle hidden, nb::handle cell, nb::handle inputs, StreamOrDevice s) {
        const auto given = [](nb::handle h, const char* name, int position) {
          return to_array(h, {"lstm_steps", name, position});
        };
        return wrap_list(core::fast::lstm_steps(given(weight, "weight", 1), given(hidden, "hidden", 2),
                                                given(cell, "cell", 3), given(inputs, "inputs", 4), s));
      },
      "weight"_a, "hidden"_a, "cell"_a, "inputs"_a, "stream"_a = nb::none(),
      nb::sig("def lstm_steps(weight: array, hidden: array, cell: array, inputs: array, "
              "stream: StreamOrDevice = None) -> list[array]"),
      R"(A long short-term memory over all steps of a sequence. For each step::

    s_i, s_f, s_g, s_o = split(inputs[t] + hidden @ weight.T, 4, axis=-1)
    i, f, g, o = sigmoid(s_i), sigmoid(s_f), tanh(s_g), sigmoid(s_o)
    cell = f * cell + i * g
    hidden = o * tanh(cell)

Args:
  weight: shape (4 H, H).
  hidden, cell: the states before the first step, shape (..., H).
  inputs: what the gates get from the sequence, shape (T, ..., 4 H).
  stream: where to run; ``None`` is the default stream.
Returns:
  For every step the hidden state and the cell state, shape (T, ..., H), and ``concatenate([i, f, g, o], axis=-1)``,
  shape (T, ..., 4 H); in the promoted dtype of all arrays (float32 for integers).
Raises:
  ValueError: the shapes do not go together, or an array is complex.
Source: Hochreiter and Schmidhuber, Long Short-Term Memory, Neural Computation 9 (1997), doi:10.1162/neco.1997.9.8.1735.)");
  m.def(
      "resample",
      [](nb::handle x, int axis, int count, std::optional<double> scale, const std::string& method,
         bool align_corners, bool antialias, StreamOrDevice s) {
        return wrap(core::fast::resample(to_array(x, {"resample", "x", 1}), axis, count, scale, method,
                                         align_corners, antialias, s));
      },
      "x"_a, "axis"_a, "count"_a, nb::kw_only(), "scale"_a = nb::none(), "method"_a = "linear",
      "align_corners"_a = false, "antialias"_a = false, "stream"_a = nb::none(),
      nb::sig("def resample(x: array, axis: int, count: int, *, scale: float | None = None, "
              "method: str = 'linear', align_corners: bool = False, antialias: bool = False, "
              "stream: StreamOrDevice = None) -> array"),
      R"(Other numbers of elements along an axis, interpolated between neighbours. Nearest elements at the ends go on beyond them.

Args:
  x: any shape.
  axis: the axis along which there will be ``count`` elements.
  count: how many.
  scale: elements of the result for each one of ``x``; ``None``: ``count / x.shape[axis]``.
  method: ``"linear"``, or ``"cubic"`` between four neighbours.
  align_corners: the first and last elements of both lie at the same place; otherwise the centers of both grids do.
  antialias: where there will be fewer elements, all of ``x`` take part.
  stream: where to run; ``None`` is the default stream.
Returns:
  The dtype of ``x``, float32 for integers. 16 bits are summed in float32.
Raises:
  IndexError: there is no such axis.   ValueError: ``count`` is 0 or less, ``scale`` is not positive, the method is
  another one, or ``antialias`` and ``align_corners`` are both asked for.
Source: cubic convolution, Keys 1981, doi:10.1109/TASSP.1981.1163711.)");
  m.def(
      "gated_delta_update",
      [](nb::handle q, nb::handle k, nb::handle v, nb::handle gamma, nb::handle beta, nb::handle state,
         nb::handle mask, StreamOrDevice s) {
        const auto given = [](nb::handle h, const char* name, int position) {
          return to_array(h, {"gated_delta_update", name, position});
        };
        const char* function = "gated_delta_update";
        return wrap_list(core::fast::gated_delta_update(
            given(q, "q", 1), given(k, "k", 2), given(v, "v", 3), given(gamma, "gamma", 4),
            given(beta, "beta", 5), to_optional_array(state, {function, "initial_state", 6}),
            to_optional_array(mask, {function, "mask", 7}), s));
      },
      "q"_a, "k"_a, "v"_a, "gamma"_a, "beta"_a, "initial_state"_a = nb::none(), "mask"_a = nb::none(),
      "stream"_a = nb::none(),
      nb::sig("def gated_delta_update(q: array, k: array, v: array, gamma: array, beta: array, "
              "initial_state: array | "
              "None = None, mask: array | None = None, stream: StreamOrDevice = None) -> list[array]"),
      R"(Linear attention by the gated delta rule: a state of each head decays, forgets what it holds for a key, learns the
value, and is asked with the query. For each step::

    S = S * gamma                      # a number, or one for each feature of keys (a column)
    S = S + beta * (v - S k) k^T
    y = S q

Args:
  q, k: shape (batch, steps, key_heads, dk). They are not scaled or normalised here.
  v: shape (batch, steps, heads, dv); ``heads`` is a multiple of ``key_heads``.
  gamma: decays, shape (batch, steps, heads), or (batch, steps, heads, dk).
  beta: how much is learnt, shape (batch, steps, heads).
  initial_state: shape (batch, heads, dv, dk); ``None`` is zero.
  mask: shape (batch, steps): a step without it changes nothing and gives 0.
  stream: where to run; ``None`` is the default stream.
Returns:
  The results ``y``, with the shape of ``v`` and the promoted dtype of q, k and v (float32 for integers); and the state
  behind the last step, in float32 (float64 for float64), which also is what is computed in.
Raises:
  ValueError: the shapes do not fit, or a dtype is complex.
Source: Gated Delta Networks, arXiv:2412.06464.)");
}

}  // namespace mlx::python

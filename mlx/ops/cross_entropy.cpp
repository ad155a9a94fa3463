// fast::cross_entropy: logsumexp(logits) - logits[target], in float32.
#include "mlx/fast.h"
#include "mlx/graph/primitive_table.h"
#include "mlx/ops.h"
#include "mlx/ops/norms.h"

namespace mlx::core::fast {
namespace {

array gradient(const array& logits, const array& targets, const array& lse, const array& a, const array& b,
               Stream s) {
  return make<CrossEntropyVjp>(logits.shape(), logits.dtype(), s, {logits, targets, lse, a, b});
}
// softmax(logits) in float32 from their log sum exp.
array probabilities(const array& logits, const array& lse, Stream s) {
  return exp(subtract(astype(logits, float32, s), expand_dims(lse, -1, s), s), s);
}
array at_targets(const array& v, const array& targets, Stream s) {
  return squeeze(take_along_axis(v, expand_dims(targets, -1, s), -1, s), -1, s);
}

}  // namespace

Arrays CrossEntropy::vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
                         const Arrays& outputs) {
  // d loss = softmax - onehot, d lse = softmax.
  const array both = add(cotangents[0], cotangents[1], stream());
  Arrays out;
  for (int i : argnums)
    out.push_back(i == 0 ? gradient(primals[0], primals[1], outputs[1], both, cotangents[0], stream())
                         : zeros_of(primals[1]));
  return out;
}
Arrays CrossEntropy::jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) {
  array dlse = zeros(primals[1].shape(), float32, stream()), dloss = dlse;
  for (size_t i = 0; i < argnums.size(); ++i) {
    if (argnums[i] != 0) continue;
    const array t = astype(tangents[i], float32, stream());
    const array p = softmax(astype(primals[0], float32, stream()), -1, true, stream());
    dlse = sum(multiply(p, t, stream()), -1, false, stream());
    dloss = subtract(dlse, at_targets(t, primals[1], stream()), stream());
  }
  return {dloss, dlse};
}
Batched CrossEntropy::vmap(const Arrays& inputs, const Axes& at) {
  return batch_leading(inputs, at, [&](const Arrays& in) {
    return array::make_arrays({in[1].shape(), in[1].shape()}, {float32, float32},
                              std::make_shared<CrossEntropy>(stream()), in);
  });
}

// Output: a exp(x - lse) - b onehot. Inputs: x, targets, lse, a, b.
Arrays CrossEntropyVjp::vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
                            const Arrays&) {
  const Stream s = stream();
  const array g = astype(cotangents[0], float32, s);
  const array weighted = multiply(g, probabilities(primals[0], primals[2], s), s);
  const array total = sum(weighted, -1, false, s);
  Arrays out;
  for (int i : argnums) {
    if (i == 0)
      out.push_back(astype(multiply(weighted, expand_dims(primals[3], -1, s), s), primals[0].dtype(), s));
    else if (i == 2)
      out.push_back(negative(multiply(total, primals[3], s), s));
    else if (i == 3)
      out.push_back(total);
    else
      out.push_back(i == 4 ? negative(at_targets(g, primals[1], s), s) : zeros_of(primals[1]));
  }
  return out;
}
Arrays CrossEntropyVjp::jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) {
  const Stream s = stream();
  const array &x = primals[0], &targets = primals[1], &lse = primals[2];
  const array none = zeros_of(lse);
  array out = zeros(x.shape(), float32, s);
  for (size_t i = 0; i < argnums.size(); ++i) {
    const array& t = tangents[i];
    if (argnums[i] == 0 || argnums[i] == 2) {
      const array shift = argnums[i] == 0 ? astype(t, float32, s) : negative(expand_dims(t, -1, s), s);
      const array p = multiply(probabilities(x, lse, s), expand_dims(primals[3], -1, s), s);
      out = add(out, multiply(p, shift, s), s);
    } else if (argnums[i] > 2) {
      const array part = gradient(x, targets, lse, argnums[i] == 3 ? t : none, argnums[i] == 4 ? t : none, s);
      out = add(out, astype(part, float32, s), s);
    }
  }
  return {astype(out, x.dtype(), s)};
}
Batched CrossEntropyVjp::vmap(const Arrays& inputs, const Axes& at) {
  return batch_leading(inputs, at, [&](const Arrays& in) {
    return Arrays{gradient(in[0], in[1], in[2], in[3], in[4], stream())};
  });
}

array cross_entropy(const array& logits, const array& targets, StreamOrDevice s) {
  fix_sizes("cross_entropy", logits, true);
  if (logits.ndim() == 0)
    throw invalid("cross_entropy", "got logits without dimensions, expected at least one");
  if (!issubdtype(logits.dtype(), floating))
    throw invalid("cross_entropy", "got logits of ", logits.dtype(), ", expected a real floating dtype");
  if (!issubdtype(targets.dtype(), integer))
    throw invalid("cross_entropy", "got targets of ", targets.dtype(), ", expected integer class indices");
  const Shape expected(logits.shape().begin(), logits.shape().end() - 1);
  if (targets.shape() != expected)
    throw invalid("cross_entropy", "got targets of shape ", targets.shape(), ", expected ", expected,
                  " for logits of shape ", logits.shape());
  return array::make_arrays({expected, expected}, {float32, float32},
                            std::make_shared<CrossEntropy>(to_stream(s)), {logits, targets})[0];
}

namespace {
const bool kept_cross_entropy =
    primitive_table().add<CrossEntropy>("CrossEntropy", 2,
                                        [](const CrossEntropy& p, const Arrays& in) {
                                          return cross_entropy(in[0], in[1], p.stream()).outputs();
                                        }) &&
    primitive_table().add<CrossEntropyVjp>(
        "CrossEntropyVjp", 5, [](const CrossEntropyVjp& p, const Arrays& in) {
          const array loss = cross_entropy(in[0], in[1], p.stream());
          check_inputs(p, alike(in[2], loss) && alike(in[3], loss) && alike(in[4], loss), in);
          return Arrays{gradient(in[0], in[1], in[2], in[3], in[4], p.stream())};
        });
}  // namespace

}  // namespace mlx::core::fast

#include "charbonnier.h"

#include <cmath>
#include <memory>
#include <typeinfo>

namespace examples {

namespace mx = mlx::core;

mx::array charbonnier(const mx::array& a, const mx::array& b, float eps, mx::StreamOrDevice s) {
  if (!(eps > 0)) throw std::invalid_argument("[charbonnier] eps must be positive");
  mx::Dtype dtype = mx::promote_types(a.dtype(), b.dtype());
  if (!mx::issubdtype(dtype, mx::floating)) dtype = mx::float32;
  // The primitive wants one shape and plain memory: broadcasting and copying of strided arrays is done by
  // others.
  const auto same_shape = mx::broadcast_arrays({mx::astype(a, dtype, s), mx::astype(b, dtype, s)}, s);
  const mx::Shape shape = same_shape[0].shape();
  return mx::array(shape, dtype, std::make_shared<Charbonnier>(mx::to_stream(s), eps),
                   {mx::contiguous(same_shape[0], false, s), mx::contiguous(same_shape[1], false, s)});
}

namespace {

template <class T>
void compute(const mx::array& a, const mx::array& b, float eps, mx::array& out) {
  const T* x = a.data<T>();
  const T* y = b.data<T>();
  T* result = out.data<T>();
  // float16 and bfloat16 are computed in float32.
  using Wide = std::conditional_t<std::is_same_v<T, double>, double, float>;
  for (size_t i = 0; i < out.size(); ++i) {
    const Wide difference = static_cast<Wide>(x[i]) - static_cast<Wide>(y[i]);
    result[i] = static_cast<T>(std::hypot(difference, static_cast<Wide>(eps)));
  }
}

}  // namespace

void Charbonnier::eval_cpu(const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) {
  const mx::array& a = inputs[0];
  const mx::array& b = inputs[1];
  mx::array& out = outputs[0];
  out.set_data(mx::allocator::malloc(out.nbytes()));
  switch (out.dtype()) {
    case mx::float16:
      return compute<mx::float16_t>(a, b, eps_, out);
    case mx::bfloat16:
      return compute<mx::bfloat16_t>(a, b, eps_, out);
    case mx::float64:
      return compute<double>(a, b, eps_, out);
    default:
      return compute<float>(a, b, eps_, out);
  }
}

// The derivative is (a - b) / y for the first argument and its negative for the second. Rules are built from
// operations, so they can be differentiated again.
std::vector<mx::array> Charbonnier::vjp(const std::vector<mx::array>& primals,
                                        const std::vector<mx::array>& cotangents,
                                        const std::vector<int>& argnums,
                                        const std::vector<mx::array>& outputs) {
  const mx::Stream s = stream();
  const mx::array slope = mx::divide(mx::subtract(primals[0], primals[1], s), outputs[0], s);
  const mx::array gradient = mx::multiply(cotangents[0], slope, s);
  std::vector<mx::array> gradients;  // one for each of argnums, in their order
  for (int argument : argnums) gradients.push_back(argument == 0 ? gradient : mx::negative(gradient, s));
  return gradients;
}

std::vector<mx::array> Charbonnier::jvp(const std::vector<mx::array>& primals,
                                        const std::vector<mx::array>& tangents,
                                        const std::vector<int>& argnums) {
  const mx::Stream s = stream();
  const mx::array y = charbonnier(primals[0], primals[1], eps_, s);
  const mx::array slope = mx::divide(mx::subtract(primals[0], primals[1], s), y, s);
  mx::array change = mx::zeros_like(primals[0], s);
  for (size_t i = 0; i < argnums.size(); ++i)
    change = argnums[i] == 0 ? mx::add(change, tangents[i], s) : mx::subtract(change, tangents[i], s);
  return {mx::multiply(slope, change, s)};
}

// Element-wise: with the batch axis of both arguments in front, a batch is just a larger array.
std::pair<std::vector<mx::array>, std::vector<int>> Charbonnier::vmap(const std::vector<mx::array>& inputs,
                                                                      const std::vector<int>& axes) {
  const mx::Stream s = stream();
  std::vector<mx::array> in_front;
  for (size_t i = 0; i < inputs.size(); ++i)  // axis -1: the same argument for the whole batch
    in_front.push_back(axes[i] < 0 ? mx::expand_dims(inputs[i], 0, s)
                                   : mx::moveaxis(inputs[i], axes[i], 0, s));
  return {{charbonnier(in_front[0], in_front[1], eps_, s)}, {0}};
}

bool Charbonnier::is_equivalent(const Primitive& other) const {
  return typeid(other) == typeid(Charbonnier) && static_cast<const Charbonnier&>(other).eps_ == eps_;
}

std::vector<mx::Shape> Charbonnier::output_shapes(const std::vector<mx::array>& inputs) {
  return {inputs[0].shape()};
}

}  // namespace examples

// Linear regression y = X w + b by gradient descent. value_and_grad gives the loss and its gradients with
// respect to both parameters; nothing is computed until eval.
#include <cstdio>
#include <vector>

#include "mlx/mlx.h"

namespace mx = mlx::core;

int main() {
  constexpr int kExamples = 512, kFeatures = 16, kSteps = 200;
  constexpr float kRate = 0.03f, kNoise = 0.01f;
  mx::random::seed(0);

  // Data from parameters that the training does not know.
  const mx::array true_weights = mx::random::normal({kFeatures});
  const float true_bias = 0.5f;
  const mx::array x = mx::random::normal({kExamples, kFeatures});
  const mx::array noise = mx::multiply(mx::array(kNoise), mx::random::normal({kExamples}));
  const mx::array y = mx::matmul(x, true_weights) + true_bias + noise;

  auto loss = [&](const std::vector<mx::array>& parameters) {
    const mx::array prediction = mx::matmul(x, parameters[0]) + parameters[1];
    return mx::mean(mx::square(prediction - y));
  };
  const auto loss_and_gradients = mx::value_and_grad(loss, std::vector<int>{0, 1});

  std::vector<mx::array> parameters = {mx::zeros({kFeatures}), mx::array(0.0f)};
  for (int step = 0; step < kSteps; ++step) {
    const auto [value, gradients] = loss_and_gradients(parameters);
    for (size_t i = 0; i < parameters.size(); ++i) parameters[i] = parameters[i] - kRate * gradients[i];
    mx::eval(parameters);
    if (step % 40 == 0) std::printf("step %3d  loss %.6f\n", step, static_cast<double>(value.item<float>()));
  }

  const float worst = mx::max(mx::abs(parameters[0] - true_weights)).item<float>();
  const float bias = parameters[1].item<float>();
  std::printf("largest error of a weight %.4f, bias %.4f (true: %.4f)\n", static_cast<double>(worst),
              static_cast<double>(bias), static_cast<double>(true_bias));
  return worst < 0.01f && bias > 0.49f && bias < 0.51f ? 0 : 1;
}

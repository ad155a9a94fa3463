// Operations fused by hand: norms, rotary positions, attention.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include "mlx/array.h"
#include "mlx/utils.h"

namespace mlx::core::fast {

// eps and scale are doubles for the sake of float64 arrays: a float holds 0.1 with an error of 1e-9.
array rms_norm(const array& x, const std::optional<array>& weight, double eps, StreamOrDevice s = {});
array layer_norm(const array& x, const std::optional<array>& weight, const std::optional<array>& bias,
                 double eps, StreamOrDevice s = {});
// Channels are the last axis, samples the first. A group is channels in a row or, interleaved, every
// groups-th one.
array group_norm(const array& x, int groups, const std::optional<array>& weight,
                 const std::optional<array>& bias, double eps, bool interleaved = false,
                 StreamOrDevice s = {});
array cross_entropy(const array& logits, const array& targets, StreamOrDevice s = {});
// x, but slope x where x is negative.
array leaky_relu(const array& x, const array& slope, StreamOrDevice s = {});
// x^2 / 2 where |x| <= delta, beyond it delta (|x| - delta / 2).
array huber(const array& x, const array& delta, StreamOrDevice s = {});
// x, but 0 where |x| <= limit. Integers stay integers.
array hard_shrink(const array& x, const array& limit, StreamOrDevice s = {});
// x moved towards 0 by `limit`, which is not negative; 0 where |x| <= limit.
array softshrink(const array& x, const array& limit, StreamOrDevice s = {});
// x min(max(x + 3, 0), 6) / 6.
array hardswish(const array& x, StreamOrDevice s = {});
// x (1 + erf(x / sqrt(2))) / 2.
array gelu(const array& x, StreamOrDevice s = {});
array rope(const array& x, int dims, bool traditional, std::optional<float> base, float scale, int offset,
           const std::optional<array>& freqs = std::nullopt, StreamOrDevice s = {});
array rope(const array& x, int dims, bool traditional, std::optional<float> base, float scale,
           const array& offset, const std::optional<array>& freqs = std::nullopt, StreamOrDevice s = {});
array scaled_dot_product_attention(const array& queries, const array& keys, const array& values,
                                   const double scale, const std::string& mask_mode = "",
                                   std::optional<array> mask_arr = {}, const std::optional<array>& sinks = {},
                                   bool force_fused = false, StreamOrDevice s = {});
std::vector<array> gated_delta_update(const array& queries, const array& keys, const array& values,
                                      const array& gates, const array& beta_,
                                      const std::optional<array>& initial_state = std::nullopt,
                                      const std::optional<array>& mask = std::nullopt, StreamOrDevice s = {});
// Recurrent layers over all steps of a sequence. For every step: the states of a simple one; the states and
// r, z, n and the product that r is multiplied by of gated recurrent units; the hidden states, the cell
// states and the gates of a long short-term memory.
array rnn_steps(const array& weight, const array& hidden, const array& inputs,
                const std::string& nonlinearity = "tanh", StreamOrDevice s = {});
std::vector<array> gru_steps(const array& weight, const array& bias, const array& hidden, const array& inputs,
                             StreamOrDevice s = {});
std::vector<array> lstm_steps(const array& weight, const array& hidden, const array& cell,
                              const array& inputs, StreamOrDevice s = {});
// `count` elements along an axis, each between its neighbours in x; `scale`: elements of the result for each
// of x, where that is not count / size.
array resample(const array& x, int axis, int count, std::optional<double> scale = std::nullopt,
               const std::string& method = "linear", bool align_corners = false, bool antialias = false,
               StreamOrDevice s = {});

// --- kernels in source, for a GPU (mlx/ops/custom_kernel.cpp) ---

using TemplateArg = std::variant<int, bool, Dtype>;
using ScalarArg = std::variant<bool, int, float>;
// How the compiler treats floating-point arithmetic.
struct CompileOptions {
  enum class MathMode { safe, relaxed, fast };
  std::optional<MathMode> math_mode;
};
using CustomKernelFunction = std::function<std::vector<array>(
    const std::vector<array>& inputs, const std::vector<Shape>& output_shapes,
    const std::vector<Dtype>& output_dtypes, std::tuple<int, int, int> grid,
    std::tuple<int, int, int> threadgroup, std::vector<std::pair<std::string, TemplateArg>> template_args,
    std::optional<float> init_value, bool verbose, StreamOrDevice s)>;

// A function that runs the body of a Metal kernel. Calling it needs a Metal device: std::runtime_error where
// there is none.
CustomKernelFunction metal_kernel(const std::string& name, const std::vector<std::string>& input_names,
                                  const std::vector<std::string>& output_names, const std::string& source,
                                  const std::string& header = "", bool ensure_row_contiguous = true,
                                  bool atomic_outputs = false, const CompileOptions& compile_options = {});
// The same for CUDA. std::runtime_error where there is no CUDA device.
CustomKernelFunction cuda_kernel(const std::string& name, const std::vector<std::string>& input_names,
                                 const std::vector<std::string>& output_names, const std::string& source,
                                 const std::string& header = "", bool ensure_row_contiguous = true,
                                 int shared_memory = 0);
std::vector<array> precompiled_cuda_kernel(const std::string& name, const std::string& compiled_source,
                                           const std::vector<array>& inputs,
                                           const std::vector<Shape>& output_shapes,
                                           const std::vector<Dtype>& output_dtypes,
                                           const std::vector<ScalarArg>& scalars,
                                           std::tuple<int, int, int> grid,
                                           std::tuple<int, int, int> threadgroup, int shared_memory = 0,
                                           std::optional<float> init_value = std::nullopt,
                                           bool ensure_row_contiguous = false, StreamOrDevice s = {});

}  // namespace mlx::core::fast

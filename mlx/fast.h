// Operations fused by hand: norms, rotary positions, attention.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "mlx/array.h"
#include "mlx/utils.h"

namespace mlx::core::fast {

// eps and scale are doubles for the sake of float64 arrays: a float holds 0.1 with an error of 1e-9.
array rms_norm(const array& x, const std::optional<array>& weight, double eps, StreamOrDevice s = {});
array layer_norm(const array& x, const std::optional<array>& weight, const std::optional<array>& bias,
                 double eps, StreamOrDevice s = {});
array cross_entropy(const array& logits, const array& targets, StreamOrDevice s = {});
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

}  // namespace mlx::core::fast

#include "metal/host/layout.h"

#include <algorithm>

namespace mlx::core::metal {

Layout collapsed(const Shape& shape, const std::vector<Strides>& strides) {
  Layout out;
  out.strides.resize(strides.size());
  for (size_t d = 0; d < shape.size(); ++d) {
    if (shape[d] == 1) continue;
    const bool joins = !out.shape.empty() && std::equal(strides.begin(), strides.end(), out.strides.begin(),
                                                        [&](const Strides& s, const Strides& before) {
                                                          return before.back() == s[d] * shape[d];
                                                        });
    if (joins) {
      out.shape.back() *= shape[d];
    } else {
      out.shape.push_back(shape[d]);
    }
    for (size_t i = 0; i < strides.size(); ++i) {
      if (joins) {
        out.strides[i].back() = strides[i][d];
      } else {
        out.strides[i].push_back(strides[i][d]);
      }
    }
  }
  return out;
}

Strides broadcast_strides(const array& a, const Shape& shape) {
  Strides out(shape.size(), 0);
  const size_t lead = shape.size() - a.ndim();
  for (size_t i = 0; i < a.ndim(); ++i)
    if (a.shape()[i] != 1) out[lead + i] = a.strides()[i];
  return out;
}

}  // namespace mlx::core::metal

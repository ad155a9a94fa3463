// The one table through which a backend is reached: primitive type -> kernel. A kernel gives every output its
// data.
//
//   const auto registered = kernels(Device::cpu).add<Softmax>(softmax);   // in mlx/cpu/softmax.cpp
#pragma once

#include <functional>
#include <typeindex>
#include <typeinfo>
#include <unordered_map>
#include <vector>

#include "mlx/primitives.h"

namespace mlx::core {

class KernelTable {
 public:
  using Kernel = std::function<void(const Primitive&, const std::vector<array>&, std::vector<array>&)>;

  // `f` is void(const P&, const std::vector<array>& inputs, std::vector<array>& outputs).
  template <class P, class F>
  bool add(F f) {
    return table_
        .emplace(typeid(P),
                 [f](const Primitive& p, const std::vector<array>& inputs, std::vector<array>& outputs) {
                   f(static_cast<const P&>(p), inputs, outputs);
                 })
        .second;
  }
  // Null where the backend has none. The table is filled while the library is loaded and constant afterwards.
  const Kernel* find(const std::type_info& type) const {
    const auto it = table_.find(type);
    return it == table_.end() ? nullptr : &it->second;
  }

 private:
  std::unordered_map<std::type_index, Kernel> table_;
};

KernelTable& kernels(Device::DeviceType type);

}  // namespace mlx::core

// The primitive behind kernels that a program brings in source or compiled. A backend that can run them
// registers a kernel for MetalKernel or CudaKernel in its table (mlx/graph/kernels.h).
#pragma once

#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "mlx/fast.h"
#include "mlx/ops/rules.h"
#include "mlx/primitives.h"

namespace mlx::core::fast {

struct KernelSource {
  std::string name;
  std::vector<std::string> inputs, outputs;  // how the source calls them
  std::string source, header;
  bool contiguous = true;  // inputs are copied where they are not row-contiguous
  bool atomic_outputs = false;
  CompileOptions options;
  int shared_memory = 0;  // bytes
};
struct KernelLaunch {
  std::tuple<int, int, int> grid, threadgroup;
  std::vector<std::pair<std::string, TemplateArg>> template_args;
  std::vector<ScalarArg> scalars;  // of a compiled kernel
  std::optional<float> init_value;
  bool verbose = false;
};

class CustomKernel : public Primitive {
 public:
  CustomKernel(Stream s, KernelSource source, KernelLaunch launch)
      : Primitive(s), source(std::move(source)), launch(std::move(launch)) {}
  const KernelSource source;
  const KernelLaunch launch;
  const char* name() const override { return "CustomKernel"; }
};
class MetalKernel final : public CustomKernel {
  using CustomKernel::CustomKernel;
};
// `source` is text, or what a compiler made of it.
class CudaKernel final : public CustomKernel {
  using CustomKernel::CustomKernel;
};

}  // namespace mlx::core::fast

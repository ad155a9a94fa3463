// Compiled sources: kernels by name, with their function constants.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <metal_simulator_abi.h>

#include "metal/device/device.h"

namespace mlx::core::metal::sim {

// A loaded shared object; kept until nobody uses it.
class Object {
 public:
  explicit Object(const std::string& file);
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;
  ~Object();
  metal_simulator::Module* module() const { return module_; }
  uintptr_t low() const { return low_; }
  size_t size() const { return size_; }
  const std::string& file() const { return file_; }

 private:
  std::string file_;
  void* handle_ = nullptr;
  metal_simulator::Module* module_ = nullptr;
  uintptr_t low_ = 0;
  size_t size_ = 0;
};

class KernelPipeline final : public Pipeline {
 public:
  KernelPipeline(std::shared_ptr<Object> object, const metal_simulator::Kernel* kernel,
                 std::vector<FunctionConstant> constants);
  uint32_t max_threads_per_threadgroup() const override {
    return kernel_->max_threads ? kernel_->max_threads : 1024;
  }
  uint32_t simd_width() const override { return 32; }
  size_t static_threadgroup_memory() const override { return static_threadgroup_memory_; }

  const Object& object() const { return *object_; }
  const metal_simulator::Kernel* kernel() const { return kernel_; }
  // Writes the function constants into the object, for this pipeline is about to run.
  void set_constants() const;

 private:
  std::shared_ptr<Object> object_;
  const metal_simulator::Kernel* kernel_;
  std::vector<FunctionConstant> constants_;
  size_t static_threadgroup_memory_ = 0;
};

std::shared_ptr<Library> compile_library(const std::string& source, const std::string& name,
                                         const CompileOptions& options);

}  // namespace mlx::core::metal::sim

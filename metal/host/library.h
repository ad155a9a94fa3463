// Kernel sources and what is made of them. The files of metal/kernels are a part of the library; nothing is
// looked up at run time.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "metal/device/device.h"

namespace mlx::core::metal {

// A kernel of metal/kernels/<file>.metal.
std::shared_ptr<Pipeline> pipeline(const std::string& file, const std::string& kernel,
                                   const std::vector<FunctionConstant>& constants = {});

// The same with something defined in front of it, such as a type; `variant` names that.
std::shared_ptr<Pipeline> pipeline_for(const std::string& file, const std::string& variant,
                                       const std::string& definitions, const std::string& kernel,
                                       const std::vector<FunctionConstant>& constants = {});

// A kernel of a source that is made at run time; its #include lines may name files of metal/kernels. `key`
// stands for the source: the same key is the same source, which is made by `source` only where it is new. Its
// first line is what messages call it.
std::shared_ptr<Pipeline> pipeline_of(const std::string& key, const std::string& kernel,
                                      const std::vector<FunctionConstant>& constants,
                                      const std::function<std::string()>& source,
                                      const CompileOptions& options = {});

// `source` with the files that it includes in their places, and #line directives that tell where a line is
// from.
std::string flattened(const std::string& source, const std::string& name);

}  // namespace mlx::core::metal

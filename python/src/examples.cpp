#include "python/src/examples.h"

#include <string>
#include <string_view>
#include <unordered_map>

#include "python/src/bind.h"

namespace mlx::python {

const char* example_of(std::string_view name) {
  static const auto all = [] {
    std::unordered_map<std::string_view, const char*> out;
    for (const auto& part : {kElementwiseExamples, kShapeExamples, kReductionExamples, kMatrixExamples,
                             kModuleExamples, kTransformExamples})
      for (const Example& e : part) out.emplace(e.name, e.text);
    return out;
  }();
  const auto it = all.find(name);
  return it == all.end() ? nullptr : it->second;
}

std::string with_example(const char* documentation, const char* example) {
  return std::string(documentation) + "\nExample:\n" + example;
}

}  // namespace mlx::python

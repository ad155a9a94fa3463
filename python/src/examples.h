// Examples of the functions of mlx.core: a session of Python, with the results that it prints. Each is run by
// tests/core/test_examples.py, so that none of them lies.
#pragma once

#include <span>

namespace mlx::python {

struct Example {
  const char* name;  // as after `mx.`
  const char* text;  // lines that end in a newline
};

extern const std::span<const Example> kElementwiseExamples, kShapeExamples, kReductionExamples,
    kMatrixExamples, kModuleExamples, kTransformExamples;

}  // namespace mlx::python

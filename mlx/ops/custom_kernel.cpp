// fast::metal_kernel, cuda_kernel, precompiled_cuda_kernel: everything about the arguments is checked here,
// before any device is asked for.
#include "mlx/ops/custom_kernel.h"

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <typeinfo>

#include "mlx/graph/kernels.h"

namespace mlx::core::fast {
namespace {

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_identifier(const std::string& s) {
  return !s.empty() && is_letter(s[0]) &&
         std::all_of(s.begin(), s.end(), [](char c) { return is_letter(c) || is_digit(c); });
}

void check_identifiers(const char* op, const char* what, const std::vector<std::string>& names) {
  for (const std::string& name : names)
    if (!is_identifier(name))
      throw invalid(op, "got \"", name, "\" among ", what,
                    ", expected names of letters, digits and underscores");
}
void check_distinct(const char* op, const char* what, std::vector<std::string> names) {
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice != names.end())
    throw invalid(op, "got \"", *twice, "\" twice among ", what, ", expected different names");
}
void check_name(const char* op, const std::string& name) {
  // The function in the source gets a prefix, so a digit may come first.
  if (name.empty() || !is_identifier("_" + name))
    throw invalid(op, "got the name \"", name, "\", expected letters, digits and underscores");
}
void check_source(const char* op, const KernelSource& k) {
  check_name(op, k.name);
  if (k.outputs.empty()) throw invalid(op, "got no output_names, expected at least one");
  if (k.source.empty())
    throw invalid(op, "got an empty source, expected the body of kernel \"", k.name, "\"");
  std::vector<std::string> all = k.inputs;
  all.insert(all.end(), k.outputs.begin(), k.outputs.end());
  check_identifiers(op, "input_names and output_names", all);
  check_distinct(op, "input_names and output_names", all);
  if (k.shared_memory < 0)
    throw invalid(op, "got shared_memory = ", k.shared_memory, ", expected it not to be negative");
}

void check_count(const char* op, const std::string& kernel, const char* what, size_t got, size_t expected) {
  if (got != expected)
    throw invalid(op, "got ", got, " ", what, " for kernel \"", kernel, "\", expected ", expected);
}
void check_launch(const char* op, const std::vector<Shape>& shapes, const KernelLaunch& l) {
  for (const Shape& shape : shapes)
    for (const int n : shape)
      if (n < 0) throw invalid(op, "got the output shape ", shape, ", expected no negative size");
  const auto [x, y, z] = l.grid;
  if (x < 0 || y < 0 || z < 0)
    throw invalid(op, "got grid = (", x, ", ", y, ", ", z, "), expected no negative number of threads");
  const auto [a, b, c] = l.threadgroup;
  constexpr int64_t most = 1024;  // threads of a group, on every GPU there is
  if (a < 1 || b < 1 || c < 1 || int64_t{a} * b > most || int64_t{a} * b * c > most)
    throw invalid(op, "got threadgroup = (", a, ", ", b, ", ", c,
                  "), expected positive numbers with a product of at most ", most);
  std::vector<std::string> names;
  for (const auto& [name, value] : l.template_args) names.push_back(name);
  check_identifiers(op, "the names of template", names);
  check_distinct(op, "the names of template", names);
}

// Only a GPU backend has kernels for these.
template <class P>
bool runs() {
  return is_available(Device::gpu) && kernels(Device::gpu).find(typeid(P)) != nullptr;
}
std::runtime_error no_backend(const char* op, const char* backend, const std::string& kernel) {
  return std::runtime_error(text("[", op, "] No ", backend, " back-end: kernel \"", kernel, "\" needs a ",
                                 backend, " device, and this build runs on the CPU only"));
}

template <class P>
Arrays launched(const char* op, const char* backend, const KernelSource& source, KernelLaunch launch,
                const Arrays& inputs, const std::vector<Shape>& shapes, const std::vector<Dtype>& dtypes,
                StreamOrDevice s) {
  if (!runs<P>()) throw no_backend(op, backend, source.name);
  const Stream stream = to_stream(s, Device::gpu);
  if (stream.device != Device::gpu)
    throw invalid(op, "got a stream of the CPU, expected one of the GPU for kernel \"", source.name, "\"");
  return array::make_arrays(shapes, dtypes, std::make_shared<P>(stream, source, std::move(launch)), inputs);
}

template <class P>
CustomKernelFunction callable(const char* op, const char* backend, KernelSource source) {
  return [op, backend, source = std::move(source)](
             const Arrays& inputs, const std::vector<Shape>& shapes, const std::vector<Dtype>& dtypes,
             std::tuple<int, int, int> grid, std::tuple<int, int, int> threadgroup,
             std::vector<std::pair<std::string, TemplateArg>> template_args, std::optional<float> init_value,
             bool verbose, StreamOrDevice s) {
    check_count(op, source.name, "inputs", inputs.size(), source.inputs.size());
    check_count(op, source.name, "output_shapes", shapes.size(), source.outputs.size());
    check_count(op, source.name, "output_dtypes", dtypes.size(), source.outputs.size());
    KernelLaunch launch{grid, threadgroup, std::move(template_args), {}, init_value, verbose};
    check_launch(op, shapes, launch);
    return launched<P>(op, backend, source, std::move(launch), inputs, shapes, dtypes, s);
  };
}

}  // namespace

CustomKernelFunction metal_kernel(const std::string& name, const std::vector<std::string>& input_names,
                                  const std::vector<std::string>& output_names, const std::string& source,
                                  const std::string& header, bool ensure_row_contiguous, bool atomic_outputs,
                                  const CompileOptions& compile_options) {
  KernelSource k{name,   input_names,           output_names,   source,
                 header, ensure_row_contiguous, atomic_outputs, compile_options};
  check_source("metal_kernel", k);
  return callable<MetalKernel>("metal_kernel", "Metal", std::move(k));
}

CustomKernelFunction cuda_kernel(const std::string& name, const std::vector<std::string>& input_names,
                                 const std::vector<std::string>& output_names, const std::string& source,
                                 const std::string& header, bool ensure_row_contiguous, int shared_memory) {
  KernelSource k{name,  input_names, output_names, source, header, ensure_row_contiguous,
                 false, {},          shared_memory};
  check_source("cuda_kernel", k);
  if (!runs<CudaKernel>()) throw no_backend("cuda_kernel", "CUDA", name);
  return callable<CudaKernel>("cuda_kernel", "CUDA", std::move(k));
}

std::vector<array> precompiled_cuda_kernel(
    const std::string& name, const std::string& compiled_source, const std::vector<array>& inputs,
    const std::vector<Shape>& output_shapes, const std::vector<Dtype>& output_dtypes,
    const std::vector<ScalarArg>& scalars, std::tuple<int, int, int> grid,
    std::tuple<int, int, int> threadgroup, int shared_memory, std::optional<float> init_value,
    bool ensure_row_contiguous, StreamOrDevice s) {
  const char* op = "precompiled_cuda_kernel";
  // Not check_name: the entry point of a compiled program is called as its compiler likes.
  if (name.empty()) throw invalid(op, "got an empty name, expected that of a kernel");
  if (compiled_source.empty())
    throw invalid(op, "got an empty compiled_source, expected kernel \"", name, "\"");
  if (output_shapes.empty()) throw invalid(op, "got no output_shapes, expected at least one");
  if (shared_memory < 0)
    throw invalid(op, "got shared_memory = ", shared_memory, ", expected it not to be negative");
  check_count(op, name, "output_dtypes", output_dtypes.size(), output_shapes.size());
  KernelLaunch launch{grid, threadgroup, {}, scalars, init_value, false};
  check_launch(op, output_shapes, launch);
  const KernelSource k{name, {}, {}, compiled_source, "", ensure_row_contiguous, false, {}, shared_memory};
  return launched<CudaKernel>(op, "CUDA", k, std::move(launch), inputs, output_shapes, output_dtypes, s);
}

}  // namespace mlx::core::fast

// fast::metal_kernel: the source that a program brings becomes the body of a kernel whose signature is made
// from the names of its inputs and outputs.
#include "mlx/ops/custom_kernel.h"

#include <algorithm>
#include <iostream>
#include <regex>
#include <sstream>

#include "metal/host/elementwise.h"
#include "metal/host/kernels.h"

namespace mlx::core::metal {
namespace {

using fast::KernelLaunch;
using fast::KernelSource;
using fast::MetalKernel;

// Arguments that a source gets when it names them.
constexpr std::pair<const char*, const char*> kBuiltins[] = {{"dispatch_quadgroups_per_threadgroup", "uint"},
                                                             {"dispatch_simdgroups_per_threadgroup", "uint"},
                                                             {"dispatch_threads_per_threadgroup", "uint3"},
                                                             {"grid_origin", "uint3"},
                                                             {"grid_size", "uint3"},
                                                             {"quadgroup_index_in_threadgroup", "uint"},
                                                             {"quadgroups_per_threadgroup", "uint"},
                                                             {"simdgroup_index_in_threadgroup", "uint"},
                                                             {"simdgroups_per_threadgroup", "uint"},
                                                             {"thread_execution_width", "uint"},
                                                             {"thread_index_in_quadgroup", "uint"},
                                                             {"thread_index_in_simdgroup", "uint"},
                                                             {"thread_index_in_threadgroup", "uint"},
                                                             {"thread_position_in_grid", "uint3"},
                                                             {"thread_position_in_threadgroup", "uint3"},
                                                             {"threadgroup_position_in_grid", "uint3"},
                                                             {"threadgroups_per_grid", "uint3"},
                                                             {"threads_per_grid", "uint3"},
                                                             {"threads_per_simdgroup", "uint"},
                                                             {"threads_per_threadgroup", "uint3"}};

bool names(const std::string& source, const std::string& word) {
  return std::regex_search(source, std::regex("\\b" + word + "\\b"));
}

// Small inputs lie in the constant address space, a single number is a reference.
constexpr size_t kSmall = 8;

struct Argument {
  enum Kind { input, output, shape, strides, ndim } kind;
  size_t index;
};

class Signature {
 public:
  Signature(const KernelSource& k, const Arrays& inputs, const Arrays& outputs) {
    for (size_t i = 0; i < inputs.size(); ++i) {
      const array& a = inputs[i];
      const std::string type = type_name(a.dtype()), &name = k.inputs[i];
      if (a.ndim() == 0)
        add("constant " + type + "& " + name, Argument::input, i);
      else
        add((a.size() < kSmall ? "constant " : "device const ") + type + "* " + name, Argument::input, i);
      if (names(k.source, name + "_shape")) add("constant int* " + name + "_shape", Argument::shape, i);
      if (names(k.source, name + "_strides"))
        add("constant int64_t* " + name + "_strides", Argument::strides, i);
      if (names(k.source, name + "_ndim")) add("constant int& " + name + "_ndim", Argument::ndim, i);
    }
    for (size_t i = 0; i < outputs.size(); ++i) {
      const std::string type = type_name(outputs[i].dtype());
      add("device " + (k.atomic_outputs ? "atomic<" + type + ">" : type) + "* " + k.outputs[i],
          Argument::output, i);
    }
    for (const auto& [name, type] : kBuiltins)
      if (names(k.source, name)) text_ += std::string(",\n    ") + type + " " + name + " [[" + name + "]]";
  }
  const std::string& text() const { return text_; }
  const std::vector<Argument>& arguments() const { return arguments_; }

 private:
  void add(const std::string& declaration, Argument::Kind kind, size_t index) {
    text_ += (arguments_.empty() ? "\n    " : ",\n    ") + declaration + " [[buffer(" +
             std::to_string(arguments_.size()) + ")]]";
    arguments_.push_back({kind, index});
  }
  std::string text_;
  std::vector<Argument> arguments_;
};

std::string source_of(const MetalKernel& p, const Signature& signature) {
  std::ostringstream os;
  os << "#include \"metal/kernels/types.h\"\ntypedef half float16_t;\ntypedef bfloat bfloat16_t;\n"
     << p.source.header << "\nkernel void custom_kernel_" << p.source.name << "(" << signature.text()
     << ") {\n";
  for (const auto& [name, value] : p.launch.template_args) {
    if (const auto* dtype = std::get_if<Dtype>(&value)) {
      os << "  typedef " << type_name(*dtype) << ' ' << name << ";\n";
    } else if (const auto* flag = std::get_if<bool>(&value)) {
      os << "  constexpr bool " << name << " = " << (*flag ? "true" : "false") << ";\n";
    } else {
      os << "  constexpr int " << name << " = " << std::get<int>(value) << ";\n";
    }
  }
  os << "#line 1 \"" << p.source.name << "\"\n" << p.source.source << "\n}\n";
  return os.str();
}

void run(const MetalKernel& p, const Arrays& given, Arrays& outputs) {
  const KernelSource& k = p.source;
  const KernelLaunch& l = p.launch;
  const Stream& s = p.stream();
  Encoder::current().set_operation(k.name);
  Arrays inputs;
  for (const array& a : given) inputs.push_back(k.contiguous ? row_contiguous(a, s) : a);
  for (array& out : outputs) {
    allocate(out);
    if (l.init_value) fill(array(*l.init_value, out.dtype()), out, s);
  }
  const Signature signature(k, inputs, outputs);
  const std::string source = source_of(p, signature);
  if (l.verbose)
    std::cout << "Generated source code for `" << k.name << "`:\n```\n" << source << "```" << std::endl;
  CompileOptions options;
  options.fast_math = k.options.math_mode == fast::CompileOptions::MathMode::fast;
  const auto pipeline = pipeline_of(
      k.name + (options.fast_math ? " fast\n" : "\n") + source, "custom_kernel_" + k.name, {},
      [&] { return source; }, options);
  const auto [x, y, z] = l.grid;
  if (x == 0 || y == 0 || z == 0) return;
  Dispatch d(s, pipeline);
  for (const Argument& a : signature.arguments()) {
    switch (a.kind) {
      case Argument::input:
        d.in(inputs[a.index]);
        break;
      case Argument::output:
        l.init_value ? d.in_out(outputs[a.index]) : d.out(outputs[a.index]);
        break;
      case Argument::shape: {
        std::vector<int> shape(inputs[a.index].shape().begin(), inputs[a.index].shape().end());
        if (shape.empty()) shape.push_back(1);
        d.values(shape);
        break;
      }
      case Argument::strides: {
        std::vector<int64_t> strides(inputs[a.index].strides().begin(), inputs[a.index].strides().end());
        if (strides.empty()) strides.push_back(0);
        d.values(strides);
        break;
      }
      case Argument::ndim:
        d.value(static_cast<int>(inputs[a.index].ndim()));
        break;
    }
  }
  const auto [a, b, c] = l.threadgroup;
  const auto at_most = [](int group, int grid) { return static_cast<uint32_t>(std::min(group, grid)); };
  d.threads({static_cast<uint32_t>(x), static_cast<uint32_t>(y), static_cast<uint32_t>(z)},
            {at_most(a, x), at_most(b, y), at_most(c, z)});
}

// Where it cannot run there is nobody to hand it to.
bool supports(const Primitive&, const Arrays& inputs, const Arrays& outputs) {
  for (const Arrays* arrays : {&inputs, &outputs})
    for (const array& a : *arrays)
      if (a.dtype() == float64)
        throw std::invalid_argument("[metal_kernel] got an array of float64, which Metal does not have");
  return true;
}

const bool registered = add_kernel<MetalKernel>(run, supports);

}  // namespace
}  // namespace mlx::core::metal

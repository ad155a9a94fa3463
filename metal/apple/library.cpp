#include "metal/apple/device.h"

namespace mlx::core::metal::apple {
namespace {

class AppleLibrary final : public Library {
 public:
  AppleLibrary(Ref device, Ref library, std::string name)
      : device_(std::move(device)), library_(std::move(library)), name_(std::move(name)) {}

  std::shared_ptr<Pipeline> pipeline(const std::string& kernel,
                                     const std::vector<FunctionConstant>& constants) override {
    Pool pool;
    Id error = nullptr;
    const Ref function = constants.empty() ? Ref::owned(mtl::new_function(library_, Id{string(kernel)}))
                                           : specialized(kernel, constants, &error);
    if (!function) {
      const bool known = has(kernel);
      throw std::invalid_argument("[metal] " + name_ +
                                  (known ? ": the constants of kernel '" + kernel + "' do not suit it: "
                                         : " has no kernel '" + kernel + "'") +
                                  (known ? describe(error) : ""));
    }
    Ref state = Ref::owned(mtl::new_pipeline(device_, function, &error));
    if (!state)
      throw std::invalid_argument("[metal] kernel '" + kernel + "' of " + name_ + ": " + describe(error));
    return std::make_shared<ApplePipeline>(std::move(state), kernel);
  }

  std::vector<std::string> kernels() const override {
    Pool pool;
    const Id names = mtl::function_names(library_);
    std::vector<std::string> out(ns::count(names));
    for (size_t i = 0; i < out.size(); ++i) out[i] = text(ns::at(names, i));
    return out;
  }

 private:
  bool has(const std::string& kernel) const {
    for (const std::string& name : kernels())
      if (name == kernel) return true;
    return false;
  }

  Ref specialized(const std::string& kernel, const std::vector<FunctionConstant>& constants, Id* error) {
    struct Type {
      UInteger operator()(bool) const { return kTypeBool; }
      UInteger operator()(int32_t) const { return kTypeInt; }
      UInteger operator()(uint32_t) const { return kTypeUInt; }
      UInteger operator()(float) const { return kTypeFloat; }
    };
    const Ref values = make("MTLFunctionConstantValues");
    for (const FunctionConstant& c : constants) {
      const void* value = std::visit([](const auto& v) -> const void* { return &v; }, c.value);
      mtl::set_constant(values, value, std::visit(Type{}, c.value), c.index);
    }
    return Ref::owned(mtl::new_function_with(library_, string(kernel), values, error));
  }

  Ref device_, library_;
  std::string name_;
};

}  // namespace

std::shared_ptr<Library> make_library(Ref device, Ref library, std::string name) {
  return std::make_shared<AppleLibrary>(std::move(device), std::move(library), std::move(name));
}

}  // namespace mlx::core::metal::apple

#include "metal/sim/library.h"

#include <dlfcn.h>
#include <link.h>

#include <algorithm>
#include <cstring>
#include <sstream>
#include <stdexcept>

#include "metal/sim/compiler.h"
#include "metal/sim/executor.h"

namespace mlx::core::metal::sim {

using metal_simulator::Constant;
using metal_simulator::Derived;
using metal_simulator::Kernel;
using metal_simulator::Site;

Object::Object(const std::string& file) : file_(file) {
  const auto lock = executor().exclusive();
  handle_ = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle_) throw std::runtime_error(std::string("[metal simulator] ") + dlerror());
  module_ = static_cast<metal_simulator::Module*>(dlsym(handle_, "metal_simulator_module"));
  if (!module_ || module_->version != metal_simulator::abi_version) {
    dlclose(handle_);
    throw std::runtime_error("[metal simulator] " + file + " is no kernel object of this version");
  }
  const auto find = [](dl_phdr_info* info, size_t, void* data) {
    auto& self = *static_cast<Object*>(data);
    uintptr_t low = ~uintptr_t{0}, high = 0;
    for (int i = 0; i < info->dlpi_phnum; ++i)
      if (info->dlpi_phdr[i].p_type == PT_LOAD) {
        const uintptr_t begin = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
        low = std::min(low, begin);
        high = std::max<uintptr_t>(high, begin + info->dlpi_phdr[i].p_memsz);
      }
    const auto inside = reinterpret_cast<uintptr_t>(self.module_);
    if (inside < low || inside >= high) return 0;
    self.low_ = low;
    self.size_ = high - low;
    return 1;
  };
  dl_iterate_phdr(find, this);
}

Object::~Object() { dlclose(handle_); }

KernelPipeline::KernelPipeline(std::shared_ptr<Object> object, const Kernel* kernel,
                               std::vector<FunctionConstant> constants)
    : object_(std::move(object)), kernel_(kernel), constants_(std::move(constants)) {
  // A variable's owner is "Z" + the kernel's mangled name without "_Z" + "E" + a class.
  Dl_info info{};
  if (dladdr(reinterpret_cast<void*>(kernel_->function), &info) && info.dli_sname &&
      std::strncmp(info.dli_sname, "_Z", 2) == 0) {
    const std::string owner = std::string("Z") + (info.dli_sname + 2) + "E";
    for (const Site* s = object_->module()->sites; s; s = s->next)
      if (std::strncmp(s->owner, owner.c_str(), owner.size()) == 0) {
        const size_t align = std::max(s->align, 16u);
        static_threadgroup_memory_ = (static_threadgroup_memory_ + align - 1) / align * align + s->size;
      }
  }
}

namespace {

template <class T>
T number(const FunctionConstant& c) {
  return std::visit([](auto v) { return static_cast<T>(v); }, c.value);
}

void store(const Constant& to, const FunctionConstant& from) {
  const auto put = [&](auto v) { std::memcpy(to.value, &v, sizeof(v)); };
  switch (to.type) {
    case 'b':
      return put(number<bool>(from));
    case 'f':
      return put(number<float>(from));
    case 'i':
      return to.size == 1   ? put(number<int8_t>(from))
             : to.size == 2 ? put(number<int16_t>(from))
             : to.size == 4 ? put(number<int32_t>(from))
                            : put(number<int64_t>(from));
    default:
      return to.size == 1   ? put(number<uint8_t>(from))
             : to.size == 2 ? put(number<uint16_t>(from))
             : to.size == 4 ? put(number<uint32_t>(from))
                            : put(number<uint64_t>(from));
  }
}

class CompiledLibrary final : public Library {
 public:
  CompiledLibrary(std::shared_ptr<Object> object, std::string name)
      : object_(std::move(object)), name_(std::move(name)) {}

  std::shared_ptr<Pipeline> pipeline(const std::string& kernel,
                                     const std::vector<FunctionConstant>& constants) override {
    for (const Kernel* k = object_->module()->kernels; k; k = k->next)
      if (kernel == k->name) {
        check_constants(*k, constants);
        return std::make_shared<KernelPipeline>(object_, k, constants);
      }
    throw std::invalid_argument("[metal simulator] " + name_ + " has no kernel " + kernel);
  }
  std::vector<std::string> kernels() const override {
    std::vector<std::string> names;
    for (const Kernel* k = object_->module()->kernels; k; k = k->next) names.emplace_back(k->name);
    return names;
  }

 private:
  void check_constants(const Kernel& kernel, const std::vector<FunctionConstant>& constants) const {
    std::istringstream names(kernel.constants);
    for (std::string name; names >> name;)
      for (const Constant* c = object_->module()->constants; c; c = c->next)
        if (name == c->name && std::none_of(constants.begin(), constants.end(),
                                            [&](const auto& set) { return set.index == c->index; }))
          throw std::invalid_argument("[metal simulator] kernel " + std::string(kernel.name) + " of " +
                                      name_ + " needs function constant " + name + " (" +
                                      std::to_string(c->index) + ")");
  }

  std::shared_ptr<Object> object_;
  std::string name_;
};

}  // namespace

void KernelPipeline::set_constants() const {
  if (!object_->module()->constants) return;
  for (Constant* to = object_->module()->constants; to; to = to->next) {
    to->defined = false;
    std::memset(to->value, 0, to->size);
    for (const FunctionConstant& from : constants_)
      if (from.index == to->index) {
        store(*to, from);
        to->defined = true;
      }
  }
  for (const Derived* d = object_->module()->derived; d; d = d->next) d->compute();
}

std::shared_ptr<Library> compile_library(const std::string& source, const std::string& name,
                                         const CompileOptions& options) {
  return std::make_shared<CompiledLibrary>(
      std::make_shared<Object>(build_object(source, name, options.fast_math).string()), name);
}

}  // namespace mlx::core::metal::sim

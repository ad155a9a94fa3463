// Registration of kernels, function constants and threadgroup variables; used by what the source transform
// emits.
#pragma once
#include <typeinfo>

#include <metal_simulator_abi.h>

// Code that is not the kernel's: its memory accesses are not checked.
#if defined(__clang__)
#define METAL_SIMULATOR_UNCHECKED __attribute__((disable_sanitizer_instrumentation, no_sanitize("thread")))
#else
#define METAL_SIMULATOR_UNCHECKED __attribute__((no_sanitize("thread")))
#endif

extern "C" {
__attribute__((visibility("default"))) metal_simulator::Module metal_simulator_module{
    metal_simulator::abi_version, nullptr, nullptr, nullptr, nullptr, nullptr};
}

namespace metal_simulator {

template <class T>
struct reference_of {
  using type = T;
  static constexpr bool value = false;
};
template <class T>
struct reference_of<T&> {
  using type = T;
  static constexpr bool value = true;
};

// Of what a pointer or a reference points to.
template <class T>
struct extent_of {
  static constexpr unsigned size = sizeof(T), align = alignof(T);
};
template <>
struct extent_of<void> {
  static constexpr unsigned size = 1, align = 1;
};
template <>
struct extent_of<const void> : extent_of<void> {};
template <class T>
struct extent_of<T*> : extent_of<T> {};
template <class T>
struct extent_of<T&> {
  static constexpr unsigned size = sizeof(T), align = alignof(T);
};

// The value of an argument like [[thread_position_in_grid]]; of vectors too, see metal_types.
template <class T>
struct position {
  METAL_SIMULATOR_UNCHECKED static T of(const unsigned* v) { return static_cast<T>(v[0]); }
};

template <class A, int kind>
METAL_SIMULATOR_UNCHECKED inline A argument(const Thread* thread, void* const* arguments, int i) {
  if constexpr (kind != KindBuffer && kind != KindThreadgroup)
    return position<A>::of(thread->values[kind]);
  else if constexpr (reference_of<A>::value)
    return *static_cast<typename reference_of<A>::type*>(arguments[i]);
  else
    return static_cast<A>(arguments[i]);
}

template <int i, int k>
struct Slot {
  static constexpr int index = i, kind = k;
};

template <class... S>
struct Signature {
  template <class... A>
  METAL_SIMULATOR_UNCHECKED static void run(const Kernel* kernel, const Thread* thread,
                                            void* const* arguments) {
    (void)thread, (void)arguments;
    reinterpret_cast<void (*)(A...)>(kernel->function)(argument<A, S::kind>(thread, arguments, S::index)...);
  }

  template <class... A>
  static bool add(Kernel& kernel, void (*function)(A...), Parameter* parameters) {
    kernel.run = &run<A...>;
    kernel.function = reinterpret_cast<void (*)()>(function);
    kernel.parameters = parameters;
    kernel.parameter_count = static_cast<int>(sizeof...(A));
    ((parameters[S::index].reference = reference_of<A>::value, parameters[S::index].size = extent_of<A>::size,
      parameters[S::index].align = extent_of<A>::align),
     ...);
    kernel.next = metal_simulator_module.kernels;
    metal_simulator_module.kernels = &kernel;
    return true;
  }
};

struct ConstantEntry : Constant {
  template <class T>
  ConstantEntry(int index, const char* name, T* value)
      : Constant{index,
                 name,
                 const_cast<void*>(static_cast<const volatile void*>(value)),
                 sizeof(T),
                 type_of(value),
                 false,
                 metal_simulator_module.constants} {
    metal_simulator_module.constants = this;
  }
  static char type_of(const volatile bool*) { return 'b'; }
  static char type_of(const volatile float*) { return 'f'; }
  template <class T>
  static char type_of(const T*) {
    return T(-1) < T(0) ? 'i' : 'u';
  }
};

struct DerivedEntry : Derived {
  DerivedEntry(void (*compute)()) : Derived{compute, nullptr} {
    if (metal_simulator_module.derived_end)
      metal_simulator_module.derived_end->next = this;
    else
      metal_simulator_module.derived = this;
    metal_simulator_module.derived_end = this;
  }
};

struct SiteEntry : Site {
  SiteEntry(const char* owner, unsigned size, unsigned align)
      : Site{nullptr, nullptr, 0, size, align, owner, 0, 0, metal_simulator_module.sites} {
    metal_simulator_module.sites = this;
  }
};

// One for each variable; `Tag` is a class inside the kernel.
template <class Tag, class T>
struct Variable {
  static SiteEntry site;
  METAL_SIMULATOR_UNCHECKED static T& get(const char* name, const char* file, int line) {
    site.name = name;
    site.file = file;
    site.line = line;
    return *static_cast<T*>(metal_simulator_threadgroup(&site));
  }
};
template <class Tag, class T>
SiteEntry Variable<Tag, T>::site{typeid(Tag).name(), sizeof(T), alignof(T)};

}  // namespace metal_simulator

#include "metal/apple/objc.h"

#include <dlfcn.h>

#include "metal/apple/messages.h"

namespace mlx::core::metal::apple {
namespace {

// Where the system keeps what is needed. Metal's default device asks for CoreGraphics to be loaded.
constexpr const char* kLibraries[] = {
    "/usr/lib/libobjc.A.dylib",
    "/System/Library/Frameworks/Foundation.framework/Foundation",
    "/System/Library/Frameworks/CoreGraphics.framework/CoreGraphics",
    "/System/Library/Frameworks/Metal.framework/Metal",
};

Runtime opened;

template <class T>
void find(const std::vector<void*>& libraries, const char* name, T*& to, bool needed = true) {
  for (void* library : libraries)
    if (void* symbol = dlsym(library, name)) {
      to = reinterpret_cast<T*>(symbol);
      return;
    }
  if (needed) throw std::runtime_error(std::string("[metal] the system's libraries have no ") + name);
}

}  // namespace

const Runtime& runtime() { return opened; }

bool open_runtime(const char* library) {
  std::vector<void*> libraries;
  if (library) {
    libraries.push_back(dlopen(library, RTLD_NOW | RTLD_LOCAL));
    if (!libraries[0]) throw std::runtime_error(std::string("[metal] ") + dlerror());
  } else {
    for (const char* file : kLibraries) {
      void* handle = dlopen(file, RTLD_NOW | RTLD_LOCAL);
      if (!handle) return false;
      libraries.push_back(handle);
    }
    libraries.push_back(RTLD_DEFAULT);  // blocks are libSystem's
  }
  find(libraries, "objc_msgSend", opened.msg_send);
#ifdef __x86_64__
  find(libraries, "objc_msgSend_stret", opened.msg_send_stret);
#endif
  find(libraries, "objc_getClass", opened.get_class);
  find(libraries, "sel_registerName", opened.register_name);
  find(libraries, "objc_retain", opened.retain);
  find(libraries, "objc_release", opened.release);
  find(libraries, "objc_alloc_init", opened.alloc_init);
  find(libraries, "object_getClass", opened.class_of);
  find(libraries, "class_respondsToSelector", opened.responds);
  find(libraries, "objc_autoreleasePoolPush", opened.pool_push);
  find(libraries, "objc_autoreleasePoolPop", opened.pool_pop);
  find(libraries, "MTLCreateSystemDefaultDevice", opened.default_device);
  find(libraries, "MTLCommandBufferEncoderInfoErrorKey", opened.encoder_info_key, false);
  void* block = nullptr;
  for (void* handle : libraries)
    if (!block) block = dlsym(handle, "_NSConcreteStackBlock");
  if (!block) throw std::runtime_error("[metal] the system's libraries have no _NSConcreteStackBlock");
  opened.stack_block = block;
  return true;
}

std::vector<MessageTypes>& all_messages() {
  static std::vector<MessageTypes> messages;
  return messages;
}

Ref string(const std::string& text) {
  return Ref::shared(
      ns::string_with_c_string(runtime().get_class("NSString"), text.c_str(), UInteger{kUtf8}));
}

std::string text(Id string) {
  const char* bytes = ns::utf8(string);
  return bytes ? bytes : "";
}

std::string describe(Id error) {
  const std::string what = error ? text(ns::description(error)) : "";
  return what.empty() ? "unknown error" : what;
}

}  // namespace mlx::core::metal::apple

// As much of Objective-C as Metal needs, in terms of the C functions of its runtime: messages with types,
// owning references, autorelease pools, blocks.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "metal/device/device.h"

namespace mlx::core::metal::apple {

struct Object;  // of any class
using Id = Object*;
using Selector = const struct SelectorName*;
using Class = const struct ClassObject*;
using UInteger = unsigned long;
using Integer = long;
using Block = void*;
struct Extent {  // MTLSize
  UInteger width, height, depth;
};
struct SizeAndAlign {  // MTLSizeAndAlign
  UInteger size, align;
};
inline Extent extent(const Size& s) { return {s.x, s.y, s.z}; }

// The functions of libobjc and Metal that are called by name.
struct Runtime {
  void (*msg_send)();
  void (*msg_send_stret)();  // null on arm64, which has no need of it
  Class (*get_class)(const char*);
  Selector (*register_name)(const char*);
  Id (*retain)(Id);
  void (*release)(Id);
  Id (*alloc_init)(Class);
  Class (*class_of)(Id);
  bool (*responds)(Class, Selector);
  void* (*pool_push)();
  void (*pool_pop)(void*);
  Id (*default_device)();
  Id* encoder_info_key;  // MTLCommandBufferEncoderInfoErrorKey
  void* stack_block;     // _NSConcreteStackBlock
};
const Runtime& runtime();
// False where the system has no Metal.
bool open_runtime(const char* library);

// One letter per result and argument, as the test writes the types of the interface's description.
template <class T>
constexpr char type_letter() {
  if constexpr (std::is_void_v<T>)
    return 'v';
  else if constexpr (std::is_same_v<T, bool>)
    return 'B';
  else if constexpr (std::is_same_v<T, Id>)
    return '@';
  else if constexpr (std::is_same_v<T, Id*>)
    return 'E';
  else if constexpr (std::is_same_v<T, Block>)
    return '?';
  else if constexpr (std::is_same_v<T, const void*>)
    return '^';
  else if constexpr (std::is_same_v<T, const char*>)
    return '*';
  else if constexpr (std::is_same_v<T, Extent>)
    return 'S';
  else if constexpr (std::is_same_v<T, SizeAndAlign>)
    return 'A';
  else if constexpr (std::is_integral_v<T> && sizeof(T) == 8)
    return std::is_signed_v<T> ? 'q' : 'Q';
  else
    static_assert(!sizeof(T), "no type of a message");
}

// What messages this code sends, for the test that compares them with Metal's interface.
struct MessageTypes {
  const char* receiver;  // "MTLDevice", or "+NSString" for a method of the class
  const char* selector;
  std::string types;
};
std::vector<MessageTypes>& all_messages();

template <class F>
class Message;
// A method: `const Message<Id(UInteger)> objectAtIndex{"NSArray", "objectAtIndex:"}` is sent by
// objectAtIndex(array, 3). To null it does nothing and returns zero, as in Objective-C.
template <class R, class... A>
class Message<R(A...)> {
 public:
  Message(const char* receiver, const char* selector) : name_(selector) {
    all_messages().push_back({receiver, selector, {type_letter<R>(), type_letter<A>()...}});
  }
  Selector selector() const { return runtime().register_name(name_); }
  template <class... T>
  R operator()(Id object, T... arguments) const {
    static_assert(sizeof...(T) == sizeof...(A));
    return send(object, arguments...);
  }
  R operator()(Class object, A... arguments) const {
    return send(reinterpret_cast<Id>(const_cast<ClassObject*>(object)), arguments...);
  }
  bool understood_by(Id object) const { return runtime().responds(runtime().class_of(object), selector()); }

 private:
  R send(Id object, A... arguments) const {
    using Function = R (*)(Id, Selector, A...);
    auto* function = runtime().msg_send;
    if constexpr (std::is_same_v<R, Extent>)
      if (runtime().msg_send_stret) function = runtime().msg_send_stret;
    if (!selector_) selector_ = selector();
    return reinterpret_cast<Function>(function)(object, selector_, arguments...);
  }
  const char* name_;
  mutable Selector selector_ = nullptr;  // written by any thread, always the same
};

// Owns one reference to an object.
class Ref {
 public:
  Ref() = default;
  // The reference that the caller was given, by a method whose name begins with new, alloc or copy.
  static Ref owned(Id object) {
    Ref r;
    r.object_ = object;
    return r;
  }
  // One more to an object that belongs to somebody else, such as an autorelease pool.
  static Ref shared(Id object) { return owned(object ? runtime().retain(object) : nullptr); }
  Ref(const Ref& other) : object_(other ? runtime().retain(other.object_) : nullptr) {}
  Ref(Ref&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  Ref& operator=(Ref other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~Ref() {
    if (object_) runtime().release(object_);
  }
  operator Id() const { return object_; }
  explicit operator bool() const { return object_; }

 private:
  Id object_ = nullptr;
};
inline Ref make(const char* class_name) {
  return Ref::owned(runtime().alloc_init(runtime().get_class(class_name)));
}

// What is autoreleased while it lives goes when it does.
class Pool {
 public:
  Pool() : pool_(runtime().pool_push()) {}
  ~Pool() { runtime().pool_pop(pool_); }
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

 private:
  void* pool_;
};

// A block (its layout is part of the ABI) that calls `f(object)`; whom it is handed to copies it and with it
// the function. Nothing may be thrown through Objective-C: `f` is noexcept.
template <class F>
class Handler {
 public:
  explicit Handler(F f) : block_{runtime().stack_block, kHasCopy, 0, invoke, &kDescriptor, std::move(f)} {
    static_assert(std::is_nothrow_invocable_v<F, Id>);
  }
  Block block() { return &block_; }

 private:
  struct Layout;
  struct Descriptor {
    unsigned long reserved, size;
    void (*copy)(Layout*, const Layout*);
    void (*dispose)(Layout*);
  };
  struct Layout {
    void* isa;
    int flags;
    int reserved;
    void (*invoke)(Layout*, Id);
    const Descriptor* descriptor;
    F f;
  };
  static constexpr int kHasCopy = 1 << 25;
  static void invoke(Layout* self, Id object) { self->f(object); }
  // The bytes are copied before this is called.
  static void copy(Layout* to, const Layout* from) { std::construct_at(&to->f, from->f); }
  static void dispose(Layout* self) { std::destroy_at(&self->f); }
  static constexpr Descriptor kDescriptor{0, sizeof(Layout), copy, dispose};
  Layout block_;
};

Ref string(const std::string& text);
std::string text(Id string);
// What an NSError says; "unknown error" of null.
std::string describe(Id error);

}  // namespace mlx::core::metal::apple

// A small stand-in for the runtime of Objective-C: classes with methods, selectors, reference counts,
// autorelease pools. What a real one would forgive or crash on, it writes down.
#pragma once

#include <atomic>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "metal/apple/objc.h"

namespace standin {

using mlx::core::metal::apple::Block;
using mlx::core::metal::apple::Extent;
using mlx::core::metal::apple::Id;
using mlx::core::metal::apple::Integer;
using mlx::core::metal::apple::Selector;
using mlx::core::metal::apple::SizeAndAlign;
using mlx::core::metal::apple::type_letter;
using mlx::core::metal::apple::UInteger;

struct ClassInfo {
  const ClassInfo* isa = nullptr;  // of a class: its metaclass, which holds the methods of the class
  std::string name;
  const ClassInfo* parent = nullptr;
  std::map<std::string, void (*)()> methods;
  mutable std::atomic<long> live{0};
  Id (*create)() = nullptr;  // what alloc and init make; null where only Metal makes them
};

// Every object begins like this. What is released for the last time is taken apart, but its memory stays, so
// that a message to it can be told.
struct Instance {
  Instance(const char* class_name, void (*dismantle)(Instance*));
  const ClassInfo* isa;
  void (*dismantle)(Instance*);
  std::atomic<long> references{1};
  std::atomic<bool> dead{false};
};
inline Id id_of(Instance* object) { return reinterpret_cast<Id>(object); }
template <class T>
T& as(Id id) {
  return *static_cast<T*>(reinterpret_cast<Instance*>(id));
}
// An object of the class T::kName; T::fields is what it holds.
template <class T>
T* create() {
  return new T{{T::kName, [](Instance* i) { static_cast<T*>(i)->fields = {}; }}, {}};
}

Id retain(Id object);
void release(Id object);
Id autorelease(Id object);
// Owns one reference.
class Held {
 public:
  Held() = default;
  explicit Held(Id object) : object_(object ? retain(object) : nullptr) {}
  Held(const Held& other) : Held(other.object_) {}
  Held& operator=(Held other) {
    std::swap(object_, other.object_);
    return *this;
  }
  ~Held() {
    if (object_) release(object_);
  }
  operator Id() const { return object_; }

 private:
  Id object_ = nullptr;
};

// Writes down what must not happen on a Mac either.
void fault(const std::string& what);
// For what would end the process there.
[[noreturn]] void die(const std::string& what);

// Result and parameters of a method as letters (type_letter), from the description of Metal's interface; ""
// where there is no such method.
std::string described_types(const std::string& class_name, char kind, const std::string& selector);
// An enumerator's value, from the description; -1 where there is none.
long described_value(const std::string& type, const std::string& name);

void add_class(const char* name, const char* parent, Id (*create)() = nullptr);
void add_method(const char* class_name, char kind, const char* selector, const std::string& types,
                void (*f)());
template <class R, class... A>
void method(const char* class_name, const char* selector, R (*f)(Id, Selector, A...), char kind = '-') {
  add_method(class_name, kind, selector, {type_letter<R>(), type_letter<A>()...},
             reinterpret_cast<void (*)()>(f));
}
void add_foundation();
void add_metal();
Id make_string(const std::string& text);  // owned by the caller
const std::string& text_of(Id string);
Id make_array(const std::vector<Id>& objects);
Id make_error(long code, const std::string& text, Id user_info = nullptr);
Id make_dictionary(Id key, Id value);

}  // namespace standin

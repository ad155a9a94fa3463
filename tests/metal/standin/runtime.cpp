#include "runtime.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <set>
#include <sstream>

#include "description.h"  // the tables, as text

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace standin {
namespace {

std::map<std::string, ClassInfo>& classes() {
  static auto* all = new std::map<std::string, ClassInfo>;
  return *all;
}
std::mutex faults_mutex;
std::vector<std::string> faults;

// "const MTL::Buffer* buffer" and its like, as type_letter has them.
char letter_of(std::string type) {
  const auto has = [&](const char* part) { return type.find(part) != std::string::npos; };
  if (has("(^") || has("Handler")) return '?';
  if (has("NS::Error**")) return 'E';
  if (has("* const ") || has("* const*") || has("[]")) return '^';
  if (has("void*")) return '^';
  if (has("char*")) return '*';
  if (has("*") || has("ErrorDomain")) return '@';
  std::istringstream words(type);
  std::string word;
  while (words >> word && word == "const") {
  }
  if (const size_t colons = word.rfind("::"); colons != std::string::npos) word = word.substr(colons + 2);
  if (word == "void" || word == "bool") return word == "void" ? 'v' : 'B';
  if (word == "Size") return 'S';
  if (word == "SizeAndAlign") return 'A';
  if (word == "Integer") return 'q';
  if (word == "UInteger" || word == "uint64_t" || word == "GPUAddress") return 'Q';
  // An enumeration has the type that its description says.
  std::istringstream lines(kEnums);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line);
    std::string name, underlying;
    fields >> name >> underlying;
    if (name == "MTL" + word || name == "NS" + word) return underlying == "NS::Integer" ? 'q' : 'Q';
  }
  return '!';
}

std::map<std::string, std::string> read_description() {
  std::map<std::string, std::string> out;
  std::istringstream lines(kSelectors);
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::vector<std::string> fields(1);
    for (char c : line)
      if (c == '\t')
        fields.emplace_back();
      else
        fields.back() += c;
    fields.resize(5);
    std::string types(1, letter_of(fields[3]));
    // Commas inside a block's parameters are not between parameters.
    std::string parameter;
    int depth = 0;
    for (char c : fields[4]) {
      depth += (c == '(') - (c == ')');
      if (c == ',' && depth == 0) {
        types += letter_of(parameter);
        parameter.clear();
      } else {
        parameter += c;
      }
    }
    if (!parameter.empty()) types += letter_of(parameter);
    out[fields[1] + fields[0] + " " + fields[2]] = types;
  }
  return out;
}
const std::map<std::string, std::string>& description() {
  static const auto all = read_description();
  return all;
}

void set_up() {
  static std::once_flag once;
  std::call_once(once, [] {
    add_foundation();
    add_metal();
  });
}

struct Pools {
  std::vector<Id> objects;
  std::vector<size_t> marks;
};
thread_local Pools pools;

bool is_class(const ClassInfo* isa) { return isa && isa->name.starts_with("+"); }
std::string name_of(const ClassInfo* isa, Selector selector) {
  const bool of_class = is_class(isa);
  return std::string(of_class ? "+[" : "-[") + (of_class ? isa->name.substr(1) : isa->name) + " " +
         reinterpret_cast<const char*>(selector) + "]";
}
Extent no_extent() { return {0, 0, 0}; }
long nothing() { return 0; }

}  // namespace

void fault(const std::string& what) {
  static const bool strict = std::getenv("MLX_STANDIN_STRICT");
  if (strict) die(what);
  std::lock_guard lock(faults_mutex);
  faults.push_back(what);
}
void die(const std::string& what) {
  std::fprintf(stderr, "Metal stand-in: %s\n", what.c_str());
  std::abort();
}

std::string described_types(const std::string& class_name, char kind, const std::string& selector) {
  const auto found = description().find(kind + class_name + " " + selector);
  return found == description().end() ? "" : found->second;
}

long described_value(const std::string& type, const std::string& name) {
  std::istringstream lines(kEnums);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with(type + "\t")) continue;
    const size_t at = line.find(name + " = ");
    if (at == std::string::npos) continue;
    if (line[at - 1] != ' ' && line[at - 1] != '\t') continue;
    return std::atol(line.c_str() + at + name.size() + 3);
  }
  return -1;
}

void add_class(const char* name, const char* parent, Id (*make)()) {
  ClassInfo& info = classes()[name];
  ClassInfo& meta = classes()[std::string("+") + name];
  info.name = name;
  meta.name = std::string("+") + name;
  info.isa = &meta;
  info.create = make;
  if (parent) {
    info.parent = &classes().at(parent);
    meta.parent = &classes().at(std::string("+") + parent);
  }
}

void add_method(const char* class_name, char kind, const char* selector, const std::string& types,
                void (*f)()) {
  const std::string described = described_types(class_name, kind, selector);
  if (described != types)
    die(std::string("its own ") + kind + "[" + class_name + " " + selector + "] has types " + types +
        ", the interface says '" + described + "'");
  classes().at(kind == '+' ? std::string("+") + class_name : class_name).methods[selector] = f;
}

Instance::Instance(const char* class_name, void (*dismantle)(Instance*))
    : isa(&classes().at(class_name)), dismantle(dismantle) {
  ++isa->live;
}

Id retain(Id object) {
  Instance& i = as<Instance>(object);
  if (i.dead) fault("retain of a deallocated " + i.isa->name);
  ++i.references;
  return object;
}
void release(Id object) {
  Instance& i = as<Instance>(object);
  if (i.dead) return fault("release of a deallocated " + i.isa->name);
  if (--i.references > 0) return;
  i.dead = true;
  --i.isa->live;
  i.dismantle(&i);
}
Id autorelease(Id object) {
  if (!object) return object;
  if (pools.marks.empty()) {
    fault("autoreleased a " + as<Instance>(object).isa->name + " without a pool");
    return object;
  }
  pools.objects.push_back(object);
  return object;
}

}  // namespace standin

using namespace standin;

// Called by objc_msgSend with the receiver and the selector; gives what to jump to.
EXPORT void (*standin_lookup(const Instance* object, Selector selector))() {
  const char* name = reinterpret_cast<const char*>(selector);
  if (!object)
    return std::strcmp(name, "maxThreadsPerThreadgroup") == 0 ? reinterpret_cast<void (*)()>(no_extent)
                                                              : reinterpret_cast<void (*)()>(nothing);
  const ClassInfo* isa = object->isa;
  if (!is_class(isa) && object->dead) {
    fault(name_of(isa, selector) + " was sent to a deallocated object");
    return reinterpret_cast<void (*)()>(nothing);
  }
  for (const ClassInfo* c = isa; c; c = c->parent)
    if (const auto found = c->methods.find(name); found != c->methods.end()) return found->second;
  for (const ClassInfo* c = isa; c; c = c->parent)
    if (!described_types(is_class(c) ? c->name.substr(1) : c->name, is_class(c) ? '+' : '-', name).empty())
      die(name_of(isa, selector) + " is a method of Metal's that is not stood in for");
  die(name_of(isa, selector) + ": unrecognized selector");
}

EXPORT const ClassInfo* objc_getClass(const char* name) {
  set_up();
  const auto found = classes().find(name);
  return found == classes().end() ? nullptr : &found->second;
}
EXPORT Selector sel_registerName(const char* name) {
  static std::mutex mutex;
  static auto* names = new std::set<std::string>;
  std::lock_guard lock(mutex);
  return reinterpret_cast<Selector>(names->insert(name).first->c_str());
}
EXPORT Id objc_retain(Id object) { return object ? retain(object) : nullptr; }
EXPORT void objc_release(Id object) {
  if (object) release(object);
}
EXPORT Id objc_alloc_init(const ClassInfo* c) {
  if (!c) return nullptr;
  if (!c->create) die("a " + c->name + " cannot be made by alloc and init");
  return c->create();
}
EXPORT const ClassInfo* object_getClass(const Instance* object) { return object ? object->isa : nullptr; }
EXPORT bool class_respondsToSelector(const ClassInfo* c, Selector selector) {
  for (; c; c = c->parent)
    if (c->methods.contains(reinterpret_cast<const char*>(selector))) return true;
  return false;
}
EXPORT void* objc_autoreleasePoolPush() {
  pools.marks.push_back(pools.objects.size());
  return reinterpret_cast<void*>(pools.marks.size());
}
EXPORT void objc_autoreleasePoolPop(void* pool) {
  if (reinterpret_cast<size_t>(pool) != pools.marks.size()) fault("autorelease pools popped out of order");
  if (pools.marks.empty()) return;
  const size_t mark = pools.marks.back();
  while (pools.objects.size() > mark) {
    const Id object = pools.objects.back();
    pools.objects.pop_back();
    release(object);
  }
  pools.marks.pop_back();
}
extern "C" {
extern void* _NSConcreteStackBlock[32] __attribute__((visibility("default")));
void* _NSConcreteStackBlock[32] = {};
}

// For tests. What went wrong so far, a line each; forgotten then.
EXPORT const char* standin_faults() {
  static std::string text;
  std::lock_guard lock(faults_mutex);
  text.clear();
  for (const std::string& f : faults) text += f + "\n";
  faults.clear();
  return text.c_str();
}
// How many objects live: "MTLBuffer 2\n…".
EXPORT const char* standin_live() {
  static std::string text;
  text.clear();
  for (const auto& [name, info] : classes())
    if (info.live) text += name + " " + std::to_string(info.live) + "\n";
  return text.c_str();
}
EXPORT const char* standin_types(const char* class_name, char kind, const char* selector) {
  static std::string text;
  return (text = described_types(class_name, kind, selector)).c_str();
}
EXPORT long standin_value(const char* type, const char* name) { return described_value(type, name); }
// As on a system before the method came.
EXPORT void standin_remove_method(const char* class_name, const char* selector) {
  set_up();
  classes().at(class_name).methods.erase(selector);
}

#include "metal/sim/transform_parts.h"

#include <array>
#include <cctype>
#include <set>
#include <stdexcept>

namespace mlx::core::metal::sim {

namespace {

// Attribute, name of metal_simulator::Kind.
constexpr std::array<std::pair<std::string_view, std::string_view>, 21> positions{{
    {"thread_position_in_grid", "ThreadPositionInGrid"},
    {"thread_position_in_threadgroup", "ThreadPositionInThreadgroup"},
    {"threadgroup_position_in_grid", "ThreadgroupPositionInGrid"},
    {"thread_index_in_threadgroup", "ThreadIndexInThreadgroup"},
    {"thread_index_in_simdgroup", "ThreadIndexInSimdgroup"},
    {"simdgroup_index_in_threadgroup", "SimdgroupIndexInThreadgroup"},
    {"threads_per_grid", "ThreadsPerGrid"},
    {"threads_per_threadgroup", "ThreadsPerThreadgroup"},
    {"threadgroups_per_grid", "ThreadgroupsPerGrid"},
    {"simdgroups_per_threadgroup", "SimdgroupsPerThreadgroup"},
    {"threads_per_simdgroup", "ThreadsPerSimdgroup"},
    {"thread_execution_width", "ThreadsPerSimdgroup"},
    {"dispatch_threads_per_threadgroup", "DispatchThreadsPerThreadgroup"},
    {"dispatch_simdgroups_per_threadgroup", "DispatchSimdgroupsPerThreadgroup"},
    {"grid_origin", "GridOrigin"},
    {"thread_index_in_quadgroup", "ThreadIndexInQuadgroup"},
    {"quadgroup_index_in_threadgroup", "QuadgroupIndexInThreadgroup"},
    {"quadgroups_per_threadgroup", "QuadgroupsPerThreadgroup"},
    {"dispatch_quadgroups_per_threadgroup", "QuadgroupsPerThreadgroup"},
    {"buffer", "KindBuffer"},
    {"threadgroup", "KindThreadgroup"},
}};

bool opens(const Token& t) { return t.is("(") || t.is("[") || t.is("{"); }

// Past a bracket or one token.
size_t next(const std::vector<Token>& t, size_t i) {
  return opens(t[i]) ? std::min(closing(t, i) + 1, t.size()) : i + 1;
}

bool attribute_at(const std::vector<Token>& t, size_t i, size_t end) {
  return i + 1 < end && t[i].is("[") && t[i + 1].is("[");
}

// One [[...]] at `i`: adds its attributes, erases it, returns what comes after.
size_t take_one(std::vector<Token>& t, size_t i, Attributes& out) {
  const size_t end = closing(t, i);
  for (size_t j = i + 2; j + 1 < end;) {
    std::string name = t[j].text;
    while (j + 2 < end && t[j + 1].is("::")) name += "::" + t[j + 2].text, j += 2;
    ++j;
    std::string arguments;
    if (j < end && t[j].is("(")) {
      const size_t close = closing(t, j);
      arguments = text_of(t, j + 1, close);
      j = close + 1;
    }
    if (name != ",") out[name] = arguments;
  }
  for (size_t j = i; j <= end && j < t.size(); ++j) t[j].text.clear();
  return end + 1;
}

}  // namespace

void fail(const Token& at, const std::string& what) {
  throw std::invalid_argument(at.file + ":" + std::to_string(at.line) + ": error: " + what);
}

std::string text_of(const std::vector<Token>& t, size_t begin, size_t end) {
  std::string out;
  for (size_t i = begin; i < end && i < t.size(); ++i) {
    if (t[i].text.empty() || t[i].kind == Token::Directive) continue;
    if (!out.empty() && !t[i].space.empty()) out += ' ';
    out += t[i].text;
  }
  return out;
}

size_t skip_erased(const std::vector<Token>& t, size_t i) {
  while (i < t.size() && (t[i].text.empty() || t[i].kind == Token::Directive)) ++i;
  return i;
}

size_t previous(const std::vector<Token>& t, size_t i) {
  for (size_t j = i; j > 0; --j)
    if (!t[j - 1].text.empty() && t[j - 1].kind != Token::Directive) return j - 1;
  return i;
}

Extent extent(const std::vector<Token>& t, size_t begin) {
  bool type = false, parameters = false, initializer = false;
  for (size_t i = begin; i < t.size();) {
    if (t[i].is("template") && i + 1 < t.size() && t[i + 1].is("<")) {
      i = closing(t, i + 1) + 1;
      continue;
    }
    if (attribute_at(t, i, t.size())) {
      i = closing(t, i) + 1;
      continue;
    }
    if (t[i].is("struct") || t[i].is("class") || t[i].is("union") || t[i].is("enum") || t[i].is("using") ||
        t[i].is("typedef"))
      type = true;
    if (t[i].is("=")) initializer = true;
    if (t[i].is("(") && !initializer) parameters = true;
    if (t[i].is(";")) return {i + 1, i + 1, i + 1, false};
    if (t[i].is("{")) {
      const size_t close = std::min(closing(t, i), t.size() - 1);
      // `struct S f() {...}` is rare enough to be told by its parentheses.
      const bool function = parameters && !initializer;
      if (function) return {i, i, close + 1, true};
      if (type || initializer || !parameters) {
        size_t end = close;
        while (end < t.size() && !t[end].is(";")) end = end == close ? end + 1 : next(t, end);
        return {i, i, std::min(end + 1, t.size()), false};
      }
    }
    i = next(t, i);
  }
  return {t.size(), t.size(), t.size(), false};
}

Attributes take_attributes(std::vector<Token>& t, size_t begin, size_t end) {
  Attributes out;
  // In a head, parentheses hold the parameters, whose attributes are their own; in a body, everything goes.
  const bool body = begin < t.size() && t[begin].is("{");
  for (size_t i = begin; i < end;) {
    if (attribute_at(t, i, end))
      i = take_one(t, i, out);
    else
      i = !body && t[i].is("(") ? next(t, i) : i + 1;
  }
  return out;
}

KernelHead kernel_head(const std::vector<Token>& t, size_t begin, const Extent& e) {
  KernelHead head{};
  size_t i = skip_erased(t, begin);
  head.is_template = t[i].is("template");
  if (head.is_template) i = closing(t, i + 1) + 1;
  while (i + 1 < e.head_end && !t[skip_erased(t, i + 1)].is("(")) ++i;
  if (i + 1 >= e.head_end || t[i].kind != Token::Identifier)
    fail(t[begin], "a kernel needs a name and parameters");
  head.at = i;
  head.name = t[i].text;
  head.open = skip_erased(t, i + 1);
  head.close = closing(t, head.open);
  return head;
}

std::vector<KernelParameter> kernel_parameters(std::vector<Token>& t, size_t open, size_t close) {
  std::vector<KernelParameter> out;
  std::set<std::string> taken;
  for (size_t i = open + 1; i < close;) {
    size_t end = i;
    Attributes attributes;
    bool pointer = false;
    KernelParameter p;
    while (end < close && !t[end].is(",")) {
      if (attribute_at(t, end, close)) {
        end = take_one(t, end, attributes);
        continue;
      }
      if (t[end].is("*") || t[end].is("&")) pointer = true;
      if (t[end].is("constant") && !pointer) p.constant = true;
      if (t[end].kind == Token::Identifier) p.name = t[end].text;
      if (t[end].text.starts_with("texture") || t[end].is("sampler") || t[end].text.starts_with("depth2d"))
        fail(t[end], "the simulator has no textures and samplers");
      if (t[end].is("<"))
        end = closing(t, end) + 1;
      else
        end = next(t, end);
    }
    if (skip_erased(t, i) >= end || (t[skip_erased(t, i)].is("void") && !pointer)) break;
    for (const auto& [attribute, kind] : positions)
      if (const auto found = attributes.find(std::string(attribute)); found != attributes.end()) {
        p.kind = kind;
        p.index = found->second;
      }
    if (const auto found = attributes.find("function_constant"); found != attributes.end())
      p.condition = found->second;
    if (p.kind.empty()) {
      if (!pointer)
        fail(t[skip_erased(t, i)], "parameter " + p.name + " has no attribute that says what it is");
      p.kind = "KindBuffer";
    }
    if (p.kind == "KindBuffer" && !p.index.empty()) taken.insert(p.index);
    out.push_back(std::move(p));
    i = end + 1;
  }
  int free = 0;
  for (KernelParameter& p : out)
    if (p.kind == "KindBuffer" && p.index.empty()) {
      while (taken.count(std::to_string(free))) ++free;
      p.index = std::to_string(free++);
    }
  return out;
}

Instance instance_of(const std::vector<Token>& t, size_t begin, const Extent& e) {
  // The last `name<...>` that stands outside of brackets: in decltype(f<T>) f<T>; and void f<T>(...);
  Instance out;
  for (size_t i = skip_erased(t, begin) + 1; i < e.end;) {
    if (t[i].kind == Token::Identifier && i + 1 < e.end && t[i + 1].is("<")) {
      const size_t close = closing(t, i + 1);
      size_t first = i;
      while (first >= begin + 2 && t[first - 1].is("::")) first -= 2;
      out.name = t[i].text;
      out.expression = text_of(t, first, close + 1);
      i = close + 1;
    } else {
      i = next(t, i);
    }
  }
  if (out.name.empty())
    fail(t[skip_erased(t, begin)], "an instantiation of a kernel needs template arguments");
  return out;
}

std::string kernel_registration(int number, const std::string& host_name, const std::string& function,
                                const KernelTemplate& k, const Token& at, const std::string& constants) {
  const std::string n = std::to_string(number);
  std::string slots, parameters;
  for (size_t i = 0; i < k.parameters.size(); ++i) {
    const KernelParameter& p = k.parameters[i];
    const std::string kind = "::metal_simulator::" + p.kind;
    slots += (i ? ", " : "") + ("::metal_simulator::Slot<" + std::to_string(i)) + ", " + kind + ">";
    parameters += "{" + kind + ", " + (p.index.empty() ? "0" : "int(" + p.index + ")") + ", \"" + p.name +
                  "\", " + (p.constant ? "true" : "false") + ", " +
                  (p.condition.empty() ? "nullptr" : "&" + p.condition) + ", 0, 0, false}, ";
  }
  return " static ::metal_simulator::Parameter metal_simulator_parameters" + n + "[] = {" + parameters +
         "{}}; static ::metal_simulator::Kernel metal_simulator_kernel" + n + "{" + host_name + ", \"" +
         at.file + "\", " + std::to_string(at.line) + ", " + std::to_string(k.max_threads) + ", \"" +
         constants + "\"" + ", nullptr, nullptr, nullptr, 0, nullptr}; static bool metal_simulator_added" +
         n + " = ::metal_simulator::Signature<" + slots + ">::add(metal_simulator_kernel" + n + ", &" +
         function + ", metal_simulator_parameters" + n + ");";
}

std::optional<Initialized> initialized(const std::vector<Token>& t, size_t begin, size_t end) {
  Initialized out;
  size_t stop = begin;
  while (stop < end && !t[stop].is("=") && !t[stop].is(";") && !t[stop].is("{")) ++stop;
  const size_t name = previous(t, stop);
  if (name <= begin || t[name].kind != Token::Identifier) return std::nullopt;
  out.name = t[name].text;
  for (size_t i = begin; i < name; ++i) {
    const Token& x = t[i];
    if (x.text.empty() || x.kind == Token::Directive || x.is("constant") || x.is("const") || x.is("static") ||
        x.is("constexpr"))
      continue;
    out.type += (out.type.empty() ? "" : " ") + x.text;
  }
  if (t[stop].is("=")) {
    size_t last = stop;
    while (last < end && !t[last].is(";")) ++last;
    out.initializer = text_of(t, stop + 1, last);
  } else if (t[stop].is("{")) {
    out.initializer = text_of(t, stop, closing(t, stop) + 1);
  }
  return out;
}

std::optional<ThreadgroupDeclaration> threadgroup_declaration(const std::vector<Token>& t, size_t begin,
                                                              size_t end) {
  ThreadgroupDeclaration out;
  size_t last = end;  // the last identifier before a "[", "," or the end: the first name
  size_t i = begin + 1;
  while (i < end && !t[i].is(",") && !t[i].is("[")) {
    if (t[i].is("*") || t[i].is("&") || t[i].is("=") || t[i].is("(")) return std::nullopt;
    if (t[i].kind == Token::Identifier) last = i;
    i = t[i].is("<") ? closing(t, i) + 1 : i + 1;
  }
  if (last == end) return std::nullopt;
  out.type = text_of(t, begin + 1, last);
  for (i = last; i < end;) {
    if (t[i].kind != Token::Identifier) return std::nullopt;
    const std::string name = t[i].text;
    size_t stop = i + 1;
    while (stop < end && !t[stop].is(",")) {
      if (!t[stop].is("[") && !t[stop].text.empty()) return std::nullopt;
      stop = next(t, stop);
    }
    out.names.emplace_back(name, text_of(t, i + 1, stop));
    i = skip_erased(t, stop + 1);
  }
  return out;
}

bool already_const(const std::vector<Token>& t, size_t begin, size_t i, size_t end) {
  const auto stops = [](const Token& x) {
    return x.kind == Token::Directive || x.is("(") || x.is(")") || x.is(",") || x.is(";") || x.is("{") ||
           x.is("}") || x.is("*") || x.is("&") || x.is("=") || x.is("<") || x.is(">");
  };
  const auto constant = [](const Token& x) { return x.is("const") || x.is("constexpr"); };
  for (size_t j = i; j > begin && !stops(t[j - 1]); --j)
    if (constant(t[j - 1])) return true;
  for (size_t j = i + 1; j < end && !stops(t[j]); ++j)
    if (constant(t[j])) return true;
  return false;
}

}  // namespace mlx::core::metal::sim

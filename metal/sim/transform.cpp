#include "metal/sim/transform.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <stdexcept>
#include <vector>

#include "metal/sim/tokens.h"
#include "metal/sim/transform_parts.h"

namespace mlx::core::metal::sim {

namespace {

class Transform {
 public:
  Transform(const std::string& source, const std::string& name) : t_(tokenize(source, name)) {
    for (size_t i = 0; i + 2 < t_.size(); ++i)
      if (t_[i].is("is_function_constant_defined")) optional_.insert(t_[i + 2].text);
  }

  std::string run() {
    for (size_t i = 0; i < t_.size();) i = declaration(i);
    for (Token& t : t_) literal(t);
    return join(t_);
  }

 private:
  // One declaration at namespace scope from `begin`; returns where the next one starts.
  size_t declaration(size_t begin) {
    while (begin < t_.size() &&
           (t_[begin].kind == Token::Directive || t_[begin].is(";") || t_[begin].is("}")))
      ++begin;
    if (begin >= t_.size()) return begin;
    if (t_[begin].is("namespace") ||
        (t_[begin].is("extern") && begin + 1 < t_.size() && t_[begin + 1].kind == Token::String)) {
      size_t i = begin;
      while (i < t_.size() && !t_[i].is("{") && !t_[i].is(";") && !t_[i].is("=")) ++i;
      if (i < t_.size() && t_[i].is("{")) return i + 1;
    }
    const Extent e = extent(t_, begin);
    note_uses(begin, e);
    const Attributes attributes = take_attributes(t_, begin, e.head_end);
    bool is_kernel = attributes.count("kernel") != 0;
    for (size_t i = begin; i < e.head_end; ++i)
      if (t_[i].is("kernel") && t_[i].kind == Token::Identifier && !is_member_or_name(i, e)) {
        t_[i].text.clear();
        is_kernel = true;
      }
    const size_t first = skip_erased(t_, begin);
    const bool instantiation =
        first < e.end && t_[first].is("template") && !t_[skip_erased(t_, first + 1)].is("<");
    if (instantiation && (is_kernel || attributes.count("host_name"))) {
      instantiate(begin, e, attributes);
    } else if (is_kernel && e.body != e.end) {
      kernel_definition(begin, e, attributes);
    } else if (!e.function) {
      variable(begin, e, attributes);
    }
    if (e.body != e.end) {
      take_attributes(t_, e.head_end, e.end);
      if (e.function) threadgroup_variables(e.body, e.end);
    }
    address_spaces(begin, e.end);
    defined_constants(begin, e.end);
    return e.end;
  }

  // `kernel` is a word of the language, but not after "." or "::".
  bool is_member_or_name(size_t i, const Extent&) const {
    return i > 0 && (t_[i - 1].is(".") || t_[i - 1].is("->") || t_[i - 1].is("::"));
  }

  void kernel_definition(size_t begin, const Extent& e, const Attributes& attributes) {
    const KernelHead head = kernel_head(t_, begin, e);
    const std::vector<KernelParameter> parameters = kernel_parameters(t_, head.open, head.close);
    unsigned max_threads = 0;
    if (const auto found = attributes.find("max_total_threads_per_threadgroup"); found != attributes.end())
      max_threads = static_cast<unsigned>(std::strtoul(found->second.c_str(), nullptr, 0));
    KernelTemplate& k = templates_[head.name];
    k.parameters = parameters;
    k.max_threads = max_threads;
    if (head.is_template) return;
    const auto host = attributes.find("host_name");
    const std::string name = host == attributes.end() ? '"' + head.name + '"' : host->second;
    t_[e.end - 1].text += registration(name, head.name, k, t_[head.at]);
  }

  void instantiate(size_t begin, const Extent& e, const Attributes& attributes) {
    const Token at = t_[skip_erased(t_, begin)];
    const Instance instance = instance_of(t_, begin, e);
    const auto k = templates_.find(instance.name);
    if (k == templates_.end()) fail(at, "no kernel template " + instance.name + " to instantiate");
    const auto host = attributes.find("host_name");
    const std::string name = host == attributes.end() ? '"' + instance.expression + '"' : host->second;
    const std::string text = registration(name, instance.expression, k->second, at);
    for (size_t i = begin; i < e.end; ++i)
      if (t_[i].kind != Token::Directive) t_[i].text.clear();
    t_[e.end - 1].text = text;
  }

  std::string registration(const std::string& name, const std::string& function, const KernelTemplate& k,
                           const Token& at) {
    return kernel_registration(++count_, name, function, k, at, needed_constants(function));
  }

  // Which names the declaration of a name uses, by the words in it.
  void note_uses(size_t begin, const Extent& e) {
    std::set<std::string> words;
    for (size_t i = begin; i < e.end; ++i)
      if (t_[i].kind == Token::Identifier) words.insert(t_[i].text);
    // What is declared is one of the words of its head; taking all of them asks for too much at worst.
    for (size_t i = begin; i < e.head_end; ++i) {
      if (t_[i].is("(") || t_[i].is("=")) break;
      if (t_[i].kind == Token::Identifier && !common_words().count(t_[i].text))
        uses_[t_[i].text].insert(words.begin(), words.end());
    }
  }
  static const std::set<std::string>& common_words() {
    static const std::set<std::string> words{
        "kernel", "void",   "template",   "typename",  "constant", "device", "thread",
        "inline", "static", "const",      "constexpr", "bool",     "int",    "uint",
        "float",  "half",   "METAL_FUNC", "struct",    "T",        "U",      "unsigned"};
    return words;
  }

  // The function constants that a kernel reaches and that must be set.
  std::string needed_constants(const std::string& function) const {
    std::set<std::string> seen;
    std::vector<std::string> todo;
    for (const Token& t : tokenize(function, "")) todo.push_back(t.text);
    std::string needed;
    while (!todo.empty()) {
      const std::string name = todo.back();
      todo.pop_back();
      if (!seen.insert(name).second) continue;
      if (set_by_host_.count(name) && !optional_.count(name)) needed += name + " ";
      if (const auto found = uses_.find(name); found != uses_.end())
        todo.insert(todo.end(), found->second.begin(), found->second.end());
    }
    return needed;
  }

  // Program-scope variables: function constants, and what is derived from them.
  void variable(size_t begin, const Extent& e, const Attributes& attributes) {
    const auto constant = attributes.find("function_constant");
    const bool known =
        std::any_of(t_.begin() + static_cast<long>(begin), t_.begin() + static_cast<long>(e.end),
                    [](const Token& t) { return t.is("constant"); });
    if (!known) return;
    const std::optional<Initialized> v = initialized(t_, begin, e.end);
    if (constant != attributes.end()) {
      if (!v) fail(t_[begin], "a function constant needs a type and a name");
      remember(*v);
      set_by_host_.insert(v->name);
      erase(begin, e.end,
            "static " + v->type + " " + v->name +
                "; static ::metal_simulator::ConstantEntry metal_simulator_constant_" + v->name + "{" +
                constant->second + ", \"" + v->name + "\", &" + v->name + "};");
    } else if (v && !v->initializer.empty() && uses_constants(begin, e.end)) {
      remember(*v);
      defined_constants(begin, e.end);
      const std::optional<Initialized> again = initialized(t_, begin, e.end);
      erase(begin, e.end,
            "static " + v->type + " " + v->name +
                "; static ::metal_simulator::DerivedEntry metal_simulator_derived_" + v->name + "{+[] { " +
                v->name + " = " + again->initializer + "; }};");
    }
  }

  void remember(const Initialized& v) { constants_.insert(v.name); }
  bool uses_constants(size_t begin, size_t end) const {
    for (size_t i = begin; i < end; ++i)
      if (t_[i].kind == Token::Identifier && constants_.count(t_[i].text)) return true;
    return false;
  }
  void erase(size_t begin, size_t end, const std::string& replacement) {
    for (size_t i = begin; i < end; ++i)
      if (t_[i].kind != Token::Directive) t_[i].text.clear();
    t_[begin].text = replacement;
  }

  // is_function_constant_defined(name)
  void defined_constants(size_t begin, size_t end) {
    for (size_t i = begin; i + 3 < end; ++i)
      if (t_[i].is("is_function_constant_defined") && t_[i + 1].is("(")) {
        t_[i].text = "metal_simulator_constant_" + t_[i + 2].text + ".defined";
        t_[i + 1].text.clear(), t_[i + 2].text.clear(), t_[i + 3].text.clear();
      }
  }

  // `threadgroup T name[n], other;` inside a body.
  void threadgroup_variables(size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {
      if (!t_[i].is("threadgroup")) continue;
      const size_t before = previous(t_, i);
      if (!(t_[before].is("{") || t_[before].is("}") || t_[before].is(";") || t_[before].is(")") ||
            t_[before].is("alignas")))
        continue;
      size_t stop = i;
      while (stop < end && !t_[stop].is(";"))
        stop = t_[stop].is("(") || t_[stop].is("[") || t_[stop].is("{") ? closing(t_, stop) + 1 : stop + 1;
      const auto declared = threadgroup_declaration(t_, i, stop);
      if (!declared) continue;
      const Token& at = t_[i];
      std::string text;
      for (const auto& [name, dimensions] : declared->names) {
        const std::string n = std::to_string(++count_);
        text += "struct metal_simulator_tag" + n + " {}; typedef " + declared->type +
                " metal_simulator_type" + n + dimensions + "; metal_simulator_type" + n + "& " + name +
                " = ::metal_simulator::Variable<metal_simulator_tag" + n + ", metal_simulator_type" + n +
                ">::get(\"" + name + "\", \"" + at.file + "\", " + std::to_string(at.line) + ");";
      }
      erase(i, stop, text);
      i = stop;
    }
  }

  // Whether what stands at `i` declares an object, and no pointer or reference to one.
  bool names_variable(size_t i, size_t end) const {
    for (; i < end; ++i) {
      const Token& t = t_[i];
      if (t.is("*") || t.is("&") || t.is(")") || t.is(">") || t.is("(")) return false;
      if (t.is(";") || t.is("=") || (t.is("[") && !t_[i + 1].is("["))) return true;
      if (t.is("<")) i = closing(t_, i);
    }
    return false;
  }

  void address_spaces(size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {
      Token& t = t_[i];
      if (t.kind != Token::Identifier) continue;
      if (t.is("threadgroup") && names_variable(i, end))
        fail(t, "a threadgroup variable must be declared in a kernel's body");
      if (t.is("device") || t.is("thread") || t.is("threadgroup") || t.is("ray_data") || t.is("object_data"))
        t.text.clear();
      else if (t.is("constant"))
        t.text = already_const(t_, begin, i, end) ? "" : "const";
      else if (t.is("double") && !is_member_or_name(i, {}))
        fail(t, "the Metal Shading Language has no double");
    }
  }

  // A literal without suffix is a float; h and bf are suffixes of the language.
  void literal(Token& t) {
    if (t.kind != Token::Number) return;
    std::string& x = t.text;
    const bool hex = x.size() > 1 && (x[1] == 'x' || x[1] == 'X');
    if (!hex && x.size() > 2 && (x.ends_with("bf") || x.ends_with("BF")))
      x = "bfloat(" + as_float(x.substr(0, x.size() - 2)) + ")";
    else if (!hex && x.size() > 1 && (x.back() == 'h' || x.back() == 'H'))
      x = "half(" + as_float(x.substr(0, x.size() - 1)) + ")";
    else if (x.find('.') != std::string::npos || x.find_first_of(hex ? "pP" : "eE") != std::string::npos)
      if (hex ? x.find_first_of("fF", x.find_first_of("pP")) == std::string::npos
              : x.find_first_of("fF") == std::string::npos)
        x += 'f';
  }
  static std::string as_float(const std::string& x) {
    return x.find_first_of(".eE") == std::string::npos ? x + ".0f" : x + "f";
  }

  std::vector<Token> t_;
  std::map<std::string, KernelTemplate> templates_;
  std::set<std::string> constants_;  // those of the host, and what is derived from them
  std::set<std::string> set_by_host_, optional_;
  std::map<std::string, std::set<std::string>> uses_;
  int count_ = 0;
};

}  // namespace

std::string transform(const std::string& source, const std::string& name) {
  return Transform(source, name).run();
}

}  // namespace mlx::core::metal::sim

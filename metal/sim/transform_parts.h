// Pieces of declarations that the transform (transform.cpp) takes apart.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "metal/sim/tokens.h"

namespace mlx::core::metal::sim {

// [[name(arguments)]]
using Attributes = std::map<std::string, std::string>;

// A declaration's tokens [begin, end): its head ends at head_end; `body` is the index of its "{" or `end`.
struct Extent {
  size_t head_end, body, end;
  bool function;  // has a body of statements
};
Extent extent(const std::vector<Token>& t, size_t begin);

// Erases the attributes in [begin, end), except those inside the parentheses of a function's head, and
// returns them.
Attributes take_attributes(std::vector<Token>& t, size_t begin, size_t end);

size_t skip_erased(const std::vector<Token>& t, size_t i);
// The token before `i` that was not erased, or `i` itself where there is none.
size_t previous(const std::vector<Token>& t, size_t i);

struct KernelParameter {
  std::string kind;   // a name of metal_simulator::Kind
  std::string index;  // an expression
  std::string name, condition;
  bool constant = false;
};
struct KernelTemplate {
  std::vector<KernelParameter> parameters;
  unsigned max_threads = 0;
};
struct KernelHead {
  std::string name;
  size_t at, open, close;  // name, parentheses
  bool is_template;
};
KernelHead kernel_head(const std::vector<Token>& t, size_t begin, const Extent& e);
// Erases the parameters' attributes.
std::vector<KernelParameter> kernel_parameters(std::vector<Token>& t, size_t open, size_t close);

// `template ... name<arguments>...;`
struct Instance {
  std::string name, expression;
};
Instance instance_of(const std::vector<Token>& t, size_t begin, const Extent& e);

std::string kernel_registration(int number, const std::string& host_name, const std::string& function,
                                const KernelTemplate& k, const Token& at, const std::string& constants);

// `constant T name = initializer;`
struct Initialized {
  std::string type, name, initializer;
};
std::optional<Initialized> initialized(const std::vector<Token>& t, size_t begin, size_t end);

// `threadgroup T name[n], other` in [begin, end); null where it declares pointers or references.
struct ThreadgroupDeclaration {
  std::string type;
  std::vector<std::pair<std::string, std::string>> names;  // and their dimensions
};
std::optional<ThreadgroupDeclaration> threadgroup_declaration(const std::vector<Token>& t, size_t begin,
                                                              size_t end);

// Whether the `constant` at `i` stands in a declaration that says const or constexpr already.
bool already_const(const std::vector<Token>& t, size_t begin, size_t i, size_t end);

std::string text_of(const std::vector<Token>& t, size_t begin, size_t end);
[[noreturn]] void fail(const Token& at, const std::string& what);

}  // namespace mlx::core::metal::sim

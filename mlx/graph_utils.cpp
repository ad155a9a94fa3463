#include "mlx/graph_utils.h"

#include <algorithm>
#include <unordered_set>

#include "mlx/primitives.h"
#include "mlx/utils.h"

namespace mlx::core {
namespace {

// Calls node(array) once for each array without operation and once for each operation (by one of its
// outputs), inputs first. Iterative: graphs are deep. `see` says whether an array is new.
template <class See, class Node>
void for_each_node(const std::vector<array>& outputs, See&& see, Node&& node) {
  struct Frame {
    array a;
    size_t next = 0;
  };
  std::vector<Frame> stack;
  // An output that nobody holds is made when it is asked for: what has been seen must not die, or its
  // identity would become that of another array.
  std::vector<array> alive;
  auto enter = [&](const array& a) {
    if (!see(a)) return;
    for (array& other : a.siblings()) {
      see(other);
      alive.push_back(std::move(other));
    }
    stack.push_back({a});
  };
  for (const array& out : outputs) {
    enter(out);
    while (!stack.empty()) {
      Frame& top = stack.back();
      if (top.a.has_primitive() && top.next < top.a.inputs().size()) {
        const array input = top.a.inputs()[top.next++];
        enter(input);
      } else {
        alive.push_back(std::move(top.a));
        stack.pop_back();
        node(array(alive.back()));
      }
    }
  }
}

template <class Node>
void for_each_node(const std::vector<array>& outputs, Node&& node) {
  std::unordered_set<std::uintptr_t> seen;
  for_each_node(outputs, [&](const array& a) { return seen.insert(a.id()).second; }, node);
}

}  // namespace

std::vector<array> GraphWalk::next(const std::vector<array>& outputs) {
  std::vector<array> found;
  const auto see = [&](const array& a) {
    const bool is_new = seen_.insert(a.id()).second;
    if (is_new) kept_.push_back(a);
    return is_new;
  };
  for_each_node(outputs, see, [&](const array& a) {
    if (a.has_primitive()) found.push_back(a);
  });
  return found;
}

const std::string& NodeNamer::get_name(const array& x) {
  auto [at, is_new] = names_.try_emplace(x.id());
  while (is_new && !taken_.insert(at->second).second) {  // the empty name is taken from the start
    size_t n = next_++;
    std::string letters(1, static_cast<char>('A' + n % 26));
    for (n /= 26; n > 0; n = (n - 1) / 26) letters += static_cast<char>('A' + (n - 1) % 26);
    at->second = std::string(letters.rbegin(), letters.rend());
  }
  return at->second;
}

void NodeNamer::set_name(const array& x, std::string n) {
  taken_.insert(n);
  names_[x.id()] = std::move(n);
}

void print_graph(std::ostream& os, NodeNamer namer, const std::vector<array>& outputs) {
  for_each_node(outputs, [&](const array& a) {
    if (!a.has_primitive()) {
      os << namer.get_name(a) << " " << a.shape() << " " << a.dtype() << "\n";
      return;
    }
    os << a.primitive().name();
    for (const array& in : a.inputs()) os << " " << namer.get_name(in);
    os << " ->";
    for (const array& out : a.outputs())
      os << " " << namer.get_name(out) << " " << out.shape() << " " << out.dtype();
    os << "\n";
  });
}

namespace {

// Names are the user's.
std::string quoted(const std::string& name) {
  std::string out = "\"";
  for (const char c : name) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

}  // namespace

void export_to_dot(std::ostream& os, NodeNamer namer, const std::vector<array>& outputs) {
  const auto name = [&](const array& a) { return quoted(namer.get_name(a)); };
  std::unordered_set<std::uintptr_t> sinks;
  for (const array& out : outputs) sinks.insert(out.id());
  os << "digraph {\n";
  for_each_node(outputs, [&](const array& a) {
    if (!a.has_primitive()) {
      os << "{ rank=source; " << name(a) << "; }\n";
      return;
    }
    const auto node_id = a.outputs()[0].id();  // one primitive may serve many nodes
    os << "{ " << node_id << " [label =" << quoted(a.primitive().name()) << ", shape=rectangle]; }\n";
    for (const array& in : a.inputs()) os << name(in) << " -> " << node_id << "\n";
    for (const array& out : a.outputs()) {
      os << "{ " << (sinks.count(out.id()) ? "rank=sink; " : "") << name(out) << "; }\n";
      os << node_id << " -> " << name(out) << "\n";
    }
  });
  os << "}\n";
}

}  // namespace mlx::core

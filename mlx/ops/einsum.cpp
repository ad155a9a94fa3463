// Einstein summation: subscripts are parsed to labels, operands contracted in pairs in a greedy order, each
// pair as one matmul. Contraction order: the pair that shrinks the total size most, then the cheapest (the
// "greedy" strategy of opt_einsum, D. G. A. Smith and J. Gray, doi:10.21105/joss.00753).
#include "mlx/einsum.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <set>

#include "mlx/ops.h"
#include "mlx/ops/rules.h"

namespace mlx::core {
namespace {

using Labels = std::vector<int>;  // letters; dimensions of an ellipsis are -1 (the last one), -2, ...
using LabelSet = std::set<int>;

struct Equation {
  std::vector<Labels> inputs;
  Labels output;
  std::map<int, int64_t> sizes;
  std::string text;
};

// Letters of one operand; `dots` is where an ellipsis stands.
struct Term {
  Labels letters;
  std::optional<size_t> dots;
};

Term parse_term(std::string_view op, const std::string& text) {
  Term term;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '.') {
      if (text.compare(i, 3, "...") != 0 || term.dots)
        throw invalid(op, "Invalid ellipsis in '", text, "', expected at most one '...'.");
      term.dots = term.letters.size();
      i += 2;
    } else if (std::isalpha(static_cast<unsigned char>(text[i]))) {
      term.letters.push_back(text[i]);
    } else {
      throw invalid(op, "Subscripts must be letters, but got '", text[i], "'.");
    }
  }
  return term;
}

// With `count` labels in place of the ellipsis.
Labels expanded(const Term& term, int count) {
  Labels out = term.letters;
  if (!term.dots) return out;
  Labels dots;
  for (int i = count; i > 0; --i) dots.push_back(-i);
  out.insert(out.begin() + static_cast<std::ptrdiff_t>(*term.dots), dots.begin(), dots.end());
  return out;
}

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts(1);
  for (const char c : text) {
    if (c == ',') {
      parts.emplace_back();
    } else {
      parts.back().push_back(c);
    }
  }
  return parts;
}

Equation parse(std::string_view op, const std::string& subscripts, const Arrays& operands) {
  if (operands.empty()) throw invalid(op, "At least one operand is required.");
  Equation eq;
  for (const char c : subscripts)
    if (!std::isspace(static_cast<unsigned char>(c))) eq.text.push_back(c);
  const size_t arrow = eq.text.find("->");
  const std::vector<std::string> parts = split(eq.text.substr(0, arrow));
  if (parts.size() != operands.size())
    throw invalid(op, "Number of operands, ", operands.size(),
                  ", does not match number of input subscripts, ", parts.size());
  int most_dots = 0;
  std::map<int, int> uses;
  for (size_t i = 0; i < parts.size(); ++i) {
    const Term term = parse_term(op, parts[i]);
    const int ndim = static_cast<int>(operands[i].ndim()), letters = static_cast<int>(term.letters.size());
    if (ndim < letters || (!term.dots && ndim != letters))
      throw invalid(op, "Invalid number of subscripts ", letters, " for input ", i, " with ", ndim,
                    " dimensions.");
    eq.inputs.push_back(expanded(term, ndim - letters));
    if (term.dots) most_dots = std::max(most_dots, ndim - letters);
    for (const int l : term.letters) ++uses[l];
  }
  if (arrow != std::string::npos) {
    const Term term = parse_term(op, eq.text.substr(arrow + 2));
    eq.output = expanded(term, most_dots);
    if (LabelSet(eq.output.begin(), eq.output.end()).size() != eq.output.size())
      throw invalid(op, "Repeat indices not allowed in output.");
    for (const int l : term.letters)
      if (!uses.count(l))
        throw invalid(op, "Output subscript '", static_cast<char>(l), "' does not appear in the input.");
  } else {  // the ellipsis, then letters that appear once, in alphabetical order
    for (int i = most_dots; i > 0; --i) eq.output.push_back(-i);
    for (const auto& [label, count] : uses)
      if (count == 1) eq.output.push_back(label);
  }
  for (size_t i = 0; i < operands.size(); ++i)
    for (size_t d = 0; d < eq.inputs[i].size(); ++d) {
      const int64_t n = operands[i].shape(static_cast<int>(d));
      int64_t& size = eq.sizes.emplace(eq.inputs[i][d], 1).first->second;
      if (size == 1) size = n;
      if (n != 1 && n != size)
        throw invalid(op, "Cannot broadcast dimension ", d, " of input ", i, " with shape ",
                      operands[i].shape(), " to size ", size, ".");
    }
  return eq;
}

LabelSet set_of(const Labels& labels) { return LabelSet(labels.begin(), labels.end()); }
LabelSet united(const LabelSet& a, const LabelSet& b) {
  LabelSet out = a;
  out.insert(b.begin(), b.end());
  return out;
}
LabelSet common(const LabelSet& a, const LabelSet& b) {
  LabelSet out;
  std::set_intersection(a.begin(), a.end(), b.begin(), b.end(), std::inserter(out, out.end()));
  return out;
}

// --- the order
// ------------------------------------------------------------------------------------------------------

double size_of_labels(const Equation& eq, const LabelSet& labels) {
  double n = 1;
  for (const int l : labels) n *= static_cast<double>(eq.sizes.at(l));
  return n;
}

// Multiplications of all operands, and an addition where something is summed.
double flops(const Equation& eq, const LabelSet& all, size_t terms, bool summed) {
  return size_of_labels(eq, all) * static_cast<double>(std::max<size_t>(1, terms - 1) + (summed ? 1 : 0));
}

struct Step {
  size_t a, b;
  LabelSet all, kept;
};

LabelSet kept_after(const Equation& eq, const std::vector<LabelSet>& left, size_t a, size_t b) {
  LabelSet needed = set_of(eq.output);
  for (size_t i = 0; i < left.size(); ++i)
    if (i != a && i != b) needed = united(needed, left[i]);
  return common(united(left[a], left[b]), needed);
}

std::vector<Step> greedy_order(const Equation& eq) {
  std::vector<LabelSet> left;
  for (const Labels& l : eq.inputs) left.push_back(set_of(l));
  std::vector<Step> steps;
  while (left.size() > 1) {
    std::optional<Step> best;
    std::pair<double, double> best_cost;
    for (const bool outer : {false, true}) {  // outer products only where nothing else is left
      for (size_t a = 0; a < left.size(); ++a)
        for (size_t b = a + 1; b < left.size(); ++b) {
          if (!outer && common(left[a], left[b]).empty()) continue;
          Step step{a, b, united(left[a], left[b]), kept_after(eq, left, a, b)};
          const double grows =
              size_of_labels(eq, step.kept) - size_of_labels(eq, left[a]) - size_of_labels(eq, left[b]);
          const std::pair cost{grows, flops(eq, step.all, 2, step.kept.size() < step.all.size())};
          if (!best || cost < best_cost) best = std::move(step), best_cost = cost;
        }
      if (best) break;
    }
    steps.push_back(*best);
    left.erase(left.begin() + static_cast<std::ptrdiff_t>(best->b));
    left.erase(left.begin() + static_cast<std::ptrdiff_t>(best->a));
    left.push_back(best->kept);
  }
  return steps;
}

// --- contraction
// ----------------------------------------------------------------------------------------------------

struct Operand {
  array value;
  Labels labels;
};

int position(const Labels& labels, int label) {
  return static_cast<int>(std::find(labels.begin(), labels.end(), label) - labels.begin());
}

// A label twice in one operand: its diagonal.
void take_diagonals(Operand& x, StreamOrDevice s) {
  for (size_t i = 0; i < x.labels.size(); ++i)
    for (size_t j = i + 1; j < x.labels.size(); ++j) {
      if (x.labels[i] != x.labels[j]) continue;
      const int label = x.labels[i];
      if (x.value.shape(static_cast<int>(i)) != x.value.shape(static_cast<int>(j)))
        throw invalid("einsum", "a repeated subscript needs equal dimensions, got ", x.value.shape());
      x.value = diagonal(x.value, 0, static_cast<int>(i), static_cast<int>(j), s);
      x.labels.erase(x.labels.begin() + static_cast<std::ptrdiff_t>(j));
      x.labels.erase(x.labels.begin() + static_cast<std::ptrdiff_t>(i));
      x.labels.push_back(label);
      return take_diagonals(x, s);
    }
}

void sum_out(Operand& x, const LabelSet& kept, StreamOrDevice s) {
  std::vector<int> axes;
  Labels rest;
  for (size_t i = 0; i < x.labels.size(); ++i) {
    if (kept.count(x.labels[i])) {
      rest.push_back(x.labels[i]);
    } else {
      axes.push_back(static_cast<int>(i));
    }
  }
  if (axes.empty()) return;
  x.value = sum(x.value, axes, false, s);
  x.labels = rest;
}

// Axes in the order of `labels`; those that x lacks become 1.
array arranged(const Operand& x, const Labels& labels, StreamOrDevice s) {
  std::vector<int> axes, missing;
  for (size_t i = 0; i < labels.size(); ++i) {
    const int at = position(x.labels, labels[i]);
    if (at < static_cast<int>(x.labels.size())) {
      axes.push_back(at);
    } else {
      missing.push_back(static_cast<int>(i));
    }
  }
  array out = x.value;
  if (!std::is_sorted(axes.begin(), axes.end())) out = transpose(out, axes, s);
  return missing.empty() ? out : expand_dims(out, missing, s);
}

Operand contracted(const Equation& eq, Operand a, Operand b, const LabelSet& kept, StreamOrDevice s) {
  const LabelSet of_a = set_of(a.labels), of_b = set_of(b.labels);
  sum_out(a, united(kept, of_b), s);
  sum_out(b, united(kept, of_a), s);
  Labels batch, inner, rows, cols;
  for (const int l : a.labels) (!of_b.count(l) ? rows : kept.count(l) ? batch : inner).push_back(l);
  for (const int l : b.labels)
    if (!of_a.count(l)) cols.push_back(l);
  const auto joined = [](Labels x, const Labels& y, const Labels& z = {}) {
    x.insert(x.end(), y.begin(), y.end());
    x.insert(x.end(), z.begin(), z.end());
    return x;
  };
  const Labels result = joined(batch, rows, cols);
  if (inner.empty()) return {multiply(arranged(a, result, s), arranged(b, result, s), s), result};
  // Shared dimensions of size 1 are stretched: flattened dimensions cannot broadcast any more.
  const auto shape_of = [&](const Labels& labels) {
    Shape shape;
    for (const int l : labels) shape.push_back(safe_cast(eq.sizes.at(l), "einsum"));
    return shape;
  };
  const auto length = [&](const Labels& labels) {
    int64_t n = 1;
    for (const int l : labels) n *= eq.sizes.at(l);
    return safe_cast(n, "einsum");
  };
  const bool flat = batch.size() <= 1 && rows.size() == 1 && inner.size() == 1 && cols.size() == 1;
  const auto matrix = [&](const Operand& x, const Labels& left, const Labels& right) {
    const Labels order = joined(batch, left, right);
    array y = arranged(x, order, s);
    if (flat && y.shape() == shape_of(order)) return y;
    fix_sizes("einsum", x.value);
    const Shape full = shape_of(order);
    if (y.shape() != full) y = broadcast_to(y, full, s);
    return batch.empty() ? reshape(y, {length(left), length(right)}, s)
                         : reshape(y, {length(batch), length(left), length(right)}, s);
  };
  const array product = matmul(matrix(a, rows, inner), matrix(b, inner, cols), s);
  return {flat ? product : reshape(product, shape_of(result), s), result};
}

}  // namespace

std::pair<std::vector<std::vector<int>>, std::string> einsum_path(const std::string& subscripts,
                                                                  const std::vector<array>& operands) {
  const Equation eq = parse("einsum_path", subscripts, operands);
  LabelSet all;
  for (const Labels& l : eq.inputs) all = united(all, set_of(l));
  const bool summed = all.size() > eq.output.size();
  const double naive = flops(eq, all, eq.inputs.size(), summed);
  std::vector<std::vector<int>> path;
  double total = 0;
  size_t scaling = 0;
  if (operands.size() == 1) {
    path.push_back({0});
    total = naive;
    scaling = all.size();
  }
  for (const Step& step : greedy_order(eq)) {
    path.push_back({static_cast<int>(step.a), static_cast<int>(step.b)});
    total += flops(eq, step.all, 2, step.kept.size() < step.all.size());
    scaling = std::max(scaling, step.all.size());
  }
  return {path, text("  Complete contraction:  ", eq.text, "\n         Naive scaling:  ", all.size(),
                     "\n     Optimized scaling:  ", scaling, "\n      Naive FLOP count:  ", naive,
                     "\n  Optimized FLOP count:  ", total, "\n")};
}

array einsum(const std::string& subscripts, const std::vector<array>& operands, StreamOrDevice s) {
  // The order of products, and what is stretched, follow from the sizes.
  fix_sizes("einsum", operands, operands.size() < 3);
  const Equation eq = parse("einsum", subscripts, operands);
  std::vector<Operand> left;
  for (size_t i = 0; i < operands.size(); ++i) {
    left.push_back({operands[i], eq.inputs[i]});
    take_diagonals(left.back(), s);
  }
  for (const Step& step : greedy_order(eq)) {
    Operand b = std::move(left[step.b]), a = std::move(left[step.a]);
    left.erase(left.begin() + static_cast<std::ptrdiff_t>(step.b));
    left.erase(left.begin() + static_cast<std::ptrdiff_t>(step.a));
    left.push_back(contracted(eq, std::move(a), std::move(b), step.kept, s));
  }
  Operand& last = left[0];
  sum_out(last, set_of(eq.output), s);
  return arranged(last, eq.output, s);
}

}  // namespace mlx::core

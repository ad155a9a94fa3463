// Recurrent layers: a pass over the steps, in which blocks of units are shared among threads. A block has its
// products with the weight in the order in which the kernels read them, in its thread's cache.
#include "mlx/ops/recurrent.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "mlx/allocator.h"
#include "mlx/cpu/copy.h"
#include "mlx/cpu/gemm/workspace.h"
#include "mlx/cpu/isa/recurrent.h"
#include "mlx/cpu/isa/vectors.h"
#include "mlx/cpu/parallel_steps.h"
#include "mlx/graph/kernels.h"

namespace mlx::core::cpu {
namespace {

using fast::RecurrentCell;
using Steps = fast::RecurrentSteps;
using Gradient = fast::RecurrentStepsGradient;

constexpr int64_t kBlock = 1 << 15;  // products of a block in a step: a microsecond
constexpr int64_t kPassage =
    1 << 28;  // products between two questions for an interrupt: some ten milliseconds

const float* data(const array& a) { return a.data<float>(); }
float* data(array& a) { return a.data<float>(); }

// Units, in panels of whole vectors, in blocks of panels that have as many units as functions take at a time.
struct Units {
  Units(int64_t size, int64_t in_panel, int64_t products)
      : size(size),
        in_panel(in_panel),
        panels((size + in_panel - 1) / in_panel),
        together((recurrent_kernels().wide + in_panel - 1) / in_panel),
        parts((panels + together - 1) / together),
        blocks(std::clamp<int64_t>(products / kBlock, 1, parts)) {}
  const int64_t size, in_panel, panels, together, parts, blocks;

  int64_t first_panel(int64_t block) const { return std::min(panels, parts * block / blocks * together); }
  int64_t begin(int64_t panel) const { return std::min(size, panel * in_panel); }
};

// The weight as the kernels want it: in rows of numbers, or of pairs of bfloat16 where these are multiplied
// as they are, the last one of a row with a zero. `words`: how many of either a row has.
class Weight {
 public:
  explicit Weight(const array& x) : w_(row_contiguous(x)), size_(x.shape(1)) {
    const auto* from = w_.dtype() == bfloat16 ? w_.data<uint16_t>() : nullptr;
    pairs = from && recurrent_products().pairs;
    words = pairs ? (size_ + 1) / 2 : size_;
    if (!from || (pairs && size_ % 2 == 0)) return;
    const int64_t rows = x.shape(0);
    copy_.emplace(rows * words * 4);
    for (int64_t r = 0; r < rows; ++r, from += size_)
      if (pairs) {
        auto* to = copy_->as<uint16_t>() + 2 * r * words;
        *std::copy_n(from, size_, to) = 0;
      } else {
        std::transform(from, from + size_, copy_->as<uint32_t>() + r * words,
                       [](uint16_t bits) { return uint32_t{bits} << 16; });
      }
  }
  // Row r, in words.
  const float* row(int64_t r) const {
    return (copy_ ? copy_->as<float>() : static_cast<const float*>(w_.data<void>())) + r * words;
  }
  // Rows r and r + 1, the second of which may be none, as pairs of their columns.
  void zip(int64_t r, bool both, uint32_t* to) const {
    const auto *low = reinterpret_cast<const uint16_t*>(row(r)),
               *high = reinterpret_cast<const uint16_t*>(row(r + 1));
    for (int64_t c = 0; c < size_; ++c) to[c] = low[c] | (both ? uint32_t{high[c]} << 16 : 0);
  }
  bool pairs;
  int64_t words;

 private:
  const array w_;
  const int64_t size_;
  std::optional<Workspace> copy_;
};

// What a step leaves for the product of the next one, rounded to bfloat16: rows of pairs, the last one of a
// row with a zero. There are two sets of rows, since parts of a step may be read while others are written.
class Rounded {
 public:
  Rounded(int64_t rows, int64_t columns)
      : rows_(rows), words_((columns + 1) / 2), space_(2 * rows * words_ * 4) {
    std::fill_n(space_.as<uint32_t>(), 2 * rows * words_, 0);
  }
  // Columns [begin, end) of all rows of step `step`.
  void take(int64_t step, ConstRecurrentRows from, int64_t begin, int64_t end) const {
    auto* to = reinterpret_cast<uint16_t*>(set(step));
    for (int64_t r = 0; r < rows_; ++r)
      recurrent_products().to_halves(from.at + r * from.row + begin, end - begin,
                                     to + 2 * r * words_ + begin);
  }
  ConstRecurrentRows of(int64_t step) const { return {set(step), words_}; }
  int64_t words() const { return words_; }

 private:
  float* set(int64_t step) const { return space_.as<float>() + step % 2 * rows_ * words_; }
  int64_t rows_, words_;
  Workspace space_;
};

// All steps, asking for interrupts in between. f(step, block)
template <class F>
void pass(int64_t steps, int64_t products, int64_t blocks, F f) {
  const int64_t some = std::max<int64_t>(1, kPassage / std::max<int64_t>(products, 1));
  for (int64_t first = 0; first < steps; first += some) {
    parallel_steps(std::min(some, steps - first), blocks,
                   [&](int64_t item) { f(first + item / blocks, item % blocks); });
    check_interrupt();
  }
}

// Memory for the outputs; output `taker` has that of `given` where nobody else holds it.
void allocate(Arrays& outputs, size_t taker, const array& given) {
  for (size_t i = 0; i < outputs.size(); ++i)
    i == taker ? take_or_allocate(outputs[i], {&given, 1})
               : outputs[i].set_data(allocator::malloc(outputs[i].nbytes()));
}

void steps(const Steps& p, const Arrays& inputs, Arrays& outputs) {
  allocate(outputs, Steps::taker(p.cell), inputs[Steps::sequence]);
  const Weight weight(inputs[Steps::weight]);
  Arrays in = inputs;
  for (size_t i = Steps::sequence; i < in.size(); ++i) in[i] = row_contiguous(in[i]);
  const RecurrentKernels& kernel = recurrent_kernels();
  const int64_t length = in[Steps::sequence].shape(0), batch = in[Steps::sequence].shape(1),
                size = in[Steps::hidden].shape(1), parts = parts_of(p.cell),
                lanes = recurrent_products().lanes;
  const bool gated = has_gates(p.cell), is_lstm = p.cell == RecurrentCell::lstm;
  const int64_t products = batch * parts * size * size;
  const Units units(size, gated ? lanes : RecurrentProduct::kVectors * lanes, products);

  // A panel has a vector of each gate, or several of the only one; a row of it for each number of the state,
  // or for each pair.
  const int64_t panel_row = gated ? parts * lanes : units.in_panel, panel_size = panel_row * weight.words;
  const Workspace packed(units.panels * panel_size * static_cast<int64_t>(sizeof(float)));
  parallel_ranges(units.panels, std::max<int64_t>(1, (1 << 14) / panel_size),
                  [&](int64_t begin, int64_t end) {
                    for (int64_t panel = begin; panel < end; ++panel) {
                      const int64_t u = units.begin(panel), n = units.begin(panel + 1) - u;
                      float* to = packed.as<float>() + panel * panel_size;
                      if (n < units.in_panel) std::fill_n(to, panel_size, 0.0f);
                      for (int64_t part = 0; part < parts; ++part)
                        real_vectors<float>().transpose(weight.row(part * size + u), weight.words, n,
                                                        weight.words, to + part * lanes, panel_row);
                    }
                  });

  const float *given = data(in[Steps::sequence]), *first = data(in[Steps::hidden]);
  const float* other = gated ? data(in[Steps::cell_or_bias]) : nullptr;
  float* hiddens = data(outputs[Steps::hiddens]);
  float* gates = gated ? data(outputs[Steps::gates]) : nullptr;
  float* cells = is_lstm ? data(outputs[Steps::cells]) : nullptr;
  const int64_t state = batch * size;
  std::optional<Rounded> rounded;
  if (weight.pairs) {
    rounded.emplace(batch, size);
    rounded->take(0, {first, size}, 0, size);
  }
  const auto product = rounded ? recurrent_products().pairs : recurrent_products().floats;
  pass(length, products, units.blocks, [&](int64_t t, int64_t block) {
    RecurrentForward step;
    step.rows = batch, step.size = size;
    step.given = given + t * parts * state;
    step.hidden = hiddens + t * state, step.hidden_before = t > 0 ? step.hidden - state : first;
    if (gated) step.gates = gates + t * 4 * state;
    if (is_lstm) step.cell = cells + t * state, step.cell_before = t > 0 ? step.cell - state : other;
    const int64_t panel_begin = units.first_panel(block), panel_end = units.first_panel(block + 1);
    for (int64_t panel = panel_begin; panel < panel_end; ++panel) {
      const int64_t u = units.begin(panel), n = units.begin(panel + 1) - u;
      RecurrentProduct x;
      x.rows = batch;
      x.a[0] = rounded ? rounded->of(t) : ConstRecurrentRows{step.hidden_before, size};
      x.a_columns[0] = weight.words;
      x.w = {packed.as<float>() + panel * panel_size, panel_row};
      x.vectors = static_cast<int>(gated ? parts : (n + lanes - 1) / lanes);
      for (int v = 0; v < x.vectors; ++v) {
        const int64_t at = gated ? v * size + u : u + v * lanes;
        x.columns[v] = gated ? n : std::min(lanes, n - v * lanes);
        x.from[v] = {step.given + at, parts * size};
        x.out[v] = gated ? RecurrentRows{step.gates + at, 4 * size} : RecurrentRows{step.hidden + at, size};
      }
      if (p.cell == RecurrentCell::gru) {
        x.from[2] = {other + u, 0};
        x.out[2].at += size;  // behind the place of n
      }
      product(x);
    }
    step.begin = units.begin(panel_begin), step.end = units.begin(panel_end);
    kernel.forward[static_cast<int>(p.cell)](step);
    if (rounded) rounded->take(t + 1, {step.hidden, size}, step.begin, step.end);
  });
}

// A cotangent as rows: of an array, or of the one number that all of its elements are.
class Cotangent {
 public:
  explicit Cotangent(const array& x) : step_(x.shape(1) * x.shape(2)), row_(x.shape(2)) {
    if (x.size() > 1 && x.data_size() == 1) {
      number_.assign(static_cast<size_t>(row_), *data(x));
      step_ = row_ = 0;
    } else {
      rows_ = row_contiguous(x);
    }
  }
  ConstRecurrentRows at(int64_t t) const { return {rows_ ? data(*rows_) + t * step_ : number_.data(), row_}; }

 private:
  std::optional<array> rows_;
  std::vector<float> number_;
  int64_t step_, row_;
};

// Step s is the product that brings the gradient by the states from the step behind, length - s, and the cell
// of the one before it.
void gradient(const Gradient& p, const Arrays& inputs, Arrays& outputs) {
  allocate(outputs, Gradient::taker(p.cell), inputs[Gradient::taken(p.cell)]);
  const RecurrentKernels& kernel = recurrent_kernels();
  const Weight weight(inputs[Gradient::weight]);
  const array states = row_contiguous(inputs[Gradient::states]);
  const int64_t length = states.shape(0), batch = states.shape(1), size = states.shape(2),
                state = batch * size, parts = parts_of(p.cell), lanes = recurrent_products().lanes;
  const bool gated = has_gates(p.cell), is_lstm = p.cell == RecurrentCell::lstm,
             is_gru = p.cell == RecurrentCell::gru;
  const Cotangent by_hiddens(inputs[Gradient::by_hiddens]);
  std::optional<array> first, gates;
  std::optional<Cotangent> by_gates, by_cells;
  if (gated) {
    first = row_contiguous(inputs[Gradient::first]);
    gates = row_contiguous(inputs[Gradient::gates]);
    by_gates.emplace(inputs[Gradient::by_gates]);
  }
  if (is_lstm) by_cells.emplace(inputs[Gradient::by_cells]);
  float *by_sequence = data(outputs[Gradient::by_sequence]), *by_hidden = data(outputs[Gradient::by_hidden]);
  float* other = gated ? data(outputs[Gradient::by_cell_or_u]) : nullptr;
  std::fill_n(by_hidden, state, 0.0f);
  if (is_lstm) std::fill_n(other, state, 0.0f);

  const int64_t products = batch * parts * size * size;
  const Units units(size, RecurrentProduct::kVectors * lanes, products);
  // What is multiplied: gradients by the products, of gru those by u apart. Their columns are the weight's
  // rows.
  const int64_t together = is_gru ? 2 * size : parts * size, apart = is_gru ? size : 0;
  std::optional<Rounded> rounded, rounded_u;
  if (weight.pairs) rounded.emplace(batch, together), rounded_u.emplace(batch, apart);
  const auto product = rounded ? recurrent_products().pairs : recurrent_products().floats;
  // Rows of whole vectors; where the weight's are that, they are read where they lie.
  const int64_t padded = (size + lanes - 1) / lanes * lanes;
  const float* w = weight.row(0);
  std::optional<Workspace> copy;
  if (rounded) {
    copy.emplace((rounded->words() + rounded_u->words()) * padded * 4);
    uint32_t* to = copy->as<uint32_t>();
    std::fill_n(to, (rounded->words() + rounded_u->words()) * padded, 0);
    for (int64_t r = 0; r < together; r += 2, to += padded) weight.zip(r, r + 1 < together, to);
    for (int64_t r = 0; r < apart; r += 2, to += padded) weight.zip(together + r, r + 1 < apart, to);
  } else if (padded != size) {
    copy.emplace(parts * size * padded * 4);
    for (int64_t r = 0; r < parts * size; ++r) {
      float* to = copy->as<float>() + r * padded;
      std::fill(std::copy_n(weight.row(r), size, to), to + padded, 0.0f);
    }
  }
  if (copy) w = copy->as<float>();

  pass(length + 1, products, units.blocks, [&](int64_t s, int64_t block) {
    const int64_t panel_begin = units.first_panel(block), panel_end = units.first_panel(block + 1);
    for (int64_t panel = panel_begin; s > 0 && panel < panel_end; ++panel) {
      const int64_t u = units.begin(panel), n = units.begin(panel + 1) - u, behind = length - s;
      RecurrentProduct x;
      x.rows = batch;
      if (rounded) {
        x.a[0] = rounded->of(s), x.a_columns[0] = rounded->words();
        x.a[1] = rounded_u->of(s), x.a_columns[1] = rounded_u->words();
      } else {
        x.a[0] = {by_sequence + behind * parts * state, parts * size}, x.a_columns[0] = together;
        if (is_gru) x.a[1] = {other + behind * state, size}, x.a_columns[1] = apart;
      }
      x.w = {w + u, padded};
      x.vectors = static_cast<int>((n + lanes - 1) / lanes);
      for (int v = 0; v < x.vectors; ++v) {
        x.columns[v] = std::min(lanes, n - v * lanes);
        x.out[v] = {by_hidden + u + v * lanes, size};
        if (is_gru) x.from[v] = {by_hidden + u + v * lanes, size};
      }
      product(x);
    }
    const int64_t t = length - 1 - s;
    if (t < 0) return;
    RecurrentBackward step;
    step.rows = batch, step.size = size;
    step.begin = units.begin(panel_begin), step.end = units.begin(panel_end);
    step.states = data(states) + t * state;
    step.by_hidden = by_hiddens.at(t), step.from_hidden = by_hidden;
    step.by_given = by_sequence + t * parts * state;
    if (gated) {
      step.before = t > 0 ? step.states - state : data(*first);
      step.gates = data(*gates) + t * 4 * state, step.by_gates = by_gates->at(t);
    }
    if (is_lstm) step.by_cell = by_cells->at(t), step.from_cell = other;
    if (is_gru) step.by_product = other + t * state;
    kernel.backward[static_cast<int>(p.cell)](step);
    if (!rounded) return;
    for (int64_t at = 0; at < together; at += size)
      rounded->take(s + 1, {step.by_given, parts * size}, at + step.begin, at + step.end);
    if (is_gru) rounded_u->take(s + 1, {step.by_product, size}, step.begin, step.end);
  });
}

const bool registered =
    kernels(Device::cpu).add<Steps>(steps) && kernels(Device::cpu).add<Gradient>(gradient);

}  // namespace
}  // namespace mlx::core::cpu

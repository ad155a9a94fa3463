#include "mlx/cpu/chain.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "mlx/cpu/thread_memory.h"
#include "mlx/types/half_types.h"

namespace mlx::core::cpu {
namespace {

using namespace elementwise;

std::optional<Chains::Kind> kind_of(Dtype dtype) {
  switch (dtype.val()) {
    case Dtype::Val::float32:
      return Chains::lanes;
    case Dtype::Val::float16:
      return Chains::half;
    case Dtype::Val::bfloat16:
      return Chains::brain;
    case Dtype::Val::bool_:
      return Chains::boolean;
    default:
      return std::nullopt;
  }
}

template <class T>
T read(const char* p) {
  T value;
  std::memcpy(&value, p, sizeof(T));
  return value;
}
// The element at p as chains keep it.
float lane_of(Dtype dtype, const char* p) {
  switch (dtype.val()) {
    case Dtype::Val::float16:
      return static_cast<float>(read<float16_t>(p));
    case Dtype::Val::bfloat16:
      return static_cast<float>(read<bfloat16_t>(p));
    case Dtype::Val::bool_:
      return std::bit_cast<float>(*p != 0 ? ~uint32_t{0} : uint32_t{0});
    default:
      return read<float>(p);
  }
}

// Rows whose functions for registers look at bits: of bool, not of numbers.
bool is_logic(uint8_t op) {
  return op == op_of<LogicalNot> || op == op_of<LogicalAnd> || op == op_of<LogicalOr> ||
         op == op_of<LogicalXor>;
}

// Steps whose results are among their operands, or whole numbers not larger: 16 bits hold them as they are.
bool is_exact(const Program::Step& step) {
  constexpr uint8_t rows[] = {op_of<Abs>,   op_of<Negative>, op_of<Sign>,       op_of<Floor>,   op_of<Ceil>,
                              op_of<Round>, op_of<Trunc>,    op_of<Maximum>,    op_of<Minimum>, op_of<Select>,
                              op_of<Clip>,  op_of<Copysign>, op_of<HardShrink>, op_of<NanToNum>};
  return std::find(std::begin(rows), std::end(rows), step.op) != std::end(rows);
}

int arity_of(const Program::Step& step) { return step.op == kCastOp ? 1 : op_info[step.op].arity; }

int reads(const Program::Step& step, int16_t operand) {
  return static_cast<int>(std::count(step.in.begin(), step.in.begin() + arity_of(step), operand));
}

}  // namespace

// Writes the steps of one program; the registers hold one operand at a time.
class Chain::Writer {
 public:
  Writer(Chain& chain, const Program& program) : chain_(chain), program_(program) {
    chain_.blocks_ = static_cast<int16_t>(program.registers);
    for (const Program::Step& step : program.steps)
      if (step.op != kCastOp && !is_brief(step.op)) pace_ = Chains::lasting;
  }

  bool write() {
    for (const Input& input : chain_.inputs_)
      if (!kind_of(input.dtype)) return false;
    for (const Dtype& out : chain_.out_)
      if (!kind_of(out)) return false;
    load_inputs();
    for (size_t i = 0; i < program_.steps.size(); ++i)
      if (!write(i)) return false;
    store(program_.kept.size(), chain_.table_->last);
    return true;
  }

 private:
  void add(ChainStep::Fn fn, int16_t first = kNone, int16_t second = kNone, Tiles::Fn tile = nullptr) {
    chain_.steps_.push_back({fn, {first, second}, tile});
  }

  void store(size_t output, const Chains::Stores& stores) {
    const Chains::Kind kind = *kind_of(chain_.out_[output]);
    const bool streams = chain_.streams_ && stores.stream[kind];
    add(streams ? stores.stream[kind] : stores.store[pace_][kind], static_cast<int16_t>(kOut + output));
  }

  // Numbers have blocks that are filled before. Arrays that are not float32 become lanes here; the last of
  // them can do without a block, if only the first step reads it.
  void load_inputs() {
    for (size_t k = 0; k < chain_.inputs_.size(); ++k) {
      const Input& input = chain_.inputs_[k];
      chain_.input_block_.push_back(kNone);
      if (!input.constant && input.dtype == float32) continue;
      chain_.input_block_[k] = chain_.blocks_++;
      if (input.constant) continue;
      held_ = static_cast<int16_t>(k);
      add(chain_.table_->load[pace_][*kind_of(input.dtype)], static_cast<int16_t>(kInput + held_));
      add(chain_.table_->keep, chain_.input_block_[k]);
    }
    if (held_ == kNone || reads(program_.steps[0], held_) != 1 || is_read_from(1, held_)) return;
    if (chain_.input_block_[static_cast<size_t>(held_)] != chain_.blocks_ - 1) return;
    chain_.steps_.pop_back();
    --chain_.blocks_;
  }

  // Is the operand read by steps from `begin` on, before one writes over it?
  bool is_read_from(size_t begin, int16_t operand) const {
    for (size_t i = begin; i < program_.steps.size(); ++i) {
      if (reads(program_.steps[i], operand) != 0) return true;
      if (program_.steps[i].out == operand) return false;
    }
    return false;
  }
  // Is the value of step i read other than once by the next step?
  bool must_be_kept(size_t i) const {
    const int16_t value = program_.steps[i].out;
    const Program::Step& next = program_.steps[i + 1];
    return reads(next, value) != 1 || (next.out != value && is_read_from(i + 2, value));
  }

  int16_t place(int16_t operand) const {
    if (operand >= program_.inputs) return static_cast<int16_t>(operand - program_.inputs);
    const int16_t block = chain_.input_block_[static_cast<size_t>(operand)];
    return block != kNone ? block : static_cast<int16_t>(kInput + operand);
  }

  // Is the block that of an input with one element?
  bool is_number(int16_t at) const {
    if (at == kNone) return false;
    for (size_t k = 0; k < chain_.inputs_.size(); ++k)
      if (chain_.inputs_[k].constant && chain_.input_block_[k] == at) return true;
    return false;
  }

  bool write(size_t i) {
    const Program::Step& step = program_.steps[i];
    const int n = arity_of(step);
    int in_registers =
        static_cast<int>(std::find(step.in.begin(), step.in.begin() + n, held_) - step.in.begin());
    if (in_registers == n) {
      in_registers = 0;
      const int16_t at = place(step.in[0]);
      add(at >= kInput ? chain_.table_->load[pace_][Chains::lanes] : chain_.table_->recall, at);
    }
    int16_t others[2] = {kNone, kNone};
    for (int k = 0, m = 0; k < n; ++k)
      if (k != in_registers) others[m++] = place(step.in[static_cast<size_t>(k)]);
    if (!(step.op == kCastOp ? cast(step.from, step.to) : compute(step, in_registers, others))) return false;
    if (i + 1 == program_.steps.size()) return true;  // storing rounds
    if (const ChainStep::Fn round = chain_.table_->round[*kind_of(step.to)]; round && !is_exact(step))
      add(round);
    held_ = step.out;
    if (kept_ < program_.kept.size() && program_.kept[kept_] == static_cast<int16_t>(i))
      store(kept_++, chain_.table_->also);
    if (must_be_kept(i)) add(chain_.table_->keep, place(held_));
    return true;
  }

  bool cast(Dtype from, Dtype to) {
    if (!kind_of(from) || !kind_of(to)) return false;
    if (from == bool_ && to != bool_) add(chain_.table_->to_number);
    if (from != bool_ && to == bool_) add(chain_.table_->to_bool);
    return true;
  }

  bool compute(const Program::Step& step, int in_registers, const int16_t (&others)[2]) {
    if (!kind_of(step.from) || !kind_of(step.to)) return false;
    if (step.from == bool_ ? !is_logic(step.op) && step.op != op_of<Select> : is_logic(step.op)) return false;
    int numbers = 0;
    for (int k = 0; k < 2; ++k) numbers |= is_number(others[k]) << k;
    if (const ChainStep::Fn fn = chain_.table_->op[step.op][in_registers][numbers]) {
      add(fn, others[0], others[1]);
      return true;
    }
    // Neighbours differ between the float types; questions give no lanes.
    const Tiles::Fn tile = tiles().op[step.op][static_cast<size_t>(Dtype::Val::float32)];
    if (step.to == bool_ || step.op == op_of<Nextafter> || !tile) return false;
    add(chain_.table_->call[in_registers], others[0], others[1], tile);
    return true;
  }

  Chain& chain_;
  const Program& program_;
  Chains::Pace pace_ = Chains::brisk;
  int16_t held_ = kNone;
  size_t kept_ = 0;  // outputs that are written
};

Chain::Chain(const Program& program, const Inputs& inputs, bool streams)
    : table_(&chains()), inputs_(inputs), streams_(streams) {
  for (const int16_t step : program.kept) out_.push_back(program.steps[static_cast<size_t>(step)].to);
  out_.push_back(program.steps.back().to);
}

std::optional<Chain> Chain::of(const Program& program, const Inputs& inputs, bool streams) {
  std::optional<Chain> chain{Chain(program, inputs, streams)};
  if (!Writer(*chain, program).write()) chain.reset();
  return chain;
}

// Memory: the blocks, and, for what remains at the end, one for each input and output.
Chain::Runner::Runner(const Chain& chain, const Places& inputs) : chain_(chain) {
  const size_t count = static_cast<size_t>(chain.blocks_) + chain.inputs_.size() + chain.out_.size();
  thread_local LineMemory memory;
  memory_ =
      reinterpret_cast<float*>(memory.get(count * static_cast<size_t>(chain.table_->block) * sizeof(float)));
  for (size_t k = 0; k < chain.inputs_.size(); ++k)
    if (chain.inputs_[k].constant)
      std::fill_n(block(chain.input_block_[k]), chain.table_->block,
                  lane_of(chain.inputs_[k].dtype, inputs[k]));
  for (const Step& from : chain.steps_) {
    ChainStep step{from.fn, {nullptr, nullptr}, {0, 0}, from.tile};
    for (int k = 0; k < 2; ++k) {
      const int16_t operand = from.operand[k];
      if (operand >= kInput) {
        places_.push_back({static_cast<int16_t>(steps_.size()), static_cast<int16_t>(k),
                           static_cast<int16_t>(operand >= kOut ? operand : operand - kInput)});
      } else if (operand != kNone) {
        step.at[k] = reinterpret_cast<const char*>(block(operand));
      }
    }
    steps_.push_back(step);
  }
}

float* Chain::Runner::block(int16_t number) const {
  return memory_ + static_cast<ptrdiff_t>(number) * chain_.table_->block;
}

void Chain::Runner::run(const Places& inputs, const Results& out, int64_t n) {
  for (const Place& place : places_) {
    ChainStep& step = steps_[static_cast<size_t>(place.step)];
    step.at[place.operand] = place.number >= kOut ? out[static_cast<size_t>(place.number - kOut)]
                                                  : inputs[static_cast<size_t>(place.number)];
    step.moves[place.operand] = -1;
  }
  const int64_t whole = n / chain_.table_->block * chain_.table_->block;
  chain_.table_->run(steps_.data(), whole);
  if (whole != n) run_rest(inputs, out, whole, n - whole);
  if (chain_.streams_) tiles().fence();
}

// One more block, of copies.
void Chain::Runner::run_rest(const Places& inputs, const Results& out, int64_t begin, int64_t n) {
  const auto copy_of = [&](size_t input) { return block(static_cast<int16_t>(chain_.blocks_ + input)); };
  const auto result = [&](size_t output) { return copy_of(chain_.inputs_.size() + output); };
  for (size_t k = 0; k < chain_.inputs_.size(); ++k) {
    if (chain_.inputs_[k].constant) continue;
    const auto itemsize = static_cast<int64_t>(chain_.inputs_[k].dtype.size());
    std::fill_n(copy_of(k), chain_.table_->block, 0.0f);
    std::memcpy(copy_of(k), inputs[k] + begin * itemsize, static_cast<size_t>(n * itemsize));
  }
  for (const Place& place : places_) {
    const float* const at = place.number >= kOut ? result(static_cast<size_t>(place.number - kOut))
                                                 : copy_of(static_cast<size_t>(place.number));
    steps_[static_cast<size_t>(place.step)].at[place.operand] = reinterpret_cast<const char*>(at);
  }
  chain_.table_->run(steps_.data(), 1);
  for (size_t k = 0; k < chain_.out_.size(); ++k) {
    const auto itemsize = static_cast<int64_t>(chain_.out_[k].size());
    std::memcpy(out[k] + begin * itemsize, result(k), static_cast<size_t>(n * itemsize));
  }
}

}  // namespace mlx::core::cpu

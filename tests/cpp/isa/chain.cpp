// Programs as chains against the same programs run tile by tile: the same bits, on every instruction set of
// the machine, for every kind of operand, result and number of elements.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "mlx/cpu/chain.h"
#include "mlx/types/half_types.h"
#include "tiles_test.h"

namespace el = mlx::core::elementwise;
using namespace tiles_test;
using namespace mlx::core;
using cpu::Chain;

namespace {

constexpr Dtype kTypes[] = {float32, float32, float16, bfloat16, bool_};

struct Operand {
  int16_t number;
  Dtype dtype;
};

float some_number(Random& random) {
  constexpr float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  constexpr float special[] = {0.0f, -0.0f, inf, -inf, nan, 1e-42f, -1e-42f, 3e38f, 1.0f, -1.0f};
  const uint64_t which = random.bits() % 40;
  return which < std::size(special) ? special[which] : static_cast<float>(random.uniform(-4, 4));
}

std::vector<char> some_elements(Random& random, Dtype dtype, size_t n) {
  std::vector<char> bytes(n * dtype.size());
  for (size_t i = 0; i < n; ++i) {
    char* const at = bytes.data() + i * dtype.size();
    const float x = some_number(random);
    const float16_t half = x;
    const bfloat16_t brain = x;
    if (dtype == bool_) *at = static_cast<char>(random.bits() & 1);
    if (dtype == float32) std::memcpy(at, &x, sizeof x);
    if (dtype == float16) std::memcpy(at, &half, sizeof half);
    if (dtype == bfloat16) std::memcpy(at, &brain, sizeof brain);
  }
  return bytes;
}

// A program of random steps over random inputs.
class Generator {
 public:
  explicit Generator(Random& random) : random_(random) {
    program.inputs = static_cast<int>(1 + random_.bits() % 4);
    for (int k = 0; k < program.inputs; ++k) {
      const Dtype dtype = kTypes[random_.bits() % std::size(kTypes)];
      inputs.push_back({dtype, random_.bits() % 4 == 0});
      operands_.push_back({static_cast<int16_t>(k), dtype});
    }
    const uint64_t steps = 1 + random_.bits() % 12;
    while (program.steps.size() < steps) {
      const size_t before = program.steps.size();
      add_step();
      const bool is_new = program.steps.size() > before, is_last = program.steps.size() == steps;
      if (is_new && !is_last && random_.bits() % 6 == 0) program.kept.push_back(static_cast<int16_t>(before));
    }
  }

  Program program;
  Chain::Inputs inputs;

 private:
  const Operand* any(Dtype dtype) {
    std::vector<const Operand*> fitting;
    for (const Operand& o : operands_)
      if (o.dtype == dtype) fitting.push_back(&o);
    return fitting.empty() ? nullptr : fitting[random_.bits() % fitting.size()];
  }

  void add_step() {
    using namespace el;
    static constexpr uint8_t rows[] = {
        op_of<Abs>,        op_of<Negative>,  op_of<Square>,     op_of<Sqrt>,       op_of<Rsqrt>,
        op_of<Reciprocal>, op_of<Exp>,       op_of<Tanh>,       op_of<Sigmoid>,    op_of<Erf>,
        op_of<Sin>,        op_of<Log>,       op_of<Floor>,      op_of<Sign>,       op_of<IsNan>,
        op_of<Add>,        op_of<Add>,       op_of<Subtract>,   op_of<Multiply>,   op_of<Multiply>,
        op_of<Divide>,     op_of<Maximum>,   op_of<Minimum>,    op_of<LogAddExp>,  op_of<Equal>,
        op_of<NotEqual>,   op_of<Less>,      op_of<Greater>,    op_of<LessEqual>,  op_of<GreaterEqual>,
        op_of<Select>,     op_of<Select>,    op_of<Clip>,       op_of<Power>,      op_of<FloorDivide>,
        op_of<LogicalAnd>, op_of<LogicalOr>, op_of<LogicalXor>, op_of<LogicalNot>, op_of<Ceil>,
        op_of<Round>,      op_of<Trunc>,     op_of<IsInf>,      op_of<IsFinite>,   op_of<IsPosInf>,
        op_of<IsNegInf>,   op_of<NanEqual>,  op_of<Copysign>,   op_of<Log1p>,      op_of<Expm1>,
        op_of<Arcsin>,     op_of<Arctan2>,   op_of<Hypot>,      op_of<Erfc>};
    const Operand first = operands_[random_.bits() % operands_.size()];
    Program::Step step{static_cast<uint8_t>(kCastOp), first.dtype, first.dtype, 0, {first.number, 0, 0}};
    if (random_.bits() % 5 == 0) {
      step.to = kTypes[random_.bits() % std::size(kTypes)];
      if (step.to == step.from) return;
    } else {
      step.op = rows[random_.bits() % std::size(rows)];
      const bool logic = step.op >= op_of<LogicalAnd> && step.op <= op_of<LogicalXor>;
      const bool takes_bool = logic || step.op == op_of<LogicalNot> || step.op == op_of<Select>;
      if (first.dtype == bool_ ? !takes_bool : logic || step.op == op_of<LogicalNot>) return;
      const OpInfo& info = op_info[step.op];
      step.to = info.result == Out::boolean ? bool_ : first.dtype;
      for (int k = 0; k < info.arity; ++k) {
        const Operand* operand = any(step.op == op_of<Select> && k == 0 ? bool_ : first.dtype);
        if (!operand) return;
        step.in[static_cast<size_t>(k)] = operand->number;
      }
    }
    // Into a new register, or over a value that nobody keeps.
    const size_t over = random_.bits() % (2 * operands_.size());
    const auto is_kept = [&](int16_t number) {
      return std::any_of(program.kept.begin(), program.kept.end(),
                         [&](int16_t k) { return program.steps[static_cast<size_t>(k)].out == number; });
    };
    if (over < operands_.size() && operands_[over].number >= program.inputs &&
        !is_kept(operands_[over].number)) {
      step.out = operands_[over].number;
      operands_.erase(operands_.begin() + static_cast<std::ptrdiff_t>(over));
    } else {
      step.out = static_cast<int16_t>(program.inputs + program.registers++);
    }
    operands_.push_back({step.out, step.to});
    program.steps.push_back(step);
  }

  Random& random_;
  std::vector<Operand> operands_;
};

// Every step over all elements: what the outputs are.
std::vector<std::vector<char>> by_tiles(const Program& program, const Chain::Inputs& kinds,
                                        const std::vector<std::vector<char>>& given, size_t n) {
  const Tiles& tiles = cpu::tiles();
  std::vector<std::vector<char>> at;
  for (size_t k = 0; k < given.size(); ++k) {
    std::vector<char> all;
    for (size_t i = 0; i < (kinds[k].constant ? n : 1); ++i)
      all.insert(all.end(), given[k].begin(), given[k].end());
    at.push_back(all);
  }
  at.resize(static_cast<size_t>(program.inputs + program.registers));
  for (const Program::Step& step : program.steps) {
    const auto in = [&](int k) { return at[static_cast<size_t>(step.in[static_cast<size_t>(k)])].data(); };
    std::vector<char> out(n * step.to.size());
    const auto from = static_cast<size_t>(step.from.val()), to = static_cast<size_t>(step.to.val());
    if (step.op == kCastOp) {
      tiles.cast[from][to](out.data(), in(0), static_cast<int64_t>(n));
    } else {
      tiles.op[step.op][from](out.data(), in(0), in(1), in(2), static_cast<int64_t>(n));
    }
    at[static_cast<size_t>(step.out)] = std::move(out);
  }
  std::vector<std::vector<char>> outputs;
  for (const int16_t k : program.kept)
    outputs.push_back(at[static_cast<size_t>(program.steps[static_cast<size_t>(k)].out)]);
  outputs.push_back(at[static_cast<size_t>(program.steps.back().out)]);
  return outputs;
}

bool same(Dtype dtype, const char* a, const char* b) {
  if (std::memcmp(a, b, dtype.size()) == 0) return true;
  const auto value = [dtype](const char* p) {
    uint32_t bits = 0;
    std::memcpy(&bits, p, dtype.size());
    if (dtype == bfloat16) return std::bit_cast<float>(bits << 16);
    if (dtype == float16) return (bits & 0x7fffu) > 0x7c00u ? std::nanf("") : 0.0f;
    return dtype == float32 ? std::bit_cast<float>(bits) : 0.0f;
  };
  return std::isnan(value(a)) && std::isnan(value(b));  // which nan it is nobody promises
}

struct alignas(64) Line {
  char bytes[64];
};

void check(Random& random, bool streams, int& written) {
  const Generator made(random);
  const Program& program = made.program;
  const std::optional<Chain> chain = Chain::of(program, made.inputs, streams);
  if (!chain) return;
  ++written;
  constexpr size_t sizes[] = {1, 2, 31, 32, 63, 64, 65, 127, 128, 129, 200, 1000};
  const size_t n = sizes[random.bits() % std::size(sizes)];
  std::vector<std::vector<char>> given;
  Chain::Places at;
  for (const Chain::Input& input : made.inputs) {
    given.push_back(some_elements(random, input.dtype, input.constant ? 1 : n));
    at.push_back(given.back().data());
  }
  at.resize(at.size() + static_cast<size_t>(program.registers));  // as places of tiles have
  const std::vector<std::vector<char>> expected = by_tiles(program, made.inputs, given, n);
  std::vector<std::vector<Line>> memory;
  Chain::Results results;
  for (const std::vector<char>& bytes : expected) {
    memory.emplace_back(bytes.size() / sizeof(Line) + 2);
    results.push_back(memory.back()[0].bytes);
    std::memset(results[results.size() - 1], 0x5a, memory.back().size() * sizeof(Line));
  }
  Chain::Runner(*chain, at).run(at, results, static_cast<int64_t>(n));
  for (size_t k = 0; k < results.size(); ++k) {
    const size_t step =
        k < program.kept.size() ? static_cast<size_t>(program.kept[k]) : program.steps.size() - 1;
    const Dtype out = program.steps[step].to;
    for (size_t i = 0; i < n; ++i) {
      if (same(out, results[k] + i * out.size(), expected[k].data() + i * out.size())) continue;
      std::string text;
      for (const Program::Step& s : program.steps)
        text += (s.op == kCastOp ? "cast" : std::string(el::op_info[s.op].name)) + " " +
                std::to_string(s.in[0]) + " " + std::to_string(s.in[1]) + " " + std::to_string(s.in[2]) +
                " > " + std::to_string(s.out) + "; ";
      return fail("element %zu of %zu differs in step %zu of: %s", i, n, step, text.c_str());
    }
    for (size_t i = n * out.size(); i < memory[k].size() * sizeof(Line); ++i)
      if (results[k][i] != 0x5a)
        return fail("wrote %zu bytes behind %zu elements", i + 1 - n * out.size(), n);
  }
}

// What has no form in chains is refused, not computed in another way.
void check_refusals() {
  const auto refused = [](uint8_t op, Dtype from, Dtype to) {
    Program program;
    program.inputs = program.registers = 1;
    program.steps.push_back({op, from, to, 1, {0, 0, 0}});
    return !Chain::of(program, {{from, false}}, false);
  };
  for (const Dtype dtype : {int32, uint8, float64, complex64})
    if (!refused(el::op_of<el::Add>, dtype, dtype) || !refused(static_cast<uint8_t>(kCastOp), dtype, float32))
      fail("dtype %d has a chain", static_cast<int>(dtype.val()));
  if (!refused(el::op_of<el::LogicalNot>, float32, bool_)) fail("logic of numbers has a chain");
  if (!refused(el::op_of<el::Nextafter>, float16, float16)) fail("neighbours of float16 have a chain");
}

int check_set(Isa isa) {
  setenv("MLX_CPU_ISA", cpu::isa_name(isa), 1);
  Random random(7);
  int written = 0;
  for (int i = 0; i < 4000; ++i) check(random, i % 2 == 1, written);
  if (written < 3000) fail("only %d of 4000 programs became chains", written);
  check_refusals();
  return finish((std::string("chain ") + cpu::isa_name(isa)).c_str());
}

}  // namespace

int main() {
  int failed = 0;
  for (Isa isa : isas_here()) {  // a process each, since the choice is made once
    std::fflush(stdout);
    const pid_t child = fork();
    if (child == 0) std::exit(check_set(isa));
    int status = 1;
    waitpid(child, &status, 0);
    failed |= status;
  }
  return failed == 0 ? 0 : 1;
}

#include "mlx/cpu/program_runner.h"

#include <algorithm>
#include <cstring>

#include "mlx/cpu/copy.h"
#include "mlx/cpu/isa/copy.h"
#include "mlx/cpu/isa/tiles.h"
#include "mlx/cpu/parallel.h"
#include "mlx/cpu/thread_memory.h"
#include "mlx/graph/system.h"

namespace mlx::core::cpu {
namespace {

constexpr int64_t kTileBytes = 4096;
// Tiles do not lie whole pages apart: loads and stores that agree in the last 12 bits wait for each other.
constexpr size_t kSlotGap = 448;
constexpr size_t kSlotBytes = kTileBytes + kSlotGap;
constexpr int64_t kLine = 64;
constexpr double kItemNanoseconds = 10000;          // of work, where there is more
constexpr double kShareNanoseconds = 6000;          // of work, before another thread is worth waking
constexpr size_t kSmallestCache = size_t{1} << 20;  // bytes that fit in the last cache of any machine
constexpr double kStoreNanoseconds = 0.5;           // that an element takes past the caches, roughly
// From here on a chain is worth writing, and for fewer elements from so many of all calls together; of 16
// bits, which each call would widen and round, from fewer.
constexpr int64_t kChainElements = 16384, kChainCalls = 40960, kNarrowChainCalls = 8192;
constexpr int kWideBlock = 128;  // of registers of sixteen floats

void fetch(const char* from, int64_t bytes) {
  for (int64_t k = 0; k < bytes; k += kLine) __builtin_prefetch(from + k);
}

bool is_cheap(const Program::Step& step) { return step.op == kCastOp || elementwise::is_brief(step.op); }

// Steps that need no number of the sixteen bits.
bool is_about_signs(const Program::Step& step) {
  using namespace elementwise;
  return step.op == op_of<Abs> || step.op == op_of<Negative> || step.op == op_of<Copysign>;
}

const char* repeat(const char* row, char* to, int64_t bytes, int64_t rows) {
  std::memcpy(to, row, static_cast<size_t>(bytes));
  for (int64_t done = 1; done < rows; done *= 2)
    std::memcpy(to + done * bytes, to, static_cast<size_t>(std::min(done, rows - done) * bytes));
  return to;
}

// Elements that lie closer together along another axis than along the last one.
bool is_transposed(const array& in) {
  int64_t last = 0, closest = INT64_MAX;
  for (size_t i = 0; i < in.ndim(); ++i) {
    const int64_t stride = std::abs(in.strides()[i]);
    if (in.shape()[i] == 1 || stride == 0) continue;
    last = stride;
    closest = std::min(closest, stride);
  }
  return last > closest;
}

// From here on a tile of a transposed operand costs more than turning the whole of it first: (2000, 2000) +
// its like transposed, one thread: 3.4 ms by tiles, 1.7 ms this way.
constexpr size_t kTurnFirst = 1 << 15;

}  // namespace

bool TurnedInputs::turns(const array& in) {
  return in.size() >= kTurnFirst && !in.flags().row_contiguous && is_transposed(in);
}

TurnedInputs::TurnedInputs(const std::vector<const array*>& given) : given_(given) {
  for (size_t k = 0; k < given.size(); ++k) {
    if (!turns(*given[k])) continue;
    if (copies_.empty()) {
      turned_ = given;
      copies_.reserve(given.size() - k);
    }
    turned_[k] = &copies_.emplace_back(row_contiguous(*given[k]));
  }
}

void place_result(array& result, int donor, const std::vector<const array*>& inputs) {
  if (donor >= 0) {
    result.copy_shared_buffer(*inputs[static_cast<size_t>(donor)]);
  } else {
    result.set_data(allocator::malloc(result.nbytes()));
  }
}

ProgramRunner::ProgramRunner(const Program& program, const Inputs& inputs, const std::vector<array>& results,
                             Reader reader)
    : program_(program),
      tiles_(tiles()),
      out_shape_(results.back().shape()),
      size_(static_cast<int64_t>(results.back().size())) {
  for (const array& out : results)
    results_.push_back({out.data_shared_ptr() ? const_cast<char*>(out.data<char>()) : nullptr,
                        static_cast<int>(out.itemsize())});
  for (size_t k = 0; k < program.kept.size(); ++k)
    results_[k].operand = static_cast<size_t>(program.steps[static_cast<size_t>(program.kept[k])].out);
  int itemsize = 1;
  for (const Program::Step& step : program.steps) {
    itemsize = std::max({itemsize, int{step.from.size()}, int{step.to.size()}});
    const bool cheap = is_cheap(step);
    nanoseconds_ += cheap ? 0.05 : 0.3;
    all_cheap_ &= cheap;
    narrow_ |= step.from == bfloat16 || step.from == float16;
  }
  tile_ = kTileBytes / itemsize;
  for (const array* in : inputs) operands_.push_back(operand_of(*in, results.back()));
  linear_ = std::all_of(operands_.begin(), operands_.end(),
                        [](const Operand& o) { return o.constant || o.contiguous; });
  streams_ = reader == Reader::later && exceeds_cache();
  plan_calls(program, tiles_, operands_, calls_);
  if (gains_by_chain()) plan_chain(inputs);
  if (!linear_ && size_ > 0) plan_blocks();
  at_once_ = calls_.size() == 1 && all_cheap_ &&
             std::none_of(operands_.begin(), operands_.end(), [](const Operand& o) { return o.repeated; });
}

void ProgramRunner::run() {
  if (size_ == 0) return;
  linear_ ? run_linear() : run_blocks();
}

// Do the arrays push each other out of the last cache? Then results had better not enter it: a line that is
// stored to is read first, and pushes out one of an input. Where they nearly fit it pays to have them
// there: on Zen 4 (32 MB) sqrt of 16 MB takes 1.6 times as long past the cache, of 24 MB 0.8 to 1.2 times,
// sums of two 12 MB arrays 1.2, of two 16 MB arrays 0.6 to 0.9, exp of 24 MB 0.5. What computes longer than
// memory takes for a store may begin before.
bool ProgramRunner::exceeds_cache() const {
  size_t written = 0, read = 0;
  for (const Result& out : results_) {
    written += static_cast<size_t>(size_) * static_cast<size_t>(out.itemsize);
    for (const Operand& o : operands_)
      if (o.data == out.data) return false;  // it is read anyway
  }
  for (const Operand& o : operands_)
    if (o.contiguous) read += static_cast<size_t>(size_) * static_cast<size_t>(o.itemsize);
  const size_t bytes = read + written;
  if (bytes < kSmallestCache) return false;
  static const size_t cache = system::last_level_cache();  // asking the system takes 60 us
  const size_t enough = nanoseconds_ < kStoreNanoseconds ? cache / 3 * 4 : cache / 4 * 3;
  return cache != 0 && bytes >= enough && written >= bytes / 4;
}

// Pieces of a tile each pay for the beginning and the end of the chain, and a function that is called for
// one block at a time reads its constants anew: as long as three calls of a tile take to load and store.
// One step gains where it does more than wait for memory: conversions from and to 16 bits are better in
// registers of sixteen floats, and so are functions that read their constants once for a block.
bool ProgramRunner::gains_by_chain() const {
  const int64_t in_calls = size_ * static_cast<int64_t>(calls_.size());
  if (size_ < kChainElements && in_calls < (narrow_ ? kNarrowChainCalls : kChainCalls)) return false;
  if (calls_.size() == 1 && narrow_ && is_about_signs(program_.steps[0])) return false;
  size_t called = 0;
  for (const Program::Step& step : program_.steps)
    called += step.op != kCastOp && !is_cheap(step) && !chains().op[step.op][0][0];
  const bool converts = narrow_ && chains().block >= kWideBlock;
  if (called == 0 && (converts || (linear_ && (streams_ || !all_cheap_)))) return true;
  return calls_.size() >= (linear_ ? 2 : 3) + 3 * called;
}
void ProgramRunner::plan_chain(const Inputs& inputs) {
  Chain::Inputs given;
  for (size_t k = 0; k < inputs.size(); ++k) given.push_back({inputs[k]->dtype(), operands_[k].constant});
  const bool aligned = std::all_of(results_.begin(), results_.end(), [](const Result& out) {
    return reinterpret_cast<uintptr_t>(out.data) % 64 == 0;
  });
  chain_ = Chain::of(program_, given, linear_ && streams_ && aligned);
}
void ProgramRunner::plan_blocks() {
  shape_ = collapse(out_shape_, operands_);
  plan_direct();
  block_ = choose_block();
}

// Where the operands begin.
ProgramRunner::Operands ProgramRunner::beginnings() const {
  Operands at;
  for (const Operand& o : operands_) at.push_back(o.data);
  return at;
}

void ProgramRunner::look_ahead(Ahead& ahead, const char* data, int64_t bytes) const {
  const auto calls = static_cast<int64_t>(calls_.size());
  ahead.push_back({data, (bytes + calls * kLine - 1) / (calls * kLine) * kLine});
}

void ProgramRunner::compute(Operands& at, char* out, int64_t n, const Ahead& ahead) const {
  const Call* const last = calls_.end() - 1;
  for (const Call* call = calls_.begin();; ++call) {
    for (const Fetch& f : ahead) fetch(f.data + (call - calls_.begin()) * f.share, f.share);
    char* to = call == last ? out : const_cast<char*>(at[static_cast<size_t>(call->out)]);
    const char* a = at[static_cast<size_t>(call->in[0])];
    if (call->cast) {
      call->cast(to, a, n);
    } else {
      call->fn(to, a, at[static_cast<size_t>(call->in[1])], at[static_cast<size_t>(call->in[2])], n);
    }
    if (call == last) return;
  }
}

// Registers, one tile per input (constants, gathered operands), one for an output that is scattered.
char* ProgramRunner::scratch() const {
  thread_local LineMemory memory;
  return memory.get(kSlotBytes * (static_cast<size_t>(program_.registers + program_.inputs) + 1));
}
ProgramRunner::Operands ProgramRunner::places(char* memory, int64_t filled) const {
  Operands at(static_cast<size_t>(program_.inputs + program_.registers));
  for (size_t r = 0; r < static_cast<size_t>(program_.registers); ++r)
    at[static_cast<size_t>(program_.inputs) + r] = memory + r * kSlotBytes;
  for (size_t i = 0; i < operands_.size(); ++i) {
    char* tile = gather_slot(memory, i);
    if (operands_[i].constant)
      tiles_.fill[size_index(operands_[i].itemsize)](tile, operands_[i].data, 0, 1,
                                                     operands_[i].repeated ? filled : 1);
    at[i] = tile;
  }
  return at;
}
char* ProgramRunner::gather_slot(char* memory, size_t input) const {
  return memory + (static_cast<size_t>(program_.registers) + input) * kSlotBytes;
}
// Tiles for the outputs: the registers of kept values, and one more.
ProgramRunner::Places ProgramRunner::result_tiles(char* memory, const Operands& at) const {
  Places tiles;
  for (size_t k = 0; k + 1 < results_.size(); ++k)
    tiles.push_back(const_cast<char*>(at[results_[k].operand]));
  tiles.push_back(gather_slot(memory, static_cast<size_t>(program_.inputs)));
  return tiles;
}

int64_t ProgramRunner::elements_per_item() const {
  const auto most = std::max(tile_, static_cast<int64_t>(kItemNanoseconds / nanoseconds_));
  int64_t items = (size_ + most - 1) / most;
  if (static_cast<double>(size_) * nanoseconds_ >= kShareNanoseconds) items += items % 2;
  return (size_ / items + tile_) / tile_ * tile_;
}

// Where the elements of each result lie from `begin` on.
ProgramRunner::Places ProgramRunner::places_from(int64_t begin) const {
  Places to;
  for (const Result& out : results_) to.push_back(out.data + begin * out.itemsize);
  return to;
}
// Kept values are computed in these places.
void ProgramRunner::place_kept(Operands& at, const Places& to) const {
  for (size_t k = 0; k + 1 < results_.size(); ++k) at[results_[k].operand] = to[k];
}

void ProgramRunner::run_linear() const {
  if (chain_) {
    parallel_ranges(size_, elements_per_item(), [&](int64_t begin, int64_t end) {
      Operands at = beginnings();
      Chain::Runner runner(*chain_, at);
      for (size_t k = 0; k < at.size(); ++k) at[k] += begin * operands_[k].itemsize;
      runner.run(at, places_from(begin), end - begin);
    });
    return;
  }
  parallel_ranges(size_, elements_per_item(), [&](int64_t begin, int64_t end) {
    const int64_t tile = at_once_ && !streams_ ? end - begin : std::min(tile_, end - begin);
    char* const memory = scratch();
    Operands at = places(memory, std::min(tile_, end - begin));
    const Places in_tiles = result_tiles(memory, at);
    if (at.empty()) at.push_back(nullptr);
    Ahead ahead;
    for (int64_t i = begin; i < end; i += tile) {
      for (size_t k = 0; k < operands_.size(); ++k)
        if (operands_[k].contiguous) at[k] = operands_[k].data + i * operands_[k].itemsize;
      ahead.clear();
      if (const int64_t next = i + tile; next < end) {
        const int64_t n = std::min(tile, end - next);
        for (const Operand& o : operands_)
          if (o.contiguous) look_ahead(ahead, o.data + next * o.itemsize, n * o.itemsize);
        for (const Result& out : results_)
          if (!streams_) look_ahead(ahead, out.data + next * out.itemsize, n * out.itemsize);
      }
      const int64_t n = std::min(tile, end - i);
      const Places in_memory = places_from(i), &to = streams_ ? in_tiles : in_memory;
      place_kept(at, to);
      compute(at, to[to.size() - 1], n, ahead);
      for (size_t k = 0; streams_ && k < results_.size(); ++k)
        tiles_.stream(in_memory[k], in_tiles[k], n * results_[k].itemsize);
    }
    if (streams_) tiles_.fence();
  });
}

ProgramRunner::Block ProgramRunner::choose_block() const {
  const size_t d = shape_.size();
  const int64_t rows = shape_[d - 2], columns = shape_[d - 1];
  const bool transposed = std::any_of(operands_.begin(), operands_.end(), [&](const Operand& o) {
    return !o.constant && o.strides[d - 2] == 1 && o.strides[d - 1] > 1;
  });
  if (transposed) {
    const int64_t c = std::min<int64_t>(columns, 64);
    return {std::clamp<int64_t>(tile_ / c, 1, rows), c};
  }
  if (direct_) {
    const int64_t c = std::min(columns, 16 * tile_);
    return {std::clamp<int64_t>(16 * tile_ / c, 1, rows), c};
  }
  if (columns > tile_ / 2) return {1, std::min(columns, tile_)};
  return {std::clamp<int64_t>(tile_ / columns, 1, rows), columns};
}

// Rows that lie in memory as they are need no tiles: for a chain, or for one call, which may also take
// one number for each row.
void ProgramRunner::plan_direct() {
  const size_t d = shape_.size();
  if ((!chain_ && calls_.size() != 1) || shape_[d - 1] < (chain_ ? tile_ / 2 : tile_ / 4)) return;
  Call& call = calls_[0];
  int numbers = call.numbers;
  for (const Operand& o : operands_) {
    if (o.constant && (chain_ || !o.repeated)) continue;
    if (o.constant || (o.strides[d - 1] != 1 && (chain_ || o.strides[d - 1] != 0))) return;
    for (int k = 0; k < call.arity; ++k)
      if (o.strides[d - 1] == 0 && &o == &operands_[static_cast<size_t>(call.in[static_cast<size_t>(k)])])
        numbers |= Tiles::kNumber[k];
  }
  if (numbers != call.numbers && !chain_) {
    if (!call.with_numbers || !call.with_numbers[numbers]) return;
    call.fn = call.with_numbers[numbers];
  }
  direct_ = true;
}
void ProgramRunner::compute_piece(Operands& at, const Places& to, int64_t n, Chain::Runner* chain) const {
  if (chain) return chain->run(at, to, n);
  place_kept(at, to);
  compute(at, to[to.size() - 1], n);
}

void ProgramRunner::run_blocks() const {
  const size_t d = shape_.size();
  const int64_t rows = shape_[d - 2], columns = shape_[d - 1];
  const Block block = block_;
  const int64_t row_blocks = (rows + block.rows - 1) / block.rows;
  const int64_t column_blocks = (columns + block.columns - 1) / block.columns;
  const int64_t per_outer = row_blocks * column_blocks;
  const int64_t blocks = size_ / (rows * columns) * per_outer;
  const int64_t grain = std::max<int64_t>(1, elements_per_item() / 2 / (block.rows * block.columns));
  parallel_ranges(blocks, grain, [&](int64_t begin, int64_t end) {
    Blocks on_thread(*this);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t outer = i / per_outer, inner = i % per_outer;
      const int64_t r0 = inner / column_blocks * block.rows, c0 = inner % column_blocks * block.columns;
      const Block b{std::min(block.rows, rows - r0), std::min(block.columns, columns - c0)};
      on_thread.compute(outer, r0, c0, b, places_from((outer * rows + r0) * columns + c0),
                        b.rows > 1 && b.columns != columns);
    }
    if (streams_) tiles_.fence();
  });
}

// --- blocks ---

ProgramRunner::Blocks::Blocks(const ProgramRunner& runner)
    : p_(runner),
      memory_(runner.scratch()),
      at_(runner.places(memory_, std::min(runner.tile_, runner.block_.rows * runner.block_.columns))),
      in_tiles_(runner.result_tiles(memory_, at_)),
      bases_(runner.operands_.size()),
      repeated_(runner.operands_.size(), {nullptr, {0, 0}}) {
  if (p_.chain_) chain_.emplace(*p_.chain_, at_);
}

void ProgramRunner::Blocks::compute(int64_t outer, int64_t r0, int64_t c0, Block b, const Places& to,
                                    bool is_apart) {
  if (outer != outer_) find_bases(outer);
  const size_t d = p_.shape_.size();
  for (size_t k = 0; k < p_.operands_.size(); ++k) {
    const Operand& o = p_.operands_[k];
    if (o.constant) continue;
    const char* from = bases_[k] + (r0 * o.strides[d - 2] + c0 * o.strides[d - 1]) * o.itemsize;
    if (p_.direct_) {
      at_[k] = from;
      continue;
    }
    if (o.strides[d - 2] == 0 && o.strides[d - 1] == 1 && b.rows > 1) {
      auto& [before, size] = repeated_[k];
      at_[k] = p_.gather_slot(memory_, k);
      if (from == before && b.columns == size.columns && b.rows <= size.rows) continue;
      before = from, size = b;
    }
    at_[k] = gather(o, from, p_.gather_slot(memory_, k), b);
  }
  if (p_.direct_) return compute_rows(to, b);
  const bool is_moved = is_apart || p_.streams_;
  const int64_t n = b.rows * b.columns;
  p_.compute_piece(at_, is_moved ? in_tiles_ : to, n, chain_ ? &*chain_ : nullptr);
  for (size_t k = 0; is_moved && k < p_.results_.size(); ++k)
    is_apart ? copy_rows(to[k], in_tiles_[k], b, p_.results_[k].itemsize)
             : p_.tiles_.stream(to[k], in_tiles_[k], n * p_.results_[k].itemsize);
}

// A block of rows that lie in memory. at_: where the first of them begins.
void ProgramRunner::Blocks::compute_rows(Places to, Block b) {
  const size_t d = p_.shape_.size();
  const auto move = [&](int64_t rows, int64_t columns) {
    for (size_t k = 0; k < p_.operands_.size(); ++k) {
      const Operand& o = p_.operands_[k];
      if (!o.constant) at_[k] += (rows * o.strides[d - 2] + columns * o.strides[d - 1]) * o.itemsize;
    }
    for (size_t k = 0; k < p_.results_.size(); ++k)
      to[k] += (rows * p_.shape_[d - 1] + columns) * p_.results_[k].itemsize;
  };
  for (int64_t r = 0; r < b.rows; ++r) {
    const int64_t piece = p_.streams_ ? p_.tile_ : b.columns;
    for (int64_t c = 0; c < b.columns; c += piece) {
      const int64_t n = std::min(piece, b.columns - c);
      p_.compute_piece(at_, p_.streams_ ? in_tiles_ : to, n, chain_ ? &*chain_ : nullptr);
      for (size_t k = 0; p_.streams_ && k < p_.results_.size(); ++k)
        p_.tiles_.stream(to[k], in_tiles_[k], n * p_.results_[k].itemsize);
      move(0, n);
    }
    move(1, -b.columns);
  }
}
// The operand's part of a block: where it lies already, or gathered into `tile`.
const char* ProgramRunner::Blocks::gather(const Operand& o, const char* from, char* tile, Block b) const {
  const size_t d = p_.shape_.size();
  const int64_t row = o.strides[d - 2], column = o.strides[d - 1];
  const int index = size_index(o.itemsize);
  if (column == 1 && (b.rows == 1 || row == b.columns)) return from;
  if (row == 1 && column > 1 && b.rows > 1) {
    copy_kernels().transpose[index](from, column, tile, b.columns, b.rows, b.columns, false);
    return tile;
  }
  if (column == 0) {
    p_.tiles_.fill[index](tile, from, row, b.rows, b.columns);
    return tile;
  }
  if (row == 0 && column == 1) return repeat(from, tile, b.columns * o.itemsize, b.rows);
  for (int64_t r = 0; r < b.rows; ++r) {
    const char* source = from + r * row * o.itemsize;
    char* target = tile + r * b.columns * o.itemsize;
    if (column == 1) {
      std::memcpy(target, source, static_cast<size_t>(b.columns * o.itemsize));
    } else {
      p_.tiles_.gather[index](target, source, column, b.columns);
    }
  }
  return tile;
}

// A block that lies in a tile to where its rows lie in an output.
void ProgramRunner::Blocks::copy_rows(char* to, const char* tile, Block b, int64_t itemsize) const {
  for (int64_t r = 0; r < b.rows; ++r)
    std::memcpy(to + r * p_.shape_.back() * itemsize, tile + r * b.columns * itemsize,
                static_cast<size_t>(b.columns * itemsize));
}

void ProgramRunner::Blocks::find_bases(int64_t outer) {
  outer_ = outer;
  for (size_t k = 0; k < p_.operands_.size(); ++k) {
    const Operand& o = p_.operands_[k];
    int64_t offset = 0, rest = outer;
    for (size_t i = p_.shape_.size() - 2; !o.constant && i-- > 0;) {
      offset += rest % p_.shape_[i] * o.strides[i];
      rest /= p_.shape_[i];
    }
    bases_[k] = o.data + offset * o.itemsize;
  }
}

// --- stretches ---

ProgramRunner::Stretches::Stretches(const ProgramRunner& runner) : p_(runner) {
  if (!p_.linear_) {
    blocks_.emplace(p_);
  } else if (p_.chain_) {
    at_ = p_.beginnings();
    chain_.emplace(*p_.chain_, at_);
  } else {
    at_ = p_.places(p_.scratch(), p_.tile_);
    if (at_.empty()) at_.push_back(nullptr);
  }
}

void ProgramRunner::Stretches::compute(int64_t begin, int64_t n, Places to) {
  if (p_.linear_) return compute_linear(begin, n, to);
  const size_t d = p_.shape_.size();
  const int64_t rows = p_.shape_[d - 2], columns = p_.shape_[d - 1];
  while (n > 0) {
    const int64_t c0 = begin % columns, row = begin / columns, r0 = row % rows;
    Block b{1, std::min({n, columns - c0, p_.block_.columns})};
    if (b.columns == columns) b.rows = std::min({n / columns, rows - r0, p_.block_.rows});
    blocks_->compute(row / rows, r0, c0, b, to, false);
    const int64_t done = b.rows * b.columns;
    for (size_t k = 0; k < to.size(); ++k) to[k] += done * p_.results_[k].itemsize;
    begin += done, n -= done;
  }
}

void ProgramRunner::Stretches::compute_linear(int64_t begin, int64_t n, const Places& to) {
  const auto place = [&](int64_t from) {
    for (size_t k = 0; k < p_.operands_.size(); ++k)
      if (p_.operands_[k].contiguous) at_[k] = p_.operands_[k].data + from * p_.operands_[k].itemsize;
  };
  if (chain_) {
    place(begin);
    return chain_->run(at_, to, n);
  }
  Places part = to;
  const int64_t tile = p_.at_once_ ? n : p_.tile_;
  for (int64_t i = 0; i < n; i += tile) {
    place(begin + i);
    const int64_t count = std::min(tile, n - i);
    p_.place_kept(at_, part);
    p_.compute(at_, part[part.size() - 1], count);
    for (size_t k = 0; k < part.size(); ++k) part[k] += count * p_.results_[k].itemsize;
  }
}

}  // namespace mlx::core::cpu

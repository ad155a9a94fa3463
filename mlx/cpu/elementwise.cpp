// Runs a Program (mlx/graph/program.h): as a chain (mlx/cpu/chain.h) where it has the types for one and
// enough elements, otherwise over tiles that stay in the first-level cache, where every step is one call of a
// tile function (mlx/cpu/isa/tiles.h), contiguous in, contiguous out. Operands that are not contiguous are
// gathered into a tile first; constants fill one once. A single step on contiguous arrays runs straight on
// their memory.
#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "mlx/cpu/calls.h"
#include "mlx/cpu/chain.h"
#include "mlx/cpu/copy.h"
#include "mlx/cpu/isa/copy.h"
#include "mlx/cpu/isa/tiles.h"
#include "mlx/cpu/operand.h"
#include "mlx/cpu/parallel.h"
#include "mlx/graph/forecast.h"
#include "mlx/graph/program.h"
#include "mlx/graph/system.h"

namespace mlx::core::cpu {
namespace {

constexpr int64_t kTileBytes = 4096;
// Tiles do not lie whole pages apart: loads and stores that agree in the last 12 bits wait for each other.
constexpr size_t kSlotGap = 448;
constexpr int64_t kLine = 64;
constexpr double kItemNanoseconds = 10000;  // of work, before another thread is worth waking
constexpr double kStoreNanoseconds = 0.5;   // that an element takes past the caches, roughly
constexpr int64_t kChainElements = 16384;   // from here on a chain is worth writing
constexpr size_t kMostKept = 4;             // values that are outputs: each has a tile of its own
constexpr int kWideBlock = 128;             // of registers of sixteen floats

// A block of the output: `rows` x `columns` of its last two (collapsed) axes.
struct Block {
  int64_t rows, columns;
};

struct Scratch {
  char* get(size_t bytes) {
    if (bytes > size_) {
      memory_ = std::unique_ptr<char[], Free>(new (std::align_val_t(64)) char[bytes]);
      size_ = bytes;
    }
    return memory_.get();
  }

 private:
  struct Free {
    void operator()(char* p) const { ::operator delete[](p, std::align_val_t(64)); }
  };
  std::unique_ptr<char[], Free> memory_;
  size_t size_ = 0;
};

// An output. What is computed in `operand` of the program belongs there; in none for the last step's.
struct Result {
  char* data;
  int itemsize;
  size_t operand = 0;
};
using Results = SmallVector<char*, 4>;

class Runner {
 public:
  Runner(const Program& program, const std::vector<const array*>& inputs, std::vector<array>& outputs)
      : program_(program), tiles_(tiles()), out_(outputs.back()), size_(static_cast<int64_t>(out_.size())) {
    for (array& out : outputs) results_.push_back({out.data<char>(), static_cast<int>(out.itemsize())});
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
    for (const array* in : inputs) operands_.push_back(operand_of(*in, out_));
    linear_ = std::all_of(operands_.begin(), operands_.end(),
                          [](const Operand& o) { return o.constant || o.contiguous; });
    streams_ = exceeds_cache();
    plan_calls(program, tiles_, operands_, calls_);
    if (gains_by_chain()) plan_chain(inputs);
  }

  void run() {
    if (size_ == 0) return;
    linear_ ? run_linear() : run_blocks();
  }

 private:
  // Where each operand of the program lies while a tile is computed: inputs, then registers.
  using Places = std::vector<const char*>;

  // What the next tile reads or writes, and how many bytes of it to fetch before each call of this tile:
  // while the calls compute in the first-level cache, memory would have nothing to do.
  struct Fetch {
    const char* data;
    int64_t share;
  };
  using Ahead = SmallVector<Fetch, 4>;

  static void fetch(const char* from, int64_t bytes) {
    for (int64_t k = 0; k < bytes; k += kLine) __builtin_prefetch(from + k);
  }
  void look_ahead(Ahead& ahead, const char* data, int64_t bytes) const {
    const auto calls = static_cast<int64_t>(calls_.size());
    ahead.push_back({data, (bytes + calls * kLine - 1) / (calls * kLine) * kLine});
  }

  static bool is_cheap(const Program::Step& step) {
    return step.op == kCastOp || elementwise::op_info[step.op].max_ulp <= 0.5;
  }

  // Do the arrays push each other out of the last cache? Then results had better not enter it: a line that is
  // stored to is read first, and pushes out one of an input. Where they nearly fit it pays to have them
  // there: on Zen 4 (32 MB) sqrt of 16 MB takes 1.6 times as long past the cache, of 24 MB 0.8 to 1.2 times,
  // sums of two 12 MB arrays 1.2, of two 16 MB arrays 0.6 to 0.9, exp of 24 MB 0.5. What computes longer than
  // memory takes for a store may begin before.
  bool exceeds_cache() const {
    static const size_t cache = system::last_level_cache();
    size_t written = 0, read = 0;
    for (const Result& out : results_) {
      written += static_cast<size_t>(size_) * static_cast<size_t>(out.itemsize);
      for (const Operand& o : operands_)
        if (o.data == out.data) return false;  // it is read anyway
    }
    for (const Operand& o : operands_)
      if (o.contiguous) read += static_cast<size_t>(size_) * static_cast<size_t>(o.itemsize);
    const size_t bytes = read + written;
    const size_t enough = nanoseconds_ < kStoreNanoseconds ? cache / 3 * 4 : cache / 4 * 3;
    return cache != 0 && bytes >= enough && written >= bytes / 4;
  }

  // Pieces of a tile each pay for the beginning and the end of the chain, and a function that is called for
  // one block at a time reads its constants anew: as long as three calls of a tile take to load and store.
  // One step gains where it does more than wait for memory: conversions from and to 16 bits are better in
  // registers of sixteen floats, and so are functions that read their constants once for a block.
  bool gains_by_chain() const {
    if (size_ < kChainElements) return false;
    size_t called = 0;
    for (const Program::Step& step : program_.steps)
      called += step.op != kCastOp && !is_cheap(step) && !chains().op[step.op][0];
    const bool converts = narrow_ && chains().block >= kWideBlock;
    if (called == 0 && (converts || (linear_ && (streams_ || !all_cheap_)))) return true;
    return calls_.size() >= (linear_ ? 2 : 3) + 3 * called;
  }
  void plan_chain(const std::vector<const array*>& inputs) {
    Chain::Inputs given;
    for (size_t k = 0; k < inputs.size(); ++k) given.push_back({inputs[k]->dtype(), operands_[k].constant});
    const bool aligned = std::all_of(results_.begin(), results_.end(), [](const Result& out) {
      return reinterpret_cast<uintptr_t>(out.data) % 64 == 0;
    });
    chain_ = Chain::of(program_, given, linear_ && streams_ && aligned);
  }
  // Where the operands begin.
  Places beginnings() const {
    Places at;
    for (const Operand& o : operands_) at.push_back(o.data);
    return at;
  }

  void compute(Places& at, char* out, int64_t n, const Ahead& ahead = {}) const {
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

  size_t slot_bytes() const { return kTileBytes + kSlotGap; }
  // Registers, one tile per input (constants, gathered operands), one for an output that is scattered.
  char* scratch() const {
    thread_local Scratch memory;
    return memory.get(slot_bytes() * (static_cast<size_t>(program_.registers + program_.inputs) + 1));
  }
  Places places(char* memory, int64_t filled) const {
    Places at(static_cast<size_t>(program_.inputs + program_.registers));
    for (size_t r = 0; r < static_cast<size_t>(program_.registers); ++r)
      at[static_cast<size_t>(program_.inputs) + r] = memory + r * slot_bytes();
    for (size_t i = 0; i < operands_.size(); ++i) {
      char* tile = gather_slot(memory, i);
      if (operands_[i].constant)
        tiles_.fill[size_index(operands_[i].itemsize)](tile, operands_[i].data,
                                                       operands_[i].repeated ? filled : 1);
      at[i] = tile;
    }
    return at;
  }
  char* gather_slot(char* memory, size_t input) const {
    return memory + (static_cast<size_t>(program_.registers) + input) * slot_bytes();
  }
  // Tiles for the outputs: the registers of kept values, and one more.
  Results result_tiles(char* memory, const Places& at) const {
    Results tiles;
    for (size_t k = 0; k + 1 < results_.size(); ++k)
      tiles.push_back(const_cast<char*>(at[results_[k].operand]));
    tiles.push_back(gather_slot(memory, static_cast<size_t>(program_.inputs)));
    return tiles;
  }

  // Items of one size, of whole tiles, and an even number of them: two threads have as much to do.
  int64_t elements_per_item() const {
    const auto most = std::max(tile_, static_cast<int64_t>(kItemNanoseconds / nanoseconds_));
    int64_t items = (size_ + most - 1) / most;
    items += items > 1 ? items % 2 : 0;
    return (size_ / items + tile_) / tile_ * tile_;
  }

  // Where the elements of each output lie from `begin` on.
  Results results(int64_t begin) const {
    Results to;
    for (const Result& out : results_) to.push_back(out.data + begin * out.itemsize);
    return to;
  }
  // Kept values are computed in these places.
  void place_kept(Places& at, const Results& to) const {
    for (size_t k = 0; k + 1 < results_.size(); ++k) at[results_[k].operand] = to[k];
  }

  void run_linear() {
    if (chain_) {
      parallel_ranges(size_, elements_per_item(), [&](int64_t begin, int64_t end) {
        Places at = beginnings();
        Chain::Runner runner(*chain_, at);
        for (size_t k = 0; k < at.size(); ++k) at[k] += begin * operands_[k].itemsize;
        runner.run(at, results(begin), end - begin);
      });
      return;
    }
    // One pass that needs no tile: every constant is read as one number. Cheap ones wait for memory all the
    // time; the others have it fetched while they compute.
    const bool at_once =
        calls_.size() == 1 && all_cheap_ && !streams_ &&
        std::none_of(operands_.begin(), operands_.end(), [](const Operand& o) { return o.repeated; });
    parallel_ranges(size_, elements_per_item(), [&](int64_t begin, int64_t end) {
      const int64_t tile = at_once ? end - begin : std::min(tile_, end - begin);
      char* const memory = scratch();
      Places at = places(memory, std::min(tile_, end - begin));
      const Results in_tiles = result_tiles(memory, at);
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
        const Results in_memory = results(i), &to = streams_ ? in_tiles : in_memory;
        place_kept(at, to);
        compute(at, to[to.size() - 1], n, ahead);
        for (size_t k = 0; streams_ && k < results_.size(); ++k)
          tiles_.stream(in_memory[k], in_tiles[k], n * results_[k].itemsize);
      }
      if (streams_) tiles_.fence();
    });
  }

  Block choose_block() const {
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
    if (columns >= tile_ / 4) return {1, std::min(columns, tile_)};
    return {std::clamp<int64_t>(tile_ / columns, 1, rows), columns};
  }

  // Rows that lie in memory as they are need no tiles: for a chain, or for one call, which may also take
  // one number for each row.
  void plan_direct() {
    const size_t d = shape_.size();
    if ((!chain_ && calls_.size() != 1) || shape_[d - 1] < tile_ / 4) return;
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
  // A block of rows that lie in memory. `at`: where the first of them begins.
  void compute_rows(Places& at, Results to, Block b, const Results& in_tiles, Chain::Runner* chain) const {
    const size_t d = shape_.size();
    const auto move = [&](int64_t rows, int64_t columns) {
      for (size_t k = 0; k < operands_.size(); ++k) {
        const Operand& o = operands_[k];
        if (!o.constant) at[k] += (rows * o.strides[d - 2] + columns * o.strides[d - 1]) * o.itemsize;
      }
      for (size_t k = 0; k < results_.size(); ++k)
        to[k] += (rows * shape_[d - 1] + columns) * results_[k].itemsize;
    };
    for (int64_t r = 0; r < b.rows; ++r) {
      const int64_t piece = streams_ ? tile_ : b.columns;
      for (int64_t c = 0; c < b.columns; c += piece) {
        const int64_t n = std::min(piece, b.columns - c);
        compute_piece(at, streams_ ? in_tiles : to, n, chain);
        for (size_t k = 0; streams_ && k < results_.size(); ++k)
          tiles_.stream(to[k], in_tiles[k], n * results_[k].itemsize);
        move(0, n);
      }
      move(1, -b.columns);
    }
  }
  void compute_piece(Places& at, const Results& to, int64_t n, Chain::Runner* chain) const {
    if (chain) return chain->run(at, to, n);
    place_kept(at, to);
    compute(at, to[to.size() - 1], n);
  }

  static const char* repeat(const char* row, char* to, int64_t bytes, int64_t rows) {
    std::memcpy(to, row, static_cast<size_t>(bytes));
    for (int64_t done = 1; done < rows; done *= 2)
      std::memcpy(to + done * bytes, to, static_cast<size_t>(std::min(done, rows - done) * bytes));
    return to;
  }

  // The operand's part of a block: where it lies already, or gathered into `tile`.
  const char* gather(const Operand& o, const char* from, char* tile, Block b) const {
    const size_t d = shape_.size();
    const int64_t row = o.strides[d - 2], column = o.strides[d - 1];
    const int index = size_index(o.itemsize);
    if (column == 1 && (b.rows == 1 || row == b.columns)) return from;
    if (row == 1 && column > 1 && b.rows > 1) {
      copy_kernels().transpose[index](from, column, tile, b.columns, b.rows, b.columns, false);
      return tile;
    }
    if (row == 0 && column == 1) return repeat(from, tile, b.columns * o.itemsize, b.rows);
    for (int64_t r = 0; r < b.rows; ++r) {
      const char* source = from + r * row * o.itemsize;
      char* target = tile + r * b.columns * o.itemsize;
      if (column == 1) {
        std::memcpy(target, source, static_cast<size_t>(b.columns * o.itemsize));
      } else if (column == 0) {
        tiles_.fill[index](target, source, b.columns);
      } else {
        tiles_.gather[index](target, source, column, b.columns);
      }
    }
    return tile;
  }

  void run_blocks() {
    shape_ = collapse(out_.shape(), operands_);
    plan_direct();
    const size_t d = shape_.size();
    const int64_t rows = shape_[d - 2], columns = shape_[d - 1];
    const Block block = choose_block();
    const int64_t row_blocks = (rows + block.rows - 1) / block.rows;
    const int64_t column_blocks = (columns + block.columns - 1) / block.columns;
    const int64_t per_outer = row_blocks * column_blocks;
    const int64_t blocks = size_ / (rows * columns) * per_outer;
    const int64_t grain = std::max<int64_t>(1, elements_per_item() / 2 / (block.rows * block.columns));
    parallel_ranges(blocks, grain, [&](int64_t begin, int64_t end) {
      char* memory = scratch();
      Places at = places(memory, std::min(tile_, block.rows * block.columns));
      const Results in_tiles = result_tiles(memory, at);
      std::optional<Chain::Runner> runner;
      if (chain_) runner.emplace(*chain_, at);
      std::vector<const char*> outer_base(operands_.size());
      int64_t outer_of_base = -1;
      // A row that is repeated (a bias) stays in its tile while blocks begin at the same place.
      std::vector<std::pair<const char*, Block>> repeated(operands_.size(), {nullptr, {0, 0}});
      for (int64_t i = begin; i < end; ++i) {
        const int64_t outer = i / per_outer, inner = i % per_outer;
        if (outer != outer_of_base) {
          find_bases(outer, outer_base);
          outer_of_base = outer;
        }
        const int64_t r0 = inner / column_blocks * block.rows, c0 = inner % column_blocks * block.columns;
        const Block b{std::min(block.rows, rows - r0), std::min(block.columns, columns - c0)};
        for (size_t k = 0; k < operands_.size(); ++k) {
          const Operand& o = operands_[k];
          if (o.constant) continue;
          const char* from = outer_base[k] + (r0 * o.strides[d - 2] + c0 * o.strides[d - 1]) * o.itemsize;
          if (direct_) {
            at[k] = from;
            continue;
          }
          if (o.strides[d - 2] == 0 && o.strides[d - 1] == 1 && b.rows > 1) {
            auto& [before, size] = repeated[k];
            at[k] = gather_slot(memory, k);
            if (from == before && b.columns == size.columns && b.rows <= size.rows) continue;
            before = from, size = b;
          }
          at[k] = gather(o, from, gather_slot(memory, k), b);
        }
        const Results in_memory = results((outer * rows + r0) * columns + c0);
        if (direct_) {
          compute_rows(at, in_memory, b, in_tiles, runner ? &*runner : nullptr);
          continue;
        }
        const bool together = b.rows == 1 || b.columns == columns;  // in memory
        const Results& to = together && !streams_ ? in_memory : in_tiles;
        const int64_t n = b.rows * b.columns;
        compute_piece(at, to, n, runner ? &*runner : nullptr);
        if (together && !streams_) continue;
        for (size_t k = 0; k < results_.size(); ++k)
          together ? tiles_.stream(in_memory[k], in_tiles[k], n * results_[k].itemsize)
                   : copy_rows(in_memory[k], in_tiles[k], b, results_[k].itemsize);
      }
      if (streams_) tiles_.fence();
    });
  }

  // A block that lies in a tile to where its rows lie in an output.
  void copy_rows(char* to, const char* tile, Block b, int64_t itemsize) const {
    for (int64_t r = 0; r < b.rows; ++r)
      std::memcpy(to + r * shape_.back() * itemsize, tile + r * b.columns * itemsize,
                  static_cast<size_t>(b.columns * itemsize));
  }

  void find_bases(int64_t outer, std::vector<const char*>& bases) const {
    for (size_t k = 0; k < operands_.size(); ++k) {
      const Operand& o = operands_[k];
      int64_t offset = 0, rest = outer;
      for (size_t i = shape_.size() - 2; !o.constant && i-- > 0;) {
        offset += rest % shape_[i] * o.strides[i];
        rest /= shape_[i];
      }
      bases[k] = o.data + offset * o.itemsize;
    }
  }

  const Program& program_;
  const Tiles& tiles_;
  const array& out_;
  const int64_t size_;
  SmallVector<Result, 4> results_;
  double nanoseconds_ = 0.1;  // per element, roughly
  bool all_cheap_ = true;
  bool narrow_ = false;  // elements of 16 bits
  bool streams_ = false;
  bool direct_ = false;  // rows are computed where they lie
  bool linear_ = false;  // every operand is a number or lies as the output does
  int64_t tile_ = 0;     // elements
  std::vector<Operand> operands_;
  SmallVector<int64_t> shape_;  // collapsed
  Calls calls_;
  std::optional<Chain> chain_;  // in place of calls_, where it gains
};

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

bool turns_first(const array& in) {
  return in.size() >= kTurnFirst && !in.flags().row_contiguous && is_transposed(in);
}

void run_program(const Program& program, const std::vector<const array*>& given, std::vector<array>& outputs,
                 const Donors& donors) {
  std::vector<const array*> inputs = given;
  std::vector<array> turned;
  turned.reserve(inputs.size());
  for (const array*& in : inputs)
    if (turns_first(*in)) in = &turned.emplace_back(row_contiguous(*in));
  for (size_t k = 0; k < outputs.size(); ++k) {
    if (donors[k] >= 0) {
      outputs[k].copy_shared_buffer(*inputs[static_cast<size_t>(donors[k])]);
    } else {
      outputs[k].set_data(allocator::malloc(outputs[k].nbytes()));
    }
  }
  Runner(program, inputs, outputs).run();
}

void forecast(const std::vector<const array*>& inputs, std::vector<array>& outputs, const Donors& donors,
              ShadowMemory& memory) {
  for (const array* in : inputs)
    if (turns_first(*in)) memory.scratch(in->nbytes());
  for (size_t k = 0; k < outputs.size(); ++k) {
    if (donors[k] >= 0) {
      outputs[k].copy_shared_buffer(*inputs[static_cast<size_t>(donors[k])]);
    } else {
      memory.allocate(outputs[k]);
    }
  }
}

const bool registered = (set_program_kernel(Device::cpu, run_program, kMostKept),
                         memory_rules(Device::cpu).add_program(forecast));

}  // namespace
}  // namespace mlx::core::cpu

// Runs a Program (mlx/graph/program.h): as a chain (mlx/cpu/chain.h) where it has the types for one and
// enough elements, otherwise over tiles that stay in the first-level cache, where every step is one call of a
// tile function (mlx/cpu/isa/tiles.h), contiguous in, contiguous out. Operands that are not contiguous are
// gathered into a tile first; constants fill one once. A single step on contiguous arrays runs straight on
// their memory.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "mlx/cpu/calls.h"
#include "mlx/cpu/chain.h"
#include "mlx/cpu/operand.h"

namespace mlx::core::cpu {

// A program's inputs as the runner is given them: large ones that are transposed are copied first.
class TurnedInputs {
 public:
  explicit TurnedInputs(const std::vector<const array*>& given);
  static bool turns(const array& in);
  const std::vector<const array*>& arrays() const { return copies_.empty() ? given_ : turned_; }

 private:
  const std::vector<const array*>& given_;
  std::vector<const array*> turned_;
  std::vector<array> copies_;
};

// Gives a result memory: that of an input, or new.
void place_result(array& result, int donor, const std::vector<const array*>& inputs);

class ProgramRunner {
 public:
  using Inputs = std::vector<const array*>;
  // Where results lie.
  using Places = SmallVector<char*, 4>;

  // Who reads the results next. At once: what is computed stays in the caches, wherever it lies.
  enum class Reader { later, at_once };
  // The kept values' results, then the last step's. Those without data have no memory of their own: run() is
  // not for them.
  ProgramRunner(const Program& program, const Inputs& inputs, const std::vector<array>& results,
                Reader reader = Reader::later);

  // All elements of all results, by all threads.
  void run();
  double nanoseconds() const { return nanoseconds_; }  // per element, roughly, on one of them

  // What one thread computes, in any order: stretches of elements, as they are counted in row-major order.
  class Stretches;

 private:
  // A block of the output: `rows` x `columns` of its last two (collapsed) axes.
  struct Block {
    int64_t rows, columns;
  };
  // What is computed in `operand` of the program belongs there; in none for the last step's.
  struct Result {
    char* data;
    int itemsize;
    size_t operand = 0;
  };
  // Where each operand of the program lies while a tile is computed: inputs, then registers.
  using Operands = std::vector<const char*>;
  // What the next tile reads or writes, and how many bytes of it to fetch before each call of this tile:
  // while the calls compute in the first-level cache, memory would have nothing to do.
  struct Fetch {
    const char* data;
    int64_t share;
  };
  using Ahead = SmallVector<Fetch, 4>;
  class Blocks;

  bool exceeds_cache() const;
  bool gains_by_chain() const;
  void plan_chain(const Inputs& inputs);
  void plan_blocks();
  void plan_direct();
  Block choose_block() const;
  int64_t elements_per_item() const;

  Operands beginnings() const;
  char* scratch() const;
  char* gather_slot(char* memory, size_t input) const;
  Operands places(char* memory, int64_t filled) const;
  Places result_tiles(char* memory, const Operands& at) const;
  Places places_from(int64_t begin) const;
  void place_kept(Operands& at, const Places& to) const;

  void look_ahead(Ahead& ahead, const char* data, int64_t bytes) const;
  void compute(Operands& at, char* out, int64_t n, const Ahead& ahead = {}) const;
  void compute_piece(Operands& at, const Places& to, int64_t n, Chain::Runner* chain) const;
  void run_linear() const;
  void run_blocks() const;

  const Program& program_;
  const Tiles& tiles_;
  const Shape out_shape_;
  const int64_t size_;
  SmallVector<Result, 4> results_;
  double nanoseconds_ = 0.1;  // per element, roughly
  bool all_cheap_ = true;
  bool narrow_ = false;  // elements of 16 bits
  bool streams_ = false;
  bool direct_ = false;  // rows are computed where they lie
  bool linear_ = false;  // every operand is a number or lies as the output does
  // One pass over contiguous operands that needs no tile: every constant is read as one number. Cheap ones
  // wait for memory all the time; the others have it fetched while they compute.
  bool at_once_ = false;
  int64_t tile_ = 0;  // elements
  std::vector<Operand> operands_;
  SmallVector<int64_t> shape_;  // collapsed, where it is not linear
  Block block_{1, 1};
  Calls calls_;
  std::optional<Chain> chain_;  // in place of calls_, where it gains
};

// Blocks of a program with operands that do not lie as its results do, on one thread.
class ProgramRunner::Blocks {
 public:
  explicit Blocks(const ProgramRunner& runner);
  // The block whose first element is (r0, c0) of matrix `outer`, to where it lies in `to`: rows lie side by
  // side there, or, where `is_apart`, as they do in the whole array.
  void compute(int64_t outer, int64_t r0, int64_t c0, Block b, const Places& to, bool is_apart);

 private:
  void find_bases(int64_t outer);
  const char* gather(const Operand& o, const char* from, char* tile, Block b) const;
  void compute_rows(Places to, Block b);
  void copy_rows(char* to, const char* tile, Block b, int64_t itemsize) const;

  const ProgramRunner& p_;
  char* const memory_;
  Operands at_;
  const Places in_tiles_;
  std::optional<Chain::Runner> chain_;
  std::vector<const char*> bases_;  // of the operands in matrix `outer_`
  int64_t outer_ = -1;
  // A row that is repeated (a bias) stays in its tile while blocks begin at the same place.
  std::vector<std::pair<const char*, Block>> repeated_;
};

// The memory of one thread: one at a time on each. For a runner whose results are read at once.
class ProgramRunner::Stretches {
 public:
  explicit Stretches(const ProgramRunner& runner);
  // n elements from `begin` on of result k to to[k].
  void compute(int64_t begin, int64_t n, Places to);

 private:
  void compute_linear(int64_t begin, int64_t n, const Places& to);

  const ProgramRunner& p_;
  std::optional<Blocks> blocks_;
  std::optional<Chain::Runner> chain_;
  Operands at_;
};

}  // namespace mlx::core::cpu

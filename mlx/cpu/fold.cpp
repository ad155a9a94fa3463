// Reductions of element-wise programs: the elements are taken in as they are computed, and only those that
// somebody else wants are written to memory.
#include <algorithm>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "mlx/cpu/program_runner.h"
#include "mlx/cpu/reduce.h"
#include "mlx/cpu/rows/windows.h"
#include "mlx/cpu/thread_memory.h"
#include "mlx/graph/elementwise.h"
#include "mlx/graph/program.h"

namespace mlx::core::cpu {
namespace {

// The elements of a program's results, for reductions: computed into the results' memory or, where they have
// none, into a buffer.
class Results final : public ComputedElements {
 public:
  Results(const ProgramRunner& runner, std::vector<array>& results) : runner_(runner) {
    for (array& result : results)
      results_.push_back(
          {result.data_shared_ptr() ? result.data<char>() : nullptr, static_cast<int>(result.itemsize())});
  }
  std::unique_ptr<Reader> reader() const override { return std::make_unique<Stretches>(*this); }
  double nanoseconds() const override { return runner_.nanoseconds(); }

 private:
  struct Result {
    char* data;
    int itemsize;
  };
  class Stretches final : public Reader {
   public:
    explicit Stretches(const Results& all) : all_(all), stretches_(all.runner_) {
      size_t bytes = 0;
      const auto size = [](const Result& r) { return static_cast<size_t>(kMostRead * r.itemsize); };
      for (const Result& result : all_.results_) bytes += result.data ? 0 : size(result);
      thread_local LineMemory memory;
      char* block = memory.get(bytes);
      for (const Result& result : all_.results_) {
        blocks_.push_back(result.data ? nullptr : block);
        to_.push_back(nullptr);
        if (!result.data) block += size(result);
      }
    }
    void read(int64_t first, int64_t rows, int64_t spacing, int64_t columns, View* views) override {
      if (spacing == columns) columns *= std::exchange(rows, 1);
      for (int64_t r = 0; r < rows; ++r) {
        for (size_t k = 0; k < to_.size(); ++k) {
          const Result& result = all_.results_[k];
          to_[k] = result.data ? result.data + (first + r * spacing) * result.itemsize
                               : blocks_[k] + r * columns * result.itemsize;
          if (r == 0) views[k] = {to_[k], result.data ? spacing : std::min(spacing, columns)};
        }
        stretches_.compute(first + r * spacing, columns, to_);
      }
    }

   private:
    const Results& all_;
    ProgramRunner::Stretches stretches_;
    ProgramRunner::Places blocks_, to_;
  };

  const ProgramRunner& runner_;
  SmallVector<Result, 4> results_;
};

ReduceLayout layout_in_order(const Shape& shape, const Axes& axes) {
  return layout_of(shape, row_major_strides(shape), axes);
}

bool accepts(const Primitive& primitive, const Shape& shape) {
  const auto* reduce = dynamic_cast<const Reduce*>(&primitive);
  if (!reduce) return false;
  const ReduceLayout layout = layout_in_order(shape, reduce->axes);
  return reduces_computed_well(layout) && !are_windows(layout);
}
bool together(const Primitive& a, const Primitive& b) {
  return static_cast<const Reduce&>(a).axes == static_cast<const Reduce&>(b).axes;
}

// Sums of squares or of magnitudes of an array that lies in memory as it is read: the kernel computes them.
std::optional<ReduceOp> sum_in_kernel(const Program& program, const std::vector<const array*>& given,
                                      const std::vector<array>& results,
                                      const SmallVector<char, 4>& is_output, const std::vector<Fold>& folds) {
  const Program::Step& step = program.steps[0];
  if (program.steps.size() != 1 || given.size() != 1 || is_output[0] || step.from != float32 ||
      !given[0]->flags().row_contiguous || given[0]->shape() != results[0].shape())
    return std::nullopt;
  for (const Fold& fold : folds) {
    const Reduction kind = static_cast<const Reduce&>(*fold.primitive).kind;
    if (kind != Reduction::sum && kind != Reduction::mean) return std::nullopt;
  }
  if (step.op == elementwise::op_of<elementwise::Square> ||
      step.op == elementwise::op_of<elementwise::Multiply>)
    return ReduceOp::squares;
  if (step.op == elementwise::op_of<elementwise::Abs>) return ReduceOp::magnitudes;
  return std::nullopt;
}

void run_folded(const Program& program, const std::vector<const array*>& given, std::vector<array>& results,
                const SmallVector<char, 4>& is_output, const Donors& donors, const std::vector<Fold>& folds) {
  const ReduceLayout layout =
      layout_in_order(results[0].shape(), static_cast<const Reduce&>(*folds[0].primitive).axes);
  if (const auto op = sum_in_kernel(program, given, results, is_output, folds)) {
    for (const Fold& fold : folds) {
      fold.out->set_data(allocator::malloc(fold.out->nbytes()));
      const auto& reduction = static_cast<const Reduce&>(*fold.primitive);
      reduce(*op, static_cast<int>(Dtype::Val::float32), given[0]->data<char>(), layout,
             fold.out->data<char>(), reduction_of(reduction, results[0], *fold.out).divisor);
    }
    return;
  }
  const TurnedInputs inputs(given);
  for (size_t k = 0; k < results.size(); ++k)
    if (is_output[k]) place_result(results[k], donors[k], inputs.arrays());
  const ProgramRunner runner(program, inputs.arrays(), results, ProgramRunner::Reader::at_once);
  std::vector<ComputedReduction> reductions;
  for (const Fold& fold : folds) {
    const auto& reduce = static_cast<const Reduce&>(*fold.primitive);
    const array& of = results[fold.result];
    fold.out->set_data(allocator::malloc(fold.out->nbytes()));
    reductions.push_back({reduction_of(reduce, of, *fold.out), static_cast<int>(of.dtype().val()),
                          fold.result, fold.out->data<char>()});
  }
  reduce_computed(reductions, layout, Results(runner, results));
}

// Elements that lie in memory, row-contiguous.
class Stored final : public ComputedElements {
 public:
  explicit Stored(const array& in) : data_(in.data<char>()), size_(static_cast<int64_t>(in.itemsize())) {}
  std::unique_ptr<Reader> reader() const override { return std::make_unique<InPlace>(*this); }
  double nanoseconds() const override { return 0; }

 private:
  class InPlace final : public Reader {
   public:
    explicit InPlace(const Stored& all) : all_(all) {}
    void read(int64_t first, int64_t, int64_t spacing, int64_t, View* views) override {
      views[0] = {all_.data_ + first * all_.size_, spacing};
    }

   private:
    const Stored& all_;
  };
  const char* data_;
  const int64_t size_;
};

bool share_reading(const Primitive& a, const Primitive& b, const array& in) {
  const auto* other = dynamic_cast<const Reduce*>(&b);
  return in.flags().row_contiguous && accepts(a, in.shape()) && other && together(a, *other);
}
void run_stored(const std::vector<const Primitive*>& primitives, const array& in,
                std::vector<array>& outputs) {
  std::vector<ComputedReduction> reductions;
  for (size_t k = 0; k < outputs.size(); ++k) {
    const auto& reduce = static_cast<const Reduce&>(*primitives[k]);
    outputs[k].set_data(allocator::malloc(outputs[k].nbytes()));
    reductions.push_back({reduction_of(reduce, in, outputs[k]), static_cast<int>(in.dtype().val()), 0,
                          outputs[k].data<char>()});
  }
  const ReduceLayout layout = layout_in_order(in.shape(), static_cast<const Reduce&>(*primitives[0]).axes);
  reduce_computed(reductions, layout, Stored(in));
}

const bool registered =
    (set_fold_rules(Device::cpu, {accepts, together, run_folded, share_reading, run_stored}), true);

}  // namespace
}  // namespace mlx::core::cpu

// Reductions, orders, statistics: examples of each function.
#include "python/src/examples.h"

namespace mlx::python {
namespace {

constexpr Example kRows[] = {
    {"all", R"(  >>> mx.all(mx.array([[True, False], [True, True]]), axis=1)
  array([False, True], dtype=bool)
)"},
    {"allclose", R"(  >>> mx.allclose(mx.array([1.0, 2.0]), mx.array([1.0, 2.0 + 1e-7]))
  array(True, dtype=bool)
)"},
    {"any", R"(  >>> mx.any(mx.array([[False, False], [True, False]]), axis=1)
  array([False, True], dtype=bool)
)"},
    {"argmax", R"(  >>> mx.argmax(mx.array([3, 9, 4]))
  array(1, dtype=uint32)
)"},
    {"argmin", R"(  >>> mx.argmin(mx.array([3, 9, 4]))
  array(0, dtype=uint32)
)"},
    {"argpartition", R"(  >>> mx.argpartition(mx.array([3, 9, 1]), 1)[0]
  array(2, dtype=uint32)
)"},
    {"argsort", R"(  >>> mx.argsort(mx.array([3, 9, 1]))
  array([2, 0, 1], dtype=uint32)
)"},
    {"array_equal", R"(  >>> mx.array_equal(mx.array([1, 2]), mx.array([1, 2]))
  array(True, dtype=bool)
)"},
    {"bincount", R"(  >>> mx.bincount(mx.array([0, 2, 2]))
  array([1, 0, 2], dtype=int32)
)"},
    {"corrcoef", R"(  >>> mx.corrcoef(mx.array([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]]))
  array([[1, -1],
         [-1, 1]], dtype=float32)
)"},
    {"count_nonzero", R"(  >>> mx.count_nonzero(mx.array([0, 3, 5]))
  array(2, dtype=int32)
)"},
    {"cov", R"(  >>> mx.cov(mx.array([[0.0, 2.0], [1.0, 5.0]]))
  array([[2, 4],
         [4, 8]], dtype=float32)
)"},
    {"cummax", R"(  >>> mx.cummax(mx.array([1, 3, 2]))
  array([1, 3, 3], dtype=int32)
)"},
    {"cummin", R"(  >>> mx.cummin(mx.array([3, 1, 2]))
  array([3, 1, 1], dtype=int32)
)"},
    {"cumprod", R"(  >>> mx.cumprod(mx.array([1, 2, 3]))
  array([1, 2, 6], dtype=int32)
)"},
    {"cumsum", R"(  >>> mx.cumsum(mx.array([1, 2, 3]))
  array([1, 3, 6], dtype=int32)
)"},
    {"cumulative_prod", R"(  >>> mx.cumulative_prod(mx.array([1, 2, 3]))
  array([1, 2, 6], dtype=int32)
)"},
    {"cumulative_sum", R"(  >>> mx.cumulative_sum(mx.array([1, 2, 3]))
  array([1, 3, 6], dtype=int32)
)"},
    {"diff", R"(  >>> mx.diff(mx.array([1, 4, 9]))
  array([3, 5], dtype=int32)
)"},
    {"digitize", R"(  >>> mx.digitize(mx.array([0.5, 2.5]), mx.array([0.0, 1.0, 2.0]))
  array([1, 3], dtype=uint32)
)"},
    {"gradient", R"(  >>> mx.gradient(mx.array([1.0, 2.0, 4.0]))
  array([1, 1.5, 2], dtype=float32)
)"},
    {"histogram", R"(  >>> mx.histogram(mx.array([1.0, 2.0, 1.0]), 2)
  (array([2, 1], dtype=int32), array([1, 1.5, 2], dtype=float32))
)"},
    {"interp", R"(  >>> mx.interp(mx.array([1.5]), mx.array([1.0, 2.0]), mx.array([10.0, 20.0]))
  array([15], dtype=float32)
)"},
    {"isin", R"(  >>> mx.isin(mx.array([1, 2, 3]), mx.array([2, 3]))
  array([False, True, True], dtype=bool)
)"},
    {"logcumsumexp", R"(  >>> mx.logcumsumexp(mx.array([0.0, 0.0]))
  array([0, 0.693147], dtype=float32)
)"},
    {"logsumexp", R"(  >>> mx.logsumexp(mx.array([1000.0, 1000.0]))
  array(1000.69, dtype=float32)
)"},
    {"max", R"(  >>> mx.max(mx.array([[1, 5], [7, 2]]), axis=0)
  array([7, 5], dtype=int32)
)"},
    {"mean", R"(  >>> mx.mean(mx.array([1, 2, 6]))
  array(3, dtype=float32)
)"},
    {"median", R"(  >>> mx.median(mx.array([1, 9, 2]))
  array(2, dtype=float32)
)"},
    {"min", R"(  >>> mx.min(mx.array([[1, 5], [7, 2]]), axis=0)
  array([1, 2], dtype=int32)
)"},
    {"minmax", R"(  >>> mx.minmax(mx.array([4, 1, 9]))
  (array(1, dtype=int32), array(9, dtype=int32))
)"},
    {"nanmax", R"(  >>> mx.nanmax(mx.array([1.0, mx.nan]))
  array(1, dtype=float32)
)"},
    {"nanmean", R"(  >>> mx.nanmean(mx.array([1.0, mx.nan, 3.0]))
  array(2, dtype=float32)
)"},
    {"nanmin", R"(  >>> mx.nanmin(mx.array([1.0, mx.nan]))
  array(1, dtype=float32)
)"},
    {"nansum", R"(  >>> mx.nansum(mx.array([1.0, mx.nan]))
  array(1, dtype=float32)
)"},
    {"partition", R"(  >>> mx.partition(mx.array([3, 9, 1]), 1)[1]
  array(3, dtype=int32)
)"},
    {"percentile", R"(  >>> mx.percentile(mx.array([0.0, 10.0]), 25)
  array(2.5, dtype=float32)
)"},
    {"prod", R"(  >>> mx.prod(mx.array([2, 3, 4]))
  array(24, dtype=int32)
)"},
    {"quantile", R"(  >>> mx.quantile(mx.array([0.0, 10.0]), 0.25)
  array(2.5, dtype=float32)
)"},
    {"searchsorted", R"(  >>> mx.searchsorted(mx.array([1, 3, 5]), mx.array([3, 4]))
  array([1, 2], dtype=uint32)
)"},
    {"softmax", R"(  >>> mx.softmax(mx.array([0.0, 0.0]))
  array([0.5, 0.5], dtype=float32)
)"},
    {"sort", R"(  >>> mx.sort(mx.array([3, 9, 1]))
  array([1, 3, 9], dtype=int32)
)"},
    {"std", R"(  >>> mx.std(mx.array([1.0, 3.0]))
  array(1, dtype=float32)
)"},
    {"sum", R"(  >>> mx.sum(mx.array([[1, 2], [3, 4]]), axis=1)
  array([3, 7], dtype=int32)
)"},
    {"topk", R"(  >>> mx.sort(mx.topk(mx.array([3, 9, 1]), 2))
  array([3, 9], dtype=int32)
)"},
    {"trapezoid", R"(  >>> mx.trapezoid(mx.array([1.0, 3.0]))
  array(2, dtype=float32)
)"},
    {"unique", R"(  >>> mx.unique(mx.array([3, 1, 3]))
  array([1, 3], dtype=int32)
)"},
    {"unique_all", R"(  >>> mx.unique_all(mx.array([3, 1, 3])).counts
  array([1, 2], dtype=int32)
)"},
    {"unique_counts", R"(  >>> mx.unique_counts(mx.array([3, 1, 3])).values
  array([1, 3], dtype=int32)
)"},
    {"unique_inverse", R"(  >>> mx.unique_inverse(mx.array([3, 1, 3])).inverse_indices
  array([1, 0, 1], dtype=uint32)
)"},
    {"unique_values", R"(  >>> mx.unique_values(mx.array([3, 1, 3]))
  array([1, 3], dtype=int32)
)"},
    {"var", R"(  >>> mx.var(mx.array([1.0, 3.0]))
  array(1, dtype=float32)
)"},
    {"var_mean", R"(  >>> mx.var_mean(mx.array([1.0, 3.0]))
  (array(1, dtype=float32), array(2, dtype=float32))
)"},
};

}  // namespace

const std::span<const Example> kReductionExamples(kRows);

}  // namespace mlx::python

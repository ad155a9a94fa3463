#include "python/src/index_plan.h"

#include <algorithm>
#include <limits>
#include <sstream>

#include "mlx/compile.h"
#include "python/src/args.h"
#include "python/src/convert.h"

namespace mlx::python {
namespace {

// Beyond every array: slice() stops at its ends.
constexpr ShapeElem kToEnd = std::numeric_limits<ShapeElem>::max(),
                    kToFront = std::numeric_limits<ShapeElem>::min();

std::string text(const Shape& s) {
  std::ostringstream os;
  os << s;
  return os.str();
}

// An array, a list or a NumPy array used as an index. Empty lists are integers.
std::optional<array> index_array(nb::handle h) {
  if (const array* a = as_array(h)) return *a;
  if (PyList_Check(h.ptr())) {
    array a = make_array(h, std::nullopt, "index");
    return a.size() == 0 && a.dtype() == core::float32 ? core::astype(a, core::int32) : a;
  }
  if (PyFloat_Check(h.ptr()) || PyComplex_Check(h.ptr())) return std::nullopt;
  return from_array_like(h);
}

// Positions of the true elements, one array per dimension, or `flat` in the whole of the mask. It is
// evaluated: the result's shape depends on it.
Arrays nonzero(array mask, bool flat = false) {
  if (!mask.is_available() && mask.is_tracer())
    throw std::invalid_argument(
        "[index] a boolean mask cannot select inside a transformed function, as the result's shape depends "
        "on its "
        "values; use where");
  mask = core::contiguous(mask);
  eval_released(mask);
  const bool* data = mask.data<bool>();
  size_t count = 0;
  for (size_t i = 0; i < mask.size(); ++i) count += data[i];
  const Shape shape = flat ? Shape{core::safe_cast(mask.size(), "index")} : mask.shape();
  Arrays out;
  std::vector<int32_t*> columns;
  for (size_t d = 0; d < shape.size(); ++d) {
    array column(Shape{core::safe_cast(count, "index")}, core::int32, nullptr, {});
    column.set_data(core::allocator::malloc(column.nbytes()));
    column.set_status(array::Status::available);
    out.push_back(column);
    columns.push_back(out.back().data<int32_t>());
  }
  if (columns.empty()) return out;
  // Along the last axis every place is written and only kept where the mask is true: no branch to guess.
  const size_t last = columns.size() - 1;
  const auto length = shape[last];
  std::vector<int32_t> at(last, 0);
  for (size_t k = 0; k < count; data += length) {
    const size_t begin = k;
    for (int32_t j = 0; j < length && k < count; ++j) {
      columns[last][k] = j;
      k += data[j];
    }
    for (size_t d = 0; d < last; ++d) std::fill(columns[d] + begin, columns[d] + k, at[d]);
    for (size_t d = last; d-- > 0;) {
      if (++at[d] < shape[d]) break;
      at[d] = 0;
    }
  }
  return out;
}

// `written`: the dimension as the user counts.
void check_mask(const Shape& shape, const array& mask, size_t dim, size_t written) {
  for (size_t i = 0; i < mask.ndim(); ++i)
    if (dim + i >= shape.size() || mask.shape()[i] != shape[dim + i])
      throw std::out_of_range("[index] a boolean mask of shape " + text(mask.shape()) +
                              " does not fit dimension " + std::to_string(written) +
                              " of an array of shape " +
                              text(Shape(shape.begin() + static_cast<long>(dim - written), shape.end())));
}

class Planner {
 public:
  Planner(const array& a) : a_(a) {}

  IndexPlan run(nb::handle key) {
    if (PyTuple_Check(key.ptr())) {
      size_t consumed = 0;
      bool ellipsis = false;
      for (nb::handle item : nb::borrow<nb::tuple>(key)) {
        if (item.ptr() == Py_Ellipsis) {
          if (ellipsis) throw std::out_of_range("[index] an index can have one ellipsis only");
          ellipsis = true;
        } else {
          consumed += consumes(item);
        }
      }
      check_count(consumed);
      begin();
      for (nb::handle item : nb::borrow<nb::tuple>(key)) {
        if (item.ptr() == Py_Ellipsis) {
          for (size_t n = a_.ndim() - consumed; n > 0; --n) keep();
          separate();
        } else {
          add(item);
        }
      }
    } else if (key.ptr() != Py_Ellipsis) {
      check_count(consumes(key));
      begin();
      add(key);
    } else {
      begin();
    }
    while (dim_ < shape_.size()) keep();
    finish();
    return std::move(plan_);
  }

 private:
  void check_count(size_t consumed) const {
    if (consumed > a_.ndim())
      throw std::out_of_range("[index] too many indices: " + std::to_string(consumed) +
                              " for an array with " + std::to_string(a_.ndim()) + " dimensions");
  }

  // After the first pass, which finds out whether there are booleans without dimensions. These select from a
  // dimension of size one that is put before the array's.
  void begin() {
    shape_ = a_.shape();
    if (lone_) {
      shape_.insert(shape_.begin(), 1);
      dim_ = 1;
      plan_.lone = true;
      plan_.gathered.push_back(0);
      plan_.indices.push_back(core::zeros({*lone_ ? 1 : 0}, core::int32));
    }
    start_ = Shape(shape_.size(), 0);
    step_ = Shape(shape_.size(), 1);
    plan_.stop = Shape(shape_.size(), kToEnd);
    plan_.count = shape_;
    plan_.dropped.assign(shape_.size(), false);
  }

  // Arrays converted on the first pass are kept for the second.
  size_t consumes(nb::handle item) {
    if (item.is_none()) return 0;
    if (PyBool_Check(item.ptr())) return note_lone(item.ptr() == Py_True);
    if (PySlice_Check(item.ptr()) || is_int(item)) return 1;
    std::optional<array> index = index_array(item);
    if (!index)
      throw nb::type_error(
          (std::string("[index] an index must be an int, a slice, None, an ellipsis, an integer or "
                       "boolean array or a list of these, not ") +
           Py_TYPE(item.ptr())->tp_name)
              .c_str());
    if (index->dtype() != core::bool_ && !core::issubdtype(index->dtype(), core::integer))
      throw nb::type_error((std::string("[index] index arrays must have an integer or boolean dtype, not ") +
                            core::dtype_name(index->dtype()))
                               .c_str());
    arrays_.push_back(*index);
    if (index->dtype() == core::bool_ && index->ndim() == 0) return note_lone(value_of(*index));
    return index->dtype() == core::bool_ ? index->ndim() : 1;
  }

  size_t note_lone(bool value) {
    lone_ = lone_.value_or(true) && value;
    return 0;
  }

  void add(nb::handle item) {
    if (item.is_none()) {
      plan_.layout.push_back(IndexPlan::kNew);
      separate();
    } else if (PyBool_Check(item.ptr())) {
      add_lone();
    } else if (PySlice_Check(item.ptr())) {
      add_slice(item);
      separate();
    } else if (is_int(item)) {
      add_int(item);
    } else {
      array index = arrays_[next_array_++];
      if (index.dtype() == core::bool_ && index.ndim() == 0) {
        add_lone();
      } else if (index.dtype() == core::bool_) {
        add_mask(index);
      } else {
        add_array(index);
      }
    }
  }

  void keep() { plan_.layout.push_back(static_cast<int>(dim_++)); }

  // A slice, None or ellipsis stands between the indices before and those after it.
  void separate() {
    if (advanced_seen_) gap_ = true;
  }

  void add_slice(nb::handle item) {
    Py_ssize_t start, stop, step;
    const ShapeElem size = shape_[dim_];
    if (PySlice_Unpack(item.ptr(), &start, &stop, &step) < 0) throw nb::python_error();
    if (core::detail::sizes_open(a_)) return add_open_slice(start, stop, step);
    const Py_ssize_t n = PySlice_AdjustIndices(size, &start, &stop, step);
    if (!(start == 0 && n == size && step == 1)) plan_.whole = false;
    start_[dim_] = static_cast<ShapeElem>(start);
    // The stop that a slice with n elements needs, whatever was written: negative ends stay recognisable.
    step_[dim_] = n <= 1 ? 1 : static_cast<ShapeElem>(step);
    const Py_ssize_t end = n <= 1 ? start + n : start + n * step;
    // Below zero means "from the end" to slice(); one beyond it means before the first element.
    plan_.stop[dim_] = static_cast<ShapeElem>(end < 0 ? -size - 1 : end);
    if (n == 0) start_[dim_] = plan_.stop[dim_] = 0;
    plan_.count[dim_] = static_cast<ShapeElem>(n);
    keep();
  }

  // As written: the same for arrays of other sizes. slice() reads numbers as Python does.
  void add_open_slice(Py_ssize_t start, Py_ssize_t stop, Py_ssize_t step) {
    const auto clamped = [](Py_ssize_t i) {
      return static_cast<ShapeElem>(std::clamp<Py_ssize_t>(i, kToFront, kToEnd));
    };
    start_[dim_] = clamped(start);
    plan_.stop[dim_] = clamped(stop);
    step_[dim_] = clamped(step);
    if (start_[dim_] != 0 || plan_.stop[dim_] != kToEnd || step != 1) plan_.whole = false;
    plan_.count[dim_] = static_cast<ShapeElem>(PySlice_AdjustIndices(shape_[dim_], &start, &stop, step));
    keep();
  }

  void add_int(nb::handle item) {
    const int64_t i = checked_index(item);
    ints_.push_back({dim_, static_cast<ShapeElem>(i)});
    if (first_advanced_ == kNone) first_advanced_ = plan_.layout.size();
    note_advanced(false);
    ++dim_;
  }

  int64_t checked_index(nb::handle item) const {
    int64_t i;
    if (!read_int64(item.ptr(), i)) throw nb::type_error("[index] an index must be an integer");
    const int64_t size = shape_[dim_];
    if (i < -size || i >= size)
      throw std::out_of_range("[index] " + std::to_string(i) + " is out of range for dimension " +
                              std::to_string(dim_ - plan_.lone) + " with size " + std::to_string(size));
    return i < 0 && !core::detail::sizes_open(a_) ? i + size : i;
  }

  // Its index array stands in the plan already.
  void add_lone() {
    if (first_advanced_ == kNone) first_advanced_ = plan_.layout.size();
    note_advanced(true);
  }

  void add_array(const array& index) {
    if (first_advanced_ == kNone) first_advanced_ = plan_.layout.size();
    note_advanced(true);
    plan_.gathered.push_back(static_cast<int>(dim_++));
    plan_.indices.push_back(index);
  }

  void add_mask(const array& mask) {
    check_mask(shape_, mask, dim_, dim_ - plan_.lone);
    for (const array& column : nonzero(mask)) add_array(column);
  }

  void note_advanced(bool is_array) {
    if (gap_) split_ = true;
    advanced_seen_ = true;
    has_arrays_ |= is_array;
  }

  void finish() {
    if (!has_arrays_) {
      for (const Int& i : ints_) {
        start_[i.dim] = i.value;
        plan_.stop[i.dim] = i.value == -1 ? kToEnd : i.value + 1;
        plan_.count[i.dim] = 1;
        plan_.dropped[i.dim] = true;
        plan_.whole = false;
      }
    } else {
      // Beside index arrays an int is an index array too: it takes part in broadcasting and in where the
      // dimensions go.
      for (const Int& i : ints_) {
        size_t at = 0;
        while (at < plan_.gathered.size() && plan_.gathered[at] < static_cast<int>(i.dim)) ++at;
        plan_.gathered.insert(plan_.gathered.begin() + static_cast<long>(at), static_cast<int>(i.dim));
        plan_.indices.insert(plan_.indices.begin() + static_cast<long>(at), array(i.value, core::int32));
      }
      const size_t at = split_ ? 0 : first_advanced_;
      plan_.layout.insert(plan_.layout.begin() + static_cast<long>(at), IndexPlan::kIndices);
    }
    plan_.start = start_;
    plan_.step = step_;
  }

  static constexpr size_t kNone = static_cast<size_t>(-1);
  struct Int {
    size_t dim;
    ShapeElem value;
  };
  const array& a_;
  IndexPlan plan_;
  Shape shape_, start_, step_;
  std::optional<bool> lone_;  // whether all booleans without dimensions are true
  std::vector<Int> ints_;
  Arrays arrays_;
  size_t next_array_ = 0, dim_ = 0, first_advanced_ = kNone;
  bool advanced_seen_ = false, gap_ = false, split_ = false, has_arrays_ = false;
};

}  // namespace

Shape IndexPlan::result_shape(const Shape& index_shape) const {
  Shape out;
  for (int dim : layout) {
    if (dim == kNew) {
      out.push_back(1);
    } else if (dim == kIndices) {
      out.insert(out.end(), index_shape.begin(), index_shape.end());
    } else {
      out.push_back(count[static_cast<size_t>(dim)]);
    }
  }
  return out;
}

IndexPlan plan_index(const array& a, nb::handle key) { return Planner(a).run(key); }

std::optional<array> only_mask(const array& a, nb::handle key) {
  if (PyTuple_Check(key.ptr()) && PyTuple_GET_SIZE(key.ptr()) == 1) key = PyTuple_GET_ITEM(key.ptr(), 0);
  if (PyBool_Check(key.ptr())) return array(key.ptr() == Py_True);
  if (PyTuple_Check(key.ptr()) || PySlice_Check(key.ptr()) || key.is_none() || key.ptr() == Py_Ellipsis ||
      is_int(key))
    return std::nullopt;
  std::optional<array> mask = index_array(key);
  if (!mask || mask->dtype() != core::bool_) return std::nullopt;
  check_mask(a.shape(), *mask, 0, 0);
  return mask;
}

array mask_positions(const array& mask) { return nonzero(mask, true)[0]; }

bool value_of(array mask) {
  if (!mask.is_available() && mask.is_tracer())
    throw std::invalid_argument(
        "[index] a boolean array without dimensions cannot select inside a transformed function, as the "
        "result's shape depends on its value; use where");
  eval_released(mask);
  return *mask.data<bool>();
}

}  // namespace mlx::python

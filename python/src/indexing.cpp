#include "python/src/indexing.h"

#include <numeric>
#include <sstream>

#include "mlx/compile.h"
#include "mlx/transforms.h"
#include "python/src/args.h"
#include "python/src/convert.h"
#include "python/src/index_plan.h"

namespace mlx::python {
namespace {

using core::slice;

std::string text(const Shape& s) {
  std::ostringstream os;
  os << s;
  return os.str();
}

array basic_slice(const array& a, const IndexPlan& plan) {
  return plan.whole ? a : slice(a, plan.start, plan.stop, plan.step);
}

// Only an index without elements can select from a dimension without elements.
void check_not_empty(const array& a, int dim, const Shape& indices) {
  if (a.shape()[static_cast<size_t>(dim)] != 0) return;
  for (int n : indices)
    if (n == 0) return;
  throw std::out_of_range("[index] an index array of shape " + text(indices) +
                          " is out of range for dimension " + std::to_string(dim) + " with size 0");
}

Shape index_shape(const array& a, const IndexPlan& plan) {
  Shape shape;
  for (const array& i : plan.indices) shape = core::broadcast_shapes(shape, i.shape());
  for (int dim : plan.gathered)
    if (!plan.lone || dim > 0) check_not_empty(a, dim - plan.lone, shape);
  return shape;
}

// What stands where in the gathered array: the index dimensions first, then those of the array that stay.
std::vector<int> stored_order(const IndexPlan& plan, size_t index_dims) {
  std::vector<int>
      order;  // for every dimension of the result but the new ones: its place in the gathered array
  for (int dim : plan.layout) {
    if (dim == IndexPlan::kIndices) {
      for (size_t i = 0; i < index_dims; ++i) order.push_back(static_cast<int>(i));
    } else if (dim >= 0) {
      int before = 0;
      for (int g : plan.gathered) before += g < dim;
      order.push_back(static_cast<int>(index_dims) + dim - before);
    }
  }
  return order;
}

bool in_order(const std::vector<int>& order) {
  for (size_t i = 0; i < order.size(); ++i)
    if (order[i] != static_cast<int>(i)) return false;
  return true;
}

array gather_item(const array& a, const IndexPlan& plan) {
  const Shape indices = index_shape(a, plan);
  const array source = basic_slice(plan.lone ? core::expand_dims(a, 0) : a, plan);
  const Shape result = plan.result_shape(indices);
  array out = [&] {
    if (plan.indices.size() == 1) {
      // take() leaves the index dimensions where the indexed one was, which is where the layout wants them.
      return core::take(source, plan.indices[0], plan.gathered[0]);
    }
    Shape sizes = source.shape();
    for (int g : plan.gathered) sizes[static_cast<size_t>(g)] = 1;
    array gathered = core::gather(source, plan.indices, plan.gathered, sizes);
    std::vector<int> ones;
    for (int g : plan.gathered) ones.push_back(g + static_cast<int>(indices.size()));
    gathered = core::squeeze(gathered, ones);
    const std::vector<int> order = stored_order(plan, indices.size());
    return in_order(order) ? gathered : core::transpose(gathered, order);
  }();
  return out.shape() == result ? out : core::reshape(out, result);
}

array basic_item(const array& a, const IndexPlan& plan) {
  array out = basic_slice(a, plan);
  std::vector<int> dropped;
  for (size_t i = 0; i < plan.dropped.size(); ++i)
    if (plan.dropped[i]) dropped.push_back(static_cast<int>(i));
  if (!dropped.empty()) out = core::squeeze(out, dropped);
  std::vector<int> added;
  int at = 0;
  for (int dim : plan.layout) {
    if (dim == IndexPlan::kNew) added.push_back(at);
    ++at;
  }
  return added.empty() ? out : core::expand_dims(out, added);
}

array row(const array& a, nb::handle key) {
  if (a.ndim() == 0) throw std::out_of_range("[index] an array with no dimensions takes no index");
  int64_t i;
  if (!read_int64(key.ptr(), i)) throw nb::type_error("[index] an index must be an integer");
  const int64_t n = a.shape()[0];
  if (i < -n || i >= n)
    throw std::out_of_range("[index] " + std::to_string(i) + " is out of range for dimension 0 with size " +
                            std::to_string(n));
  return core::take(a, static_cast<int>(i), 0);
}

// The array with the dimensions of the mask flattened into one, and where the mask holds in it.
array flat_source(const array& a, const array& mask) {
  if (mask.ndim() == 0) return core::expand_dims(a, 0);
  return mask.ndim() == 1 ? a : core::flatten(a, 0, static_cast<int>(mask.ndim()) - 1);
}
array flat_positions(const array& mask) {
  if (mask.ndim() == 0) return core::zeros({value_of(mask) ? 1 : 0}, core::int32);
  return mask_positions(mask);
}

array masked_item(const array& a, const array& mask) {
  if (mask.ndim() == 0) {
    array out = core::expand_dims(a, 0);
    if (value_of(mask)) return out;
    Shape stop = out.shape();
    stop[0] = 0;
    return slice(out, Shape(out.ndim(), 0), stop);
  }
  return core::take(flat_source(a, mask), flat_positions(mask), 0);
}

// `value` as the update of a selection of shape `result`: broadcast, with the dtype of `a`.
array fit(const array& value, Dtype dtype, const Shape& result, bool broadcast = true) {
  array v = core::astype(value, dtype);
  // Leading dimensions of size one may exceed the selection's.
  if (v.ndim() > result.size()) {
    std::vector<int> extra;
    for (size_t i = 0; i < v.ndim() - result.size() && v.shape()[i] == 1; ++i)
      extra.push_back(static_cast<int>(i));
    if (!extra.empty()) v = core::squeeze(v, extra);
  }
  if (v.ndim() > result.size() || core::broadcast_shapes(v.shape(), result) != result) {
    std::ostringstream os;
    os << "[index] a value of shape " << value.shape() << " cannot be assigned to a selection of shape "
       << result;
    throw std::invalid_argument(os.str());
  }
  return v.shape() == result || !broadcast ? v : core::broadcast_to(v, result);
}

// A value for a basic selection with the dimensions of the selected box: those that None added go, those that
// ints dropped come back.
array box_update(const array& a, const IndexPlan& plan, array v) {
  std::vector<int> lead, added, dropped;
  for (int i = 0; i < static_cast<int>(plan.layout.size()) - static_cast<int>(v.ndim()); ++i)
    lead.push_back(i);
  if (!lead.empty()) v = core::expand_dims(v, lead);
  for (size_t i = 0; i < plan.layout.size(); ++i)
    if (plan.layout[i] == IndexPlan::kNew) added.push_back(static_cast<int>(i));
  if (!added.empty()) v = core::squeeze(v, added);
  for (size_t i = 0; i < plan.dropped.size(); ++i)
    if (plan.dropped[i]) dropped.push_back(static_cast<int>(i));
  if (!dropped.empty()) v = core::expand_dims(v, dropped);
  return v.shape() == plan.count || core::detail::sizes_open(a) ? v : core::broadcast_to(v, plan.count);
}

array combine(const array& old, const array& v, Update update) {
  switch (update) {
    case Update::add:
      return core::add(old, v);
    case Update::subtract:
      return core::subtract(old, v);
    case Update::multiply:
      return core::multiply(old, v);
    case Update::divide:
      return core::astype(core::divide(old, v), old.dtype());
    case Update::maximum:
      return core::maximum(old, v);
    case Update::minimum:
      return core::minimum(old, v);
    default:
      return v;
  }
}

// a with the basic selection replaced by `v`, which has its shape.
array write_slice(const array& a, const IndexPlan& plan, const array& v, Update update) {
  if (plan.whole && !core::detail::sizes_open(a)) return combine(a, v, update);
  const auto& [start, stop, step] = std::tie(plan.start, plan.stop, plan.step);
  switch (update) {
    case Update::assign:
      return core::slice_update(a, v, start, stop, step);
    case Update::add:
      return core::slice_update_add(a, v, start, stop, step);
    case Update::subtract:
      return core::slice_update_add(a, core::negative(v), start, stop, step);
    case Update::multiply:
      return core::slice_update_prod(a, v, start, stop, step);
    case Update::maximum:
      return core::slice_update_max(a, v, start, stop, step);
    case Update::minimum:
      return core::slice_update_min(a, v, start, stop, step);
    case Update::divide:
      return core::slice_update(a, combine(slice(a, start, stop, step), v, update), start, stop, step);
  }
  return a;
}

array scatter(const array& a, const IndexPlan& plan, const array& updates, Update update) {
  const auto& [indices, axes] = std::tie(plan.indices, plan.gathered);
  switch (update) {
    case Update::assign:
      return core::scatter(a, indices, updates, axes);
    case Update::add:
      return core::scatter_add(a, indices, updates, axes);
    case Update::subtract:
      return core::scatter_add(a, indices, core::negative(updates), axes);
    case Update::multiply:
      return core::scatter_prod(a, indices, updates, axes);
    case Update::maximum:
      return core::scatter_max(a, indices, updates, axes);
    case Update::minimum:
      return core::scatter_min(a, indices, updates, axes);
    case Update::divide: {
      // Elements selected twice are divided by the product of their divisors; the others by one.
      array divisors = core::scatter_prod(core::ones_like(a), indices, updates, axes);
      if (!core::issubdtype(a.dtype(), core::integer)) return core::divide(a, divisors);
      return core::astype(core::divide(core::astype(a, core::float64), core::astype(divisors, core::float64)),
                          a.dtype());
    }
  }
  return a;
}

array scatter_item(const array& original, const IndexPlan& plan, const array& value, Update update) {
  const array a = plan.lone ? core::expand_dims(original, 0) : original;
  const Shape indices = index_shape(original, plan);
  array v = fit(value, a.dtype(), plan.result_shape(indices));
  // Bring the value into the order that scatter wants: index dimensions, then all of the array's.
  std::vector<int> added;
  int at = 0;
  for (int dim : plan.layout) {
    if (dim == IndexPlan::kNew) added.push_back(at);
    at += dim == IndexPlan::kIndices ? static_cast<int>(indices.size()) : 1;
  }
  if (!added.empty()) v = core::squeeze(v, added);
  const std::vector<int> order = stored_order(plan, indices.size());
  if (!in_order(order)) {
    std::vector<int> inverse(order.size());
    for (size_t i = 0; i < order.size(); ++i) inverse[static_cast<size_t>(order[i])] = static_cast<int>(i);
    v = core::transpose(v, inverse);
  }
  Shape shape = indices;
  for (size_t d = 0; d < a.ndim(); ++d) shape.push_back(plan.count[d]);
  for (int g : plan.gathered) shape[indices.size() + static_cast<size_t>(g)] = 1;
  v = core::reshape(v, shape);
  const array out =
      plan.whole ? scatter(a, plan, v, update)
                 : write_slice(a, plan, scatter(basic_slice(a, plan), plan, v, update), Update::assign);
  return plan.lone ? core::squeeze(out, 0) : out;
}

array masked_update(const array& a, const array& mask, const array& value, Update update) {
  const Shape rest(a.shape().begin() + static_cast<long>(mask.ndim()), a.shape().end());
  array v = core::astype(value, a.dtype());
  while (v.ndim() > rest.size() && v.shape()[0] == 1) v = core::squeeze(v, 0);
  if (v.ndim() > rest.size() + 1) {
    std::ostringstream os;
    os << "[index] a value of shape " << value.shape() << " cannot be assigned through a mask of "
       << mask.ndim() << " dimensions to an array of shape " << a.shape();
    throw std::invalid_argument(os.str());
  }
  const bool single = v.ndim() <= rest.size();
  if (single || update == Update::assign) {
    Shape aligned = mask.shape();
    aligned.resize(a.ndim(), 1);
    const array wide = core::reshape(mask, aligned);
    // One value for every row that the mask selects: no need to know which rows these are.
    if (single) return core::where(wide, combine(a, fit(v, a.dtype(), rest), update), a);
    Shape rows = rest;
    rows.insert(rows.begin(), v.shape()[0]);
    return core::masked_scatter(a, core::broadcast_to(wide, a.shape()), fit(v, a.dtype(), rows));
  }
  const array flat = flat_positions(mask), source = flat_source(a, mask);
  Shape rows = rest;
  rows.insert(rows.begin(), flat.shape()[0]);
  const array changed = combine(core::take(source, flat, 0), fit(v, a.dtype(), rows), update);
  return core::reshape(core::scatter(source, flat, core::expand_dims(changed, 1), 0), a.shape());
}

}  // namespace

array get_item(const array& a, nb::handle key) {
  if (PyLong_CheckExact(key.ptr())) return row(a, key);
  if (const array* index = as_array(key); index && index->dtype() != core::bool_ && a.ndim() > 0) {
    if (!core::issubdtype(index->dtype(), core::integer))
      throw nb::type_error((std::string("[index] index arrays must have an integer or boolean dtype, not ") +
                            core::dtype_name(index->dtype()))
                               .c_str());
    check_not_empty(a, 0, index->shape());
    return core::take(a, *index, 0);
  }
  if (std::optional<array> mask = only_mask(a, key)) return masked_item(a, *mask);
  const IndexPlan plan = plan_index(a, key);
  return plan.basic() ? basic_item(a, plan) : gather_item(a, plan);
}

array update_item(const array& a, nb::handle key, const array& value, Update update) {
  if (std::optional<array> mask = only_mask(a, key)) return masked_update(a, *mask, value, update);
  const IndexPlan plan = plan_index(a, key);
  if (!plan.basic()) return scatter_item(a, plan, value, update);
  return write_slice(a, plan, box_update(a, plan, fit(value, a.dtype(), plan.result_shape({}), false)),
                     update);
}

array set_item(const array& a, nb::handle key, nb::handle value) {
  if (const array* v = as_array(value)) return update_item(a, key, *v, Update::assign);
  return update_item(a, key, make_array(value, a.dtype(), "__setitem__"), Update::assign);
}

}  // namespace mlx::python

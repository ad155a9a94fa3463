// The views themselves: shape, strides and offset of each. Their functions and rules are in shape.cpp and
// shape_rules.cpp.
#include "mlx/ops/view.h"

#include <algorithm>

namespace mlx::core {
namespace {

// Strides for `shape` over an array with these sizes and strides; false where there are none. Groups of axes
// with equal products on both sides must be dense among themselves.
bool reshape_strides(const Shape& from, const Strides& strides, const Shape& shape, Strides& out) {
  Shape sizes;
  Strides steps;
  for (size_t i = 0; i < from.size(); ++i) {
    if (from[i] == 1) continue;
    sizes.push_back(from[i]);
    steps.push_back(strides[i]);
  }
  out = Strides(shape.size(), 0);
  size_t i = 0, j = 0;
  while (i < sizes.size()) {
    size_t i_end = i + 1, j_end = j;
    int64_t have = sizes[i], want = 1;
    while (j_end < shape.size() && want < have) want *= shape[j_end++];
    while (have != want) {
      if (have < want) {
        if (i_end == sizes.size()) return false;
        have *= sizes[i_end++];
      } else {
        if (j_end == shape.size()) return false;
        want *= shape[j_end++];
      }
    }
    for (size_t k = i; k + 1 < i_end; ++k)
      if (steps[k] != steps[k + 1] * sizes[k + 1]) return false;
    int64_t step = steps[i_end - 1];
    for (size_t k = j_end; k-- > j;) {
      out[k] = step;
      step *= shape[k];
    }
    i = i_end;
    j = j_end;
  }
  for (; j < shape.size(); ++j) out[j] = 1;  // sizes of 1
  return true;
}

bool reshape_view(const array& in, array& out) {
  if (in.flags().row_contiguous || out.size() == 0) {
    share_view(out, in, row_major_strides(out.shape()));
    return true;
  }
  Strides strides;
  if (!reshape_strides(in.shape(), in.strides(), out.shape(), strides)) return false;
  share_view(out, in, std::move(strides));
  return true;
}

}  // namespace

void share_view(array& out, const array& in, Strides strides, int64_t offset) {
  const Shape& shape = out.shape();
  const size_t size = out.size();
  if (size == 0) offset = 0;
  bool row = true, column = true, positive = true;
  int64_t rows = 1, columns = 1, span = 1;
  for (size_t k = 0, n = shape.size(); k < n; ++k) {
    const size_t i = n - 1 - k;
    if (shape[i] != 1) {
      row = row && strides[i] == rows;
      rows *= shape[i];
    }
    if (shape[k] != 1) {
      column = column && strides[k] == columns;
      columns *= shape[k];
      span += std::abs(strides[k]) * (shape[k] - 1);
      positive = positive && strides[k] > 0;
    }
  }
  bool dense = row || column || size <= 1;
  if (!dense && positive && span == static_cast<int64_t>(size)) {
    // Without holes, unless elements overlap: axes by stride must continue each other.
    Axes axes;
    for (size_t i = 0; i < shape.size(); ++i)
      if (shape[i] != 1) axes.push_back(static_cast<int>(i));
    std::sort(axes.begin(), axes.end(), [&](int a, int b) {
      return strides[static_cast<size_t>(a)] < strides[static_cast<size_t>(b)];
    });
    int64_t expected = 1;
    dense = true;
    for (int axis : axes) {
      dense = dense && strides[static_cast<size_t>(axis)] == expected;
      expected *= shape[static_cast<size_t>(axis)];
    }
  }
  const array::Flags flags{dense, row || size <= 1, column || size <= 1};
  // data_size equals size exactly where there are no holes.
  size_t data_size = dense ? size : static_cast<size_t>(span);
  if (!dense && data_size == size) ++data_size;
  out.copy_shared_buffer(in, strides, flags, data_size, offset);
}

bool Copy::view(const array& in, array& out) const {
  out.copy_shared_buffer(in);
  return true;
}

bool StopGradient::view(const array& in, array& out) const {
  out.copy_shared_buffer(in);
  return true;
}

bool Contiguous::view(const array& in, array& out) const {
  const auto flags = in.flags();
  if (!flags.row_contiguous && !(allow_col_major && flags.col_contiguous)) return false;
  out.copy_shared_buffer(in);
  return true;
}

bool Reshape::view(const array& in, array& out) const { return reshape_view(in, out); }
bool Reaxis::view(const array& in, array& out) const { return reshape_view(in, out); }

bool Transpose::view(const array& in, array& out) const {
  Strides strides(axes.size(), 0);
  for (size_t i = 0; i < axes.size(); ++i) strides[i] = in.strides()[static_cast<size_t>(axes[i])];
  share_view(out, in, std::move(strides));
  return true;
}

bool BroadcastView::view(const array& in, array& out) const {
  const size_t lead = shape.size() - in.ndim();
  Strides strides(shape.size(), 0);
  for (size_t i = 0; i < in.ndim(); ++i) strides[lead + i] = in.shape()[i] == 1 ? 0 : in.strides()[i];
  share_view(out, in, std::move(strides));
  return true;
}

array Full::repeated(const array& in) const {
  array out(shape, in.dtype(), nullptr, {});
  view(in, out);
  out.set_status(array::Status::available);
  return out;
}

Shape Diagonal::shape_of(const Shape& in) const {
  Shape out;
  for (int i = 0; i < static_cast<int>(in.size()); ++i)
    if (i != axis1 && i != axis2) out.push_back(in[static_cast<size_t>(i)]);
  const int rows = in[static_cast<size_t>(axis1)], columns = in[static_cast<size_t>(axis2)];
  out.push_back(
      std::max(0, offset >= 0 ? std::min(rows, columns - offset) : std::min(rows + offset, columns)));
  return out;
}

bool Diagonal::view(const array& in, array& out) const {
  Strides strides;
  for (int i = 0; i < static_cast<int>(in.ndim()); ++i)
    if (i != axis1 && i != axis2) strides.push_back(in.strides(i));
  strides.push_back(in.strides(axis1) + in.strides(axis2));
  const int64_t first = offset >= 0 ? offset * in.strides(axis2) : -int64_t{offset} * in.strides(axis1);
  share_view(out, in, std::move(strides), first);
  return true;
}

bool AsStrided::view(const array& in, array& out) const {
  if (!in.flags().row_contiguous) return false;
  share_view(out, in, strides, static_cast<int64_t>(offset));
  return true;
}

Shape View::shape_of(const array& in) const {
  Shape shape = in.shape();
  if (in.itemsize() == dtype.size()) return shape;
  if (shape.empty())
    throw invalid("view", "got a 0-d array of ", in.dtype(), " to be seen as ", dtype,
                  ", expected a dtype of the same size");
  const size_t bytes = static_cast<size_t>(shape.back()) * in.itemsize();
  if (bytes % dtype.size() != 0)
    throw invalid("view", "the last axis has ", bytes, " bytes, expected a multiple of the ",
                  static_cast<int>(dtype.size()), " bytes of ", dtype);
  shape.back() = static_cast<ShapeElem>(bytes / dtype.size());
  return shape;
}

bool View::view(const array& in, array& out) const {
  if (in.itemsize() == dtype.size()) {
    out.copy_shared_buffer(in);
    return true;
  }
  if (!in.flags().row_contiguous) return false;
  share_view(out, in, row_major_strides(out.shape()));
  return true;
}

}  // namespace mlx::core

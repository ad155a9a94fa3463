// Shapes, creation, indexing: examples of each function.
#include "python/src/examples.h"

namespace mlx::python {
namespace {

constexpr Example kRows[] = {
    {"arange", R"(  >>> mx.arange(3)
  array([0, 1, 2], dtype=int32)
  >>> mx.arange(1.0, 2.0, 0.25)
  array([1, 1.25, 1.5, 1.75], dtype=float32)
)"},
    {"argwhere", R"(  >>> mx.argwhere(mx.array([[0, 1], [1, 0]]))
  array([[0, 1],
         [1, 0]], dtype=int32)
)"},
    {"as_strided", R"(  >>> mx.as_strided(mx.arange(5), (3, 3), (1, 1))
  array([[0, 1, 2],
         [1, 2, 3],
         [2, 3, 4]], dtype=int32)
)"},
    {"asarray", R"(  >>> mx.asarray([1, 2])
  array([1, 2], dtype=int32)
)"},
    {"astype", R"(  >>> mx.astype(mx.array([1.7, -1.7]), mx.int32)
  array([1, -1], dtype=int32)
)"},
    {"atleast_1d", R"(  >>> mx.atleast_1d(mx.array(1)).shape
  (1,)
)"},
    {"atleast_2d", R"(  >>> mx.atleast_2d(mx.array([1, 2])).shape
  (1, 2)
)"},
    {"atleast_3d", R"(  >>> mx.atleast_3d(mx.array([1, 2])).shape
  (1, 2, 1)
)"},
    {"bartlett", R"(  >>> mx.bartlett(5)
  array([0, 0.5, 1, 0.5, 0], dtype=float32)
)"},
    {"blackman", R"(  >>> mx.blackman(5).shape
  (5,)
)"},
    {"hamming", R"(  >>> mx.hamming(5)
  array([0.08, 0.54, 1, 0.54, 0.08], dtype=float32)
)"},
    {"hanning", R"(  >>> mx.hanning(5)
  array([0, 0.5, 1, 0.5, 0], dtype=float32)
)"},
    {"broadcast_arrays", R"(  >>> [a.shape for a in mx.broadcast_arrays(mx.ones((3, 1)), mx.ones(4))]
  [(3, 4), (3, 4)]
)"},
    {"broadcast_shapes", R"(  >>> mx.broadcast_shapes((3, 1), (4,))
  (3, 4)
)"},
    {"broadcast_to", R"(  >>> mx.broadcast_to(mx.array([1, 2]), (2, 2))
  array([[1, 2],
         [1, 2]], dtype=int32)
)"},
    {"can_cast", R"(  >>> mx.can_cast(mx.int32, mx.int64)
  True
)"},
    {"concat", R"(  >>> mx.concat([mx.array([1]), mx.array([2, 3])])
  array([1, 2, 3], dtype=int32)
)"},
    {"concatenate", R"(  >>> mx.concatenate([mx.array([1]), mx.array([2, 3])])
  array([1, 2, 3], dtype=int32)
)"},
    {"contiguous", R"(  >>> mx.contiguous(mx.array([[1, 2], [3, 4]]).T)
  array([[1, 3],
         [2, 4]], dtype=int32)
)"},
    {"diag", R"(  >>> mx.diag(mx.array([1, 2]))
  array([[1, 0],
         [0, 2]], dtype=int32)
)"},
    {"diagonal", R"(  >>> mx.diagonal(mx.array([[1, 2], [3, 4]]))
  array([1, 4], dtype=int32)
)"},
    {"empty", R"(  >>> mx.empty((2, 3)).shape
  (2, 3)
)"},
    {"empty_like", R"(  >>> mx.empty_like(mx.ones((2, 3))).shape
  (2, 3)
)"},
    {"expand_dims", R"(  >>> mx.expand_dims(mx.array([1, 2]), 0).shape
  (1, 2)
)"},
    {"eye", R"(  >>> mx.eye(2)
  array([[1, 0],
         [0, 1]], dtype=float32)
)"},
    {"flatten", R"(  >>> mx.flatten(mx.array([[1, 2], [3, 4]]))
  array([1, 2, 3, 4], dtype=int32)
)"},
    {"flip", R"(  >>> mx.flip(mx.array([[1, 2], [3, 4]]), 1)
  array([[2, 1],
         [4, 3]], dtype=int32)
)"},
    {"from_dlpack", R"(  >>> import numpy as np
  >>> mx.from_dlpack(np.array([1.5, 2.5], np.float32))
  array([1.5, 2.5], dtype=float32)
)"},
    {"full", R"(  >>> mx.full((2, 2), 7)
  array([[7, 7],
         [7, 7]], dtype=int32)
)"},
    {"full_like", R"(  >>> mx.full_like(mx.ones(2), 7)
  array([7, 7], dtype=float32)
)"},
    {"identity", R"(  >>> mx.identity(2)
  array([[1, 0],
         [0, 1]], dtype=float32)
)"},
    {"isdtype", R"(  >>> mx.isdtype(mx.float16, "real floating")
  True
)"},
    {"issubdtype", R"(  >>> mx.issubdtype(mx.float16, mx.floating)
  True
)"},
    {"linspace", R"(  >>> mx.linspace(0, 1, 3)
  array([0, 0.5, 1], dtype=float32)
)"},
    {"matrix_transpose", R"(  >>> mx.matrix_transpose(mx.array([[1, 2], [3, 4]]))
  array([[1, 3],
         [2, 4]], dtype=int32)
)"},
    {"meshgrid", R"(  >>> mx.meshgrid(mx.array([1, 2]), mx.array([8, 9]))
  (array([[1, 2],
         [1, 2]], dtype=int32), array([[8, 8],
         [9, 9]], dtype=int32))
)"},
    {"moveaxis", R"(  >>> mx.moveaxis(mx.ones((2, 3, 4)), 0, -1).shape
  (3, 4, 2)
)"},
    {"nonzero", R"(  >>> mx.nonzero(mx.array([0, 3, 0, 5]))
  (array([1, 3], dtype=int32),)
)"},
    {"ones", R"(  >>> mx.ones((2, 2))
  array([[1, 1],
         [1, 1]], dtype=float32)
)"},
    {"ones_like", R"(  >>> mx.ones_like(mx.array([4, 5]))
  array([1, 1], dtype=int32)
)"},
    {"pad", R"(  >>> mx.pad(mx.array([1, 2]), (1, 2))
  array([0, 1, 2, 0, 0], dtype=int32)
)"},
    {"permute_dims", R"(  >>> mx.permute_dims(mx.ones((2, 3, 4)), (2, 0, 1)).shape
  (4, 2, 3)
)"},
    {"put_along_axis",
     R"(  >>> mx.put_along_axis(mx.zeros((2, 2), mx.int32), mx.array([[1], [0]]), mx.array([[8], [9]]), 1)
  array([[0, 8],
         [9, 0]], dtype=int32)
)"},
    {"repeat", R"(  >>> mx.repeat(mx.array([1, 2]), 2)
  array([1, 1, 2, 2], dtype=int32)
)"},
    {"reshape", R"(  >>> mx.reshape(mx.arange(4), (2, -1))
  array([[0, 1],
         [2, 3]], dtype=int32)
)"},
    {"result_type", R"(  >>> mx.result_type(mx.int32, mx.float16)
  mlx.core.float16
)"},
    {"roll", R"(  >>> mx.roll(mx.array([1, 2, 3]), 1)
  array([3, 1, 2], dtype=int32)
)"},
    {"slice", R"(  >>> mx.slice(mx.arange(6), mx.array(2), axes=(0,), slice_size=(3,))
  array([2, 3, 4], dtype=int32)
)"},
    {"slice_update", R"(  >>> mx.slice_update(mx.zeros(4), mx.ones(2), mx.array(1), axes=(0,))
  array([0, 1, 1, 0], dtype=float32)
)"},
    {"split", R"(  >>> mx.split(mx.arange(4), 2)
  [array([0, 1], dtype=int32), array([2, 3], dtype=int32)]
)"},
    {"squeeze", R"(  >>> mx.squeeze(mx.ones((1, 3, 1))).shape
  (3,)
)"},
    {"stack", R"(  >>> mx.stack([mx.array([1, 2]), mx.array([3, 4])])
  array([[1, 2],
         [3, 4]], dtype=int32)
)"},
    {"swapaxes", R"(  >>> mx.swapaxes(mx.ones((2, 3, 4)), 0, 2).shape
  (4, 3, 2)
)"},
    {"take", R"(  >>> mx.take(mx.array([10, 20, 30]), mx.array([2, 0]))
  array([30, 10], dtype=int32)
)"},
    {"take_along_axis", R"(  >>> mx.take_along_axis(mx.array([[3, 1], [4, 9]]), mx.array([[1], [0]]), 1)
  array([[1],
         [4]], dtype=int32)
)"},
    {"tile", R"(  >>> mx.tile(mx.array([1, 2]), 2)
  array([1, 2, 1, 2], dtype=int32)
)"},
    {"transpose", R"(  >>> mx.transpose(mx.array([[1, 2], [3, 4]]))
  array([[1, 3],
         [2, 4]], dtype=int32)
)"},
    {"tri", R"(  >>> mx.tri(2)
  array([[1, 0],
         [1, 1]], dtype=float32)
)"},
    {"tril", R"(  >>> mx.tril(mx.ones((2, 2)))
  array([[1, 0],
         [1, 1]], dtype=float32)
)"},
    {"triu", R"(  >>> mx.triu(mx.ones((2, 2)))
  array([[1, 1],
         [0, 1]], dtype=float32)
)"},
    {"unflatten", R"(  >>> mx.unflatten(mx.arange(4), 0, (2, -1))
  array([[0, 1],
         [2, 3]], dtype=int32)
)"},
    {"unstack", R"(  >>> mx.unstack(mx.array([[1, 2], [3, 4]]))
  (array([1, 2], dtype=int32), array([3, 4], dtype=int32))
)"},
    {"view", R"(  >>> mx.view(mx.array(1.0), mx.uint32)
  array(1065353216, dtype=uint32)
)"},
    {"zeros", R"(  >>> mx.zeros((2, 2))
  array([[0, 0],
         [0, 0]], dtype=float32)
)"},
    {"zeros_like", R"(  >>> mx.zeros_like(mx.array([4, 5]))
  array([0, 0], dtype=int32)
)"},
};

}  // namespace

const std::span<const Example> kShapeExamples(kRows);

}  // namespace mlx::python

// Products, convolutions, quantized matrices, linear algebra: examples of each function.
#include "python/src/examples.h"

namespace mlx::python {
namespace {

constexpr Example kRows[] = {
    {"addmm", R"(  >>> a = mx.array([[1.0, 2.0], [3.0, 4.0]])
  >>> mx.addmm(mx.ones(2), a, mx.eye(2))
  array([[2, 3],
         [4, 5]], dtype=float32)
)"},
    {"block_masked_mm", R"(  >>> a = mx.ones((64, 64))
  >>> mx.block_masked_mm(a, a, 32, mask_out=mx.array([[True, False], [False, True]]))[0, 31:33]
  array([64, 0], dtype=float32)
)"},
    {"conv1d", R"(  >>> mx.conv1d(mx.arange(4.0).reshape(1, 4, 1), mx.ones((1, 2, 1))).flatten()
  array([1, 3, 5], dtype=float32)
)"},
    {"conv2d", R"(  >>> mx.conv2d(mx.ones((1, 4, 4, 3)), mx.ones((8, 3, 3, 3))).shape
  (1, 2, 2, 8)
)"},
    {"conv3d", R"(  >>> mx.conv3d(mx.ones((1, 4, 4, 4, 2)), mx.ones((5, 3, 3, 3, 2))).shape
  (1, 2, 2, 2, 5)
)"},
    {"conv_general",
     R"(  >>> mx.conv_general(mx.ones((1, 8, 8, 3)), mx.ones((5, 3, 3, 3)), stride=2, padding=1).shape
  (1, 4, 4, 5)
)"},
    {"conv_transpose1d", R"(  >>> mx.conv_transpose1d(mx.ones((1, 3, 2)), mx.ones((4, 2, 2)), stride=2).shape
  (1, 6, 4)
)"},
    {"conv_transpose2d",
     R"(  >>> mx.conv_transpose2d(mx.ones((1, 3, 3, 2)), mx.ones((4, 2, 2, 2)), stride=2).shape
  (1, 6, 6, 4)
)"},
    {"conv_transpose3d",
     R"(  >>> mx.conv_transpose3d(mx.ones((1, 3, 3, 3, 2)), mx.ones((4, 2, 2, 2, 2)), stride=2).shape
  (1, 6, 6, 6, 4)
)"},
    {"convolve", R"(  >>> mx.convolve(mx.array([1.0, 2.0, 3.0]), mx.array([0.0, 1.0]))
  array([0, 1, 2, 3], dtype=float32)
)"},
    {"dequantize", R"(  >>> w, scales, biases = mx.quantize(mx.ones((2, 64)))
  >>> mx.dequantize(w, scales, biases).shape
  (2, 64)
)"},
    {"einsum", R"(  >>> mx.einsum("ij,j->i", mx.array([[1.0, 2.0], [3.0, 4.0]]), mx.array([1.0, 10.0]))
  array([21, 43], dtype=float32)
)"},
    {"einsum_path", R"(  >>> mx.einsum_path("ij,jk->ik", mx.ones((2, 3)), mx.ones((3, 4)))[0]
  [(0, 1)]
)"},
    {"from_fp8", R"(  >>> mx.from_fp8(mx.to_fp8(mx.array([1.0, 0.3])), mx.float32)
  array([1, 0.3125], dtype=float32)
)"},
    {"gather_mm",
     R"(  >>> mx.gather_mm(mx.ones((2, 1, 3)), mx.ones((4, 3, 5)), rhs_indices=mx.array([3, 0])).shape
  (2, 1, 5)
)"},
    {"gather_qmm", R"(  >>> w, scales, biases = mx.quantize(mx.ones((4, 8, 64)))
  >>> mx.gather_qmm(mx.ones((2, 1, 64)), w, scales, biases, rhs_indices=mx.array([3, 0])).shape
  (2, 1, 8)
)"},
    {"hadamard_transform", R"(  >>> mx.hadamard_transform(mx.array([1.0, 1.0]), scale=1.0)
  array([2, 0], dtype=float32)
)"},
    {"inner", R"(  >>> mx.inner(mx.array([1.0, 2.0]), mx.array([3.0, 4.0]))
  array(11, dtype=float32)
)"},
    {"kron", R"(  >>> mx.kron(mx.array([1, 2]), mx.array([1, 10]))
  array([1, 10, 2, 20], dtype=int32)
)"},
    {"matmul", R"(  >>> mx.matmul(mx.array([[1.0, 2.0]]), mx.array([[3.0], [4.0]]))
  array([[11]], dtype=float32)
)"},
    {"matrix_norm", R"(  >>> mx.matrix_norm(mx.array([[3.0, 0.0], [0.0, 4.0]]))
  array(5, dtype=float32)
)"},
    {"outer", R"(  >>> mx.outer(mx.array([1, 2]), mx.array([3, 4]))
  array([[3, 4],
         [6, 8]], dtype=int32)
)"},
    {"quantize", R"(  >>> w, scales, biases = mx.quantize(mx.ones((2, 64)), group_size=64, bits=4)
  >>> w.shape, w.dtype, scales.shape
  ((2, 8), mlx.core.uint32, (2, 1))
)"},
    {"quantized_matmul", R"(  >>> w, scales, biases = mx.quantize(mx.ones((2, 64)))
  >>> mx.quantized_matmul(mx.ones((1, 64)), w, scales, biases).shape
  (1, 2)
)"},
    {"segmented_mm",
     R"(  >>> mx.segmented_mm(mx.ones((1, 4)), mx.ones((4, 1)), mx.array([[0, 1], [1, 4]])).flatten()
  array([1, 3], dtype=float32)
)"},
    {"tensordot", R"(  >>> mx.tensordot(mx.ones((2, 3, 4)), mx.ones((3, 4, 5))).shape
  (2, 5)
)"},
    {"to_fp8", R"(  >>> mx.to_fp8(mx.array([1.0, 2.0]))
  array([56, 64], dtype=uint8)
)"},
    {"trace", R"(  >>> mx.trace(mx.array([[1, 2], [3, 4]]))
  array(5, dtype=int32)
)"},
    {"vecdot", R"(  >>> mx.vecdot(mx.array([1, 2]), mx.array([3, 4]))
  array(11, dtype=int32)
)"},
    {"qqmm", R"(  >>> w, scales = mx.quantize(mx.ones((32, 32)), mode="mxfp8")
  >>> mx.qqmm(mx.ones((2, 32)), w, scales, mode="mxfp8").shape
  (2, 32)
)"},
    {"gather_qqmm", R"(  >>> w, scales = mx.quantize(mx.ones((4, 32, 32)), mode="mxfp8")
  >>> mx.gather_qqmm(mx.ones((2, 1, 32)), w, scales, rhs_indices=mx.array([3, 0]), mode="mxfp8").shape
  (2, 1, 32)
)"},
    {"linalg.cholesky", R"(  >>> mx.linalg.cholesky(mx.array([[4.0, 2.0], [2.0, 5.0]]))
  array([[2, 0],
         [1, 2]], dtype=float32)
)"},
    {"linalg.cholesky_inv", R"(  >>> mx.linalg.cholesky_inv(mx.array([[2.0, 0.0], [0.0, 4.0]]))
  array([[0.25, 0],
         [0, 0.0625]], dtype=float32)
)"},
    {"linalg.cond", R"(  >>> mx.linalg.cond(mx.array([[1.0, 0.0], [0.0, 4.0]]))
  array(4, dtype=float32)
)"},
    {"linalg.cross", R"(  >>> mx.linalg.cross(mx.array([1, 0, 0]), mx.array([0, 1, 0]))
  array([0, 0, 1], dtype=int32)
)"},
    {"linalg.det", R"(  >>> mx.linalg.det(mx.array([[2.0, 0.0], [0.0, 3.0]]))
  array(6, dtype=float32)
)"},
    {"linalg.diagonal", R"(  >>> mx.linalg.diagonal(mx.array([[1, 2], [3, 4]]))
  array([1, 4], dtype=int32)
)"},
    {"linalg.eig", R"(  >>> values, vectors = mx.linalg.eig(mx.array([[2.0, 0.0], [0.0, 3.0]]))
  >>> mx.sort(mx.real(values))
  array([2, 3], dtype=float32)
)"},
    {"linalg.eigh", R"(  >>> mx.linalg.eigh(mx.array([[2.0, 1.0], [1.0, 2.0]]))[0].round(4)
  array([1, 3], dtype=float32)
)"},
    {"linalg.eigvals", R"(  >>> mx.sort(mx.real(mx.linalg.eigvals(mx.array([[2.0, 0.0], [0.0, 3.0]]))))
  array([2, 3], dtype=float32)
)"},
    {"linalg.eigvalsh", R"(  >>> mx.linalg.eigvalsh(mx.array([[2.0, 1.0], [1.0, 2.0]])).round(4)
  array([1, 3], dtype=float32)
)"},
    {"linalg.expm", R"(  >>> mx.linalg.expm(mx.array([[0.0, 1.0], [0.0, 0.0]]))
  array([[1, 1],
         [0, 1]], dtype=float32)
)"},
    {"linalg.inv", R"(  >>> mx.linalg.inv(mx.array([[2.0, 0.0], [0.0, 4.0]]))
  array([[0.5, 0],
         [0, 0.25]], dtype=float32)
)"},
    {"linalg.lstsq",
     R"(  >>> mx.linalg.lstsq(mx.array([[1.0, 0.0], [0.0, 2.0]]), mx.array([3.0, 4.0]))[0].round(4)
  array([3, 2], dtype=float32)
)"},
    {"linalg.lu", R"(  >>> p, l, u = mx.linalg.lu(mx.array([[2.0, 1.0], [1.0, 3.0]]))
  >>> l, u
  (array([[1, 0],
         [0.5, 1]], dtype=float32), array([[2, 1],
         [0, 2.5]], dtype=float32))
)"},
    {"linalg.lu_factor", R"(  >>> mx.linalg.lu_factor(mx.array([[2.0, 1.0], [1.0, 3.0]]))[0]
  array([[2, 1],
         [0.5, 2.5]], dtype=float32)
)"},
    {"linalg.matmul", R"(  >>> mx.linalg.matmul(mx.array([[1.0, 2.0]]), mx.array([[3.0], [4.0]]))
  array([[11]], dtype=float32)
)"},
    {"linalg.matrix_norm", R"(  >>> mx.linalg.matrix_norm(mx.array([[3.0, 0.0], [0.0, 4.0]]))
  array(5, dtype=float32)
)"},
    {"linalg.matrix_power", R"(  >>> mx.linalg.matrix_power(mx.array([[1.0, 1.0], [0.0, 1.0]]), 3)
  array([[1, 3],
         [0, 1]], dtype=float32)
)"},
    {"linalg.matrix_rank", R"(  >>> mx.linalg.matrix_rank(mx.array([[1.0, 2.0], [2.0, 4.0]]))
  array(1, dtype=int32)
)"},
    {"linalg.matrix_transpose", R"(  >>> mx.linalg.matrix_transpose(mx.array([[1, 2], [3, 4]]))
  array([[1, 3],
         [2, 4]], dtype=int32)
)"},
    {"linalg.multi_dot",
     R"(  >>> mx.linalg.multi_dot([mx.ones((2, 3)), mx.ones((3, 4)), mx.ones((4, 5))]).shape
  (2, 5)
)"},
    {"linalg.norm", R"(  >>> mx.linalg.norm(mx.array([3.0, 4.0]))
  array(5, dtype=float32)
)"},
    {"linalg.outer", R"(  >>> mx.linalg.outer(mx.array([1, 2]), mx.array([3, 4]))
  array([[3, 4],
         [6, 8]], dtype=int32)
)"},
    {"linalg.pinv", R"(  >>> mx.linalg.pinv(mx.array([[2.0, 0.0], [0.0, 4.0]])).round(4) + 0
  array([[0.5, 0],
         [0, 0.25]], dtype=float32)
)"},
    {"linalg.qr", R"(  >>> q, r = mx.linalg.qr(mx.array([[3.0, 1.0], [4.0, 2.0]]))
  >>> mx.allclose(q @ r, mx.array([[3.0, 1.0], [4.0, 2.0]]), atol=1e-5)
  array(True, dtype=bool)
)"},
    {"linalg.slogdet", R"(  >>> mx.linalg.slogdet(mx.array([[1.0, 0.0], [0.0, -1.0]]))
  SlogdetResult(sign=array(-1, dtype=float32), logabsdet=array(0, dtype=float32))
)"},
    {"linalg.solve", R"(  >>> mx.linalg.solve(mx.array([[2.0, 0.0], [0.0, 4.0]]), mx.array([2.0, 2.0]))
  array([1, 0.5], dtype=float32)
)"},
    {"linalg.solve_triangular",
     R"(  >>> mx.linalg.solve_triangular(mx.array([[2.0, 0.0], [1.0, 1.0]]), mx.array([2.0, 3.0]))
  array([1, 2], dtype=float32)
)"},
    {"linalg.svd", R"(  >>> u, s, vt = mx.linalg.svd(mx.array([[3.0, 0.0], [0.0, 4.0]]))
  >>> s.round(4)
  array([4, 3], dtype=float32)
)"},
    {"linalg.svdvals", R"(  >>> mx.linalg.svdvals(mx.array([[3.0, 0.0], [0.0, 4.0]])).round(4)
  array([4, 3], dtype=float32)
)"},
    {"linalg.tensordot", R"(  >>> mx.linalg.tensordot(mx.ones((2, 3, 4)), mx.ones((3, 4, 5))).shape
  (2, 5)
)"},
    {"linalg.trace", R"(  >>> mx.linalg.trace(mx.array([[1, 2], [3, 4]]))
  array(5, dtype=int32)
)"},
    {"linalg.tri_inv", R"(  >>> mx.linalg.tri_inv(mx.array([[2.0, 0.0], [0.0, 4.0]]))
  array([[0.5, 0],
         [0, 0.25]], dtype=float32)
)"},
    {"linalg.vecdot", R"(  >>> mx.linalg.vecdot(mx.array([1, 2]), mx.array([3, 4]))
  array(11, dtype=int32)
)"},
    {"linalg.vector_norm", R"(  >>> mx.linalg.vector_norm(mx.array([3.0, 4.0]))
  array(5, dtype=float32)
)"},
};

}  // namespace

const std::span<const Example> kMatrixExamples(kRows);

}  // namespace mlx::python

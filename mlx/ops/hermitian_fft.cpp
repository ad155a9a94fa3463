// fft::hfft, ihfft: transforms of signals that are Hermitian in time, real in frequency.
#include "mlx/fft.h"
#include "mlx/ops.h"
#include "mlx/ops/rules.h"

namespace mlx::core::fft {
namespace {

// The other direction, with the same factor.
FFTNorm turned(FFTNorm norm) {
  if (norm == FFTNorm::Ortho) return norm;
  return norm == FFTNorm::Forward ? FFTNorm::Backward : FFTNorm::Forward;
}

void check(const char* op, const array& a, int axis, int n) {
  checked_axis(op, axis, a.shape());
  if (n < 1) throw invalid(op, "got the length ", n, ", expected at least 1");
}

}  // namespace

array hfft(const array& a, int n, int axis, FFTNorm norm, StreamOrDevice s) {
  check("fft.hfft", a, axis, n);
  return irfft(conjugate(astype(a, complex64, s), s), n, axis, turned(norm), s);
}
array hfft(const array& a, int axis, FFTNorm norm, StreamOrDevice s) {
  return hfft(a, 2 * (a.shape(checked_axis("fft.hfft", axis, a.shape())) - 1), axis, norm, s);
}
array ihfft(const array& a, int n, int axis, FFTNorm norm, StreamOrDevice s) {
  check("fft.ihfft", a, axis, n);
  if (a.dtype() == complex64) throw invalid("fft.ihfft", "got complex64, expected real numbers");
  return conjugate(rfft(a, n, axis, turned(norm), s), s);
}
array ihfft(const array& a, int axis, FFTNorm norm, StreamOrDevice s) {
  return ihfft(a, a.shape(checked_axis("fft.ihfft", axis, a.shape())), axis, norm, s);
}

}  // namespace mlx::core::fft

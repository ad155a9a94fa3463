// fft::hfft, ihfft: transforms of signals that are Hermitian in time, real in frequency.
#include "mlx/fft.h"
#include "mlx/ops.h"

namespace mlx::core::fft {
namespace {

// The other direction, with the same factor.
FFTNorm turned(FFTNorm norm) {
  if (norm == FFTNorm::Ortho) return norm;
  return norm == FFTNorm::Forward ? FFTNorm::Backward : FFTNorm::Forward;
}

}  // namespace

array hfft(const array& a, int n, int axis, FFTNorm norm, StreamOrDevice s) {
  return irfft(conjugate(astype(a, complex64, s), s), n, axis, turned(norm), s);
}
array hfft(const array& a, int axis, FFTNorm norm, StreamOrDevice s) {
  return irfft(conjugate(astype(a, complex64, s), s), axis, turned(norm), s);
}
array ihfft(const array& a, int n, int axis, FFTNorm norm, StreamOrDevice s) {
  return conjugate(rfft(a, n, axis, turned(norm), s), s);
}
array ihfft(const array& a, int axis, FFTNorm norm, StreamOrDevice s) {
  return conjugate(rfft(a, axis, turned(norm), s), s);
}

}  // namespace mlx::core::fft

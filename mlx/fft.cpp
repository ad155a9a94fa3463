// What is made of transforms and other operations: frequencies, shifts, spectrograms.
#include "mlx/fft.h"

#include <algorithm>

#include "mlx/ops.h"
#include "mlx/ops/rules.h"

namespace mlx::core::fft {
namespace {

array frequencies(const char* op, int n, int count, int positive, double d, Dtype dtype) {
  if (n <= 0) throw invalid(op, "n must be greater than 0, got ", n);
  if (d == 0) throw invalid(op, "d must not be 0");
  std::vector<double> out(count);
  for (int k = 0; k < count; ++k) out[k] = (k < positive ? k : k - n) / (n * d);
  return array(out.begin(), Shape{count}, dtype);
}

array shifted(const char* op, const array& a, const std::vector<int>& axes, bool inverse, StreamOrDevice s) {
  if (axes.empty()) return a;
  Shape shifts;
  for (int axis : axes) {
    const int n = a.shape(checked_axis(op, axis, a.shape()));
    shifts.push_back(inverse ? -(n / 2) : n / 2);
  }
  return roll(a, shifts, axes, s);
}

// The window in the middle of n_fft elements, and the hop.
std::pair<array, int> frame_parameters(const char* op, int n_fft, const std::optional<int>& hop_length,
                                       const std::optional<int>& win_length,
                                       const std::optional<array>& window, StreamOrDevice s) {
  if (n_fft <= 0) throw invalid(op, "n_fft must be positive, got ", n_fft);
  const int hop = hop_length.value_or(std::max(1, n_fft / 4));
  if (hop <= 0) throw invalid(op, "hop_length must be positive, got ", hop);
  if (window && window->ndim() != 1)
    throw invalid(op, "the window must have one dimension, got the shape ", window->shape());
  const int length = window ? window->shape(0) : win_length.value_or(n_fft);
  if (length > n_fft || win_length.value_or(0) > n_fft)
    throw invalid(op, "the window must not be longer than n_fft, ", n_fft, ", got ",
                  std::max(length, win_length.value_or(0)));
  const array w = window ? astype(*window, float32, s) : ones(Shape{std::max(length, 0)}, float32, s);
  const int left = (n_fft - w.shape(0)) / 2;
  return {pad(w, std::pair<int, int>{left, n_fft - w.shape(0) - left}, array(0.0f), "constant", s), hop};
}

// Indices (frames, n_fft) of the samples of each frame.
array frame_indices(int frames, int n_fft, int hop, StreamOrDevice s) {
  return add(expand_dims(multiply(arange(frames, s), array(hop), s), 1, s), arange(n_fft, s), s);
}

array reflected(const array& x, int amount, StreamOrDevice s) {
  const int n = x.shape(-1), period = std::max(1, 2 * (n - 1));
  std::vector<int> from;
  for (int i = -amount; i < n + amount; ++i) {
    const int k = ((i % period) + period) % period;
    from.push_back(k < n ? k : period - k);
  }
  return take(x, array(from.begin(), Shape{static_cast<int>(from.size())}), -1, s);
}

}  // namespace

array fftfreq(int n, double d, Dtype dtype) {
  return frequencies("fft.fftfreq", n, n, (n + 1) / 2, d, dtype);
}
array rfftfreq(int n, double d, Dtype dtype) {
  return frequencies("fft.rfftfreq", n, n / 2 + 1, n / 2 + 1, d, dtype);
}
array fftfreq(int n, double d, StreamOrDevice) { return fftfreq(n, d, float32); }
array rfftfreq(int n, double d, StreamOrDevice) { return rfftfreq(n, d, float32); }
array fftshift(const array& a, const std::vector<int>& axes, StreamOrDevice s) {
  return shifted("fft.fftshift", a, axes, false, s);
}
array fftshift(const array& a, StreamOrDevice s) { return fftshift(a, all_axes(a), s); }
array ifftshift(const array& a, const std::vector<int>& axes, StreamOrDevice s) {
  return shifted("fft.ifftshift", a, axes, true, s);
}
array ifftshift(const array& a, StreamOrDevice s) { return ifftshift(a, all_axes(a), s); }

array stft(const array& x, int n_fft, const std::optional<int>& hop_length,
           const std::optional<int>& win_length, const std::optional<array>& window, bool center,
           const std::string& pad_mode, FFTNorm norm, const std::optional<bool>& onesided, StreamOrDevice s) {
  constexpr const char* kName = "fft.stft";
  if (x.ndim() == 0) throw invalid(kName, "got an array without dimensions, expected at least one");
  const auto [w, hop] = frame_parameters(kName, n_fft, hop_length, win_length, window, s);
  const bool is_complex = x.dtype() == complex64;
  array signal = astype(x, is_complex ? complex64 : float32, s);
  if (center) {
    if (pad_mode != "reflect" && pad_mode != "constant" && pad_mode != "edge")
      throw invalid(kName, "pad_mode must be \"reflect\", \"constant\" or \"edge\", got \"", pad_mode, "\"");
    const int half = n_fft / 2;
    if (x.shape(-1) == 0) throw invalid(kName, "got no samples to pad");
    signal = pad_mode == "reflect"
                 ? reflected(signal, half, s)
                 : pad(signal, std::vector<int>{-1}, Shape{half}, Shape{half}, like(signal, 0), pad_mode, s);
  }
  const int length = signal.shape(-1);
  if (length < n_fft) throw invalid(kName, "got ", length, " samples, too few for frames of n_fft = ", n_fft);
  const int frames = (length - n_fft) / hop + 1;
  const array framed = multiply(take(signal, frame_indices(frames, n_fft, hop, s), -1, s), w, s);
  if (!is_complex && onesided.value_or(true)) return swapaxes(rfft(framed, -1, norm, s), -1, -2, s);
  array out = swapaxes(fft(framed, -1, norm, s), -1, -2, s);
  if (!onesided.value_or(false)) return out;
  Shape start(out.ndim(), 0), stop = out.shape();
  stop[out.ndim() - 2] = n_fft / 2 + 1;
  return slice(out, std::move(start), std::move(stop), s);
}

array istft(const array& stft_matrix, const std::optional<int>& n_fft, const std::optional<int>& hop_length,
            const std::optional<int>& win_length, const std::optional<array>& window, bool center,
            FFTNorm norm, const std::optional<bool>& onesided, const std::optional<int>& length,
            StreamOrDevice s) {
  constexpr const char* kName = "fft.istft";
  constexpr float kLeast = 1e-8f;  // sums of squared windows below it divide as if they were it
  if (stft_matrix.ndim() < 2)
    throw invalid(kName, "got the shape ", stft_matrix.shape(), ", expected (..., frequencies, frames)");
  const bool half = onesided.value_or(true);
  const int bins = stft_matrix.shape(-2), frames = stft_matrix.shape(-1);
  const int n = n_fft.value_or(half ? 2 * (bins - 1) : bins);
  const auto [w, hop] = frame_parameters(kName, n, hop_length, win_length, window, s);
  if (frames == 0) throw invalid(kName, "got no frames");
  const array spectra = swapaxes(stft_matrix, -1, -2, s);
  const array pieces = half ? irfft(spectra, n, -1, norm, s) : real(ifft(spectra, n, -1, norm, s), s);
  const int total = n + hop * (frames - 1);
  const array at = flatten(frame_indices(frames, n, hop, s), s);
  // Overlapping frames are summed into place, side by side for all of the batch.
  Shape batch(stft_matrix.shape().begin(), stft_matrix.shape().end() - 2);
  const auto overlap = [&](const array& frame_values) {
    const array rows = transpose(reshape(frame_values, Shape{-1, frames * n}, s), s);
    const array sums = zeros(Shape{total, rows.shape(1)}, float32, s);
    return transpose(scatter_add(sums, at, expand_dims(rows, 1, s), 0, s), s);
  };
  const array weights = overlap(broadcast_to(square(w, s), Shape{frames, n}, s));
  array out = divide(overlap(multiply(pieces, w, s)), maximum(weights, array(kLeast), s), s);
  const int first = center ? n / 2 : 0;
  const int want = std::max(0, length.value_or(total - 2 * first)), end = std::min(total, first + want);
  out = slice(out, Shape{0, std::min(first, end)}, Shape{out.shape(0), end}, s);
  if (out.shape(1) < want)
    out = pad(out, std::vector<int>{1}, Shape{0}, Shape{want - out.shape(1)}, array(0.0f), "constant", s);
  batch.push_back(want);
  return reshape(out, std::move(batch), s);
}

}  // namespace mlx::core::fft

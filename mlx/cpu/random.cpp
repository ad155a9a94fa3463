// Random bits: word i of the first half and word i of the second half come from one Threefry block whose
// counter is the two words' positions; with an odd number of words the middle one has a block of its own.
#include <cstring>

#include "mlx/cpu/isa/random.h"
#include "mlx/cpu/parallel.h"
#include "mlx/graph/kernels.h"
#include "mlx/ops/random.h"

namespace mlx::core::cpu {
namespace {

void fill_bits(uint32_t key0, uint32_t key1, char* out, int64_t bytes) {
  const auto threefry = random().threefry;
  const int64_t words = (bytes + 3) / 4, half = words / 2, odd = words % 2;
  const bool partial = bytes % 4 != 0;
  auto* first = reinterpret_cast<uint32_t*>(out);
  const auto distance = static_cast<uint32_t>(half + odd);
  const auto last_word = [&](uint32_t value) {
    std::memcpy(out + (words - 1) * 4, &value, static_cast<size_t>(bytes - (words - 1) * 4));
  };
  // The pair whose second word ends the output is apart where that word is cut off.
  const int64_t whole = partial && half > 0 ? half - 1 : half;
  parallel_ranges(whole, 32768, [&](int64_t begin, int64_t end) {
    threefry(key0, key1, static_cast<uint32_t>(begin), distance, first + begin, first + half + odd + begin,
             end - begin);
  });
  uint32_t a = 0, b = 0;
  if (whole < half) {
    threefry(key0, key1, static_cast<uint32_t>(whole), distance, &a, &b, 1);
    first[whole] = a;
    last_word(b);
  }
  if (odd) {
    threefry(key0, key1, static_cast<uint32_t>(half), uint32_t{0} - static_cast<uint32_t>(half), &a, &b, 1);
    if (words == 1) {
      last_word(a);
    } else {
      first[half] = a;
    }
  }
}

void random_bits(const RandomBits& p, const Arrays& inputs, Arrays& outputs) {
  const array& keys = inputs[0];
  array& out = outputs[0];
  // A buffer of whole words: pieces are written as such.
  out.set_data(allocator::malloc((out.nbytes() + 3) / 4 * 4));
  const int64_t bytes = static_cast<int64_t>(elements(p.shape)) * p.width;
  const int64_t n = static_cast<int64_t>(keys.size()) / 2;
  for (int64_t i = 0; i < n && bytes > 0; ++i) {
    // Keys may have any strides: their position is found from the back.
    int64_t offset = 0, rest = i;
    for (int d = static_cast<int>(keys.ndim()) - 2; d >= 0; --d) {
      offset += rest % keys.shape(d) * keys.strides(d);
      rest /= keys.shape(d);
    }
    const uint32_t* key = keys.data<uint32_t>() + offset;
    char* to = out.data<char>() + i * bytes;
    if (n == 1 || bytes % 4 == 0) {
      fill_bits(key[0], key[keys.strides(-1)], to, bytes);
    } else {  // not aligned to words
      std::vector<uint32_t> words(static_cast<size_t>(bytes + 3) / 4);
      fill_bits(key[0], key[keys.strides(-1)], reinterpret_cast<char*>(words.data()), bytes);
      std::memcpy(to, words.data(), static_cast<size_t>(bytes));
    }
  }
}

const bool registered = kernels(Device::cpu).add<RandomBits>(random_bits);

}  // namespace
}  // namespace mlx::core::cpu

// Threefry-2x32 with 20 rounds (J. Salmon et al., Parallel random numbers: as easy as 1, 2, 3). Word i of the first half
// and word i of the second half come from one block, whose counter is their positions; with an odd number of words the
// middle one has a block of its own. Only writes: each word once.
#include "metal/kernels/types.h"

template <int r>
METAL_FUNC void mix(thread uint& a, thread uint& b) {
  a += b;
  b = rotate(b, static_cast<uint>(r)) ^ a;
}
METAL_FUNC void even(thread uint& a, thread uint& b) {
  mix<13>(a, b);
  mix<15>(a, b);
  mix<26>(a, b);
  mix<6>(a, b);
}
METAL_FUNC void odd(thread uint& a, thread uint& b) {
  mix<17>(a, b);
  mix<29>(a, b);
  mix<16>(a, b);
  mix<24>(a, b);
}

kernel void bits(device const uint2* keys [[buffer(0)]], device uint* out [[buffer(1)]], constant uint& words [[buffer(2)]],
                 uint2 at [[thread_position_in_grid]]) {
  const uint half_words = words / 2, single = words % 2, i = at.x;
  const uint2 key = keys[at.y];
  const uint third = key.x ^ key.y ^ 0x1bd11bdau;
  const bool alone = i == half_words;
  uint a = i + key.x, b = (alone ? 0 : i + half_words + single) + key.y;
  even(a, b);
  a += key.y, b += third + 1;
  odd(a, b);
  a += third, b += key.x + 2;
  even(a, b);
  a += key.x, b += key.y + 3;
  odd(a, b);
  a += key.y, b += third + 4;
  even(a, b);
  a += third, b += key.x + 5;
  device uint* to = out + static_cast<ulong>(at.y) * words;
  to[i] = a;
  if (!alone) to[half_words + single + i] = b;
}

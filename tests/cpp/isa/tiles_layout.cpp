// What holds for every tile function whatever it computes: the table is complete; results do not depend on
// the length, the position or the alignment of a tile, nor on whether it is computed in place; nothing beyond
// `n` is touched. Then the half types against float32, and the functions that move items.
#include <bit>
#include <cmath>
#include <cstring>

#include "mlx/cpu/isa/copy.h"
#include "mlx/types/half_types.h"
#include "tiles_test.h"

namespace el = mlx::core::elementwise;
using namespace tiles_test;
using mlx::core::kDtypes;
using mlx::core::cpu::CopyTable;

namespace {

constexpr int sizes[kDtypes] = {1, 1, 2, 4, 8, 1, 2, 4, 8, 2, 4, 8, 2, 8};
constexpr int64_t n_most = 150;  // more than two vectors of 64 bytes
constexpr int64_t guard = 64;
using Bytes = std::vector<unsigned char>;

// Values of a dtype from random bits: bool is 0 or 1, floats are of everyday size now and then.
Bytes random_values(int dtype, int64_t n, Random& random) {
  Bytes bytes(static_cast<size_t>(n * sizes[dtype]));
  for (auto& b : bytes) b = static_cast<unsigned char>(random.bits() >> 56);
  for (int64_t i = 0; i < n; ++i) {
    unsigned char* p = &bytes[static_cast<size_t>(i * sizes[dtype])];
    if (dtype == index_of(Dtype::Val::bool_)) *p &= 1;
    const double x = random.uniform(-4, 4);
    if (i % 4 == 0) continue;
    if (dtype == index_of(Dtype::Val::float32)) {
      const float f = static_cast<float>(x);
      std::memcpy(p, &f, 4);
    } else if (dtype == index_of(Dtype::Val::float64)) {
      std::memcpy(p, &x, 8);
    } else if (dtype == index_of(Dtype::Val::complex64)) {
      const float f[2] = {static_cast<float>(x), static_cast<float>(random.uniform(-4, 4))};
      std::memcpy(p, f, 8);
    } else if (sizes[dtype] >= 2 && i % 4 < 3 && dtype < index_of(Dtype::Val::float16)) {
      // Small integers too: powers and shifts of large ones are all alike.
      std::memset(p + 1, x < 0 && dtype > index_of(Dtype::Val::uint64) ? 0xff : 0,
                  static_cast<size_t>(sizes[dtype] - 1));
      if (x < 0 && dtype > index_of(Dtype::Val::uint64)) *p |= 0x80;
    }
  }
  return bytes;
}

void check_complete(const char* isa, const Tiles& tiles) {
  for (int op = 0; op < el::kOps; ++op)
    for (int d = 0; d < kDtypes; ++d)
      if ((tiles.op[op][d] != nullptr) != el::contains(el::op_info[op].accepts, static_cast<Dtype::Val>(d)))
        fail("%s: the entry of %s for dtype %d contradicts its row", isa, el::op_info[op].name.data(), d);
  for (auto& row : tiles.cast)
    for (auto* cast : row)
      if (cast == nullptr) fail("%s: a cast is missing", isa);
}

// Bit for bit, but for the sign and the payload of a nan: a product of two of them is either, as the compiler
// has ordered the operands.
template <class Bits>
bool same_floats(const Bytes& got, const Bytes& want, Bits infinity) {
  for (size_t i = 0; i < got.size(); i += sizeof(Bits)) {
    Bits g, w;
    std::memcpy(&g, &got[i], sizeof g);
    std::memcpy(&w, &want[i], sizeof w);
    const auto is_nan = [&](Bits b) { return static_cast<Bits>(b << 1) > static_cast<Bits>(infinity << 1); };
    if (g != w && !(is_nan(g) && is_nan(w))) return false;
  }
  return true;
}
bool same(const Bytes& got, const Bytes& want, int dtype) {
  switch (static_cast<Dtype::Val>(dtype)) {
    case Dtype::Val::float16:
      return same_floats<uint16_t>(got, want, 0x7c00);
    case Dtype::Val::bfloat16:
      return same_floats<uint16_t>(got, want, 0x7f80);
    case Dtype::Val::float32:
    case Dtype::Val::complex64:
      return same_floats<uint32_t>(got, want, 0x7f800000);
    case Dtype::Val::float64:
      return same_floats<uint64_t>(got, want, 0x7ff0000000000000);
    default:
      return std::equal(got.begin(), got.end(), want.begin());
  }
}

// Runs fn on n elements at odd addresses between guards; `in_place`: the output is that operand's memory (-1:
// none).
template <class Call>
Bytes run(Call call, const Bytes* operands, const int* item, int arity, int out_item, int64_t n,
          int64_t shift, int in_place, const char* what) {
  Bytes memory[3], out(static_cast<size_t>(n * out_item + 2 * guard + out_item), 0xa5);
  unsigned char* in[3] = {};
  for (int k = 0; k < arity; ++k) {
    memory[k].assign(static_cast<size_t>(n * item[k] + 2 * guard + item[k]), 0xa5);
    in[k] = memory[k].data() + guard + shift * item[k];
    std::memcpy(in[k], operands[k].data(), static_cast<size_t>(n * item[k]));
  }
  unsigned char* y = in_place >= 0 ? in[in_place] : out.data() + guard + shift * out_item;
  const Bytes& owner = in_place >= 0 ? memory[in_place] : out;
  call(y, in, n);
  const auto begin = static_cast<size_t>(y - owner.data());
  const auto end = begin + static_cast<size_t>(n * out_item);
  for (size_t i = 0; i < owner.size(); ++i)
    if ((i < begin || i >= end) && owner[i] != 0xa5) {
      fail("%s: writes outside its result, n = %lld", what, static_cast<long long>(n));
      break;
    }
  return Bytes(y, y + n * out_item);
}

void check_positions(const char* isa, const Tiles& tiles) {
  Random random(3);
  for (int op = 0; op < el::kOps; ++op)
    for (int d = 0; d < kDtypes; ++d) {
      const Tiles::Fn fn = tiles.op[op][d];
      if (fn == nullptr) continue;
      const el::OpInfo& info = el::op_info[op];
      const std::string what = std::string(isa) + " " + info.name.data() + " dtype " + std::to_string(d);
      const bool select = op == el::op_of<el::Select>;
      int item[3], types[3];
      Bytes operands[3];
      for (int k = 0; k < info.arity; ++k) {
        types[k] = select && k == 0 ? 0 : d;
        item[k] = sizes[types[k]];
        operands[k] = random_values(types[k], n_most, random);
      }
      const int to = info.result == el::Out::boolean ? 0
                     : info.result == el::Out::real && d == index_of(Dtype::Val::complex64)
                         ? index_of(Dtype::Val::float32)
                         : d;
      const int out_item = sizes[to];
      auto call = [&](void* y, unsigned char** in, int64_t n) { fn(y, in[0], in[1], in[2], n); };
      // One at a time is the reference.
      Bytes expected;
      for (int64_t i = 0; i < n_most; ++i) {
        unsigned char one[8];
        fn(one, operands[0].data() + i * item[0], operands[1].data() + (info.arity > 1 ? i * item[1] : 0),
           operands[2].data() + (info.arity > 2 ? i * item[2] : 0), 1);
        expected.insert(expected.end(), one, one + out_item);
      }
      for (int64_t n = 0; n <= n_most; n += n < 70 ? 1 : 19)
        for (int in_place = -1; in_place < info.arity; ++in_place) {
          if (in_place >= 0 && item[in_place] != out_item) continue;
          const Bytes got = run(call, operands, item, info.arity, out_item, n, n % 2, in_place, what.c_str());
          if (!same(got, expected, to))
            fail("%s: differs from one at a time, n = %lld, in place %d", what.c_str(),
                 static_cast<long long>(n), in_place);
        }
    }
}

void check_cast_positions(const char* isa, const Tiles& tiles) {
  Random random(4);
  for (int from = 0; from < kDtypes; ++from)
    for (int to = 0; to < kDtypes; ++to) {
      const std::string what =
          std::string(isa) + " cast " + std::to_string(from) + " to " + std::to_string(to);
      const Tiles::CastFn fn = tiles.cast[from][to];
      const Bytes operand = random_values(from, n_most, random);
      auto call = [&](void* y, unsigned char** in, int64_t n) { fn(y, in[0], n); };
      Bytes expected;
      for (int64_t i = 0; i < n_most; ++i) {
        unsigned char one[8];
        fn(one, operand.data() + i * sizes[from], 1);
        expected.insert(expected.end(), one, one + sizes[to]);
      }
      for (int64_t n = 0; n <= n_most; n += n < 70 ? 1 : 19)
        for (int in_place = -1; in_place < (sizes[from] == sizes[to] ? 1 : 0); ++in_place) {
          const Bytes got = run(call, &operand, &sizes[from], 1, sizes[to], n, n % 2, in_place, what.c_str());
          if (!same(got, expected, to))
            fail("%s: differs from one at a time, n = %lld", what.c_str(), static_cast<long long>(n));
        }
    }
}

// Every value of a half type: widening, narrowing after the float32 function, the same for two operands.
template <class H>
void check_half(const char* isa, const Tiles& tiles, int dtype) {
  constexpr int f32 = static_cast<int>(Dtype::Val::float32);
  constexpr int64_t n = 65536;
  std::vector<H> x(n), y(n), z(n);
  std::vector<float> wide_x(n), wide_y(n), wide_z(n);
  for (int64_t i = 0; i < n; ++i) {
    x[i].bits = static_cast<uint16_t>(i);
    y[i].bits = static_cast<uint16_t>(i * 40503 + 12345);
    wide_x[i] = x[i], wide_y[i] = y[i];
  }
  auto same = [](H a, H b) { return a.bits == b.bits || (std::isnan(float(a)) && std::isnan(float(b))); };
  std::vector<float> widened(n);
  tiles.cast[dtype][f32](widened.data(), x.data(), n);
  tiles.cast[f32][dtype](z.data(), widened.data(), n);
  for (int64_t i = 0; i < n; ++i) {
    if (!(widened[i] == wide_x[i] || (std::isnan(widened[i]) && std::isnan(wide_x[i]))))
      fail("%s dtype %d: widening %04x", isa, dtype, x[i].bits);
    if (!same(z[i], x[i])) fail("%s dtype %d: widening and narrowing %04x", isa, dtype, x[i].bits);
  }
  for (int op = 0; op < el::kOps; ++op) {
    const el::OpInfo& info = el::op_info[op];
    if (tiles.op[op][dtype] == nullptr || info.arity == 3 || op == el::op_of<el::Nextafter>) continue;
    std::vector<unsigned char> answers(n), wide_answers(n);
    const bool question = info.result == el::Out::boolean;
    tiles.op[op][dtype](question ? static_cast<void*>(answers.data()) : z.data(), x.data(), y.data(), nullptr,
                        n);
    tiles.op[op][f32](question ? static_cast<void*>(wide_answers.data()) : wide_z.data(), wide_x.data(),
                      wide_y.data(), nullptr, n);
    for (int64_t i = 0; i < n; ++i)
      if (question ? answers[i] != wide_answers[i] : !same(z[i], H(wide_z[i]))) {
        fail("%s dtype %d: %s of %04x, %04x is not the rounded float32 result", isa, dtype, info.name.data(),
             x[i].bits, y[i].bits);
        break;
      }
  }
  const Tiles::Fn nextafter = tiles.op[el::op_of<el::Nextafter>][dtype];
  nextafter(z.data(), x.data(), y.data(), nullptr, n);
  for (int64_t i = 0; i < n; ++i) {
    const float a = x[i], b = y[i], r = z[i];
    const bool toward = std::isnan(a) || std::isnan(b) ? std::isnan(r)
                        : a == b ? r == b
                                 : (a < b) == (r > a) && r != a && (a < b ? r <= b : r >= b);
    const int distance = std::abs((x[i].bits & 0x7fff) - (z[i].bits & 0x7fff));
    if (!toward || (!std::isnan(r) && distance > 1))
      fail("%s dtype %d: nextafter %04x %04x", isa, dtype, x[i].bits, y[i].bits);
  }
}

template <class U>
void check_moves(const char* isa, const Tiles& tiles, const CopyTable& copies, int size) {
  Random random(9);
  std::vector<U> in(4000), out(4000), expected(4000);
  for (auto& v : in) v = static_cast<U>(random.bits());
  for (int64_t stride : {1, 2, 3, 4, -1, -2, 0, 7})
    for (int64_t n : {0, 1, 5, 16, 33, 100}) {
      const U* from = in.data() + 2000;
      out.assign(out.size(), 0), expected = out;
      for (int64_t i = 0; i < n; ++i) expected[i] = from[i * stride];
      tiles.gather[size](out.data(), from, stride, n);
      if (out != expected) fail("%s gather of size %d by %lld", isa, size, static_cast<long long>(stride));
      if (stride == 0) continue;
      out.assign(out.size(), 0), expected = out;
      for (int64_t i = 0; i < n; ++i) expected[2000 + i * stride] = in[i];
      tiles.scatter[size](out.data() + 2000, stride, in.data(), n);
      if (out != expected) fail("%s scatter of size %d by %lld", isa, size, static_cast<long long>(stride));
    }
  for (int64_t rows : {1, 3, 16, 40})
    for (int64_t columns : {1, 2, 17, 64}) {
      const int64_t stride = rows + 3;
      if ((columns - 1) * stride + rows > 4000) continue;
      out.assign(out.size(), 0), expected = out;
      for (int64_t r = 0; r < rows; ++r)
        for (int64_t c = 0; c < columns; ++c) expected[r * columns + c] = in[r + c * stride];
      copies.transpose[size](in.data(), stride, out.data(), columns, rows, columns, false);
      if (out != expected) fail("%s transpose of size %d", isa, size);
    }
  for (int64_t n : {0, 1, 7, 16, 64, 1000})
    for (int64_t rows : {0, 1, 2, 4})
      for (int64_t stride : {0, 1, -3}) {
        out.assign(out.size(), 0), expected = out;
        for (int64_t r = 0; r < rows; ++r)
          std::fill_n(expected.begin() + r * n, n, in[static_cast<size_t>(50 + r * stride)]);
        tiles.fill[size](out.data(), &in[50], stride, rows, n);
        if (out != expected) fail("%s fill of size %d", isa, size);
      }
}

}  // namespace

int main() {
  for (Isa isa : isas_here()) {
    const char* name = mlx::core::cpu::isa_name(isa);
    const Tiles& tiles = mlx::core::cpu::tiles_for(isa);
    const CopyTable& copies = mlx::core::cpu::copy_kernels_for(isa);
    check_complete(name, tiles);
    check_positions(name, tiles);
    check_cast_positions(name, tiles);
    check_half<mlx::core::float16_t>(name, tiles, index_of(Dtype::Val::float16));
    check_half<mlx::core::bfloat16_t>(name, tiles, index_of(Dtype::Val::bfloat16));
    check_moves<uint8_t>(name, tiles, copies, 0);
    check_moves<uint16_t>(name, tiles, copies, 1);
    check_moves<uint32_t>(name, tiles, copies, 2);
    check_moves<uint64_t>(name, tiles, copies, 3);
  }
  return finish("tiles_layout");
}

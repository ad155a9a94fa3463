// save and load of single arrays in NumPy's format.
#include "mlx/io.h"

#include <algorithm>

#include "mlx/io/file.h"
#include "mlx/io/load.h"
#include "mlx/io/npy_header.h"
#include "mlx/io/text.h"
#include "mlx/ops.h"
#include "mlx/transforms.h"

namespace mlx::core {
namespace {

// Files up to this size are read at once: a data set of thousands of them shall not keep as many files open.
constexpr size_t kSmall = size_t{1} << 20;

}  // namespace

void save(std::shared_ptr<io::Writer> out_stream, array a) {
  if (!out_stream->is_open() || !out_stream->good())
    throw std::runtime_error(text("[save] cannot write ", io::in_quotes(out_stream->label())));
  a.eval();
  const bool fortran = !a.flags().row_contiguous && a.flags().col_contiguous;
  if (!fortran && !a.flags().row_contiguous) {
    a = contiguous(a, false, Device::cpu);
    a.eval();
  }
  const std::string header = io::npy_header(a.dtype(), fortran, a.shape());
  out_stream->write(header.data(), header.size());
  if (a.nbytes() > 0) out_stream->write(a.data<char>(), a.nbytes());
}

void save(std::string file, array a) {
  if (!file.ends_with(".npy")) file += ".npy";
  a.eval();  // before there is a file: a failure leaves nothing to be removed
  auto out = std::make_shared<io::FileWriter>(std::move(file));
  save(out, std::move(a));
  out->finish();
}

array load(std::shared_ptr<io::Reader> in_stream, StreamOrDevice s) {
  io::check_readable(*in_stream, "load");
  io::NpyHeader header =
      io::read_npy_header(*in_stream, text("[load] ", io::in_quotes(in_stream->label()), ": "));
  // Where the next array begins, if the stream holds several.
  in_stream->seek(static_cast<int64_t>(header.data + header.bytes));
  auto source = std::make_shared<io::Source>(std::move(in_stream));
  const bool transposed = header.fortran_order && header.shape.size() > 1;
  if (transposed) std::reverse(header.shape.begin(), header.shape.end());
  array a = load_node(header.shape, header.dtype, std::move(source), header.data, header.other_byte_order, s);
  return transposed ? transpose(a, to_stream(s, Device::cpu)) : a;
}

array load(std::string file, StreamOrDevice s) {
  array a = load(std::make_shared<io::FileReader>(std::move(file)), s);
  if (a.nbytes() <= kSmall) a.eval();
  return a;
}

}  // namespace mlx::core

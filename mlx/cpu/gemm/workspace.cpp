#include "mlx/cpu/gemm/workspace.h"

#include <cstdlib>
#include <memory>
#include <new>
#include <vector>

#include "mlx/graph/poison.h"
#include "mlx/graph/system.h"

namespace mlx::core::cpu {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kKeepAtMost = size_t{96} << 20;  // bytes kept per thread between calls

struct Free {
  void operator()(void* p) const { std::free(p); }
};
struct Piece {
  std::unique_ptr<void, Free> memory;
  size_t size;
};

struct Cache {
  std::vector<Piece> pieces;  // few: as many as workspaces were ever open at once
  size_t kept = 0;
};
thread_local Cache cache;

void* allocate(size_t size, size_t alignment) {
  void* p = std::aligned_alloc(alignment, size);
  if (!p) throw std::bad_alloc();
  if (alignment == kHugePage) system::prefer_huge_pages(p, size);
  return p;
}

}  // namespace

Workspace::Workspace(int64_t bytes) {
  if (bytes <= 0) return;
  const size_t wanted = static_cast<size_t>(bytes);
  auto& pieces = cache.pieces;
  size_t best = pieces.size();
  for (size_t i = 0; i < pieces.size(); ++i)
    if (pieces[i].size >= wanted && (best == pieces.size() || pieces[i].size < pieces[best].size)) best = i;
  if (best < pieces.size()) {
    size_ = pieces[best].size;
    data_ = pieces[best].memory.release();
    cache.kept -= size_;
    pieces.erase(pieces.begin() + static_cast<std::ptrdiff_t>(best));
    detail::permit_access(data_, wanted);
    return;
  }
  if (!pieces.empty()) {  // too small for today: the largest goes, a larger one comes
    size_t largest = 0;
    for (size_t i = 1; i < pieces.size(); ++i)
      if (pieces[i].size > pieces[largest].size) largest = i;
    cache.kept -= pieces[largest].size;
    pieces.erase(pieces.begin() + static_cast<std::ptrdiff_t>(largest));
  }
  const size_t unit = wanted >= kHugePage ? kHugePage : size_t{4096};
  size_ = (wanted + unit - 1) / unit * unit;
  data_ = allocate(size_, unit);
  detail::forbid_access(static_cast<char*>(data_) + wanted, size_ - wanted);
}

Workspace::~Workspace() {
  if (!data_) return;
  std::unique_ptr<void, Free> memory(data_);
  if (cache.kept + size_ > kKeepAtMost || cache.pieces.size() >= 8) return;
  try {
    cache.pieces.push_back({std::move(memory), size_});
    cache.kept += size_;
    detail::forbid_access(data_, size_);
  } catch (const std::bad_alloc&) {  // freed instead of kept
  }
}

}  // namespace mlx::core::cpu

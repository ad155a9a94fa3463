// The back end "mpi": processes that mpirun of Open MPI started. The library is loaded when it is asked for,
// so nothing here is compiled against it: these are the names and types that its ABI has.
#include <dlfcn.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "mlx/distributed/ring.h"
#include "mlx/graph/interrupt.h"
#include "mlx/graph/worker.h"

namespace mlx::core::distributed::detail {
namespace {

using Handle = void*;
struct Status {
  int source, tag, error, cancelled;
  size_t count;
};
constexpr int kTag = 0x4d4c, kThreadSerialized = 2, kUndefinedSize = -32766;

struct Mpi {
  int (*initialized)(int*);
  int (*init_thread)(int*, char***, int, int*);
  int (*finalize)();
  int (*comm_dup)(Handle, Handle*);
  int (*comm_rank)(Handle, int*);
  int (*comm_size)(Handle, int*);
  int (*comm_set_errhandler)(Handle, Handle);
  int (*isend)(const void*, int, Handle, int, int, Handle, Handle*);
  int (*recv)(void*, int, Handle, int, int, Handle, Status*);
  int (*iprobe)(int, int, Handle, int*, Status*);
  int (*get_count)(const Status*, Handle, int*);
  int (*test)(Handle*, int*, Status*);
  Handle world, bytes, errors_return;
};

// The first of these libraries that is there and is Open MPI's.
void* open_library() {
  const char* named = std::getenv("MLX_MPI_LIBNAME");
  const char* prefix = std::getenv("OPAL_PREFIX");
#ifdef __APPLE__
  const std::string file = "libmpi.dylib";
#else
  const std::string file = "libmpi.so.40";
#endif
  std::vector<std::string> names;
  if (named)
    names = {named};
  else if (prefix)
    names = {std::string(prefix) + "/lib/" + file, file};
  else
    names = {file};
  for (const std::string& name : names)
    if (void* library = dlopen(name.c_str(), RTLD_NOW | RTLD_GLOBAL)) return library;
  return nullptr;
}

// Null where it is missing, or lacks one of these names, as other libraries of MPI do.
const Mpi* load() {
  static const std::optional<Mpi> loaded = []() -> std::optional<Mpi> {
    void* library = open_library();
    if (!library) return std::nullopt;
    Mpi mpi{};
    bool complete = true;
    const auto find = [&](auto& member, const char* name) {
      void* symbol = dlsym(library, name);
      complete &= symbol != nullptr;
      std::memcpy(&member, &symbol, sizeof(symbol));
    };
    find(mpi.initialized, "MPI_Initialized");
    find(mpi.init_thread, "MPI_Init_thread");
    find(mpi.finalize, "MPI_Finalize");
    find(mpi.comm_dup, "MPI_Comm_dup");
    find(mpi.comm_rank, "MPI_Comm_rank");
    find(mpi.comm_size, "MPI_Comm_size");
    find(mpi.comm_set_errhandler, "MPI_Comm_set_errhandler");
    find(mpi.isend, "MPI_Isend");
    find(mpi.recv, "MPI_Recv");
    find(mpi.iprobe, "MPI_Iprobe");
    find(mpi.get_count, "MPI_Get_count");
    find(mpi.test, "MPI_Test");
    find(mpi.world, "ompi_mpi_comm_world");
    find(mpi.bytes, "ompi_mpi_byte");
    find(mpi.errors_return, "ompi_mpi_errors_return");
    return complete ? std::optional(mpi) : std::nullopt;
  }();
  return loaded ? &*loaded : nullptr;
}

void check(int code, const char* call) {
  if (code != 0) throw std::runtime_error(std::string(call) + " failed with code " + std::to_string(code));
}

// A header, then pieces of at most kPiece bytes, each a message of MPI, which keeps their order.
class MpiLinks final : public Links {
 public:
  explicit MpiLinks(const Mpi& mpi) : mpi_(mpi) {
    // Messages of a program's own are none of these.
    check(mpi_.comm_dup(mpi_.world, &comm_), "MPI_Comm_dup");
    check(mpi_.comm_set_errhandler(comm_, mpi_.errors_return), "MPI_Comm_set_errhandler");
    check(mpi_.comm_rank(comm_, &rank_), "MPI_Comm_rank");
    check(mpi_.comm_size(comm_, &size_), "MPI_Comm_size");
    aside_.resize(static_cast<size_t>(size_));
  }
  int rank() const override { return rank_; }
  int size() const override { return size_; }

  void exchange(const Outgoing* out, const Incoming* in) override {
    if (!broken_.empty()) throw std::runtime_error("the group cannot be used any more: " + broken_);
    try {
      run(out, in);
    } catch (const std::exception& error) {
      broken_ = error.what();
      throw;
    } catch (...) {
      broken_ = "it was interrupted";
      throw;
    }
  }

 private:
  // Where the next piece of a message lies, the header being the first.
  struct Place {
    size_t begin, bytes;
  };
  static Place place(size_t done, size_t total) {
    if (done < sizeof(Header)) return {0, sizeof(Header)};
    const size_t at = done - sizeof(Header);
    return {at, std::min(kPiece, total - at)};
  }

  struct Writing {
    const Outgoing* out = nullptr;
    size_t done = 0;
    Handle request = nullptr;
    bool pending = false;
    bool finished() const { return !out || (!pending && done == sizeof(Header) + out->header.bytes); }
  };
  struct Reading {
    const Incoming* in = nullptr;
    size_t done = 0;
    Header header;
    bool finished() const { return !in || done == sizeof(Header) + in->header.bytes; }
  };

  void run(const Outgoing* out, const Incoming* in) {
    Writing writing;
    writing.out = out;
    Reading reading;
    reading.in = in;
    auto moved_at = std::chrono::steady_clock::now();
    while (!writing.finished() || !reading.finished()) {
      bool moved = !writing.finished() && write(writing);
      if (!reading.finished() && read(reading)) moved = true;
      if (writing.pending && put_aside(reading.finished() ? size_ : in->from)) moved = true;
      const auto now = std::chrono::steady_clock::now();
      if (moved) moved_at = now;
      check_interrupt();
      if (core::detail::is_stopping()) throw std::runtime_error("this process ends");
      // Other processes may need this processor.
      if (now - moved_at > std::chrono::microseconds(100))
        std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
  }

  bool write(Writing& w) {
    return with(w.out->to, [&] {
      const Place p = place(w.done, w.out->header.bytes);
      if (!w.pending) {
        const void* from = w.done < sizeof(Header) ? static_cast<const void*>(&w.out->header)
                                                   : static_cast<const char*>(w.out->data) + p.begin;
        check(mpi_.isend(from, static_cast<int>(p.bytes), mpi_.bytes, w.out->to, kTag, comm_, &w.request),
              "MPI_Isend");
        w.pending = true;
      }
      int complete = 0;
      Status status{};
      check(mpi_.test(&w.request, &complete, &status), "MPI_Test");
      if (!complete) return false;
      w.pending = false;
      w.done += p.bytes;
      return true;
    });
  }

  bool read(Reading& r) {
    return with(r.in->from, [&] {
      const Place p = place(r.done, r.in->header.bytes);
      const bool is_header = r.done < sizeof(Header);
      char* into = is_header ? reinterpret_cast<char*>(&r.header)
                             : (r.in->into ? static_cast<char*>(r.in->into) + p.begin : buffer());
      if (!take(r.in->from, into, p.bytes)) return false;
      r.done += p.bytes;
      if (is_header)
        check_header(r.header, r.in->header);
      else if (!r.in->into)
        r.in->sink(into, p.bytes);
      return true;
    });
  }

  // The next message from a process, where there is one.
  bool take(int from, char* into, size_t bytes) {
    auto& queue = aside_[static_cast<size_t>(from)];
    if (!queue.empty()) {
      if (queue.front().size() != bytes) throw std::runtime_error("sends a message of another size");
      std::memcpy(into, queue.front().data(), bytes);
      queue.pop_front();
      return true;
    }
    int there = 0, count = 0;
    Status status{};
    check(mpi_.iprobe(from, kTag, comm_, &there, &status), "MPI_Iprobe");
    if (!there) return false;
    check(mpi_.get_count(&status, mpi_.bytes, &count), "MPI_Get_count");
    if (static_cast<size_t>(count) != bytes) throw std::runtime_error("sends a message of another size");
    check(mpi_.recv(into, count, mpi_.bytes, from, kTag, comm_, &status), "MPI_Recv");
    return true;
  }

  // What came from others than `reading`, which is read by itself.
  bool put_aside(int reading) {
    bool any = false;
    for (int from = 0; from < size_; ++from) {
      if (from == reading) continue;
      int there = 0, count = 0;
      Status status{};
      check(mpi_.iprobe(from, kTag, comm_, &there, &status), "MPI_Iprobe");
      if (!there) continue;
      check(mpi_.get_count(&status, mpi_.bytes, &count), "MPI_Get_count");
      if (count < 0 || count == kUndefinedSize) throw std::runtime_error("MPI_Get_count gave no size");
      std::vector<char> message(static_cast<size_t>(count));
      check(mpi_.recv(message.data(), count, mpi_.bytes, from, kTag, comm_, &status), "MPI_Recv");
      aside_[static_cast<size_t>(from)].push_back(std::move(message));
      any = true;
    }
    return any;
  }

  char* buffer() {
    buffer_.resize(kPiece);
    return buffer_.data();
  }

  const Mpi& mpi_;
  Handle comm_ = nullptr;
  int rank_ = 0, size_ = 1;
  std::vector<std::deque<std::vector<char>>> aside_;  // of each process
  std::vector<char> buffer_;
  std::string broken_;
};

}  // namespace

bool has_mpi() { return load() != nullptr; }

std::shared_ptr<GroupImpl> make_mpi() {
  // What mpirun and its like set. Without them MPI would start a daemon for this process alone.
  if (!std::getenv("OMPI_COMM_WORLD_SIZE") && !std::getenv("PMIX_RANK")) return nullptr;
  const Mpi* mpi = load();
  if (!mpi) return nullptr;
  try {
    int initialized = 0;
    check(mpi->initialized(&initialized), "MPI_Initialized");
    if (!initialized) {
      int provided = 0;
      check(mpi->init_thread(nullptr, nullptr, kThreadSerialized, &provided), "MPI_Init_thread");
      if (provided < kThreadSerialized)
        throw std::runtime_error("this MPI can be used by its first thread only");
      std::atexit([] { load()->finalize(); });
    }
    auto links = std::make_unique<MpiLinks>(*mpi);
    return links->size() == 1 ? nullptr : ring_over(std::move(links));
  } catch (const std::runtime_error& error) {
    throw std::runtime_error(std::string("[distributed.init] ") + error.what());
  }
}

}  // namespace mlx::core::distributed::detail

// Every process sends to the next one. Reductions of n processes move 2 (n - 1) / n of an array in and out of
// each process, gathering (n - 1) / n of the result, which is the least (P. Patarasuk and X. Yuan, Bandwidth
// optimal all-reduce algorithms for clusters of workstations, 2009).
#include "mlx/distributed/ring.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <mutex>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include "mlx/distributed/reduce.h"

namespace mlx::core::distributed::detail {
namespace {

// Up to this size everybody gets everything and reduces it: half the steps.
constexpr size_t kShortBytes = size_t{1} << 14;

// One operation at a time.
struct Shared {
  explicit Shared(std::unique_ptr<Links> links) : links(std::move(links)) {}
  std::mutex lock;
  const std::unique_ptr<Links> links;
};

class Ring final : public GroupImpl {
 public:
  Ring(std::shared_ptr<Shared> shared, std::vector<int> members, int rank, uint64_t id)
      : shared_(std::move(shared)), members_(std::move(members)), rank_(rank), id_(id) {}

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(members_.size()); }

  std::shared_ptr<GroupImpl> split(int color, int key) override {
    struct Choice {
      int color, key;
    };
    const Choice mine{color, key};
    std::vector<Choice> all(members_.size());
    named("Group.split",
          [&] { gather(header(Kind::split, uint8, sizeof(mine)), &mine, all.data(), sizeof(mine)); });
    std::vector<int> ranks;
    for (int r = 0; r < size(); ++r)
      if (all[static_cast<size_t>(r)].color == color) ranks.push_back(r);
    std::stable_sort(ranks.begin(), ranks.end(), [&](int a, int b) {
      return all[static_cast<size_t>(a)].key < all[static_cast<size_t>(b)].key;
    });
    const auto place = std::find(ranks.begin(), ranks.end(), rank_) - ranks.begin();
    std::vector<int> members;
    for (int r : ranks) members.push_back(members_[static_cast<size_t>(r)]);
    // All members count the splits of this group, and those of one color share a first member.
    const uint64_t id = (id_ * 1000003 + ++splits_) * 1000003 + static_cast<uint64_t>(members[0]) + 1;
    return std::make_shared<Ring>(shared_, std::move(members), static_cast<int>(place), id);
  }

  void all_reduce(Reduction op, Dtype dtype, const void* in, void* out, size_t count) override {
    const Kind kind =
        op == Reduction::sum ? Kind::all_sum : (op == Reduction::max ? Kind::all_max : Kind::all_min);
    if (dtype == bool_ && op == Reduction::sum) op = Reduction::max;  // true where one is
    named(op == Reduction::sum ? "distributed.all_sum"
                               : (op == Reduction::max ? "distributed.all_max" : "distributed.all_min"),
          [&] {
            dispatch_all(dtype, [&]<class T>() {
              const Header h = header(kind, dtype, count);
              if (count * sizeof(T) <= kShortBytes)
                reduce_short(h, op, static_cast<const T*>(in), static_cast<T*>(out), count);
              else
                reduce_long(h, op, static_cast<const T*>(in), static_cast<T*>(out), count);
            });
          });
  }

  void all_gather(Dtype dtype, const void* in, void* out, size_t count) override {
    named("distributed.all_gather",
          [&] { gather(header(Kind::all_gather, dtype, count), in, out, count * dtype.size()); });
  }

  void sum_scatter(Dtype dtype, const void* in, void* out, size_t count) override {
    named("distributed.sum_scatter", [&] {
      const Reduction op = dtype == bool_ ? Reduction::max : Reduction::sum;
      dispatch_all(dtype, [&]<class T>() {
        const size_t n = members_.size();
        const Parts parts{count * n, n};
        scatter(header(Kind::sum_scatter, dtype, count), op, static_cast<const T*>(in), parts, rank_,
                static_cast<T*>(out));
      });
    });
  }

  void send(Dtype dtype, const void* in, size_t count, int dst) override {
    named("distributed.send", [&] {
      Header h = header(Kind::send, dtype, count);
      h.bytes = count * dtype.size();
      const Links::Outgoing out{members_[static_cast<size_t>(dst)], h, in};
      shared_->links->exchange(&out, nullptr);
    });
  }
  void recv(Dtype dtype, void* out, size_t count, int src) override {
    named("distributed.recv", [&] {
      Header h = header(Kind::send, dtype, count);
      h.bytes = count * dtype.size();
      const Links::Incoming in{members_[static_cast<size_t>(src)], h, out, {}};
      shared_->links->exchange(nullptr, &in);
    });
  }

 private:
  // A range of elements for each process, as even as can be.
  struct Parts {
    size_t count, n;
    size_t begin(int i) const { return static_cast<size_t>(i) * count / n; }
    size_t size(int i) const { return begin(i + 1) - begin(i); }
  };

  Header header(Kind kind, Dtype dtype, size_t count) const {
    return {.kind = kind, .dtype = static_cast<uint16_t>(dtype.val()), .group = id_, .count = count};
  }

  template <class F>
  void named(const char* function, F&& call) {
    const std::lock_guard guard(shared_->lock);
    try {
      call();
    } catch (const std::runtime_error& error) {
      throw std::runtime_error(std::string("[") + function + "] " + error.what());
    }
  }

  int wrapped(int i) const { return (i % size() + size()) % size(); }

  // One step of the ring: to the next process and from the one before.
  void step(Header h, const void* data, size_t bytes, size_t bytes_in, void* into, Links::Sink sink = {}) {
    h.bytes = bytes;
    const Links::Outgoing out{members_[static_cast<size_t>(wrapped(rank_ + 1))], h, data};
    h.bytes = bytes_in;
    const Links::Incoming in{members_[static_cast<size_t>(wrapped(rank_ - 1))], h, into, std::move(sink)};
    shared_->links->exchange(&out, &in);
  }

  void gather(const Header& h, const void* in, void* out, size_t bytes) {
    char* all = static_cast<char*>(out);
    const auto part = [&](int i) { return all + static_cast<size_t>(wrapped(i)) * bytes; };
    if (bytes > 0) std::memcpy(part(rank_), in, bytes);
    for (int s = 0; s + 1 < size(); ++s) step(h, part(rank_ - s), bytes, bytes, part(rank_ - s - 1));
  }

  // In the order of ranks.
  template <class T>
  void reduce_short(const Header& h, Reduction op, const T* in, T* out, size_t count) {
    const auto all = std::make_unique_for_overwrite<T[]>(members_.size() * count);
    gather(h, in, all.get(), count * sizeof(T));
    using P = Partial<T>;
    const auto sum = std::make_unique_for_overwrite<P[]>(count);
    std::copy_n(all.get(), count, sum.get());
    for (size_t r = 1; r < members_.size(); ++r)
      combine<P>(op, sum.get(), all.get() + r * count, sum.get(), count);
    for (size_t i = 0; i < count; ++i) out[i] = static_cast<T>(sum[i]);
  }

  template <class T>
  void reduce_long(const Header& h, Reduction op, const T* in, T* out, size_t count) {
    const Parts parts{count, members_.size()};
    scatter(h, op, in, parts, rank_, out + parts.begin(rank_));
    for (int s = 0; s + 1 < size(); ++s) {
      const int mine = wrapped(rank_ - s), next = wrapped(rank_ - s - 1);
      step(h, out + parts.begin(mine), parts.size(mine) * sizeof(T), parts.size(next) * sizeof(T),
           out + parts.begin(next));
    }
  }

  // Part `own` of the reduction to `out`. Parts travel around the ring and every process adds its own to
  // them: they leave as they are, go on as partial results, and arrive rounded.
  template <class T>
  void scatter(const Header& h, Reduction op, const T* in, const Parts& parts, int own, T* out) {
    using P = Partial<T>;
    const int last = size() - 2;
    std::unique_ptr<P[]> leaving, coming;
    if (last > 0)
      for (auto* partial : {&leaving, &coming})
        *partial = std::make_unique_for_overwrite<P[]>(parts.count / parts.n + 1);
    for (int s = 0; s <= last; ++s) {
      const int mine = wrapped(own - 1 - s), next = wrapped(own - 2 - s);
      size_t at = 0;
      const auto add = [&]<class Got>(const Got* got, size_t bytes) {
        const size_t n = bytes / sizeof(Got);
        const T* added = in + parts.begin(next) + at;
        if (s == last)
          combine<P>(op, got, added, out + at, n);
        else
          combine<P>(op, got, added, coming.get() + at, n);
        at += n;
      };
      const auto travel = [&]<class Sent>(const Sent* data) {
        step(h, data, parts.size(mine) * sizeof(Sent), parts.size(next) * sizeof(Sent), nullptr,
             [&](const char* got, size_t bytes) { add(reinterpret_cast<const Sent*>(got), bytes); });
      };
      if (s == 0)
        travel(in + parts.begin(mine));
      else
        travel(leaving.get());
      leaving.swap(coming);
    }
  }

  std::shared_ptr<Shared> shared_;
  const std::vector<int> members_;  // ranks among all processes
  const int rank_;
  const uint64_t id_;
  uint64_t splits_ = 0;
};

}  // namespace

std::shared_ptr<GroupImpl> ring_over(std::unique_ptr<Links> links) {
  const int rank = links->rank();
  std::vector<int> members(static_cast<size_t>(links->size()));
  std::iota(members.begin(), members.end(), 0);
  return std::make_shared<Ring>(std::make_shared<Shared>(std::move(links)), std::move(members), rank, 1);
}

}  // namespace mlx::core::distributed::detail

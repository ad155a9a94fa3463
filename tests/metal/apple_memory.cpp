// Heaps, residency and the order of what uses the same memory, with faults planted that the stand-in must
// see.
#include "tests/metal/apple.h"

namespace apple_tests {
namespace {

// What is wired changes with the next command buffer.
void work() {
  const auto commands = gpu->new_queue()->command_buffer();
  commands->commit();
  commands->wait();
}
constexpr size_t kMega = 1 << 20, kKilo = 1 << 10;

}  // namespace

// What is wired is never more than was asked for, whatever there is. These buffers are in no heap.
void test_residency() {
  const auto wired = control<size_t()>("standin_wired");
  const auto most = control<size_t()>("standin_most_wired");
  constexpr size_t kLimit = 10 * kMega, kPart = 6 * kMega;
  gpu->set_wired_limit(kLimit);
  auto a = gpu->allocate(kPart), b = gpu->allocate(kPart);
  work();
  check(wired() == kPart, "one of two buffers fits, " + std::to_string(wired()) + " bytes");
  a = nullptr;  // b's turn comes with the next limit
  gpu->set_wired_limit(2 * kLimit);
  check(wired() == kPart, "the other one");
  most();
  std::vector<std::shared_ptr<Buffer>> many;
  for (int i = 0; i < 40; ++i) {
    many.push_back(gpu->allocate(kMega + kKilo));
    if (i % 3 == 0) many.erase(many.begin());
    work();
    check(most() <= 2 * kLimit, "the limit holds while buffers come and go");
  }
  check(wired() > 2 * kLimit - 2 * (kMega + kKilo), "as many as fit, but for the last that died");
  gpu->set_wired_limit(0);
  check(wired() == 0, "nothing is wired without a limit");
}

// Smaller buffers lie in heaps: few entries, what the system gave goes back, and there is never much of it
// that nobody uses.
void test_heaps() {
  const auto wired = control<size_t()>("standin_wired"), entries = control<size_t()>("standin_wired_entries"),
             in_heaps = control<size_t()>("standin_heap_bytes");
  constexpr size_t kHeap = 8 * kMega;
  gpu->set_wired_limit(4 * kHeap);
  std::vector<std::shared_ptr<Buffer>> many;
  for (size_t i = 0; i < 110; ++i) many.push_back(gpu->allocate(200 * kKilo));
  work();
  check(in_heaps() == 3 * kHeap, "110 buffers of 200 KiB lie in three heaps");
  check(entries() == (older ? 0 : 3) && wired() == (older ? 0 : 3 * kHeap),
        "which are three entries, had " + std::to_string(entries()));
  for (size_t i = 0; i < many.size(); ++i)
    for (size_t j = 0; j < i; ++j) {
      const auto *a = static_cast<char*>(many[i]->contents()), *b = static_cast<char*>(many[j]->contents());
      check(a + many[i]->length() <= b || b + many[j]->length() <= a, "buffers do not overlap");
    }
  many.resize(117);
  for (auto& b : many)
    if (!b) b = gpu->allocate(200 * kKilo);          // three full heaps of 39
  many.erase(many.begin() + 76, many.begin() + 78);  // of the second one
  many.erase(many.begin() + 4, many.begin() + 39);   // of the first one
  for (int i = 0; i < 2; ++i) many.push_back(gpu->allocate(200 * kKilo));
  many.erase(many.begin(), many.begin() + 4);
  work();
  check(in_heaps() == 2 * kHeap, "the fullest heap has taken what came, the other went back");
  const auto large = gpu->allocate(kMega + 1);
  check(in_heaps() == 2 * kHeap, "more than an eighth of a heap is a buffer of its own");
  many.clear();
  work();
  check(in_heaps() == 0 && wired() == (older ? 0 : large->length()), "all memory went back");
  gpu->set_wired_limit(0);

  // Buffers of all sizes come and go, those that came first last longest.
  size_t used = 0;
  uint32_t state = 1;
  for (int i = 0; i < 4000; ++i) {
    state = state * 1664525 + 1013904223;
    if (state >> 31 || many.empty()) {
      const size_t before = in_heaps();
      many.push_back(gpu->allocate(kKilo + (state >> 8) % kMega));
      used += many.back()->length();
      if (in_heaps() > before)
        check(before <= 2 * used + kHeap, "no heap is added to what is half empty: " +
                                              std::to_string(before) + " for " + std::to_string(used));
    } else {
      const size_t at = many.size() - 1 - (state >> 8) % ((many.size() + 3) / 4);
      used -= many[at]->length();
      many.erase(many.begin() + static_cast<long>(at));
    }
  }
  many.clear();
  check(in_heaps() == 0, "all of that went back");
  // The worst case: of four full heaps a sixteenth stays, and leaves no room for more than 512 KiB.
  constexpr size_t kSmall = 16 * kKilo, kMedium = 512 * kKilo;
  for (int heap = 0; heap < 4; ++heap) {
    for (int i = 0; i < 15; ++i)
      for (const size_t size : {kMedium, kSmall}) many.push_back(gpu->allocate(size));
    for (int i = 0; i < 17; ++i) many.push_back(gpu->allocate(kSmall));
  }
  check(in_heaps() == 4 * kHeap, "four heaps are full");
  std::erase_if(many, [](const auto& b) { return b->length() == kMedium; });
  for (int i = 0; i < 50; ++i) many.push_back(gpu->allocate(900 * kKilo));
  check(in_heaps() == 4 * kHeap, "what finds no room stands by itself");
  for (int i = 0; i < 60; ++i) many.push_back(gpu->allocate(kMedium));
  check(in_heaps() == 4 * kHeap, "what finds room lies there");
  many.clear();
  check(in_heaps() == 0, "all of that went back");

  // What Metal refuses.
  const auto fail_heaps = control<void(long)>("standin_fail_heaps"),
             fail_inside = control<void(long)>("standin_fail_in_heaps");
  fail_heaps(1);
  const auto alone = gpu->allocate(200 * kKilo);
  check(in_heaps() == 0, "without a heap it is a buffer of its own");
  const auto inside = gpu->allocate(200 * kKilo);
  check(in_heaps() == kHeap, "the next one is in a heap");
  fail_inside(1);
  const auto second = gpu->allocate(200 * kKilo);
  check(in_heaps() == kHeap && second->length() == 200 * kKilo, "or where the heap refuses");
  const auto align = control<void(size_t)>("standin_align_in_heaps");
  align(16);
  const auto aligned = gpu->allocate(kKilo);  // not at all in a heap
  check(in_heaps() == kHeap && reinterpret_cast<uintptr_t>(aligned->contents()) % 64 == 0,
        "the CPU needs memory that is aligned");
  align(0);
}

// Two dispatches on the same memory, in turn: of two command buffers that the device has at the same time, of
// two encoders, and behind an event; in a heap and outside.
void test_order() {
  const auto library = gpu->compile(kSource, "test.metal");
  const auto scale = library->pipeline("scale", {{0, uint32_t{1}}});
  const auto queue = gpu->new_queue(), other = gpu->new_queue();
  const auto event = gpu->new_event();
  for (const size_t size : {size_t{1000}, 2 * kMega}) {
    const auto x = gpu->allocate(size), y = gpu->allocate(size);
    *static_cast<float*>(x->contents()) = 1;
    std::vector<std::shared_ptr<CommandBuffer>> all;
    const auto commands = [&](const std::shared_ptr<Queue>& from) {
      all.push_back(from->command_buffer());
      all.back()->set_pipeline(scale);
      all.back()->set_buffer(0, x, 0, 4);
      return all.back();
    };
    const auto twice = [](CommandBuffer& c) {
      c.set_value(1, 2.0f);
      c.dispatch_threads({1}, {1}, "Scale");
    };
    const uint64_t value = event->value();
    auto c = commands(queue);
    twice(*c);
    c->commit();
    c = commands(queue);
    twice(*c);
    c->signal(event, value + 1);
    twice(*c);
    c->commit();
    c = commands(queue);  // an event only
    c->signal(event, value + 2);
    c->commit();
    c = commands(other);
    c->wait_for(event, value + 2);
    twice(*c);
    c->commit();
    c = commands(other);
    twice(*c);
    c->commit();
    c = commands(other);
    twice(*c);
    c->signal(event, value + 3);
    c->commit();
    c = commands(queue);
    c->set_buffer(0, y, 0, 4);
    twice(*c);
    c->wait_for(event, value + 3);  // with nothing behind it
    c->commit();
    c = commands(queue);
    twice(*c);
    c->commit();
    for (const auto& one : all) one->wait();
    check(first(x) == 128, "dispatches of queues follow one another: " + std::to_string(first(x)));
  }
  const auto a = gpu->new_queue();
  const auto one = a->command_buffer(), two = a->command_buffer();
  one->set_pipeline(scale), two->set_pipeline(scale);
  const auto x = gpu->allocate(4);
  for (const auto& c : {one, two}) {
    c->set_buffer(0, x, 0, 4);
    c->set_value(1, 2.0f);
    c->dispatch_threads({1}, {1}, "Scale");
  }
  one->commit();
  contains(error_of<std::logic_error>([&] { two->commit(); }), "[commit] two command buffers");
  one->wait();
}

void test_watching_residency() {
  using namespace apple;
  const Ref metal = Ref::owned(runtime().default_device());
  Pool pool;
  const Ref queue = Ref::owned(mtl::new_queue(metal));
  const Ref descriptor = make("MTLCommandBufferDescriptor");
  const auto encoder = [&](Id b) { return mtl::compute_encoder(b, UInteger{kConcurrent}); };
  const auto memory = [&] { return mtl::new_buffer(metal, 16ul, UInteger{kStorageShared}); };
  const auto new_set = [&] {
    Id error = nullptr;
    return Ref::owned(mtl::new_residency_set(metal, make("MTLResidencySetDescriptor"), &error));
  };
  fault_of(
      [&] {
        const Ref keeps_nothing = make("MTLCommandBufferDescriptor");
        mtl::set_retained_references(keeps_nothing, false);
        const Id b = mtl::command_buffer(queue, Id{keeps_nothing}), e = encoder(b), m = memory();
        mtl::set_buffer(e, m, 0ul, 0ul);
        mtl::end_encoding(e);
        runtime().release(m);
        mtl::commit(b);
        mtl::wait(b);
      },
      "uses a deallocated resource");
  fault_of(
      [&] {
        const Ref set = new_set(), other = Ref::owned(mtl::new_queue(metal));
        const Ref m = Ref::owned(memory());
        mtl::add_residency_set(other, Id{set});
        mtl::add_allocation(set, Id{m});
        const Id b = mtl::command_buffer(other, Id{descriptor});
        mtl::commit(b);
        mtl::wait(b);
      },
      "has changes to commit");
  fault_of(
      [&] {
        const Ref set = new_set(), other = Ref::owned(mtl::new_queue(metal));
        const Id m = memory();
        mtl::add_residency_set(other, Id{set});
        mtl::add_allocation(set, m);
        mtl::commit_residency(set);
        runtime().release(m);
        const Id b = mtl::command_buffer(other, Id{descriptor});
        mtl::commit(b);
        mtl::wait(b);
      },
      "holds a deallocated buffer");
  fault_of(
      [&] {
        const Ref set = new_set(), m = Ref::owned(memory());
        mtl::add_allocation(set, Id{m});
        mtl::request_residency(set);
      },
      "requestResidency before commit");
  fault_of(
      [&] {
        const Ref set = new_set();
        const Ref m = Ref::owned(memory());
        mtl::remove_allocation(set, Id{m});
      },
      "what is not in the residency set");
}
// A fault, and the same without it.
void test_watching_heaps() {
  using namespace apple;
  const Ref metal = Ref::owned(runtime().default_device());
  Pool pool;
  const UInteger options = UInteger{kStorageShared} | UInteger{kUntracked};
  const auto new_heap = [&](UInteger size, UInteger of) {
    const Ref descriptor = make("MTLHeapDescriptor");
    mtl::set_heap_type(descriptor, long{kAutomatic});
    mtl::set_heap_size(descriptor, size);
    mtl::set_heap_options(descriptor, of);
    return Ref::owned(mtl::new_heap(metal, Id{descriptor}));
  };
  const Ref heap = new_heap(kMega, options);
  const auto buffer = [&](UInteger size) { return Ref::owned(mtl::new_buffer_in(heap, size, options)); };
  {
    const Ref most = buffer(mtl::available_size(heap, 256ul));
    check(most && !buffer(16) && mtl::available_size(heap, 256ul) == 0, "a heap that is full makes nothing");
    check(mtl::used_size(heap) == kMega && mtl::heap_size(heap) == kMega, "and says so");
  }
  check(mtl::used_size(heap) == 0 && buffer(16), "what its buffers had is free again");
  check(faults().empty(), "a heap is no fault");
  fault_of([&] { mtl::new_buffer_in(heap, 16ul, UInteger{kStorageShared}); },
           "with other options than its heap's");
  fault_of([&] { mtl::new_buffer_in(heap, 0ul, options); }, "of no bytes");
  fault_of([&] { new_heap(0, options); }, "newHeapWithDescriptor: of no bytes");
  fault_of([&] { new_heap(kMega, options | 32); }, "newHeapWithDescriptor: of memory that the CPU does not");
  fault_of([&] { mtl::available_size(heap, 24ul); }, "of no power of two");
  fault_of(
      [&] {
        const Id another = mtl::new_heap(metal, [&] {
          static const Ref descriptor = make("MTLHeapDescriptor");
          mtl::set_heap_size(descriptor, kMega);
          mtl::set_heap_options(descriptor, options);
          return Id{descriptor};
        }());
        const Ref inside = Ref::owned(mtl::new_buffer_in(another, 16ul, options));
        runtime().release(another);
      },
      "a heap was deallocated while its buffers live");
}
void test_watching_order() {
  using namespace apple;
  const Ref metal = Ref::owned(runtime().default_device());
  Pool pool;
  const UInteger options = UInteger{kStorageShared} | UInteger{kUntracked};
  const Ref memory = Ref::owned(mtl::new_buffer(metal, 16ul, options)),
            tracked = Ref::owned(mtl::new_buffer(metal, 16ul, UInteger{kStorageShared}));
  const Ref queue = Ref::owned(mtl::new_queue(metal)), other = Ref::owned(mtl::new_queue(metal));
  const Ref descriptor = make("MTLCommandBufferDescriptor");
  const Ref event = Ref::owned(mtl::new_shared_event(metal)), gate = Ref::owned(mtl::new_shared_event(metal));
  const auto use = [&](Id commands, Id what, Id wait, Id update) {
    const Id e = mtl::compute_encoder(commands, UInteger{kConcurrent});
    if (wait) mtl::wait_for_fence(e, wait);
    mtl::set_buffer(e, what, 0ul, 0ul);
    if (update) mtl::update_fence(e, update);
    mtl::end_encoding(e);
  };
  // The device begins with nothing before the end of `encode`.
  uint64_t opened = 0;
  const auto together = [&](const std::function<void()>& encode) {
    const Id b = mtl::command_buffer(queue, Id{descriptor}), c = mtl::command_buffer(other, Id{descriptor});
    mtl::encode_wait(b, Id{gate}, ++opened);
    mtl::encode_wait(c, Id{gate}, opened);
    mtl::commit(b);
    mtl::commit(c);
    encode();
    const Id last = mtl::command_buffer(queue, Id{descriptor}),
             last_of_other = mtl::command_buffer(other, Id{descriptor});
    mtl::commit(last);
    mtl::commit(last_of_other);
    mtl::set_signaled_value(gate, opened);
    mtl::wait(last);
    mtl::wait(last_of_other);
  };
  const auto commands = [&](Id from, const std::function<void(Id)>& encode) {
    const Id b = mtl::command_buffer(from, Id{descriptor});
    encode(b);
    mtl::commit(b);
  };
  const char* const unordered = "no fence, event or wait orders them";
  const auto fence = [&] { return Ref::owned(mtl::new_fence(metal)); };
  const auto two = [&](Id what, Id update, Id wait) {
    return [=] {
      together([&] {
        commands(queue, [&](Id b) { use(b, what, nullptr, update); });
        commands(queue, [&](Id b) { use(b, what, wait, nullptr); });
      });
    };
  };
  const Ref f = fence(), g = fence(), h = fence();
  fault_of(two(memory, nullptr, nullptr), unordered);
  two(tracked, nullptr, nullptr)();
  two(memory, f, f)();
  check(faults().empty(), "tracked memory, or a fence");
  two(tracked, g, nullptr)();  // so that it was updated, for something else
  fault_of(two(memory, f, g), unordered);
  fault_of(two(memory, nullptr, h), "that nothing before updates");
  fault_of(
      [&] {
        const Id b = mtl::command_buffer(queue, Id{descriptor});
        const Id e = mtl::compute_encoder(b, UInteger{kConcurrent});
        mtl::update_fence(e, Id{f});
        mtl::wait_for_fence(e, Id{f});
        mtl::end_encoding(e);
      },
      "of a fence that the encoder has updated");
  // Other queues: by an event behind the use, not by one before it, and not by a fence.
  const auto across = [&](bool before) {
    const uint64_t value = mtl::signaled_value(event) + 1;
    const Ref turn = fence();
    together([&] {
      commands(queue, [&](Id b) {
        if (before) mtl::encode_signal(b, Id{event}, value);
        use(b, memory, nullptr, turn);
        if (!before) mtl::encode_signal(b, Id{event}, value);
      });
      commands(other, [&](Id b) {
        mtl::encode_wait(b, Id{event}, value);
        use(b, memory, nullptr, nullptr);
      });
    });
  };
  across(false);
  check(faults().empty(), "an event: " + faults());
  fault_of([&] { across(true); }, unordered);
}

}  // namespace apple_tests

// Residency sets, which keep buffers wired, and captures.
#include <algorithm>
#include <cstdlib>

#include "metal.h"

namespace standin {
namespace {

std::atomic<bool> capturing{false};

}  // namespace

void add_residency_and_capture() {
  method(
      "MTLDevice", "newResidencySetWithDescriptor:error:", +[](Id, Selector, Id, Id*) {
        return id_of(create<ResidencySet>());
      });
  const char* set = "MTLResidencySet";
  method(
      set, "addAllocation:", +[](Id self, Selector, Id allocation) {
        if (as<Instance>(allocation).dead) return fault("addAllocation: of a deallocated buffer");
        auto& f = as<ResidencySet>(self).fields;
        f.allocations.push_back(allocation);
        f.changed = true;
      });
  method(
      set, "removeAllocation:", +[](Id self, Selector, Id allocation) {
        auto& f = as<ResidencySet>(self).fields;
        const auto found = std::find(f.allocations.begin(), f.allocations.end(), allocation);
        if (found == f.allocations.end())
          return fault("removeAllocation: of what is not in the residency set");
        f.allocations.erase(found);
        f.changed = true;
      });
  method(
      set, "commit", +[](Id self, Selector) {
        auto& f = as<ResidencySet>(self).fields;
        for (Id allocation : f.allocations)
          if (as<Instance>(allocation).dead) fault("a residency set was committed with a deallocated buffer");
        f.changed = false;
        size_t bytes = 0;
        for (Id allocation : f.allocations)
          if (!as<Instance>(allocation).dead) bytes += allocated_size(allocation);
        f.wired = Wired();
        f.wired = Wired(f.allocations.size(), bytes);
        most_wired = std::max(most_wired.load(), all_wired.load());
      });
  method(
      set, "requestResidency", +[](Id self, Selector) {
        if (as<ResidencySet>(self).fields.changed) fault("requestResidency before commit");
      });
  method(set, "endResidency", +[](Id, Selector) {});
  method(
      "MTLCaptureManager", "sharedCaptureManager",
      +[](Id, Selector) {
        static CaptureManager* const manager = create<CaptureManager>();
        return id_of(manager);
      },
      '+');
  method("MTLCaptureManager", "isCapturing", +[](Id, Selector) { return capturing.load(); });
  method(
      "MTLCaptureManager", "supportsDestination:", +[](Id, Selector, Integer destination) {
        return destination == 2 && std::getenv("MTL_CAPTURE_ENABLED") != nullptr;
      });
  method(
      "MTLCaptureManager", "startCaptureWithDescriptor:error:", +[](Id, Selector, Id descriptor, Id* error) {
        const CaptureFields& f = as<CaptureDescriptor>(descriptor).fields;
        if (f.destination != 2 || !Id{f.url} || !Id{f.object}) {
          refuse(error, 3, "the capture's descriptor is incomplete");
          return false;
        }
        return !capturing.exchange(true);
      });
  method("MTLCaptureManager", "stopCapture", +[](Id, Selector) { capturing = false; });
  method(
      "MTLCaptureDescriptor", "setCaptureObject:", +[](Id self, Selector, Id object) {
        as<CaptureDescriptor>(self).fields.object = Held(object);
      });
  method(
      "MTLCaptureDescriptor", "setDestination:", +[](Id self, Selector, Integer destination) {
        as<CaptureDescriptor>(self).fields.destination = destination;
      });
  method(
      "MTLCaptureDescriptor", "setOutputURL:", +[](Id self, Selector, Id url) {
        as<CaptureDescriptor>(self).fields.url = Held(url);
      });
}

}  // namespace standin

// Capturing a place is cheap: code objects and positions in their bytecode. Lines are found when somebody
// asks. All of this is guarded by the GIL.
#include "python/src/sites.h"

#include <frameobject.h>

#include <string_view>
#include <unordered_map>
#include <vector>

namespace mlx::python {
namespace {

constexpr size_t kMaxFrames = 32;

enum class Owner : uint8_t { user, package, skipped };

struct Frame {
  PyCodeObject* code;
  int at;  // in the bytecode; before Python 3.11 the line
  uint32_t caller;
  bool operator==(const Frame&) const = default;
};
struct FrameHash {
  size_t operator()(const Frame& f) const {
    const size_t hash = (reinterpret_cast<size_t>(f.code) >> 4) * 0x9e3779b97f4a7c15ull;
    return (hash ^ static_cast<size_t>(f.at)) * 0x9e3779b97f4a7c15ull + f.caller;
  }
};

struct Sites {
  std::unordered_map<Frame, uint32_t, FrameHash> ids;
  std::vector<Frame> all;
  std::unordered_map<PyCodeObject*, Owner> owners;  // with a reference to each
  std::string package, skipped;

  Owner owner_of(PyCodeObject* code) {
    if (const auto known = owners.find(code); known != owners.end()) return known->second;
    const char* file = PyUnicode_AsUTF8(code->co_filename);
    if (!file) PyErr_Clear();
    const std::string_view name = file ? file : "";
    const auto below = [&](const std::string& folder) { return !folder.empty() && name.starts_with(folder); };
    const Owner owner = below(skipped) ? Owner::skipped : below(package) ? Owner::package : Owner::user;
    Py_INCREF(code);
    owners.emplace(code, owner);
    return owner;
  }
  uint32_t id_of(const Frame& frame) {
    const auto [at, is_new] = ids.try_emplace(frame, static_cast<uint32_t>(all.size()) + 1);
    if (is_new) all.push_back(frame);
    return at->second;
  }
};

Sites& sites() {
  // Never destroyed: it holds Python objects, and the interpreter ends first.
  static Sites* all = std::make_unique<Sites>().release();
  return *all;
}

int position(PyFrameObject* frame) {
#if PY_VERSION_HEX >= 0x030B0000
  return PyFrame_GetLasti(frame);
#else
  return PyFrame_GetLineNumber(frame);
#endif
}
int line_of(const Frame& frame) {
#if PY_VERSION_HEX >= 0x030B0000
  return PyCode_Addr2Line(frame.code, frame.at);
#else
  return frame.at;
#endif
}

}  // namespace

uint32_t site_here() {
  if (!PyGILState_Check()) return 0;
  Sites& known = sites();
  std::array<Frame, kMaxFrames> found;
  size_t n = 0;
  nb::object frame = nb::borrow(reinterpret_cast<PyObject*>(PyEval_GetFrame()));
  while (frame && n < kMaxFrames) {
    auto* const here = reinterpret_cast<PyFrameObject*>(frame.ptr());
    const nb::object code = nb::steal(reinterpret_cast<PyObject*>(PyFrame_GetCode(here)));
    auto* const of = reinterpret_cast<PyCodeObject*>(code.ptr());
    const Owner owner = known.owner_of(of);
    if (owner != Owner::skipped) found[n++] = {of, position(here), 0};
    if (owner == Owner::user) break;
    frame = nb::steal(reinterpret_cast<PyObject*>(PyFrame_GetBack(here)));
  }
  uint32_t site = 0;
  while (n-- > 0) {
    found[n].caller = site;
    site = known.id_of(found[n]);
  }
  return site;
}

nb::list site_frames(uint32_t site) {
  nb::list frames;
  const auto& all = sites().all;
  while (site != 0 && site <= all.size()) {
    const Frame& frame = all[site - 1];
    frames.append(
        nb::make_tuple(nb::borrow(frame.code->co_filename), nb::borrow(frame.code->co_name), line_of(frame)));
    site = frame.caller;
  }
  return frames;
}

void set_package_folders(std::string package, std::string skipped) {
  sites().package = std::move(package);
  sites().skipped = std::move(skipped);
}

}  // namespace mlx::python

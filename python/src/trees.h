// Trees: lists, tuples, dicts and what is inside them. Leaves are arrays; everything else is kept as it is.
#pragma once

#include <functional>
#include <vector>

#include "python/src/bind.h"

namespace mlx::python {

// Appends the arrays of a tree, in order (dicts in insertion order). Other leaves are passed over.
void flatten_arrays(nb::handle tree, Arrays& out);
// The same, but raises ValueError, naming `function`, where a leaf is no array.
void flatten_only_arrays(nb::handle tree, Arrays& out, const char* function);

// A copy of the tree with its arrays replaced by those from `arrays`, beginning at `next`. Containers are new; dict
// subclasses become dicts, named tuples stay what they are.
nb::object replace_arrays(nb::handle tree, const Arrays& arrays, size_t& next);

// A tree whose arrays are replaced by a marker: the structure alone, which keeps no array alive.
nb::object structure_of(nb::handle tree);
// Builds a tree from a structure.
nb::object from_structure(nb::handle structure, const Arrays& arrays, size_t& next);
bool is_marker(nb::handle h);

// A tuple of the same class as `like`, also where that is a named tuple. Takes over a plain tuple.
nb::object tuple_like(nb::handle like, nb::object items);

// Calls f(list or dict, its shallow copy) for every container in the tree, to restore it later.
struct Snapshot {
  nb::object container, copy;
};
void take_snapshot(nb::handle tree, std::vector<Snapshot>& out);
void restore(const std::vector<Snapshot>& snapshot);

}  // namespace mlx::python

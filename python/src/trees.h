// Trees: lists, tuples, dicts and what is inside them. Leaves are arrays; everything else is kept as it is.
#pragma once

#include <functional>
#include <vector>

#include "python/src/bind.h"

namespace mlx::python {

// Appends the arrays of a tree, in order (dicts in insertion order). Other leaves are passed over, but for
// the random state where `with_random_state` says so: it counts as its key.
void flatten_arrays(nb::handle tree, Arrays& out, bool with_random_state = false);
// The same, but raises ValueError, naming `function`, where a leaf is no array.
void flatten_only_arrays(nb::handle tree, Arrays& out, const char* function);

// A copy of the tree with its arrays replaced by those from `arrays`, beginning at `next`. Containers are
// new; dict subclasses become dicts, named tuples stay what they are.
nb::object replace_arrays(nb::handle tree, const Arrays& arrays, size_t& next);

// A tree whose arrays are replaced by a marker: the structure alone, which keeps no array alive.
nb::object structure_of(nb::handle tree);
// Builds a tree from a structure.
nb::object from_structure(nb::handle structure, const Arrays& arrays, size_t& next);
bool is_marker(nb::handle h);

// A tuple of the same class as `like`, also where that is a named tuple. Takes over a plain tuple.
nb::object tuple_like(nb::handle like, nb::object items);

// What the lists and dicts of a tree contained, to restore it later.
struct Snapshot {
  nb::object container, copy;
};
void take_snapshot(nb::handle tree, std::vector<Snapshot>& out);
void restore(const std::vector<Snapshot>& snapshot);

// Puts arrays into a tree's lists and dicts, in the order in which flatten_arrays finds them (the random
// state included); tuples are built anew.
void assign_arrays(nb::handle tree, const Arrays& arrays, size_t& next);
// Makes a tree's lists and dicts those of a structure, with the given arrays; containers keep their identity.
void assign_structure(nb::handle tree, nb::handle structure, const Arrays& arrays, size_t& next);

// Identifies everything in a tree but the values of arrays: containers, keys, numbers and text. Raises
// ValueError, naming `function`, for leaves of other types, unless they are to be ignored.
void append_key(nb::handle tree, std::vector<uint64_t>& key, const char* function, bool ignore_others);

}  // namespace mlx::python

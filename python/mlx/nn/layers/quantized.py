"""Layers whose weights are integers of a few bits that share scales in groups.

Modes and their defaults for group size and bits: ``"affine"`` (64, 4; integers with a scale and an
offset per group), ``"mxfp4"`` (32, 4), ``"mxfp8"`` (32, 8) and ``"nvfp4"`` (16, 4; tiny floating
point numbers with a scale per group). See ``mx.quantize``.

The packed weights, ``scales`` and ``biases`` (the offsets of ``"affine"``) are parameters that stay
frozen unless ``unfreeze`` is given their names.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection

import mlx.core as mx
from mlx.utils import tree_map_with_path

from ._errors import checked_integers
from .base import Module

_DEFAULTS = {"affine": (64, 4), "mxfp4": (32, 4), "mxfp8": (32, 8), "nvfp4": (16, 4)}
_PACKED = ("weight", "scales", "biases")


def _resolved(layer: str, mode: str, group_size: int | None, bits: int | None) -> tuple[int, int]:
    if mode not in _DEFAULTS:
        raise ValueError(f"[{layer}] mode must be one of {list(_DEFAULTS)}, got {mode!r}")
    default_group_size, default_bits = _DEFAULTS[mode]
    return group_size or default_group_size, bits or default_bits


def quantize(
    model: Module,
    group_size: int | None = None,
    bits: int | None = None,
    *,
    mode: str = "affine",
    quantize_input: bool = False,
    class_predicate: Callable[[str, Module], bool | dict] | None = None,
):
    """Replace layers of ``model`` by quantized ones, in place.

    All or nothing: when an error is raised, no layer has been replaced. A quantized layer's bias is
    frozen if it was before.

    Args:
      model: its modules without submodules are candidates, at any depth.
      group_size: how many weights share a scale; ``None``: the mode's default.
      bits: bits per weight; ``None``: the mode's default.
      mode: ``"affine"``, ``"mxfp4"``, ``"mxfp8"`` or ``"nvfp4"``.
      quantize_input: make :class:`QQLinear` of the linear layers, and leave the others alone.
      class_predicate: called with path and module; returns whether to quantize it, or a dict of
        arguments for its ``to_quantized``. ``None``: all that have this method.
    Raises:
      ValueError: the predicate chose a module without ``to_quantized`` or returned something else,
        or the sizes do not suit the mode.
    """
    from .linear import Linear

    def wanted(path: str, module: Module) -> bool | dict:
        if class_predicate is not None:
            return class_predicate(path, module)
        if quantize_input:
            return isinstance(module, Linear)
        return hasattr(module, "to_quantized")

    def replacement(path: str, module: Module):
        if not isinstance(module, Module):
            return {}
        answer = wanted(path, module)
        if not isinstance(answer, (bool, dict)):
            raise ValueError(
                f"[nn.quantize] class_predicate must return a bool or a dict of arguments for "
                f"to_quantized, got {answer!r} for {path!r}"
            )
        if answer is False:
            return {}
        if not hasattr(module, "to_quantized"):
            raise ValueError(
                f"[nn.quantize] {path!r} cannot be quantized: {type(module).__name__} has no "
                "to_quantized"
            )
        arguments = {"group_size": group_size, "bits": bits, "mode": mode}
        if quantize_input:
            arguments["quantize_input"] = True
        try:
            return module.to_quantized(**(answer if isinstance(answer, dict) else arguments))
        except ValueError as error:
            raise ValueError(f"[nn.quantize] {path!r}: {error}") from error

    leaves = tree_map_with_path(replacement, model.leaf_modules(), is_leaf=Module.is_module)
    model.update_modules(leaves)


class _Quantized(Module):
    """Base of the layers with packed weights."""

    def _pack(self, weight: mx.array) -> None:
        options = {"group_size": self.group_size, "bits": self.bits, "mode": self.mode}
        try:
            self.weight, self.scales, *rest = mx.quantize(weight, **options)
        except ValueError as error:
            raise ValueError(
                f"[{type(self).__name__}] a weight with shape {weight.shape} cannot be quantized "
                f"in the mode {self.mode!r} in groups of {self.group_size}: {error}"
            ) from None
        self.biases = rest[0] if rest else None

    def _kept_frozen(self) -> Collection[str]:
        return _PACKED

    @property
    def _sizes(self) -> tuple[int, int]:
        """Rows and columns of the weight before packing."""
        rows, words = self.weight.shape
        return rows, words * 32 // self.bits

    def _matmul(self, x: mx.array) -> mx.array:
        """``x @ weight.T``."""
        columns = self.scales.shape[-1] * self.group_size
        if x.shape[-1:] != (columns,):
            raise ValueError(
                f"[{type(self).__name__}] the last axis of the input must have size {columns} "
                f"(the weight has shape {(self.scales.shape[0], columns)}), "
                f"got an input with shape {x.shape}"
            )
        return mx.quantized_matmul(
            x,
            self["weight"],
            scales=self["scales"],
            biases=self.get("biases"),
            transpose=True,
            group_size=self.group_size,
            bits=self.bits,
            mode=self.mode,
        )


class QuantizedEmbedding(_Quantized):
    """An :class:`Embedding` with quantized vectors.

    Elements are ``scale * code + bias`` (``"affine"``) or ``scale * code``, by group.

    Args:
      num_embeddings: how many integers there are, from 0.
      dims: size of the vectors, divisible by the group size.
      group_size: how many weights share a scale; ``None``: the mode's default.
      bits: bits per weight; ``None``: the mode's default.
      mode: ``"affine"``, ``"mxfp4"``, ``"mxfp8"`` or ``"nvfp4"``.
    Raises:
      ValueError: the sizes do not suit the mode.
    """

    def __init__(
        self,
        num_embeddings: int,
        dims: int,
        group_size: int | None = None,
        bits: int | None = None,
        mode: str = "affine",
    ):
        super().__init__()
        self.group_size, self.bits = _resolved("QuantizedEmbedding", mode, group_size, bits)
        self.mode = mode
        self._pack(mx.random.normal((num_embeddings, dims), scale=math.sqrt(1 / dims)))
        self.num_embeddings = num_embeddings
        self.dims = dims
        self.freeze()

    def _extra_repr(self) -> str:
        return (
            f"{self.num_embeddings}, {self.dims}, "
            f"group_size={self.group_size}, bits={self.bits}, mode={self.mode}"
        )

    def __call__(self, x):
        """Integers of any shape to vectors, ``(..., dims)``."""
        rows = mx.array(x)
        checked_integers(self, rows)
        index = rows.reshape(1) if rows.ndim == 0 else rows  # packed rows must be a matrix
        biases = self.get("biases")
        vectors = mx.dequantize(
            self["weight"][index],
            scales=self["scales"][index],
            biases=None if biases is None else biases[index],
            group_size=self.group_size,
            bits=self.bits,
            mode=self.mode,
        )
        return vectors[0] if rows.ndim == 0 else vectors

    def as_linear(self, x):
        """``x @ weight.T``, to use the table as the output layer too: ``(..., num_embeddings)``."""
        return self._matmul(x)

    @classmethod
    def from_embedding(
        cls,
        embedding_layer: Module,
        group_size: int | None = None,
        bits: int | None = None,
        mode: str = "affine",
    ):
        """A quantized copy of an :class:`Embedding`; for the arguments see the class."""
        new = cls.__new__(cls)
        new.group_size, new.bits = _resolved(cls.__name__, mode, group_size, bits)
        new.mode = mode
        new._pack(embedding_layer.weight)
        new.num_embeddings, new.dims = embedding_layer.weight.shape
        new._training = embedding_layer.training
        return new.freeze()


class QuantizedLinear(_Quantized):
    """A :class:`Linear` with a quantized weight, ``y = x @ dequantize(weight).T + bias``.

    Its elements are ``scale * code + offset`` (``"affine"``) or ``scale * code``, by group.

    A new layer's bias is frozen like the rest; ``unfreeze()`` makes it trainable.

    Args:
      input_dims: size of the input's last axis, divisible by the group size.
      output_dims: size of the output's last axis.
      bias: whether to add ``bias``.
      group_size: how many weights share a scale; ``None``: the mode's default.
      bits: bits per weight; ``None``: the mode's default.
      mode: ``"affine"``, ``"mxfp4"``, ``"mxfp8"`` or ``"nvfp4"``.
    Raises:
      ValueError: the sizes do not suit the mode.
    """

    def __init__(
        self,
        input_dims: int,
        output_dims: int,
        bias: bool = True,
        group_size: int | None = None,
        bits: int | None = None,
        mode: str = "affine",
    ):
        super().__init__()
        self.group_size, self.bits = _resolved("QuantizedLinear", mode, group_size, bits)
        self.mode = mode
        bound = math.sqrt(1 / input_dims)
        self._pack(mx.random.uniform(-bound, bound, (output_dims, input_dims)))
        if bias:
            self.bias = mx.zeros((output_dims,))
        self.freeze()

    def _extra_repr(self) -> str:
        output_dims, input_dims = self._sizes
        return (
            f"input_dims={input_dims}, output_dims={output_dims}, bias={'bias' in self}, "
            f"group_size={self.group_size}, bits={self.bits}, mode={self.mode}"
        )

    def __call__(self, x):
        """``(..., input_dims)`` to ``(..., output_dims)``; ValueError for other inputs."""
        y = self._matmul(x)
        return y + self["bias"] if "bias" in self else y

    @classmethod
    def from_linear(
        cls,
        linear_layer: Module,
        group_size: int | None = None,
        bits: int | None = None,
        mode: str = "affine",
    ):
        """A copy of a :class:`Linear` with its weight quantized; for the arguments see the class.

        The bias is frozen if it was.
        """
        new = cls.__new__(cls)
        new.group_size, new.bits = _resolved(cls.__name__, mode, group_size, bits)
        new.mode = mode
        new._pack(linear_layer.weight)
        new._training = linear_layer.training
        new.freeze()
        if "bias" in linear_layer:
            new.bias = linear_layer.bias
            if "bias" in linear_layer._no_grad:
                new.freeze(keys="bias")
        return new


class QQLinear(Module):
    """A linear layer that quantizes its input as well as its weight, ``y = q(x) @ q(weight).T``.

    ``q`` rounds groups of elements to ``scale * code``.

    A new layer has no bias; :meth:`from_linear` takes over that of the linear layer.

    In training mode the weight is kept in full precision and quantized in every call; in evaluation
    mode it is packed. :meth:`Module.eval` and :meth:`Module.train` convert it.

    Args:
      input_dims: size of the input's last axis, divisible by the group size.
      output_dims: size of the output's last axis.
      group_size: how many weights share a scale; ``None``: the mode's default.
      bits: bits per weight; ``None``: the mode's default.
      mode: ``"nvfp4"`` or ``"mxfp8"``.
    Raises:
      ValueError: ``mode`` is something else, or when called: the input does not fit.
    """

    def __init__(
        self,
        input_dims: int,
        output_dims: int,
        group_size: int | None = None,
        bits: int | None = None,
        mode: str = "nvfp4",
    ):
        super().__init__()
        self._configure(group_size, bits, mode)
        bound = math.sqrt(1 / input_dims)
        self.weight = mx.random.uniform(-bound, bound, (output_dims, input_dims))

    def _configure(self, group_size: int | None, bits: int | None, mode: str) -> None:
        if mode not in ("nvfp4", "mxfp8"):
            raise ValueError(f"[QQLinear] mode must be 'nvfp4' or 'mxfp8', got {mode!r}")
        self.group_size, self.bits = _resolved("QQLinear", mode, group_size, bits)
        self.mode = mode
        self._quantized = False
        self._frozen_before = False

    def _extra_repr(self) -> str:
        output_dims, columns = self.weight.shape
        input_dims = columns * 32 // self.bits if self._quantized else columns
        return (
            f"input_dims={input_dims}, output_dims={output_dims}, group_size={self.group_size}, "
            f"bits={self.bits}, mode={self.mode}"
        )

    def _kept_frozen(self) -> Collection[str]:
        return _PACKED if self._quantized else ()

    def quantize(self):
        """Pack the weight, if it is not; it is frozen then."""
        if self._quantized:
            return
        self._dtype = self.weight.dtype
        self.weight, self.scales, *_ = mx.quantize(
            self.weight, group_size=self.group_size, bits=self.bits, mode=self.mode
        )
        self._quantized = True
        self._frozen_before = "weight" in self._no_grad
        self.freeze(keys=["weight", "scales"], recurse=False)

    def dequantize(self):
        """Unpack the weight, if it is packed, to the dtype it had; trainable again if it was."""
        if not self._quantized:
            return
        self.weight = mx.dequantize(
            self.weight,
            self.scales,
            group_size=self.group_size,
            bits=self.bits,
            mode=self.mode,
            dtype=self._dtype,
        )
        thawed = {"scales"} if self._frozen_before else {"weight", "scales"}
        self.unfreeze(keys=thawed, recurse=False)
        del self.scales
        self._quantized = False

    def _set_training_mode(self, mode: bool) -> None:
        super()._set_training_mode(mode)
        if mode:
            self.dequantize()
        else:
            self.quantize()

    def __call__(self, x):
        """``(..., input_dims)`` to ``(..., output_dims)``; ValueError for other inputs."""
        columns = self.weight.shape[-1]
        if self._quantized:
            columns = columns * 32 // self.bits
        if x.shape[-1:] != (columns,):
            raise ValueError(
                f"[QQLinear] the last axis of the input must have size {columns} (the weight has "
                f"shape {(self.weight.shape[0], columns)}), got an input with shape {x.shape}"
            )
        y = mx.qqmm(
            x,
            self["weight"],
            scales=self.get("scales"),
            group_size=self.group_size,
            bits=self.bits,
            mode=self.mode,
        )
        return y + self["bias"] if "bias" in self else y

    @classmethod
    def from_linear(
        cls,
        linear_layer: Module,
        group_size: int | None = None,
        bits: int | None = None,
        mode: str = "nvfp4",
    ):
        """A layer with the parameters of a :class:`Linear`, frozen alike, in the same mode."""
        new = cls.__new__(cls)
        new._configure(group_size, bits, mode)
        for name in ("weight", "bias"):
            if name in linear_layer:
                new[name] = linear_layer[name]
        new._no_grad.update(linear_layer._no_grad)
        new.train(linear_layer.training)
        return new

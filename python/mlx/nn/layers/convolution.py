r"""Convolutions: for every position, a linear map of the window of the input there.

The channels are the last axis. Parameters: ``weight`` of shape ``(out_channels, *kernel_size,
in_channels / groups)``, drawn uniformly from :math:`\pm 1 / \sqrt{inputs\ of\ an\ output}`, and
``bias`` of shape ``(out_channels,)``, zero at first. Along each spatial axis the output has size
``(size + 2 padding - dilation (kernel_size - 1) - 1) // stride + 1``.
"""

from __future__ import annotations

import mlx.core as mx

from ._conv import Convolution


class Conv1d(Convolution):
    r"""Convolution of sequences: ``(N, L, in_channels)`` to ``(N, L', out_channels)``.

    :math:`y_{n p o} = b_o + \sum_{k, c} W_{o k c}\, x_{n, s p + d k - \pi, c}` with the positions
    :math:`p` of the output and :math:`k` of the window, stride :math:`s`, dilation :math:`d` and
    padding :math:`\pi`; groups restrict :math:`c`.

    Args:
      in_channels: channels of the input.
      out_channels: channels of the output.
      kernel_size: size of the window.
      stride: distance of the windows.
      padding: zeros added at both ends.
      dilation: distance of the elements of a window.
      groups: the channels form this many groups that do not see each other.
      bias: whether to add ``bias``.
    Raises:
      ValueError: the channels are not divisible by ``groups``, or when called: the input does not
        have the right shape.
    Source: LeCun et al. 1989, https://doi.org/10.1162/neco.1989.1.4.541.
    """

    _dims = 1
    _function = mx.conv1d
    _options = ("stride", "padding", "dilation", "groups")

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
    ):
        super().__init__()
        self._setup(
            in_channels,
            out_channels,
            kernel_size,
            bias,
            groups,
            stride=stride,
            padding=padding,
            dilation=dilation,
        )


class Conv2d(Convolution):
    r"""Convolution of images: ``(N, H, W, in_channels)`` to ``(N, H', W', out_channels)``.

    :math:`y_{n p o} = b_o + \sum_{k, c} W_{o k c}\, x_{n, s p + d k - \pi, c}` with the positions
    :math:`p` of the output and :math:`k` of the window, stride :math:`s`, dilation :math:`d` and
    padding :math:`\pi`; groups restrict :math:`c`.

    Args:
      in_channels: channels of the input.
      out_channels: channels of the output.
      kernel_size: size of the window; here and below an integer, or one for each spatial axis.
      stride: distance of the windows.
      padding: zeros added on both sides.
      dilation: distance of the elements of a window.
      groups: the channels form this many groups that do not see each other.
      bias: whether to add ``bias``.
    Raises:
      ValueError: the channels are not divisible by ``groups``, or when called: the input does not
        have the right shape.
    Source: LeCun et al. 1989, https://doi.org/10.1162/neco.1989.1.4.541.
    """

    _dims = 2
    _function = mx.conv2d
    _options = ("stride", "padding", "dilation", "groups")

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple,
        stride: int | tuple = 1,
        padding: int | tuple = 0,
        dilation: int | tuple = 1,
        groups: int = 1,
        bias: bool = True,
    ):
        super().__init__()
        self._setup(
            in_channels,
            out_channels,
            kernel_size,
            bias,
            groups,
            stride=stride,
            padding=padding,
            dilation=dilation,
        )


class Conv3d(Convolution):
    r"""Convolution of volumes: ``(N, D, H, W, in_channels)`` to ``(N, D', H', W', out_channels)``.

    :math:`y_{n p o} = b_o + \sum_{k, c} W_{o k c}\, x_{n, s p + d k - \pi, c}` with the positions
    :math:`p` of the output and :math:`k` of the window, stride :math:`s`, dilation :math:`d` and
    padding :math:`\pi`.

    Args:
      in_channels: channels of the input.
      out_channels: channels of the output.
      kernel_size: size of the window; here and below an integer, or one for each spatial axis.
      stride: distance of the windows.
      padding: zeros added on both sides.
      dilation: distance of the elements of a window.
      bias: whether to add ``bias``.
    Raises:
      ValueError: when called: the input does not have the right shape.
    Source: Ji et al. 2013, https://doi.org/10.1109/TPAMI.2012.59.
    """

    _dims = 3
    _function = mx.conv3d
    _options = ("stride", "padding", "dilation")

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple,
        stride: int | tuple = 1,
        padding: int | tuple = 0,
        dilation: int | tuple = 1,
        bias: bool = True,
    ):
        super().__init__()
        self._setup(
            in_channels,
            out_channels,
            kernel_size,
            bias,
            stride=stride,
            padding=padding,
            dilation=dilation,
        )

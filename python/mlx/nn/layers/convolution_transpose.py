r"""Transposed convolutions: the transposes, as linear maps, of the convolutions.

Every element of the input adds a multiple of the kernel to the window of the output that belongs to
it. The channels are the last axis. Parameters: ``weight`` of shape ``(out_channels, *kernel_size,
in_channels)``, drawn uniformly from :math:`\pm 1 / \sqrt{in\_channels \cdot kernel\_size}`, and
``bias`` of shape ``(out_channels,)``, zero at first. Along each spatial axis the output has size
``(size - 1) stride - 2 padding + dilation (kernel_size - 1) + output_padding + 1``.
"""

from __future__ import annotations

import mlx.core as mx

from ._conv import Convolution


class ConvTranspose1d(Convolution):
    r"""Transposed convolution of sequences: ``(N, L, in_channels)`` to ``(N, L', out_channels)``.

    :math:`y_{n, s p + d k - \pi, o} = b_o + \sum W_{o k c}\, x_{n p c}` over all positions
    :math:`p` of the input and :math:`k` of the window that meet there, with stride :math:`s`,
    dilation :math:`d` and padding :math:`\pi`.

    Args:
      in_channels: channels of the input.
      out_channels: channels of the output.
      kernel_size: size of the window.
      stride: distance of the windows.
      padding: elements removed at both ends of the output.
      dilation: distance of the elements of a window.
      output_padding: elements added at the end of the output.
      bias: whether to add ``bias``.
    Raises:
      ValueError: when called: the input does not have the right shape.
    Source: Zeiler et al. 2010, https://doi.org/10.1109/CVPR.2010.5539957.
    """

    _dims = 1
    _function = mx.conv_transpose1d
    _options = ("stride", "padding", "dilation", "output_padding")

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        output_padding: int = 0,
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
            output_padding=output_padding,
        )


class ConvTranspose2d(Convolution):
    r"""Transposed convolution of images.

    ``(N, H, W, in_channels)`` to ``(N, H', W', out_channels)``.

    :math:`y_{n, s p + d k - \pi, o} = b_o + \sum W_{o k c}\, x_{n p c}` over all positions
    :math:`p` of the input and :math:`k` of the window that meet there, with stride :math:`s`,
    dilation :math:`d` and padding :math:`\pi`.

    Args:
      in_channels: channels of the input.
      out_channels: channels of the output.
      kernel_size: size of the window; here and below an integer, or one for each spatial axis.
      stride: distance of the windows.
      padding: elements removed on both sides of the output.
      dilation: distance of the elements of a window.
      output_padding: elements added at the end of each axis of the output.
      bias: whether to add ``bias``.
    Raises:
      ValueError: when called: the input does not have the right shape.
    Source: Zeiler et al. 2010, https://doi.org/10.1109/CVPR.2010.5539957.
    """

    _dims = 2
    _function = mx.conv_transpose2d
    _options = ("stride", "padding", "dilation", "output_padding")

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple,
        stride: int | tuple = 1,
        padding: int | tuple = 0,
        dilation: int | tuple = 1,
        output_padding: int | tuple = 0,
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
            output_padding=output_padding,
        )


class ConvTranspose3d(Convolution):
    r"""Transposed convolution of volumes.

    ``(N, D, H, W, in_channels)`` to ``(N, D', H', W', out_channels)``.

    :math:`y_{n, s p + d k - \pi, o} = b_o + \sum W_{o k c}\, x_{n p c}` over all positions
    :math:`p` of the input and :math:`k` of the window that meet there, with stride :math:`s`,
    dilation :math:`d` and padding :math:`\pi`.

    Args:
      in_channels: channels of the input.
      out_channels: channels of the output.
      kernel_size: size of the window; here and below an integer, or one for each spatial axis.
      stride: distance of the windows.
      padding: elements removed on both sides of the output.
      dilation: distance of the elements of a window.
      output_padding: elements added at the end of each axis of the output.
      bias: whether to add ``bias``.
    Raises:
      ValueError: when called: the input does not have the right shape.
    Source: Zeiler et al. 2010, https://doi.org/10.1109/CVPR.2010.5539957.
    """

    _dims = 3
    _function = mx.conv_transpose3d
    _options = ("stride", "padding", "dilation", "output_padding")

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple,
        stride: int | tuple = 1,
        padding: int | tuple = 0,
        dilation: int | tuple = 1,
        output_padding: int | tuple = 0,
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
            output_padding=output_padding,
        )

"""What the compiled program reads: one record for each operation, one for each step.

All fields are int64: sizes, or addresses and distances in bytes. A value (the output of an operation) has ``keep``
copies of ``size`` bytes; sample s of a block lies in copy ``s % keep``. Its gradient has the same size and may have
another number of copies. Operations run on samples that do not wrap around in any of their values.
"""

from __future__ import annotations

import numpy as np

_COMMON = (
    # addresses of its kernels (0: nothing to do), and of those that they call
    "forward", "backward", "begin", "end", "product", "maps", "fill",
    # input: address, copies, bytes a sample; then where its gradient lies (0: it is not wanted), and copies of that
    "x", "x_keep", "x_size", "dx", "dx_keep",
    # output
    "y", "y_keep", "y_size", "dy", "dy_keep",
    # shapes (channels, height, width) of input and output; features count as channels
    "c", "h", "w", "o", "oh", "ow",
    # parameters and their gradients; bias 0: there is none
    "weight", "d_weight", "bias", "d_bias",
)  # fmt: skip
_WINDOW = (
    "kh", "kw", "sh", "sw", "ph", "pw",
    # of pooling: whether each input is in just one window
    "covered",
    # of a maximum: where the largest values were; whether negative ones become 0; kernels for a part of the rows
    "index", "index_keep", "index_size", "rectified", "part_forward", "part_backward",
)  # fmt: skip
_CONV = (
    # planes of the transform and outputs of a tile (1, 1: plain convolution); taps that the products go through
    "n", "m", "taps", "step",
    # tiles in a row of outputs; rows of V and lines in each; rows of outputs that are computed at a time
    "tiles", "v_h", "v_w", "rows",
    # N: lines in a row, and those on the left that are zero
    "n_w", "left",
    # addresses: V, M (and N), dV, transformed weights, their gradient, a row of scratch, zeros
    "v", "v_keep", "v_size", "products", "p_size", "dv", "dv_keep", "u", "du", "scratch", "zeros",
    # a maximum that takes the outputs from here (0: none): its record; where a few rows of one channel pass
    "pool", "band",
    # numbers of the maps
    "map_x", "map_dx", "map_y", "map_dy", "map_w", "map_dw",
    # tables; see conv_plan.py
    "fwd_a", "fwd_b", "dw_a", "dw_b", "dw_groups", "dw_group_b", "dw_group_c", "dw_n", "dw_column_b", "dw_column_c",
    "dx_classes", "dx_zero",
)  # fmt: skip
_OTHER = (
    "slope",  # of an activation, a float32's bits
    "iota",  # table of multiples of a line
    "by_x", "by_y", "by_weight",  # tables of multiples of x_size, y_size, and a row of weights
    "keys", "below", "share", "active",  # dropout
    "left_pad", "top_pad", "factor",
)  # fmt: skip

#: One operation.
OPERATION = np.dtype([(name, np.int64) for name in (*_COMMON, *_WINDOW, *_CONV, *_OTHER)])
#: Operations ``first`` to ``last - 1`` run on ``chunk`` samples at a time before the next group does.
GROUP = np.dtype([(name, np.int64) for name in ("first", "last", "chunk")])
#: One step: the batch, where its images lie, and what is wanted.
STEP = np.dtype(
    [
        (name, np.int64)
        for name in (
            "batch", "block", "training", "until",
            # images: rows of a pool by index (0: none, rows are those of dense pixels), float32 or else uint8
            "index", "images", "image_bytes", "floats", "shift", "scale",
            "targets", "target_size", "classes", "gamma", "losses", "hits", "logits",
        )
    ]
)  # fmt: skip

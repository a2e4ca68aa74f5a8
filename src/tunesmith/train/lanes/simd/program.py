"""The compiled program: runs a list of operations forward and backward over a batch.

The kernels take sizes as arguments, so they are compiled once for a machine and serve every architecture; what a
network is stands in the records. A batch is taken in blocks of samples; within a block a group of operations (a
convolution and what follows it) is done for a few samples before the next few, so that what passes between them is
still in a cache.

Every kernel of an operation has the arguments ``(op_at, step_at, s0, s1, first, w)``: addresses of the records of the
operation and the step; the samples of the block, s0 to s1 - 1; the place of the block in the batch; the width's token.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tunesmith.train.lanes.simd import convolution, gather, linear, loss, maps, pointwise, pooling, products
from tunesmith.train.lanes.simd.compiling import address, call, function
from tunesmith.train.lanes.simd.memory import group_at, operation_at, step_record_at
from tunesmith.train.lanes.simd.plan import Plan
from tunesmith.train.lanes.simd.records import GROUP, OPERATION

_OPERATION, _GROUP = OPERATION.itemsize, GROUP.itemsize

#: Forward and backward of each kind of operation.
KERNELS = {
    "gather": (gather.gather, None),
    "conv": (convolution.conv_forward, convolution.conv_backward),
    "linear": (linear.linear_forward, linear.linear_backward),
    "max-pool": (pooling.max_pool_forward, pooling.max_pool_backward),
    "avg-pool": (pooling.avg_pool_forward, pooling.avg_pool_backward),
    "pad": (pooling.pad_forward, pooling.pad_backward),
    "enlarge": (pooling.enlarge_forward, pooling.enlarge_backward),
    "dropout": (pointwise.dropout_forward, pointwise.dropout_backward),
    "relu": (pointwise.relu_forward, pointwise.relu_backward),
    "leaky-relu": (pointwise.leaky_relu_forward, pointwise.leaky_relu_backward),
    "tanh": (pointwise.tanh_forward, pointwise.tanh_backward),
    "sigmoid": (pointwise.sigmoid_forward, pointwise.sigmoid_backward),
    "elu": (pointwise.elu_forward, pointwise.elu_backward),
    "silu": (pointwise.silu_forward, pointwise.silu_backward),
    "gelu": (pointwise.gelu_forward, pointwise.gelu_backward),
    "gelu-tanh": (pointwise.gelu_tanh_forward, pointwise.gelu_tanh_backward),
}
#: What the last operation does in training.
LOSSES = {
    "cross-entropy": loss.cross_entropy,
    "nll": loss.cross_entropy,
    "squared-error": loss.squared_error,
    "focal": loss.focal,
    "hinge": loss.hinge,
}


def connect(plan: Plan, operations: np.ndarray) -> Callable[..., None]:
    """Put the addresses of the kernels into the records, and give the program.

    Args:
        plan: of the records.
        operations: of OPERATION.
    """
    width = plan.line // 4
    for record, node in zip(operations, plan.nodes, strict=True):
        forward, backward = KERNELS.get(node.kind, (None, None))
        if node.feeder is None:
            record["forward"] = 0 if forward is None else address(forward, width)
            record["backward"] = 0 if backward is None else address(backward, width)
        if node.kind == "max-pool":
            record["part_forward"] = address(pooling.max_pool_part, width)
            record["part_backward"] = address(pooling.max_pool_part_backward, width)
        if node.kind in ("conv", "linear"):
            record["product"] = address(products.product, width)
        if node.conv is not None and not node.conv.v_is_x:
            record["fill"] = address(convolution.fill_v, width)
        if node.conv is not None and node.conv.n > 1:
            record["maps"] = address(maps.apply_map, width)
            record["begin"], record["end"] = (
                address(kernel, width) for kernel in (convolution.conv_begin, convolution.conv_end)
            )
    return function(run, width)


def last_kernel(loss_name: str | None, width: int) -> int:
    """The address of the last operation's kernel: of a loss, or (None) of what writes the logits."""
    return address(loss.logits if loss_name is None else LOSSES[loss_name], width)


def run(operations_at, n_operations, groups_at, n_groups, step_at, w):  # type: ignore[no-untyped-def]
    """One step: forward; in training also the loss and backward.

    Args:
        operations_at, n_operations: address and number of the records of the operations.
        groups_at, n_groups: those of the groups.
        step_at: address of the record of the step.
        w: token of the width.
    """
    step = step_record_at(step_at)
    for i in range(n_operations):
        at = operations_at + i * _OPERATION
        if operation_at(at).begin != 0:
            call(operation_at(at).begin, at, step_at, 0, 0, 0, w)
    for first in range(0, step.batch, step.block):
        samples = min(step.block, step.batch - first)
        for g in range(n_groups):
            group = group_at(groups_at + g * _GROUP)
            for s0 in range(0, samples, group.chunk):
                s1 = min(s0 + group.chunk, samples)
                for i in range(group.first, group.last):
                    at = operations_at + i * _OPERATION
                    if operation_at(at).forward != 0:
                        call(operation_at(at).forward, at, step_at, s0, s1, first, w)
        if step.training == 0:
            continue
        for g in range(n_groups - 1, -1, -1):
            group = group_at(groups_at + g * _GROUP)
            for s0 in range(0, samples, group.chunk):
                s1 = min(s0 + group.chunk, samples)
                for i in range(group.last - 1, max(group.first, step.until) - 1, -1):
                    at = operations_at + i * _OPERATION
                    if operation_at(at).backward != 0:
                        call(operation_at(at).backward, at, step_at, s0, s1, first, w)
    if step.training != 0:
        for i in range(n_operations):
            at = operations_at + i * _OPERATION
            if operation_at(at).end != 0:
                call(operation_at(at).end, at, step_at, 0, 0, 0, w)

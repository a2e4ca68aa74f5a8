"""Where everything lies: from a signature to the records that the compiled program reads.

Every value has room for the samples of a block; those that only pass from one operation to the next within a group
have room for the few samples that a group takes at a time.
"""

from __future__ import annotations

import math

import numpy as np

from tunesmith.train.lanes.simd import records as r
from tunesmith.train.lanes.simd.conv_plan import ConvPlan
from tunesmith.train.lanes.simd.filtering import number
from tunesmith.train.lanes.simd.nodes import NEED_INPUT, RISING, Node, Value, nodes
from tunesmith.train.signature import Operation, Signature

#: Lines that the values of a block may take: about 13 MB with 16 lanes. Some of it is read again in the backward pass,
#: from the third-level cache; more samples than this make linear layers little faster. A number of its own, not the
#: cache's size: the order of summation depends on it.
_BLOCK_LINES = 200_000
_MOST_SAMPLES = 128


class Arena:
    """Hands out memory, one piece after the other, each at a multiple of a line.

    Args:
        base: address of the first byte.
        line: bytes of a line.
    """

    def __init__(self, base: int, line: int) -> None:
        self.base, self.line, self.used = base, line, 0

    def take(self, lines: int) -> int:
        """The address of so many lines."""
        address = self.base + self.used * self.line
        self.used += lines
        return address


class Plan:
    """The program of a signature.

    Args:
        signature: of the networks.
        width: number of lanes.
    """

    def __init__(self, signature: Signature, width: int) -> None:
        self.signature, self.line = signature, 4 * width
        self.nodes = nodes(signature)
        self.until = next(i for i, node in enumerate(self.nodes) if node.operation and node.operation.parameters)
        self._group()
        self._lifetimes()
        kept = sum(self._kept_lines(value) for value in self._values())
        self.samples = max(1, min(_MOST_SAMPLES, _BLOCK_LINES // kept))
        self.chunks = [min(self.samples, self._chunk(g)) for g in range(self.nodes[-1].group + 1)]
        self._tables: list[np.ndarray] = []

    def block(self, batch: int) -> int:
        """Samples in each block of a batch (the last may be smaller)."""
        return -(-batch // -(-batch // self.samples)) if batch else 1

    def _values(self) -> list[Value]:
        """All but those that pass within a convolution."""
        inner = [node.x for node in self.nodes if node.feeder is not None]
        found = dict.fromkeys(value for node in self.nodes for value in (node.x, node.y))
        return [value for value in found if value not in inner]

    def _group(self) -> None:
        """A group has one layer with parameters, and what follows it."""
        group, filled = 0, False
        for node in self.nodes:
            if node.kind in ("conv", "linear"):
                group, filled = group + filled, True
            node.group = group

    def _lifetimes(self) -> None:
        for i, node in enumerate(self.nodes):
            if i > self.until:
                node.x.has_gradient = True
            if node.kind in ("conv", "linear", "loss", *NEED_INPUT):
                node.x.lasting = True
            if node.kind in RISING:
                node.y.lasting = True
        for value in self._values():
            groups = {node.group for node in self.nodes if value in (node.x, node.y)}
            if len(groups) > 1:
                value.lasting = value.gradient_lasting = True

    def _chunk(self, group: int) -> int:
        """Samples that a group takes at a time; linear layers take a whole block."""
        conv = next((node.conv for node in self.nodes if node.group == group and node.conv), None)
        return self.samples if conv is None else conv.chunk

    def _kept_lines(self, value: Value) -> int:
        return value.lines * (value.lasting + (value.has_gradient and value.gradient_lasting))

    # -- records -------------------------------------------------------------------------------------------------

    def lines(self) -> int:
        """How much memory :meth:`records` needs."""
        arena = Arena(0, self.line)
        self.records(arena, 0, 0)
        return arena.used

    def records(self, arena: Arena, parameters: int, gradients: int) -> tuple[np.ndarray, np.ndarray]:
        """Operations and groups.

        Args:
            arena: of zeros; it must stay as long as the records are used, and so must this plan.
            parameters, gradients: addresses.
        """
        self._tables = []
        for value in self._values():
            self._lay_out(value, arena)
        features = max(value.lines for value in self._values())
        most = max(features, self.samples)
        shared = {"iota": self._place(np.arange(most) * self.line), "zeros": arena.take(1)}
        operations = np.zeros(len(self.nodes), r.OPERATION)
        for record, node in zip(operations, self.nodes, strict=True):
            fields = self._common(node, parameters, gradients) | shared | self._special(node, arena)
            if node.feeder is not None:
                feeder = operations[self.nodes.index(node.feeder)]
                feeder["pool"] = operations.ctypes.data + self.nodes.index(node) * operations.itemsize
            if node.conv is not None and node.conv.n == 1:  # the weights are used as they are
                fields |= {"u": fields["weight"], "du": fields["d_weight"]}
            for name, field in fields.items():
                record[name] = field
        groups = np.zeros(len(self.chunks), r.GROUP)
        for g, chunk in enumerate(self.chunks):
            members = [i for i, node in enumerate(self.nodes) if node.group == g]
            groups[g] = members[0], members[-1] + 1, chunk
        return operations, groups

    def _place(self, table: np.ndarray) -> int:
        self._tables.append(np.ascontiguousarray(table, dtype=np.int64))
        return int(self._tables[-1].ctypes.data)

    def _group_of(self, value: Value) -> int:
        return min(node.group for node in self.nodes if value in (node.x, node.y))

    def _keep(self, value: Value, lasting: bool) -> int:
        return self.samples if lasting else self.chunks[self._group_of(value)]

    def _lay_out(self, value: Value, arena: Arena) -> None:
        value.data = arena.take(value.lines * self._keep(value, value.lasting))
        value.gradient = 0
        if value.has_gradient:
            value.gradient = arena.take(value.lines * self._keep(value, value.gradient_lasting))

    def _common(self, node: Node, parameters: int, gradients: int) -> dict[str, int]:
        x, y = node.x, node.y
        fields = {
            "x": x.data, "x_keep": self._keep(x, x.lasting), "x_size": x.lines * self.line,
            "dx": x.gradient, "dx_keep": self._keep(x, x.gradient_lasting),
            "y": y.data, "y_keep": self._keep(y, y.lasting), "y_size": y.lines * self.line,
            "dy": y.gradient, "dy_keep": self._keep(y, y.gradient_lasting),
            **dict(zip(("c", "h", "w"), x.shape, strict=True)), **dict(zip(("o", "oh", "ow"), y.shape, strict=True)),
        }  # fmt: skip
        if node.operation is not None and node.operation.parameters:
            weight = node.parameters * self.line
            bias = weight + math.prod(node.operation.parameters[0]) * self.line
            fields |= {"weight": parameters + weight, "d_weight": gradients + weight}
            if len(node.operation.parameters) == 2:
                fields |= {"bias": parameters + bias, "d_bias": gradients + bias}
        return fields

    def _special(self, node: Node, arena: Arena) -> dict[str, int]:
        x, y, operation = node.x, node.y, node.operation
        if node.kind == "gather":
            return {"scratch": arena.take(4)}  # 16 addresses
        if node.kind == "linear":
            n = math.prod(x.shape)
            return {
                "c": n, "h": 1, "w": 1, "by_x": self._multiples(x.lines, self.samples),
                "by_y": self._multiples(y.lines, self.samples), "by_weight": self._multiples(n, y.shape[0]),
            }  # fmt: skip
        if operation is None:
            return {}
        if node.conv is not None:
            return self._conv(node, node.conv, arena)
        if node.kind in ("max-pool", "avg-pool"):
            fields = _sides(operation) | {"covered": int(_covered(operation, x.shape))}
            if node.kind == "max-pool":
                size = -(-y.lines // 4)  # a byte a lane
                fields |= {"index": arena.take(size * self.samples), "index_keep": self.samples}
                fields |= {"index_size": size * self.line, "rectified": int(node.rectified)}
            return fields
        if node.kind == "pad":
            return {"left_pad": operation["padding"][0], "top_pad": operation["padding"][2]}
        if node.kind == "enlarge":
            return {"factor": operation["factor"]}
        if node.kind == "dropout":
            keys = arena.take(4)
            return {"keys": keys, "below": keys + 2 * self.line, "share": keys + 3 * self.line}
        slope = dict(operation.options).get("slope", dict(operation.options).get("alpha", 0.0))
        return {"slope": int(np.float32(slope).view(np.int32))}

    def _multiples(self, lines: int, n: int) -> int:
        return self._place(np.arange(n) * (lines * self.line))

    def _conv(self, node: Node, conv: ConvPlan, arena: Arena) -> dict[str, int]:
        chunk, line = self.chunks[node.group], self.line
        common = {name: getattr(conv, name) for name in _CONV_SIZES}
        fields = common | {"p_size": conv.product_lines * line, "products": arena.take(chunk * conv.product_lines)}
        if conv.v_is_x:
            x = node.x
            fields |= {
                "v": x.data, "v_keep": self._keep(x, x.lasting), "v_size": x.lines * line,
                "dv": x.gradient, "dv_keep": self._keep(x, x.gradient_lasting),
            }  # fmt: skip
        else:
            fields |= {
                "v": arena.take(chunk * conv.v_lines), "v_keep": chunk, "v_size": conv.v_lines * line,
                "dv": arena.take(chunk * conv.v_lines) if node.x.has_gradient else 0, "dv_keep": chunk,
            }  # fmt: skip
        if conv.n > 1:
            fields |= {"u": arena.take(conv.u_lines), "du": arena.take(conv.u_lines)}
            for name, what in _MAPS.items():
                fields[name] = number(what, conv.n, conv.kw)
        fields["scratch"], fields["band"] = arena.take(conv.scratch_lines), arena.take(conv.band_lines)
        return fields | conv.tables(line, fields["v_size"], fields["p_size"], self._place)


_CONV_SIZES = (
    "kh", "kw", "sh", "sw", "ph", "pw", "n", "m", "taps", "step", "tiles", "v_h", "v_w", "rows", "n_w", "left",
)  # fmt: skip
_MAPS = {
    "map_x": "inputs", "map_dx": "inputs, back", "map_y": "outputs", "map_dy": "outputs, back", "map_w": "weights",
    "map_dw": "weights, back",
}  # fmt: skip


def _sides(operation: Operation) -> dict[str, int]:
    names = (("kh", "kw"), ("sh", "sw"), ("ph", "pw"))
    values = (operation["kernel"], operation["stride"], operation["padding"])
    return {
        name: side for pair, sides in zip(names, values, strict=True) for name, side in zip(pair, sides, strict=True)
    }


def _covered(pool: Operation, x: tuple[int, int, int]) -> bool:
    """Whether each input is in just one window."""
    exact = pool["stride"] == pool["kernel"] and pool["padding"] == (0, 0)
    return exact and all(side % kernel == 0 for side, kernel in zip(x[1:], pool["kernel"], strict=True))

"""Read Gmsh files of version 2 and 4.1, text and binary of either byte order.

Nodes and elements carry numbers with gaps, in blocks of one entity each. A file that ends within a section,
or whose counts promise more than is there, is refused before memory is taken.

Source: Gmsh reference manual, "MSH file format" (4.1) and "Legacy formats" (2).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.io.msh_sections import Kinds, Section, format_of, kind_of, sections_of
from pipeline.io.text_numbers import numbers_in

_VIEW = "labels"
"""Name of the `$ElementData` that gives the label of each element."""


@dataclass
class MshBlock:
    """Elements of one kind."""

    kind: str
    """Name as meshio has it: tetra, triangle, tetra10, ..."""
    nodes: NDArray[Any]
    """Rows of points, shape (e, k)."""
    numbers: NDArray[Any]
    """Numbers of the elements in the file, shape (e,)."""
    physical: NDArray[Any]
    """Physical group of each, 0 for none, shape (e,)."""
    entities: NDArray[Any]
    """Geometric entity of each, shape (e,)."""


@dataclass
class MshFile:
    """What a file holds."""

    points: NDArray[np.float64]
    """Shape (n, 3)."""
    blocks: list[MshBlock] = field(default_factory=list)
    views: dict[str, dict[str, NDArray[Any]]] = field(default_factory=dict)
    """`$ElementData` of one component by name: "numbers" of the elements and "values"."""

    def labels(self, kind: str) -> list[NDArray[Any] | None]:
        """Region of each element of the blocks of a kind.

        The view "labels", else the physical groups (0 for none), else the entities where there are several.
        """
        blocks = [block for block in self.blocks if block.kind == kind]
        view = self.views.get(_VIEW)
        if view is not None:
            places = [_rows(view["numbers"], block.numbers) for block in blocks]
            return [np.where(found, view["values"][row], 0.0) for row, found in places]
        if any(block.physical.any() for block in blocks):
            return [block.physical for block in blocks]
        several = len({int(entity) for block in blocks for entity in np.unique(block.entities)}) > 1
        return [block.entities if several else None for block in blocks]


def read_msh(path: Path) -> MshFile:
    """Read points and elements.

    Raises:
        InputError: Another version, truncated, damaged, or elements that name no node.
    """
    content = path.read_bytes()
    version, kinds = format_of(content)
    sections = dict(sections_of(content, () if kinds is None else ("Entities", "Nodes", "Elements")))
    if "Nodes" not in sections or "Elements" not in sections:
        missing = " and ".join(f"${name}" for name in ("Nodes", "Elements") if name not in sections)
        raise InputError(f"has no {missing}: truncated, or a file without a mesh; write it again")

    nodes, elements = (Section(name, sections[name][0], kinds) for name in ("Nodes", "Elements"))
    if version == 2:
        numbers, points = _nodes_of_2(nodes)
        blocks = _elements_of_2(elements)
    else:
        entities = sections.get("Entities")
        numbers, points = _nodes(nodes)
        blocks = _elements(elements, _groups(Section("Entities", entities[0], kinds)) if entities else {})
    nodes.finish()
    elements.finish()
    if not len(points):
        raise InputError("no usable geometry: the file holds no points")
    for block in blocks:
        block.nodes = _points_of(block, numbers)
    views = dict(_view(body, kinds) for body in sections.get("ElementData", ()))
    return MshFile(points, blocks, {name: view for name, view in views.items() if view})


def _nodes(section: Section) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Numbers (n,) and points (n, 3) of version 4.1."""
    block_count = int(section.take(4, "size")[0])
    numbers, points = [], []
    for _ in range(block_count):
        dimension, _, has_parameters = section.take(3, "int").tolist()
        count = section.one("size")
        numbers.append(section.take(count, "size"))
        width = 3 + (dimension if has_parameters else 0)
        points.append(section.take(count * width, "real").reshape(count, width)[:, :3])
    if not points:
        return np.zeros(0, np.int64), np.zeros((0, 3))
    return _joined(numbers), np.ascontiguousarray(_joined(points), dtype=np.float64)


def _elements(section: Section, groups: dict[tuple[int, int], int]) -> list[MshBlock]:
    """Blocks of version 4.1; their nodes are numbers."""
    blocks = []
    for _ in range(int(section.take(4, "size")[0])):
        dimension, entity, code = section.take(3, "int").tolist()
        count, (kind, width) = section.one("size"), kind_of(code)
        rows = section.take(count * (width + 1), "size").reshape(count, width + 1)
        group = np.full(count, groups.get((dimension, entity), 0), dtype=np.int32)
        places = np.full(count, entity, dtype=np.int32)
        blocks.append(MshBlock(kind, rows[:, 1:], rows[:, 0], group, places))
    return blocks


def _groups(section: Section) -> dict[tuple[int, int], int]:
    """First physical group of each entity (dimension, number) that has one, of version 4.1."""
    groups: dict[tuple[int, int], int] = {}
    for dimension, count in enumerate(section.take(4, "size").tolist()):
        for _ in range(count):
            entity = section.one("int")
            section.take(3 if dimension == 0 else 6, "real")
            physical = section.take(section.one("size"), "int")
            if len(physical):
                groups[dimension, entity] = abs(int(physical[0]))
            if dimension:
                section.take(section.one("size"), "int")
    return groups


def _nodes_of_2(section: Section) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Numbers (n,) and points (n, 3) of version 2."""
    count = _counted(section)
    if section.kinds is None:
        rows = section.take(count * 4, "real").reshape(count, 4)
        return rows[:, 0].astype(np.int64), np.ascontiguousarray(rows[:, 1:])
    record = np.dtype([("number", section.kinds["int"]), ("point", section.kinds["real"], 3)])
    section.kinds["node"] = record
    rows = section.take(count, "node")
    return rows["number"], np.ascontiguousarray(rows["point"], dtype=np.float64)


def _elements_of_2(section: Section) -> list[MshBlock]:
    """Blocks of version 2; their nodes are numbers."""
    count = _counted(section)
    blocks: list[MshBlock] = []
    while count > 0:
        if section.kinds is None:
            row = section.values[section.position : section.position + 3].astype(np.int64)
            if len(row) < 3:
                raise InputError(
                    f"$Elements promises {count:,} elements more than it holds: truncated; write it again"
                )
            code, tags = int(row[1]), int(row[2])
            kind, width = kind_of(code)
            rows = _equal_rows(section, count, 3 + max(tags, 0) + width)
            number, rows = rows[:, 0], rows[:, 3:]
        else:
            code, size, tags = section.take(3, "int").tolist()
            kind, width = kind_of(code)
            size = min(size, count) if size > 0 else 1
            rows = section.take(size * (1 + max(tags, 0) + width), "int").reshape(size, -1)
            number, rows = rows[:, 0], rows[:, 1:]
        count -= len(rows)
        none = np.zeros(len(rows), dtype=np.int32)
        physical = np.abs(rows[:, 0]).astype(np.int32) if tags > 0 else none
        entities = rows[:, 1].astype(np.int32) if tags > 1 else none
        blocks.append(MshBlock(kind, rows[:, max(tags, 0) :], number, physical, entities))
    return blocks


def _equal_rows(section: Section, count: int, width: int) -> NDArray[np.int64]:
    """Rows from here on whose type and number of tags are those of the first: at most `count` of text."""
    rest = section.values[section.position :]
    most, length = min(count, len(rest) // width), 1
    table = rest[: most * width].reshape(most, width)
    if not most:
        raise InputError("$Elements ends within an element: truncated; write it again")
    while length < most:
        step = slice(length, min(2 * length, most))
        differs = np.flatnonzero((table[step, 1:3] != table[0, 1:3]).any(axis=1))
        if len(differs):
            length += int(differs[0])
            break
        length = step.stop
    section.position += length * width
    return table[:length].astype(np.int64)


def _counted(section: Section) -> int:
    """The count in the first line of a section of version 2, which is text in a binary file too."""
    if section.kinds is None:
        return section.one("int")
    first = bytes(section.body[:40]).partition(b"\n")[0]
    if not first.strip().isdigit():
        raise InputError(f"${section.name} begins without a count: damaged; write it again")
    section.position = len(first) + 1
    return int(first)


def _view(body: memoryview, kinds: Kinds | None) -> tuple[str, dict[str, NDArray[Any]]]:
    """Name, and numbers and values of an `$ElementData` of one component; nothing of others."""
    raw = bytes(body)
    position = 0

    def line() -> str:
        nonlocal position
        end = raw.find(b"\n", position)
        if end < 0:
            raise InputError("ends within $ElementData: truncated or damaged; write it again")
        text, position = raw[position:end].decode("utf-8", "replace").strip(), end + 1
        return text

    strings = [line().strip('"') for _ in range(_count(line()))]
    for _ in range(_count(line())):
        line()
    integers = [_count(line()) for _ in range(_count(line()))]
    name = strings[0] if strings else ""
    if len(integers) < 3 or integers[1] != 1:
        return name, {}
    if kinds is None:
        table = numbers_in("$ElementData", raw[position:])
        if len(table) < 2 * integers[2]:
            raise InputError("$ElementData promises more values than it holds: truncated; write it again")
        table = table[: 2 * integers[2]].reshape(-1, 2)
        return name, {"numbers": table[:, 0].astype(np.int64), "values": table[:, 1]}
    record = np.dtype([("number", kinds["int"]), ("value", kinds["real"])])
    if (len(raw) - position) // record.itemsize < integers[2]:
        raise InputError("$ElementData promises more values than it holds: truncated; write it again")
    rows = np.frombuffer(raw, record, integers[2], position)
    return name, {"numbers": rows["number"], "values": rows["value"]}


def _count(text: str) -> int:
    if not text.isdigit() or len(text) > 9:
        raise InputError(f"$ElementData holds {text[:40]!r} instead of a count: damaged; write it again")
    return int(text)


def _points_of(block: MshBlock, numbers: NDArray[Any]) -> NDArray[np.int64]:
    """Rows of points for the node numbers of a block.

    Raises:
        InputError: Numbers of no node, or a node number that was given twice.
    """
    if numbers[0] == 1 and numbers[-1] == len(numbers) and (numbers[1:] > numbers[:-1]).all():
        row = block.nodes.astype(np.int64) - 1
        found = (row >= 0) & (row < len(numbers))
    else:
        row, found = _rows(numbers, block.nodes)
    lost = np.flatnonzero(~found.all(axis=1))
    if len(lost):
        raise InputError(
            f"{len(lost):,} of {len(row):,} elements ({block.kind}) name nodes that the file does not hold, "
            f"first element numbers {block.numbers[lost[:5]].tolist()}; the file is damaged; write it again"
        )
    return row


def _rows(numbers: NDArray[Any], wanted: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Row of each wanted number, and whether there is one.

    Raises:
        InputError: A number that was given twice.
    """
    numbers, wanted = np.asarray(numbers, np.int64), np.asarray(wanted, np.int64)
    order = np.argsort(numbers, kind="stable")
    ordered = numbers[order]
    twice = np.flatnonzero(ordered[1:] == ordered[:-1])
    if len(twice):
        raise InputError(
            f"the number {int(ordered[twice[0]])} is given twice; the file is damaged; write it again"
        )
    if not len(ordered):
        return np.zeros(wanted.shape, np.int64), np.zeros(wanted.shape, bool)
    place = np.minimum(np.searchsorted(ordered, wanted), len(ordered) - 1)
    return order[place], ordered[place] == wanted


def _joined(parts: list[NDArray[Any]]) -> NDArray[Any]:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)

"""Profiles as pictures, and as files for speedscope."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any
from zlib import crc32

__all__ = ["as_speedscope", "as_svg"]

Stacks = Iterable[tuple[str, Mapping[tuple[str, ...], float]]]
"""Names of profiles, each with seconds by stack, outermost call first."""

_WIDTH, _ROW, _LEFT = 1200, 17, 10
_NARROWEST = 0.3
"""Frames that would be narrower, in pixels, are left out."""
_HUES = {"running": (10, 45), "waiting": (190, 235)}


def as_speedscope(profiles: Stacks) -> dict[str, Any]:
    """A file of speedscope (https://www.speedscope.app/file-format-schema.json), one sampled profile for each."""
    numbers: dict[str, int] = {}
    made = []
    for name, stacks in profiles:
        samples = [[numbers.setdefault(entry, len(numbers)) for entry in stack] for stack in stacks]
        weights = list(stacks.values())
        made.append(
            {
                "type": "sampled",
                "name": name,
                "unit": "seconds",
                "startValue": 0,
                "endValue": sum(weights),
                "samples": samples,
                "weights": weights,
            }
        )
    return {
        "$schema": "https://www.speedscope.app/file-format-schema.json",
        "exporter": "hubbub",
        "shared": {"frames": [{"name": name} for name in numbers]},
        "profiles": made,
    }


@dataclass
class _Node:
    """A function, reached by one path of calls."""

    name: str
    seconds: float = 0.0
    below: dict[str, _Node] = field(default_factory=dict)


def _grown(name: str, stacks: Mapping[tuple[str, ...], float]) -> _Node:
    root = _Node(name)
    for stack, seconds in stacks.items():
        root.seconds += seconds
        node = root
        for entry in stack:
            node = node.below.setdefault(entry, _Node(entry))
            node.seconds += seconds
    return root


@dataclass
class _Box:
    node: _Node
    left: float
    width: float
    row: int


def _boxes(root: _Node) -> Iterator[_Box]:
    """The frames of a graph with their places; the root is as wide as the picture. Without recursion."""
    scale = (_WIDTH - 2 * _LEFT) / root.seconds
    left = [_Box(root, _LEFT, root.seconds * scale, 0)]
    while left:
        box = left.pop()
        yield box
        start = box.left
        for child in sorted(box.node.below.values(), key=lambda node: node.name):
            width = child.seconds * scale
            if width >= _NARROWEST:
                left.append(_Box(child, start, width, box.row + 1))
            start += width


def as_svg(profiles: Stacks) -> str:
    """One flame graph below the other, as SVG with its own script: a click on a frame widens it to the whole width."""
    parts: list[str] = []
    top = 10
    for name, stacks in profiles:
        root = _grown(name, stacks)
        if root.seconds <= 0:
            parts.append(f'<text x="{_LEFT}" y="{top + 12}">{escape(name)}: nothing was seen</text>')
            top += 2 * _ROW
            continue
        boxes = list(_boxes(root))
        parts.append(f'<g class="graph" transform="translate(0 {top})">')
        parts += [_drawn(box, root, _HUES.get(name, (80, 140))) for box in boxes]
        parts.append("</g>")
        top += (max(box.row for box in boxes) + 3) * _ROW
    return _FRAME.format(width=_WIDTH, height=top, body="\n".join(parts), script=_SCRIPT)


def _drawn(box: _Box, root: _Node, hues: tuple[int, int]) -> str:
    node = box.node
    share = node.seconds / root.seconds
    words = f"{node.name}: {node.seconds:.3f} s, {share:.1%}"
    mark = crc32(node.name.encode())
    hue = hues[0] + mark % (hues[1] - hues[0])
    fits = int((box.width - 6) / 6.6)
    label = "" if fits < 3 else node.name if len(node.name) <= fits else node.name[: fits - 1] + "…"
    place = f'x="{box.left:.2f}" width="{box.width:.2f}" y="{box.row * _ROW}" height="{_ROW - 1}"'
    return (
        f'<g class="frame"><title>{escape(words)}</title>'
        f'<rect {place} fill="hsl({hue} 75% {66 + mark % 9}%)"/>'
        f'<text x="{box.left + 3:.2f}" y="{box.row * _ROW + 12}" data-name="{escape(node.name, quote=True)}">'
        f"{escape(label)}</text></g>"
    )


_FRAME = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" \
font-family="ui-monospace, Menlo, Consolas, monospace" font-size="11">
<rect width="100%" height="100%" fill="white"/>
{body}
<script><![CDATA[{script}]]></script>
</svg>
"""
_SCRIPT = """
for (const graph of document.querySelectorAll("g.graph")) {
  const frames = [...graph.querySelectorAll("g.frame")].map(g => {
    const rect = g.querySelector("rect"), text = g.querySelector("text");
    return {g, rect, text, x: +rect.getAttribute("x"), w: +rect.getAttribute("width"), y: +rect.getAttribute("y")};
  });
  const root = frames[0];
  const widen = chosen => {
    const scale = root.w / chosen.w;
    for (const f of frames) {
      const above = f.y < chosen.y && f.x <= chosen.x + 0.01 && f.x + f.w >= chosen.x + chosen.w - 0.01;
      const inside = f.y >= chosen.y && f.x >= chosen.x - 0.01 && f.x + f.w <= chosen.x + chosen.w + 0.01;
      f.g.style.display = above || inside ? "" : "none";
      const x = above ? root.x : root.x + (f.x - chosen.x) * scale, w = above ? root.w : f.w * scale;
      const fits = Math.floor((w - 6) / 6.6), name = f.text.dataset.name;
      f.rect.setAttribute("x", x); f.rect.setAttribute("width", w); f.text.setAttribute("x", x + 3);
      f.text.textContent = fits < 3 ? "" : name.length <= fits ? name : name.slice(0, fits - 1) + "…";
    }
  };
  for (const f of frames) f.g.addEventListener("click", () => widen(f));
}
"""

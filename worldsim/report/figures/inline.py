"""An SVG file as an element that is safe inside a page: only drawing elements pass, and ids are its own. Knows nothing of what is drawn."""

import re
from xml.etree import ElementTree

from worldsim.report.printable import printable

ELEMENTS = {"svg", "g", "path", "defs", "clipPath", "rect", "use", "text", "tspan"}
ATTRIBUTES = {"d", "x", "y", "width", "height", "transform", "style", "viewBox", "id", "href", "clip-path"}
LINK = re.compile(r"url\(#([^)]+)\)|^#(.+)$")
FOREIGN = re.compile(r"url\((?!#)")
JOINS = "stroke-linejoin: round; stroke-linecap: butt"  # what matplotlib says in a style sheet, which would rule the whole page
DIGITS = re.compile(r"-?\d+\.\d{3,}")


def inline_svg(file: bytes, name: str, meaning: str) -> str:
    """The drawing of an SVG file as one `<svg>` element without namespaces.

    Elements and attributes that draw nothing (metadata, scripts, style sheets, handlers, foreign objects) are left out, links that lead out
    of the drawing too; ids that nothing refers to go, the others begin with `name`. Coordinates keep two decimals.
    """
    root = ElementTree.fromstring(file)
    used = {match[1] or match[2] for element in root.iter() for value in element.attrib.values() for match in LINK.finditer(value)}
    drawing = _cleaned(root, used, name)
    for size in ("width", "height"):
        drawing.attrib.pop(size, None)
    drawing.attrib |= {"role": "img", "aria-label": printable(meaning), "style": JOINS}
    return ElementTree.tostring(drawing, encoding="unicode", short_empty_elements=False)


def _cleaned(element: ElementTree.Element, used: set[str], name: str) -> ElementTree.Element:
    """A copy of what may pass of an element."""
    copy = ElementTree.Element(_local(element.tag))
    copy.text, copy.tail = element.text, element.tail
    for key, value in element.attrib.items():
        kept = _attribute(_local(key), value, used, name)
        if kept is not None:
            copy.set(_local(key), kept)
    copy.extend(_cleaned(child, used, name) for child in element if isinstance(child.tag, str) and _local(child.tag) in ELEMENTS)
    return copy


def _attribute(key: str, value: str, used: set[str], name: str) -> str | None:
    """The value that an attribute keeps; None where it goes."""
    if key not in ATTRIBUTES or (key == "id" and value not in used):
        return None
    if key == "id":
        return f"{name}-{value}"
    if key == "href":
        return f"#{name}-{value[1:]}" if value.startswith("#") else None
    if FOREIGN.search(value):
        return None
    return DIGITS.sub(lambda match: f"{float(match[0]):.2f}", re.sub(r"url\(#", f"url(#{name}-", value))


def _local(tag: str) -> str:
    return tag.rsplit("}", 1)[-1]

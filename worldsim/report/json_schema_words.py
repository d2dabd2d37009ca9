"""The words that our JSON Schemas are written in (draft 2020-12). Knows no file that they describe."""

from typing import Any

NUMBER, INTEGER, TEXT, FLAG, ANY_OBJECT = ({"type": kind} for kind in ("number", "integer", "string", "boolean", "object"))
COUNT = {"type": "integer", "minimum": 0}
RATE = {"type": ["number", "null"], "minimum": 0, "maximum": 1}
INTERVAL = {"type": ["array", "null"], "items": NUMBER, "minItems": 2, "maxItems": 2}


def object_of(**properties: dict[str, Any]) -> dict[str, Any]:
    """An object with exactly these keys."""
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def nullable(schema: dict[str, Any]) -> dict[str, Any]:
    """The same, or null."""
    return {**schema, "type": [schema["type"], "null"]}

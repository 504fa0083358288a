"""The JSON Schema of the monitor document as one workspace's editors need it: with the types that plug-ins bring along.

`document.json_schema` is the same for everybody; here the plug-ins that are installed or allowed are put into it.
"""

from __future__ import annotations

from typing import Any

from monitoring_pipeline.config.analyzer_types import ANALYZER_TYPES, CustomConfig
from monitoring_pipeline.config.document import json_schema
from monitoring_pipeline.config.fields import plain
from monitoring_pipeline.config.plug_ins import plug_ins


def editor_schema() -> tuple[dict[str, Any], tuple[str, ...]]:
    """The schema with every plug-in's `config` block, and what was left out of it and why."""
    schema = json_schema()
    config = schema["$defs"]["Analyzer"]["properties"]["config"]
    taken = {plain(name) for name in ANALYZER_TYPES}
    left_out: list[str] = []
    for plug_in in plug_ins():
        try:
            kind = getattr(plug_in.load(), "Config", None)
        except Exception as error:  # noqa: BLE001  a plug-in may fail in any way
            left_out.append(
                f"{plug_in.name} ({plug_in.value}) cannot be loaded: {type(error).__name__}: {error}"
            )
            continue
        if kind is None:
            continue  # named as `implementation` of the type experimental
        if plain(plug_in.name) in taken or not (isinstance(kind, type) and issubclass(kind, CustomConfig)):
            left_out.append(f"{plug_in.name} ({plug_in.value}) has no name or no Config of its own")
            continue
        taken.add(plain(plug_in.name))
        own = kind.model_json_schema(by_alias=True, mode="validation", ref_template=_REFERENCE)
        schema["$defs"] |= {
            name: part for name, part in own.pop("$defs", {}).items() if name not in schema["$defs"]
        }
        own["properties"]["type"] = {
            "const": plug_in.name,
            "type": "string",
            "description": "Tells the variants apart.",
        }
        for field in own["properties"].values():
            field.pop("title", None)
        name = f"PlugIn_{plug_in.name}"
        schema["$defs"][name] = own
        config["oneOf"].append({"$ref": _REFERENCE.format(model=name)})
        config["discriminator"]["mapping"][plug_in.name] = _REFERENCE.format(model=name)
    return schema, tuple(left_out)


_REFERENCE = "#/$defs/{model}"

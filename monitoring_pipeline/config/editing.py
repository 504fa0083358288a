"""Changes to a monitor document as people ask for them: switch a part off, delete one, add some.

Pure functions from the JSON objects of a document to new ones. They touch what they are about and nothing else: unknown
keys, older spellings and the order of everything stay. `document` is always the same document as `data`, validated.
What cannot be done is a UsageError that says what stands in the way. `layout.rewritten` turns the result into text.
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic.alias_generators import to_snake

from monitoring_pipeline.config.analyzers import Analyzer, ConjunctionConfig, DisjunctionConfig
from monitoring_pipeline.config.document import MonitorDocument
from monitoring_pipeline.config.fields import as_list
from monitoring_pipeline.config.monitors import Monitor
from monitoring_pipeline.errors import UsageError

JsonObject = dict[str, Any]
PartKind = Literal["monitor", "analyzer"]


@dataclass(frozen=True)
class Part:
    """A monitor or an analyzer of a document, and its place in the list."""

    kind: PartKind
    place: int
    id: str

    @property
    def key(self) -> str:
        """The document's key of the list that it is in."""
        return f"{self.kind}s"

    def __str__(self) -> str:
        return f"{self.kind} {self.id}"


@dataclass(frozen=True)
class Added:
    """A document with more in it. `present` are the parts that it had before."""

    data: JsonObject
    added: tuple[str, ...]
    present: tuple[str, ...]


def parts(document: MonitorDocument) -> tuple[Part, ...]:
    """Every monitor and every analyzer, in the order of the document."""
    return (
        *(Part("monitor", place, one.id) for place, one in enumerate(document.monitors)),
        *(Part("analyzer", place, one.id) for place, one in enumerate(document.analyzers)),
    )


def find_part(document: MonitorDocument, name: str) -> Part:
    """The monitor or analyzer of that id. `monitor:ID` and `analyzer:ID` tell two of one id apart. Raises UsageError."""
    known = parts(document)
    kind, _, rest = name.partition(":")
    if kind in ("monitor", "analyzer") and rest and not any(part.id == name for part in known):
        known, name = tuple(part for part in known if part.kind == kind), rest
    found = [part for part in known if part.id == name]
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(
            f"{document.dataset_id} has a monitor and an analyzer {name!r}; write monitor:{name} or analyzer:{name}"
        )
    near = difflib.get_close_matches(name, [part.id for part in known], n=1)
    hint = (
        f"did you mean {near[0]!r}?" if near else f"known: {', '.join(part.id for part in known) or 'none'}"
    )
    raise UsageError(f"{document.dataset_id} has no monitor or analyzer {name!r}; {hint}")


def monitors_naming(document: MonitorDocument, analyzer_id: str) -> tuple[Monitor, ...]:
    """The monitors that name an analyzer, the disabled ones too."""
    return tuple(monitor for monitor in document.monitors if analyzer_id in monitor.analyzer_ids)


def composites_of(document: MonitorDocument, analyzer_id: str) -> tuple[Analyzer, ...]:
    """The analyzers that are about an analyzer."""
    return tuple(
        one
        for one in document.analyzers
        if isinstance(one.config, ConjunctionConfig | DisjunctionConfig)
        and analyzer_id in one.config.analyzer_ids
    )


def unheard(document: MonitorDocument, analyzer_ids: Collection[str]) -> tuple[str, ...]:
    """Those of the analyzers that no monitor names and no other analyzer is about."""
    return tuple(
        name
        for name in analyzer_ids
        if not monitors_naming(document, name) and not composites_of(document, name)
    )


def with_disabled(
    data: Mapping[str, Any], document: MonitorDocument, names: Sequence[str], *, disabled: bool
) -> JsonObject:
    """The document with these monitors and analyzers switched off, or on."""
    changed = copy.deepcopy(dict(data))
    for part in [find_part(document, name) for name in names]:
        model = getattr(document, part.key)[part.place]
        if model.disabled != disabled:
            entry = _entries(changed, part.key)[part.place]
            if entry.get("id") is None:
                entry["id"] = part.id  # made from the content, which changes now
            entry.pop("disabled", None)
            if disabled:
                entry["disabled"] = True
    return changed


def without(
    data: Mapping[str, Any], document: MonitorDocument, names: Sequence[str], *, with_analyzers: bool = False
) -> JsonObject:
    """The document without these monitors and analyzers.

    An analyzer's id also leaves the monitors that name others besides. Raises UsageError for an analyzer that is all a
    remaining monitor names, or that another analyzer is about. `with_analyzers`: also the analyzers of the monitors
    that nothing else names.
    """
    gone = {(part.kind, part.id): part for part in (find_part(document, name) for name in names)}
    monitor_ids = {name for kind, name in gone if kind == "monitor"}
    if with_analyzers:
        for monitor in document.monitors:
            for name in monitor.analyzer_ids if monitor.id in monitor_ids else ():
                if _only_in(document, name, monitor_ids):
                    part = find_part(document, f"analyzer:{name}")
                    gone[part.kind, part.id] = part
    analyzer_ids = {name for kind, name in gone if kind == "analyzer"}
    _check_needed(document, analyzer_ids, monitor_ids)
    changed = copy.deepcopy(dict(data))
    for place, monitor in enumerate(document.monitors):
        if not analyzer_ids.isdisjoint(monitor.analyzer_ids) and monitor.id not in monitor_ids:
            entry = _entries(changed, "monitors")[place]
            entry[_spelled(entry, "analyzerIds")] = [
                name for name in monitor.analyzer_ids if name not in analyzer_ids
            ]
    for key in ("monitors", "analyzers"):
        places = {part.place for part in gone.values() if part.key == key}
        if places:
            entries = _entries(changed, key)
            changed[key] = [entry for place, entry in enumerate(entries) if place not in places]
    return changed


def with_added(
    data: Mapping[str, Any],
    document: MonitorDocument,
    *,
    analyzers: Sequence[JsonObject],
    monitors: Sequence[JsonObject],
) -> Added:
    """The document with more analyzers and monitors; what it has already stays as it is.

    A part is there already when one of its id looks at the same: an analyzer of the same type and metric, a monitor of
    at least one of the same analyzers, which then gets the others. Another part of the same id is a UsageError.
    """
    known_analyzers = {one.id: one for one in document.analyzers}
    known_monitors = {one.id: (place, one) for place, one in enumerate(document.monitors)}
    changed = copy.deepcopy(dict(data))
    clashes: list[str] = []
    added: list[str] = []
    present: list[str] = []
    for entry in analyzers:
        known = known_analyzers.get(entry["id"])
        if known is None:
            _grow(changed, "analyzers", entry)
            added.append(f"analyzer {entry['id']}")
        elif _looks_at(known) != _looks_at(Analyzer.model_validate(entry)):
            clashes.append(f"analyzer {known.id} ({' '.join(_looks_at(known))})")
        else:
            present.append(f"analyzer {known.id}")
    for entry in monitors:
        place, monitor = known_monitors.get(entry["id"], (0, None))
        if monitor is None:
            _grow(changed, "monitors", entry)
            added.append(f"monitor {entry['id']}")
        elif not set(entry["analyzerIds"]) & set(monitor.analyzer_ids):
            clashes.append(f"monitor {monitor.id} (of {', '.join(monitor.analyzer_ids)})")
        else:
            more = [name for name in entry["analyzerIds"] if name not in monitor.analyzer_ids]
            if more:
                old = _entries(changed, "monitors")[place]
                old[_spelled(old, "analyzerIds")] = [*monitor.analyzer_ids, *more]
                added += [f"{name} to monitor {monitor.id}" for name in more]
            present.append(f"monitor {monitor.id}")
    if clashes:
        raise UsageError(
            f"{document.dataset_id} has something else by the same id: {'; '.join(clashes)}. "
            "Give what is added other ids with --suffix, or delete what is there"
        )
    return Added(changed, tuple(added), tuple(present))


def _check_needed(
    document: MonitorDocument, analyzer_ids: Collection[str], monitor_ids: Collection[str]
) -> None:
    for name in sorted(analyzer_ids):
        parents = [one.id for one in composites_of(document, name) if one.id not in analyzer_ids]
        if parents:
            raise UsageError(
                f"analyzer {name} is needed by analyzer {', '.join(parents)}; delete that too, or change it first"
            )
    for monitor in document.monitors:
        if (
            monitor.id not in monitor_ids
            and monitor.analyzer_ids
            and {*monitor.analyzer_ids} <= {*analyzer_ids}
        ):
            raise UsageError(
                f"monitor {monitor.id} would be left without analyzers; delete it too: name {monitor.id} as well"
            )


def _only_in(document: MonitorDocument, analyzer_id: str, monitor_ids: Collection[str]) -> bool:
    return not composites_of(document, analyzer_id) and all(
        monitor.id in monitor_ids for monitor in monitors_naming(document, analyzer_id)
    )


def _looks_at(analyzer: Analyzer) -> tuple[str, ...]:
    return tuple(str(one) for one in (analyzer.config.type, analyzer.metric) if one is not None)


def _entries(data: Mapping[str, Any], key: str) -> list[JsonObject]:
    """The analyzers or monitors; a single one may stand without a list around it."""
    found = as_list(data.get(key))
    return list(found) if isinstance(found, (list, tuple)) else []


def _grow(data: JsonObject, key: str, entry: JsonObject) -> None:
    data[key] = [*(_entries(data, key) if data.get(key) is not None else []), entry]


def _spelled(entry: Mapping[str, Any], key: str) -> str:
    """The key as the entry writes it: in camelCase, or as Python names it."""
    snake = to_snake(key)
    return snake if snake in entry and key not in entry else key

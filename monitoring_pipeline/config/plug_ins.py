"""Analyzers that are not built in: those of installed packages, and where it is allowed those of the workspace.

A package names its own in the entry point group `monitoring_pipeline.analyzers`. A workspace may hold them as files
`analyzers/NAME.py`; they run with all rights of the pipeline, so `use_folder` is called only where the settings say so,
and takes nothing that lies outside of the folder. What a plug-in must look like is said in `analysis.verdicts`; here it
only matters which `config` block goes with the type that bears its name.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Protocol

from pydantic import BaseModel, Discriminator, Tag, TypeAdapter, WrapValidator
from pydantic_core import core_schema

from monitoring_pipeline.config.fields import plain, refuse
from monitoring_pipeline.config.problems import choices_hint, shorten

ENTRY_POINT_GROUP = "monitoring_pipeline.analyzers"

FOLDER = "analyzers"
"""Where a workspace keeps its own analyzers."""

_files: tuple[WorkspaceFile, ...] = ()


class PlugIn(Protocol):
    """Something that can be loaded: an entry point, or a file of the workspace."""

    @property
    def name(self) -> str: ...

    @property
    def value(self) -> str:
        """Where it comes from."""
        ...

    def load(self) -> Any: ...


@dataclass(frozen=True)
class WorkspaceFile:
    """A file of the workspace; the module is the plug-in, and its name the file's."""

    path: Path
    folder: Path
    modified: int

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def value(self) -> str:
        return f"{FOLDER}/{self.path.name}"

    def load(self) -> ModuleType:
        """Run the file. Raises ImportError when it lies outside of the folder."""
        return _module(self)


def plug_ins() -> tuple[PlugIn, ...]:
    """Everything that could be loaded, the workspace's own last."""
    return (*_installed(), *_files)


def use_folder(home: Path | None) -> None:
    """Take the files of this workspace's folder, and no others; None for none at all."""
    global _files
    folder = None if home is None else (home / FOLDER).resolve()
    found = sorted(folder.glob("*.py")) if folder is not None else []
    _files = tuple(
        WorkspaceFile(path, path.parent, path.stat().st_mtime_ns)
        for path in found
        if path.is_file() and not path.name.startswith("_")
    )


def claimed(model: type[BaseModel], built_in: tuple[str, ...]) -> WrapValidator:
    """Reads `config` blocks whose type is the name of a plug-in with its `Config`, or with `model` where it has none."""
    taken = {plain(name) for name in built_in}

    def read(value: object, handler: core_schema.ValidatorFunctionWrapHandler) -> object:
        if isinstance(value, model):
            return value
        given = value.get("type") if isinstance(value, Mapping) else None
        if not isinstance(value, Mapping) or not isinstance(given, str) or plain(given) in taken:
            return handler(value)
        plug_in = next((one for one in plug_ins() if plain(one.name) == plain(given)), None)
        if plug_in is None:
            return handler(value)
        kind = _config_of(plug_in, model, built_in)
        return _adapter(kind, plug_in.name).validate_python({**value, "type": plug_in.name})

    return WrapValidator(read)


def _config_of(plug_in: PlugIn, model: type[BaseModel], built_in: tuple[str, ...]) -> type[BaseModel]:
    try:
        kind = getattr(plug_in.load(), "Config", model)
    except Exception as error:  # noqa: BLE001  a plug-in may fail in any way
        accepted = f"{choices_hint(plug_in.name, built_in)}; {plug_in.value} cannot be loaded: {error}"
        raise refuse(accepted, found=shorten(plug_in.name), key="type") from None
    if not (isinstance(kind, type) and issubclass(kind, model)):
        raise refuse(
            f"a plug-in whose Config is a {model.__name__}; that of {plug_in.value} is not",
            found=shorten(plug_in.name),
            key="type",
        )
    return kind


@cache
def _adapter(kind: type[BaseModel], name: str) -> TypeAdapter[BaseModel]:
    """A union of one, so that places of problems are told as for the built-in types."""
    tagged = Annotated[kind, Tag(name)]
    union = Annotated[tagged | Annotated[_Nothing, Tag("")], Discriminator(lambda _: name)]
    return TypeAdapter(union)  # pyright: ignore[reportArgumentType]  a union that is made at run time


class _Nothing(BaseModel):
    pass


@cache
def _installed() -> tuple[PlugIn, ...]:
    return tuple(entry_points(group=ENTRY_POINT_GROUP))


@cache
def _module(file: WorkspaceFile) -> ModuleType:
    if file.path.resolve().parent != file.folder:
        raise ImportError(f"{file.path.name} is a link that leads out of the folder {FOLDER}")
    spec = importlib.util.spec_from_file_location(f"{FOLDER}.{file.name}", file.path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file.path.name} is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

"""Types of the compiled kernels: those of `fallback`, which says what they do."""

from collections.abc import Buffer

from monitoring_pipeline.profiling.fallback import Report

class Cells:
    def __init__(self, kind: str, *, kll_k: int, lg_k: int, room: int, block: int) -> None: ...
    def add(
        self,
        rows: int,
        values: Buffer | None,
        valid: Buffer | None,
        order: Buffer | None,
        bounds: Buffer,
        cells: Buffer,
        /,
    ) -> None: ...
    def add_hashed(
        self,
        rows: int,
        codes: Buffer | None,
        coupons: Buffer,
        keys: Buffer | None,
        offsets: Buffer | None,
        text: Buffer | None,
        valid: Buffer | None,
        order: Buffer | None,
        bounds: Buffer,
        cells: Buffer,
        /,
    ) -> None: ...
    def finish(self) -> list[Report]: ...

def hash_texts(offsets: Buffer, text: Buffer, coupons: Buffer, keys: Buffer, /) -> int: ...

"""The `monitor_documents` asset: the files of the workspace as the store knows them, with a check that all load."""

import dagster as dg

from monitoring_pipeline.workspace import Workspace

DOCUMENTS = dg.AssetKey(["monitor_documents"])
LOADABLE = "every_document_loads"


def documents_definitions() -> dg.Definitions:
    """One unpartitioned asset that applies the documents, and its check."""

    @dg.asset(
        key=DOCUMENTS,
        group_name="workspace",
        kinds={"python", "yaml"},
        description="Dataset descriptions and monitor documents, applied to the store as versions.",
        check_specs=[
            dg.AssetCheckSpec(
                LOADABLE, asset=DOCUMENTS, description="No dataset is left out.", blocking=False
            )
        ],
    )
    def monitor_documents(workspace: dg.ResourceParam[Workspace]) -> dg.MaterializeResult:
        catalog = workspace.catalog
        changed = [
            f"{dataset_id}/{kind} (version {version.version})"
            for dataset_id in catalog.datasets
            for kind, version in workspace.apply(dataset_id).items()
            if version.changed
        ]
        broken = [f"- **{name}**\n```\n{error}\n```" for name, error in catalog.broken.items()]
        return dg.MaterializeResult(
            metadata={"datasets": len(catalog.datasets), "changed": ", ".join(changed) or "nothing"},
            check_results=[
                dg.AssetCheckResult(
                    check_name=LOADABLE,
                    passed=not broken,
                    severity=dg.AssetCheckSeverity.ERROR,
                    metadata={"broken": dg.MetadataValue.md("\n".join(broken) or "none")},
                )
            ],
        )

    return dg.Definitions(assets=[monitor_documents])

"""The asset `icontact_people` of one import: its contacts, and those of other imports, joined into people."""

from collections.abc import Iterable
from dataclasses import asdict

import dagster as dg

from icontact_assets.assets.mapped import follow
from icontact_assets.assets.pages import Page, described
from icontact_assets.assets.worker import worker
from icontact_assets.checks import people_results, people_specs
from icontact_assets.mapping.people import build_people, conflicts, people_lineage, people_table, public_people
from icontact_assets.metadata import failing_plainly, metadata_table, preview
from icontact_assets.records import table_key
from icontact_assets.resources import open_import
from icontact_assets.settings.models import Import, Settings


def people_assets(settings: Settings, import_: Import) -> list[dg.AssetsDefinition]:
    """The asset, if the import names whose contacts are to be joined. It follows their profiles."""
    if not import_.people:
        return []
    table = people_table()
    key = table_key(import_.name, table.name)
    page = _page(import_)
    others = [settings.import_named(name) for name in import_.people if name != import_.name]
    profiles = [table_key(name, "icontact_profiles") for name in import_.people]

    # Dagster does not recognise the parametrised type beside a check.
    def run(context: dg.AssetExecutionContext) -> dg.MaterializeResult:  # type: ignore[type-arg]
        with failing_plainly():
            for other in others:
                # Whose data its schema holds is checked here: the connection below is bound to that of this import.
                open_import(settings, other, waiting=context.log.warning).prepare()
            warehouse = open_import(settings, import_, waiting=context.log.warning)
            with warehouse.write(f"computing {table.name}") as connection:
                found = build_people(connection, import_.people)
                shown = preview(connection, table.name, public_people())
                columns, rows = conflicts(connection)
                checks = people_results(connection, import_.people)
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": found.people,
                **{name: number for name, number in asdict(found).items() if name != "people"},
                **({"conflicts": metadata_table(columns, rows)} if rows else {}),
                "dagster/column_lineage": page.lineage,
                "preview": shown,
            },
            check_results=checks,
        )

    asset = dg.asset(
        key=key,
        deps=[*profiles, *(table_key(name, "raw_contacts") for name in import_.people)],
        description=table.description,
        group_name=f"{import_.name}_mapped",
        automation_condition=follow(profiles),
        resource_defs=worker(settings),
        required_resource_keys={*worker(settings)},
        check_specs=people_specs(key),
        **described(settings, page),
    )(run)
    return [asset]


def _page(import_: Import) -> Page:
    table = people_table()
    return Page(
        import_name=import_.name,
        layer="mapped",
        table=table.name,
        columns=table.columns,
        kinds=frozenset({"duckdb", "table"}),
        docs="tables.md",
        code=build_people,
        comes_from=lambda: {
            column: tuple(_of_imports(import_.people, sources)) for column, sources in people_lineage().items()
        },
    )


def _of_imports(imports: Iterable[str], sources: Iterable[tuple[str, str]]) -> Iterable[tuple[dg.AssetKey, str]]:
    return ((table_key(name, table), column) for name in imports for table, column in sources)

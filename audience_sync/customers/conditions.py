"""Conditions of audiences over files, as Polars SQL.

Values of a CSV have no types. There, a column that a condition names is a number where every value
in all the files is a plain one (no leading zeros, no blanks), Boolean where every value is true or
false, and text otherwise: `lifetime_value > 5000` compares numbers, and
`last_purchase_at < '2026-05-01'` compares ISO dates, which sort as text. A condition that does not
fit those types, such as `postal_code = '11122'`, is tried with its columns as text before it is
refused.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import polars as pl

from audience_sync.customers.columns import AUDIENCE_PREFIX, describe_columns
from audience_sync.errors import ConfigurationError

Types = Mapping[str, pl.DataType]

_OURS = "ours:"  # keeps a mapped column apart from the same column under a condition
_WRITTEN = {  # the first that every value matches
    pl.Int64(): r"^-?(?:0|[1-9]\d{0,17})$",
    pl.Float64(): r"^-?(?:0|[1-9]\d{0,17})(?:\.\d+)?$",
    pl.Boolean(): r"^(?i:true|false)$",
}


def columns_of(conditions: Mapping[str, str]) -> dict[str, set[str]]:
    """The columns that each audience's condition names."""
    used = {}
    for audience, condition in conditions.items():
        try:
            used[audience] = set(pl.sql_expr(condition).meta.root_names())
        except pl.exceptions.PolarsError:
            raise _refused(audience, "it is not understood as a condition in SQL") from None
    return used


def check_columns(used: Mapping[str, set[str]], names: Collection[str], file: str) -> None:
    """Refuse a condition that names a column which the file does not have."""
    for audience, columns in used.items():
        for column in sorted(columns.difference(names)):
            raise _refused(
                audience, f'{file} has no column "{column}"; {describe_columns(column, names)}'
            )


def written_types(scans: Sequence[pl.LazyFrame], columns: Collection[str]) -> Types:
    """What the text in each column can be read as in every file; Null where there is no value."""
    tests = [
        test.alias(f"{at}:{column}")
        for column in columns
        for at, test in enumerate(
            [
                *(pl.col(column).str.contains(form).all() for form in _WRITTEN.values()),
                pl.col(column).is_null().all(),
            ]
        )
    ]
    found = pl.concat([scan.select(tests) for scan in scans]).collect(engine="streaming")
    fits = found.select(pl.all().all()).row(0, named=True)
    types: dict[str, pl.DataType] = {}
    for column in columns:
        kinds = [kind for at, kind in enumerate(_WRITTEN) if fits[f"{at}:{column}"]]
        nothing = fits[f"{len(_WRITTEN)}:{column}"]
        types[column] = pl.Null() if nothing else next(iter(kinds), pl.String())
    return types


def settle_types(
    conditions: Mapping[str, str], used: Mapping[str, set[str]], types: Types
) -> Types:
    """Types under which every condition can be judged: as written, or as text where that helps."""
    settled = dict(types)
    for audience, condition in conditions.items():
        own = {column: settled[column] for column in used[audience]}
        plain: Types = dict.fromkeys(own, pl.String())
        if not _can_be_judged(condition, own) and _can_be_judged(condition, plain):
            settled |= plain
    return settled


def select(
    scan: pl.LazyFrame,
    columns: Mapping[str, str],
    conditions: Mapping[str, str],
    schema: Types,
    types: Types,
) -> pl.LazyFrame:
    """The mapped columns under our names, and one Boolean column for each condition.

    `types` says what to read text columns as under a condition; it leaves our columns alone.
    """
    for audience, condition in conditions.items():
        if not _can_be_judged(condition, {**schema, **types}):
            raise _refused(
                audience,
                "it does not fit the types of its columns, or is no condition; compare text with "
                "quoted text, numbers with numbers, or use CAST(column AS DOUBLE)",
            )
    read_as = [_read_as(name, kind) for name, kind in types.items() if name in schema]
    ours = [pl.col(theirs).alias(_OURS + name) for name, theirs in columns.items()]
    wide = scan.with_columns(*read_as, *ours)
    listed = [f'"{_OURS}{name}" AS "{name}"' for name in columns]
    listed += [
        f"{_judged(condition)} AS {_quoted(AUDIENCE_PREFIX + name)}"
        for name, condition in conditions.items()
    ]
    return pl.SQLContext(customers=wide).execute(f"SELECT {', '.join(listed)} FROM customers")  # noqa: S608 - the operator's own conditions


def _can_be_judged(condition: str, schema: Types) -> bool:
    """Whether it runs on no rows at all, which shows every error that comes from types."""
    nobody = pl.SQLContext(customers=pl.LazyFrame(schema=schema))
    try:
        nobody.execute(f"SELECT {_judged(condition)} AS judged FROM customers").collect()  # noqa: S608 - the operator's own condition
    except pl.exceptions.PolarsError:
        return False
    return True


def _judged(condition: str) -> str:
    """Two-valued; on a line of its own, so that a comment in the condition ends there."""
    return f"CASE WHEN ({condition}\n) THEN TRUE ELSE FALSE END"


def _read_as(column: str, kind: pl.DataType) -> pl.Expr:
    if isinstance(kind, pl.Null):
        return pl.lit(None).alias(column)
    if isinstance(kind, pl.Boolean):
        return pl.col(column).str.to_lowercase() == "true"
    return pl.col(column).cast(kind)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _refused(audience: str, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"the condition of audience {audience} cannot be run: {why}; "
        f"correct audiences.{audience}.where"
    )

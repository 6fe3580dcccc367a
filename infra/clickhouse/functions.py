"""Which functions a reader may call. Everything that is not named here is refused."""

from __future__ import annotations

from infra.clickhouse.engine import Handle

_CATEGORIES = (
    "Arithmetic",
    "Arrays",
    "Bit",
    "Bitmap",
    "Comparison",
    "Conditional",
    "Dates and Times",
    "Distance",
    "Encoding",
    "Financial",
    "Geo",
    "Geo Polygon",
    "Hash",
    "IP Address",
    "JSON",
    "Logical",
    "Map",
    "Mathematical",
    "Null",
    "NumericIndexedVector",
    "Random Number",
    "Rounding",
    "String",
    "String Replacement",
    "String Search",
    "String Splitting",
    "Time Window",
    "Tuple",
    "Type Conversion",
    "URL",
    "UUID",
)
"""Categories of `system.functions` that only compute. Dictionaries, files, models, networks and
the server's inside have categories of their own, or are among the mixed lot of `Other`."""

_OTHERS = """
    bar byteSize caseWithExpression countDigits currentDatabase currentUser defaultValueOfTypeName
    displayName errorCodeToName exists finalizeAggregation formatReadableDecimalSize
    formatReadableQuantity formatReadableSize formatReadableTimeDelta grouping identity ignore
    initializeAggregation isConstant isDecimalOverflow lowCardinalityIndices lowCardinalityKeys
    materialize minSampleSizeContinuous minSampleSizeConversion neighbor parseReadableSize
    parseReadableSizeOrNull parseReadableSizeOrZero parseTimeDelta revision rowNumberInAllBlocks
    rowNumberInBlock runningAccumulate runningDifference throwIf toColumnTypeName toTypeName
    transform uptime variantElement variantType version visibleWidth
"""
_WINDOW = """
    cume_dist dense_rank denseRank exponentialTimeDecayedAvg first_value lag lagInFrame last_value
    lead leadInFrame nonNegativeDerivative nth_value ntile percent_rank percentRank rank row_number
"""

TABLE_FUNCTIONS = frozenset(
    (
        *("numbers", "numbers_mt", "zeros", "zeros_mt", "generateseries", "generate_series"),
        *("values", "sqlstandardvalues", "view", "null"),
    )
)
"""Table functions that reach nothing but their arguments, in lower case."""


class Functions:
    """The allow-list of one engine version."""

    def __init__(self, names: frozenset[str], combinators: tuple[str, ...]) -> None:
        self._names = names
        self._combinators = combinators

    def __contains__(self, name: str) -> bool:
        """Whether a function may be called, aggregate combinators such as `sumIf` included."""
        rest = name.lower()
        while rest not in self._names:
            ending = next((c for c in self._combinators if rest.endswith(c)), None)
            if ending is None:
                return False
            rest = rest[: -len(ending)]
        return True


def allowed_functions(handle: Handle) -> Functions:
    """The allow-list, from what this engine says about its own functions."""
    wanted = ", ".join(f"'{category}'" for category in _CATEGORIES)
    mixed = ", ".join(f"'{name}'" for name in (_OTHERS + _WINDOW).split())
    listed = handle.query(
        f"""
        WITH (is_aggregate OR hasAny(splitByChar(',', categories), [{wanted}])
              OR name IN ({mixed})) AS allowed
        SELECT DISTINCT lower(name) FROM system.functions AS f
        WHERE allowed AND NOT startsWith(name, '_')
           OR alias_to IN (SELECT name FROM system.functions WHERE allowed AND name != '')
        """,
        "TSVRaw",
    ).body.decode()
    endings = handle.query(
        "SELECT lower(name) FROM system.aggregate_function_combinators ORDER BY length(name) DESC",
        "TSVRaw",
    ).body.decode()
    names = frozenset((*listed.split(), "exists", "grouping", "_cast"))
    return Functions(names, tuple(endings.split()))

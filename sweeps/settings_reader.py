"""From the sections of a spec to settings: every problem becomes one line, none hides another."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Never, final

from sweeps.fields import BETA_NAMES, FIELDS, LISTS, REQUIRED, Field, Value, plain
from sweeps.setting_checks import can_count, key_of, objection_to
from sweeps.settings import LARGEST_GRID, Choice, Fixed, Range, Setting
from sweeps.wording import ended, nearest, shown

__all__ = ["SettingsReader"]

Table = Mapping[str, Any]

_RANGE_KEYS = ("low", "high", "log", "step", "points")

_LISTED = {"ints": "[[512], [256, 256]]", "floats": "[[0.25, 0.5], [0.5, 0.75]]"}
"""Examples of choices between lists."""

_LARGEST_WHOLE = 2**53  # Optuna keeps numbers as floats: beyond, neighbours are the same float


class _UnreadableError(Exception):
    """A setting that cannot be read; its problem is already written down."""


@final
class SettingsReader:
    """Reads [model], [objective], [train] and [space] into one setting per field.

    Attributes:
        problems: What is wrong, a line each.
    """

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems

    def read(self, document: Table) -> dict[str, Setting]:
        """The settings of all fields that can count, in the order of `FIELDS`.

        Args:
            document: The spec's sections; keys that no section knows are not looked at.
        """
        explicit = self._explicit(document)
        settings = {
            name: explicit.get(name) or Fixed(value=field.default)
            for name, field in FIELDS.items()
            if name in explicit or field.default is not None
        }
        self._check_conditions(settings, explicit)
        self._check_required(settings, document)
        self._check_values(settings, explicit)
        return {name: setting for name, setting in settings.items() if can_count(name, settings)}

    def _explicit(self, document: Table) -> dict[str, Setting]:
        """What the document says of each field, under the one place that says it."""
        explicit: dict[str, Setting] = {}
        for name, (key, value) in self._given(document):
            try:
                searched = key.startswith("space.")
                explicit[name] = self._setting(FIELDS[name], key, value, searched=searched)
            except _UnreadableError:
                continue
        return explicit

    def _given(self, document: Table) -> Iterator[tuple[str, tuple[str, Any]]]:
        space = _table(document, "space")
        for name, field in FIELDS.items():
            section = _table(document, field.section)
            if name in space and name in section:
                self._note(
                    f"space.{name}",
                    f"a field must be fixed in [{field.section}] or searched in [space], but got "
                    f"both; remove one of {field.key} and space.{name}.",
                )
            if name in space:
                yield name, (f"space.{name}", space[name])
            elif name in section:
                yield name, (field.key, section[name])

    def _setting(self, field: Field, key: str, value: object, *, searched: bool) -> Setting:
        if isinstance(value, Mapping):
            return self._table_setting(field, key, value, searched=searched)
        if searched and _is_choice(field, value):
            return self._choice(field, key, value, unit="canonical")
        if not searched and field.kind not in LISTS and isinstance(value, list):
            self._refuse(
                key, "a section holds fixed values", value, f"write it as space.{field.name}"
            )
        return Fixed(value=self._value(field, key, value))

    def _table_setting(self, field: Field, key: str, table: Table, *, searched: bool) -> Setting:
        if not searched and "value" not in table:
            hint = f"write it as space.{field.name}"
            self._refuse(key, "a section holds fixed values", dict(table), hint)
        unit = self._unit(field, key, table)
        allowed = ["value", "choices", *_RANGE_KEYS] if searched else ["value"]
        allowed += ["unit"] if field.name == "beta" else []
        known = self._known_keys(key, table, allowed)
        self._check_one_way(key, known)
        if "value" in known:
            return Fixed(value=self._value(field, f"{key}.value", known["value"]), unit=unit)
        if "choices" in known:
            return self._choice(field, key, known["choices"], unit=unit)
        return self._range(field, key, known, unit=unit)

    def _unit(self, field: Field, key: str, table: Table) -> str:
        if "unit" not in table:
            return "canonical"
        unit = table["unit"]
        if field.name != "beta":
            self._refuse(f"{key}.unit", "only beta has a unit", unit, "remove it")
        if unit not in BETA_NAMES:
            names = ", ".join(map(repr, BETA_NAMES))
            near = nearest(str(unit), tuple(BETA_NAMES))
            self._fail(f"{key}.unit", f"must be one of {names}, but got {shown(unit)}{near}")
        return str(unit)

    def _known_keys(self, key: str, table: Table, allowed: Sequence[str]) -> dict[str, Any]:
        unknown = [name for name in table if name not in allowed and name != "unit"]
        for name in unknown:
            must = f"a key here must be one of {', '.join(allowed)}"
            self._note(f"{key}.{name}", f"{must}, but got {name!r}{nearest(name, allowed)}")
        if unknown:
            raise _UnreadableError
        return {name: value for name, value in table.items() if name != "unit"}

    def _check_one_way(self, key: str, table: Table) -> None:
        ways = ["value", "choices", *_RANGE_KEYS]
        found = [name for name in ways if name in table]
        if found and found[0] in ("value", "choices") and len(found) > 1:
            must = "a table says value, choices, or low and high"
            self._fail(key, f"{must}, but got {' and '.join(found)}; keep one of them")

    def _choice(self, field: Field, key: str, values: object, *, unit: str) -> Choice:
        if not isinstance(values, list):
            self._refuse(key, "choices must be a list", values, f"write [{shown(values)}]")
        if not values:
            self._refuse(key, "a choice needs at least one value", values, "remove it or fill it")
        read = [self._value(field, f"{key}[{index}]", value) for index, value in enumerate(values)]
        for index, value in enumerate(read):
            if value in read[:index]:
                self._refuse(key, "choices must differ", plain(value), "remove the second one")
        return Choice(choices=tuple(read), unit=unit)

    def _range(self, field: Field, key: str, table: Table, *, unit: str) -> Range:
        if field.kind not in ("int", "float"):
            example = _LISTED.get(field.kind, f'["{field.default}"]')
            self._refuse(key, "a range needs numbers", table, f"write a list such as {example}")
        low, high = (self._end(field, key, table, name) for name in ("low", "high"))
        log = table.get("log", False)
        if not isinstance(log, bool):
            self._refuse(f"{key}.log", "must be true or false", log, "write log = true")
        setting = Range(
            low=low,
            high=high,
            log=log,
            step=self._step(field, key, table),
            count=self._count(key, table),
            whole=field.kind == "int",
            unit=unit,
        )
        self._check_range(key, setting)
        return setting

    def _end(self, field: Field, key: str, table: Table, name: str) -> int | float:
        if name not in table:
            self._fail(key, f"a range needs low and high, but got no {name}; add {name} = …")
        value = self._value(field, f"{key}.{name}", table[name])
        if not isinstance(value, int | float):
            raise TypeError(value)
        return value

    def _step(self, field: Field, key: str, table: Table) -> int | float | None:
        if "step" not in table:
            return None
        step = self._end(field, key, table, "step")
        if step <= 0:
            self._fail(f"{key}.step", f"`step > 0` must hold, but got step={step}.")
        return step

    def _count(self, key: str, table: Table) -> int | None:
        count = table.get("points")
        if count is None:
            return None
        is_whole = isinstance(count, int) and not isinstance(count, bool)
        if not is_whole or not 2 <= count <= LARGEST_GRID:
            self._fail(
                f"{key}.points",
                f"`2 <= points <= {LARGEST_GRID}` must hold for the grid on a range, "
                f"but got points={shown(count)}.",
            )
        return int(count)

    def _check_range(self, key: str, setting: Range) -> None:
        low, high, step = setting.low, setting.high, setting.step
        got = f"but got low={low!r}, high={high!r}"
        if low == high:
            self._fail(key, f"`low < high` must hold for a range, {got}; write {low!r} to fix it.")
        if low > high:
            self._fail(key, f"`low < high` must hold for a range, {got}; swap them.")
        if setting.log and low <= 0:
            self._fail(
                key,
                f"`low > 0` must hold for a log range, {got}; raise low or remove log = true.",
            )
        if setting.log and step is not None:
            self._fail(
                key,
                f"a log range has no step, but got step={step!r}; "
                "remove step, or write points = … for a grid.",
            )
        if step is not None and setting.count is not None:
            self._fail(
                key,
                "a range has a step or a number of points, "
                f"but got step={step!r}, points={setting.count}; remove one.",
            )
        if step is not None and step > high - low:
            self._fail(key, f"`step <= high - low` must hold, {got}, step={step!r}; lower it.")
        if step is not None and (high - low) / step > _LARGEST_WHOLE:
            self._fail(
                key, f"`(high - low) / step <= {_LARGEST_WHOLE}` must hold, {got}, step={step!r}."
            )
        if setting.whole and high > _LARGEST_WHOLE:
            self._fail(key, f"`high <= {_LARGEST_WHOLE}` must hold for a range, {got}.")

    def _value(self, field: Field, key: str, value: object) -> Value:
        try:
            return field.read(value)
        except ValueError as error:
            self._fail(key, str(error))

    def _check_conditions(
        self, settings: Mapping[str, Setting], explicit: Mapping[str, Setting]
    ) -> None:
        for name, setting in explicit.items():
            condition = FIELDS[name].condition
            if condition is None or can_count(name, settings):
                continue
            parent = FIELDS[condition.field]
            got = " or ".join(repr(value) for value in settings[condition.field].bounds)
            self._note(
                key_of(name, setting),
                f"counts only where {condition}, but {parent.name} is always {got}; remove it, "
                f"or let {parent.name} be {condition.values[0]!r}.",
            )

    def _check_required(self, settings: Mapping[str, Setting], document: Table) -> None:
        for name, example in REQUIRED.items():
            field = FIELDS[name]
            given = name in _table(document, "space") or name in _table(document, field.section)
            if not given and can_count(name, settings):
                self._note(
                    field.key,
                    f"must be given where {field.condition}, but got nothing; "
                    f"write {name} = {example} under [{field.section}].",
                )

    def _check_values(
        self, settings: Mapping[str, Setting], explicit: Mapping[str, Setting]
    ) -> None:
        for name in explicit:
            if can_count(name, settings):
                objection = objection_to(name, settings)
                if objection is not None:
                    self._note(key_of(name, settings[name]), objection)

    def _refuse(self, key: str, condition: str, got: object, hint: str) -> Never:
        self._fail(key, f"{condition}, but got {shown(got)}; {hint}")

    def _fail(self, key: str, problem: str) -> Never:
        self._note(key, problem)
        raise _UnreadableError

    def _note(self, key: str, problem: str) -> None:
        self.problems.append(ended(f"{key}: {problem}"))


def _table(document: Table, name: str) -> Table:
    table = document.get(name, {})
    return table if isinstance(table, Mapping) else {}


def _is_choice(field: Field, value: object) -> bool:
    if not isinstance(value, list):
        return False
    return field.kind not in LISTS or not value or any(isinstance(item, list) for item in value)

"""Mappings, both ways."""

from liftos.migration.v1 import plan_pb2
from liftos_migration.domain.mapping import (
    InverseRule,
    KeyClass,
    KeyMapping,
    Mapping,
    Reverse,
    Rounding,
    Rows,
    Rule,
    TableMapping,
    Target,
    Waiver,
)


def mapping_of(message: plan_pb2.Mapping, *, subject: str = "") -> Mapping:
    """Return the mapping of a message.

    Args:
        message: As a person gave it.
        subject: Who waives what it waives.
    """
    return Mapping(
        tables=tuple(map(_table, message.tables)),
        keys=tuple(
            KeyMapping(each.prefix, KeyClass(each.key_class), each.scope) for each in message.keys
        ),
        waivers=tuple(Waiver(each.object, each.reason, subject) for each in message.waivers),
        version=message.version,
    )


def _table(message: plan_pb2.TableMapping) -> TableMapping:
    return TableMapping(
        table=message.table,
        target=Target(message.target),
        rules=tuple(
            Rule(each.target_field, each.expression, Rounding(each.rounding))
            for each in message.rules
        ),
        key_columns=tuple(message.key_columns),
        row_filter=message.row_filter,
        rows=Rows(message.rows or Rows.ONE),
        order_by=message.order_by,
        scope=message.scope,
        part_of=message.part_of,
        reverse=Reverse(message.reverse or Reverse.REFUSE),
        inverse=tuple(
            InverseRule(each.source_column, each.expression, each.tolerance)
            for each in message.inverse
        ),
        inverse_rows=message.inverse_rows,
        inverse_filter=message.inverse_filter,
    )


def mapping_message(mapping: Mapping) -> plan_pb2.Mapping:
    """Return the message of a mapping."""
    return plan_pb2.Mapping(
        tables=map(_table_message, mapping.tables),
        keys=[
            plan_pb2.KeyMapping(
                prefix=each.prefix,
                key_class=plan_pb2.KeyClass.ValueType(each.key_class),
                scope=each.scope,
            )
            for each in mapping.keys
        ],
        waivers=[
            plan_pb2.Waiver(object=each.object, reason=each.reason, subject=each.subject)
            for each in mapping.waivers
        ],
        version=mapping.version,
    )


def _table_message(table: TableMapping) -> plan_pb2.TableMapping:
    return plan_pb2.TableMapping(
        table=table.table,
        target=plan_pb2.MappingTarget.ValueType(table.target),
        rules=[
            plan_pb2.MappingRule(
                target_field=rule.field,
                expression=rule.expression,
                rounding=plan_pb2.MappingRounding.ValueType(rule.rounding),
            )
            for rule in table.rules
        ],
        key_columns=table.key_columns,
        row_filter=table.row_filter,
        rows=plan_pb2.MappingRows.ValueType(table.rows),
        order_by=table.order_by,
        scope=table.scope,
        part_of=table.part_of,
        reverse=plan_pb2.ReversePolicy.ValueType(table.reverse),
        inverse=[
            plan_pb2.InverseRule(
                source_column=rule.column, expression=rule.expression, tolerance=rule.tolerance
            )
            for rule in table.inverse
        ],
        inverse_rows=table.inverse_rows,
        inverse_filter=table.inverse_filter,
    )

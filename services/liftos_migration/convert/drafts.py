"""Drafted mappings as messages."""

from google.rpc import code_pb2

from liftos.common.v1.marketing_pb2 import ItemError
from liftos.migration.v1 import migration_service_pb2 as pb
from liftos.migration.v1 import plan_pb2
from liftos_kit.structs import struct_of
from liftos_migration.convert.mappings import mapping_message
from liftos_migration.drafting_ports import MappingSample
from liftos_migration.usecases.drafting import Drafted


def draft_message(drafted: Drafted) -> pb.DraftMappingResponse:
    """Return the message of a draft."""
    return pb.DraftMappingResponse(
        mapping=mapping_message(drafted.mapping),
        samples=map(_sample, drafted.samples),
        questions=[
            plan_pb2.MappingQuestion(
                object=each.object, question=each.question, choices=each.choices
            )
            for each in drafted.questions
        ],
    )


def _sample(sample: MappingSample) -> plan_pb2.MappingSample:
    record = sample.target_record
    return plan_pb2.MappingSample(
        table=sample.table,
        source_row=struct_of(sample.source_row),
        target_record=None if record is None else struct_of(record),
        errors=[
            ItemError(
                code=code_pb2.INVALID_ARGUMENT,
                reason="ERROR_REASON_FIELD_INVALID",
                field=each.field,
                message=each.message,
            )
            for each in sample.errors
        ],
    )

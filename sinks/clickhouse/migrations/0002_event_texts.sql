-- Redacted texts, apart from the events, because they expire and events do not. A part holds one
-- day of one retention class, so that it goes as a whole, file and all.
CREATE TABLE IF NOT EXISTS {database}.event_texts
(
    tenant_id LowCardinality(String) COMMENT 'Tenant that the conversation belongs to',
    conversation_id String CODEC(ZSTD(1)) COMMENT 'Unique within its tenant',
    seq UInt64 CODEC(Delta, ZSTD(1)) COMMENT 'The event that brought the text',
    message_seq UInt64 CODEC(ZSTD(1)) COMMENT 'The message that it is, or that it answers',
    event_type LowCardinality(String) COMMENT 'MessageAnalysed for a message, TurnCompleted for an answer',
    occurred_at DateTime64(6, 'UTC') CODEC(DoubleDelta, ZSTD(1)) COMMENT 'When the event was decided',
    text String CODEC(ZSTD(3)) COMMENT 'Redacted text with placeholders',
    retention_days UInt16 CODEC(ZSTD(1)) COMMENT 'Days that the tenant keeps its texts',
    kafka_offset UInt64 CODEC(Delta, ZSTD(1)) COMMENT 'Offset of the event'
)
ENGINE = ReplacingMergeTree(kafka_offset)
PARTITION BY (retention_days, toDate(occurred_at))
ORDER BY (tenant_id, conversation_id, seq)
TTL toDate(occurred_at) + toIntervalDay(retention_days) DELETE
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1
COMMENT 'Redacted texts of messages and answers, until they expire';

CREATE TABLE IF NOT EXISTS {database}.event_texts_trial AS {database}.event_texts
ENGINE = Null;

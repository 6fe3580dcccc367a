-- Every event of every conversation, once, as the log has it. Wide and never changed.
-- A repeated offset replaces itself; a range inserted again under its token is not inserted.
CREATE TABLE IF NOT EXISTS {database}.events
(
    tenant_id LowCardinality(String) COMMENT 'Tenant that the conversation belongs to',
    conversation_id String CODEC(ZSTD(1)) COMMENT 'Unique within its tenant',
    seq UInt64 CODEC(Delta, ZSTD(1)) COMMENT 'Number of the event in its conversation, contiguous from 1',
    event_type LowCardinality(String) COMMENT 'Name of the event, such as MessageReceived',
    event_id UUID COMMENT 'Derived from the command and the ordinal of the event under it',
    occurred_at DateTime64(6, 'UTC') CODEC(DoubleDelta, ZSTD(1)) COMMENT 'When it was decided',
    command_id UUID COMMENT 'Command that was decided',
    causation_id String CODEC(ZSTD(1)) COMMENT 'Record that led to the command, empty if none',
    correlation_id String CODEC(ZSTD(1)) COMMENT 'Shared by everything that one message caused',
    traceparent String CODEC(ZSTD(1)) COMMENT 'W3C trace context, empty if none',
    actor String CODEC(ZSTD(1)) COMMENT 'Pseudonym of the person, or name of the stage, that acted',
    subject String CODEC(ZSTD(1)) COMMENT 'Pseudonym of the person whose conversation, text or answer it is',
    mid String CODEC(ZSTD(1)) COMMENT 'The id that the client gave its message',
    message_seq UInt64 CODEC(ZSTD(1)) COMMENT 'The message it is about; 0 if none',
    analysis_seq UInt64 CODEC(ZSTD(1)) COMMENT 'TurnStarted: the analysis the turn rests on; 0 if none',
    turn_id String CODEC(ZSTD(1)) COMMENT 'The turn it is about, empty if none',
    attempt UInt32 CODEC(ZSTD(1)) COMMENT 'Attempt of the turn, from 1',
    context_seqs Array(UInt64) CODEC(ZSTD(1)) COMMENT 'TurnStarted: earlier events in view, oldest first',
    deadline_at DateTime64(6, 'UTC') CODEC(ZSTD(1)) COMMENT 'TurnStarted: when the turn expires; MessageReceived: when it may start without analysis',
    owner_epoch Int32 CODEC(ZSTD(1)) COMMENT 'TurnStarted: rises when the conversation changes hands',
    config_version LowCardinality(String) COMMENT 'TurnStarted: configuration in force',
    prompt_version LowCardinality(String) COMMENT 'TurnStarted: prompt in force',
    provider LowCardinality(String) COMMENT 'TurnCompleted: who generated the answer',
    model LowCardinality(String) COMMENT 'Model chosen (TurnStarted) or used (TurnCompleted)',
    degraded Array(LowCardinality(String)) COMMENT 'Steps of degradation that were taken',
    late Bool COMMENT 'MessageAnalysed: came after the turn had started without it',
    findings Array(Tuple(kind LowCardinality(String), start UInt32, end UInt32, recogniser LowCardinality(String), confidence Float64)) CODEC(ZSTD(1)) COMMENT 'MessageAnalysed: personal data that placeholders stand for, in code points of the redacted text',
    inferences Array(Tuple(task LowCardinality(String), label LowCardinality(String), confidence Float64, model LowCardinality(String), digest LowCardinality(String), latency_us UInt64)) CODEC(ZSTD(1)) COMMENT 'MessageAnalysed: verdicts of the models',
    citations Array(Tuple(marker UInt32, document_id String, passage UInt32, score Float64)) CODEC(ZSTD(1)) COMMENT 'TurnCompleted: passages the answer rests on',
    declined Bool COMMENT 'TurnCompleted: the answer says that it does not know',
    confidence Float64 CODEC(ZSTD(1)) COMMENT 'TurnCompleted: of the answer, 0 to 1',
    history_turns UInt32 CODEC(ZSTD(1)) COMMENT 'TurnCompleted: recent turns the model was given',
    first_token_us UInt64 CODEC(ZSTD(1)) COMMENT 'TurnCompleted: from start to first piece, in microseconds',
    duration_us UInt64 CODEC(ZSTD(1)) COMMENT 'TurnCompleted: from start to end, in microseconds',
    input_tokens UInt64 CODEC(ZSTD(1)) COMMENT 'TurnCompleted: tokens read',
    output_tokens UInt64 CODEC(ZSTD(1)) COMMENT 'TurnCompleted: tokens written',
    cost_usd Decimal(18, 9) CODEC(ZSTD(1)) COMMENT 'TurnCompleted: cost in US dollars',
    command LowCardinality(String) COMMENT 'CommandRejected: type of the command',
    code LowCardinality(String) COMMENT 'Why it was refused, failed, cancelled or rejected',
    message String CODEC(ZSTD(1)) COMMENT 'The same as a sentence for people',
    retry_after_ms UInt64 CODEC(ZSTD(1)) COMMENT 'TurnRefused: milliseconds until another try makes sense; 0 if none',
    score Int32 CODEC(ZSTD(1)) COMMENT 'FeedbackReceived: the rating',
    kafka_topic LowCardinality(String) COMMENT 'Topic that the row was read from',
    kafka_partition UInt32 CODEC(ZSTD(1)) COMMENT 'Partition that the row was read from',
    kafka_offset UInt64 CODEC(Delta, ZSTD(1)) COMMENT 'Offset that the row was read from',
    schema_id UInt32 CODEC(ZSTD(1)) COMMENT 'Schema of the record in the registry',
    inserted_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)) COMMENT 'When it became a row'
)
ENGINE = ReplacingMergeTree(kafka_offset)
PARTITION BY toDate(occurred_at)
ORDER BY (tenant_id, conversation_id, seq)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Every event of every conversation, once';

-- Where a batch that does not fit is tried row by row without a trace.
CREATE TABLE IF NOT EXISTS {database}.events_trial AS {database}.events
ENGINE = Null;

CREATE OR REPLACE VIEW {target}.v1_turns
(
    tenant_id LowCardinality(String) COMMENT 'Tenant that the conversation belongs to',
    conversation_id String COMMENT 'Unique within its tenant',
    turn_id String COMMENT 'Unique',
    message_seq UInt64 COMMENT 'The message that it answers',
    mid String COMMENT 'The id that the client gave that message',
    started_seq UInt64 COMMENT 'Number of the TurnStarted in its conversation',
    started_at DateTime64(6, 'UTC') COMMENT 'When the turn started',
    deadline_at DateTime64(6, 'UTC') COMMENT 'When it would expire',
    ended_seq UInt64 COMMENT 'Number of the event that ended it; 0 while it is open',
    ended_at DateTime64(6, 'UTC') COMMENT 'When it ended; 1970 while it is open',
    outcome LowCardinality(String) COMMENT 'open, completed, failed or cancelled',
    code LowCardinality(String) COMMENT 'Why it failed or was cancelled, empty otherwise',
    attempts UInt32 COMMENT 'Attempts that were begun',
    answer String COMMENT 'The redacted answer; empty if there is none, and after expiry',
    declined Bool COMMENT 'The answer says that it does not know',
    confidence Float64 COMMENT 'Confidence of the answer, 0 to 1',
    citations Array(Tuple(marker UInt32, document_id String, passage UInt32, score Float64)) COMMENT 'Passages that the answer rests on',
    provider LowCardinality(String) COMMENT 'Who generated the answer',
    model LowCardinality(String) COMMENT 'Model that generated it, or that was chosen to',
    config_version LowCardinality(String) COMMENT 'Configuration in force when it started',
    prompt_version LowCardinality(String) COMMENT 'Prompt in force when it started',
    history_turns UInt32 COMMENT 'Recent turns that the model was given',
    first_token_ms Float64 COMMENT 'From start to first piece, in milliseconds; 0 without an answer',
    duration_ms Float64 COMMENT 'From start to the end of the answer, in milliseconds; 0 without one',
    input_tokens UInt64 COMMENT 'Tokens read',
    output_tokens UInt64 COMMENT 'Tokens written',
    cost_usd Decimal(18, 9) COMMENT 'Cost in US dollars',
    degraded Array(LowCardinality(String)) COMMENT 'Steps of degradation, at start or in the answer'
)
COMMENT 'One row for each turn: an answer that was started'
AS SELECT
    s.tenant_id AS tenant_id,
    s.conversation_id AS conversation_id,
    s.turn_id AS turn_id,
    s.message_seq AS message_seq,
    s.mid AS mid,
    s.seq AS started_seq,
    s.occurred_at AS started_at,
    s.deadline_at AS deadline_at,
    e.seq AS ended_seq,
    e.occurred_at AS ended_at,
    multiIf(
        e.event_type = 'TurnCompleted', 'completed',
        e.event_type = 'TurnFailed', 'failed',
        e.event_type = 'TurnCancelled', 'cancelled',
        'open'
    ) AS outcome,
    e.code AS code,
    greatest(e.attempt, 1) AS attempts,
    t.text AS answer,
    e.declined AS declined,
    e.confidence AS confidence,
    e.citations AS citations,
    e.provider AS provider,
    if(e.model = '', s.model, e.model) AS model,
    s.config_version AS config_version,
    s.prompt_version AS prompt_version,
    e.history_turns AS history_turns,
    e.first_token_us / 1000 AS first_token_ms,
    e.duration_us / 1000 AS duration_ms,
    e.input_tokens AS input_tokens,
    e.output_tokens AS output_tokens,
    e.cost_usd AS cost_usd,
    arrayDistinct(arrayConcat(s.degraded, e.degraded)) AS degraded
FROM
(
    SELECT
        tenant_id, conversation_id, turn_id, seq, message_seq, mid, occurred_at, deadline_at,
        model, config_version, prompt_version, degraded
    FROM {database}.events FINAL
    {scope}
    WHERE event_type = 'TurnStarted'
) AS s
LEFT ANY JOIN
(
    SELECT
        tenant_id, conversation_id, turn_id, seq, occurred_at, event_type, code, attempt, declined,
        confidence, citations, provider, model, history_turns, first_token_us, duration_us,
        input_tokens, output_tokens, cost_usd, degraded
    FROM {database}.events FINAL
    {scope}
    WHERE event_type IN ('TurnCompleted', 'TurnFailed', 'TurnCancelled')
) AS e ON e.tenant_id = s.tenant_id AND e.conversation_id = s.conversation_id AND e.turn_id = s.turn_id
LEFT ANY JOIN
(
    SELECT tenant_id, conversation_id, seq, text
    FROM {database}.event_texts FINAL
    {scope}
    WHERE event_type = 'TurnCompleted'
) AS t ON t.tenant_id = s.tenant_id AND t.conversation_id = s.conversation_id AND t.seq = e.seq
SETTINGS do_not_merge_across_partitions_select_final = 1;

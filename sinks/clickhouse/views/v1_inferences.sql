CREATE OR REPLACE VIEW {target}.v1_inferences
(
    tenant_id LowCardinality(String) COMMENT 'Tenant that the conversation belongs to',
    conversation_id String COMMENT 'Unique within its tenant',
    message_seq UInt64 COMMENT 'The message that was looked at',
    analysis_seq UInt64 COMMENT 'Number of its MessageAnalysed in the conversation',
    analysed_at DateTime64(6, 'UTC') COMMENT 'When the analysis was recorded',
    task LowCardinality(String) COMMENT 'embedding, intent.banking77, out_of_scope, sentiment and so on',
    label LowCardinality(String) COMMENT 'Winning class, empty where the task has none',
    confidence Float64 COMMENT 'Probability of the label, 0 to 1',
    model LowCardinality(String) COMMENT 'Model that was asked',
    digest LowCardinality(String) COMMENT 'sha256 of its file',
    latency_us UInt64 COMMENT 'Time of the batch that the message was in, in microseconds'
)
COMMENT 'One row for each verdict of a model on a message'
AS SELECT
    tenant_id,
    conversation_id,
    message_seq,
    seq AS analysis_seq,
    occurred_at AS analysed_at,
    i.task AS task,
    i.label AS label,
    i.confidence AS confidence,
    i.model AS model,
    i.digest AS digest,
    i.latency_us AS latency_us
FROM
(
    SELECT tenant_id, conversation_id, message_seq, seq, occurred_at, inferences
    FROM {database}.events FINAL
    {scope}
    WHERE event_type = 'MessageAnalysed'
)
ARRAY JOIN inferences AS i
SETTINGS do_not_merge_across_partitions_select_final = 1;

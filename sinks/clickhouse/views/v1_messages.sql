CREATE OR REPLACE VIEW {target}.v1_messages
(
    tenant_id LowCardinality(String) COMMENT 'Tenant that the conversation belongs to',
    conversation_id String COMMENT 'Unique within its tenant',
    seq UInt64 COMMENT 'Number of the MessageReceived in its conversation',
    mid String COMMENT 'The id that the client gave its message',
    subject String COMMENT 'Pseudonym of the author',
    received_at DateTime64(6, 'UTC') COMMENT 'When it was accepted',
    analysis_seq UInt64 COMMENT 'Number of its MessageAnalysed; 0 while there is none',
    analysed_at DateTime64(6, 'UTC') COMMENT 'When its analysis was recorded; 1970 while there is none',
    text String COMMENT 'Redacted text with placeholders; empty before analysis and after expiry',
    findings Array(Tuple(kind LowCardinality(String), start UInt32, end UInt32, recogniser LowCardinality(String), confidence Float64)) COMMENT 'Personal data that placeholders stand for, in code points of the text',
    intent LowCardinality(String) COMMENT 'Most probable intent, empty if none was inferred',
    intent_confidence Float64 COMMENT 'Its probability, 0 to 1',
    sentiment LowCardinality(String) COMMENT 'Most probable sentiment, empty if none was inferred',
    sentiment_confidence Float64 COMMENT 'Its probability, 0 to 1',
    late Bool COMMENT 'The turn had started without the analysis',
    degraded Array(LowCardinality(String)) COMMENT 'Steps of degradation in the analysis'
)
COMMENT 'One row for each message of a person'
AS SELECT
    m.tenant_id AS tenant_id,
    m.conversation_id AS conversation_id,
    m.seq AS seq,
    m.mid AS mid,
    m.subject AS subject,
    m.occurred_at AS received_at,
    a.seq AS analysis_seq,
    a.occurred_at AS analysed_at,
    t.text AS text,
    a.findings AS findings,
    a.intent.label AS intent,
    a.intent.confidence AS intent_confidence,
    a.sentiment.label AS sentiment,
    a.sentiment.confidence AS sentiment_confidence,
    a.late AS late,
    a.degraded AS degraded
FROM
(
    SELECT tenant_id, conversation_id, seq, mid, subject, occurred_at
    FROM {database}.events FINAL
    {scope}
    WHERE event_type = 'MessageReceived'
) AS m
LEFT ANY JOIN
(
    SELECT
        tenant_id,
        conversation_id,
        message_seq,
        seq,
        occurred_at,
        findings,
        arrayFirst(i -> startsWith(i.task, 'intent'), arrayReverseSort(i -> i.confidence, inferences)) AS intent,
        arrayFirst(i -> i.task = 'sentiment', inferences) AS sentiment,
        late,
        degraded
    FROM {database}.events FINAL
    {scope}
    WHERE event_type = 'MessageAnalysed'
) AS a ON a.tenant_id = m.tenant_id AND a.conversation_id = m.conversation_id AND a.message_seq = m.seq
LEFT ANY JOIN
(
    SELECT tenant_id, conversation_id, message_seq, text
    FROM {database}.event_texts FINAL
    {scope}
    WHERE event_type = 'MessageAnalysed'
) AS t ON t.tenant_id = m.tenant_id AND t.conversation_id = m.conversation_id AND t.message_seq = m.seq
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE OR REPLACE VIEW {target}.v1_conversations
(
    tenant_id LowCardinality(String) COMMENT 'Tenant that the conversation belongs to',
    conversation_id String COMMENT 'Unique within its tenant',
    owner String COMMENT 'Pseudonym of the person whom it belongs to',
    status LowCardinality(String) COMMENT 'open or closed',
    started_at DateTime64(6, 'UTC') COMMENT 'First event',
    last_event_at DateTime64(6, 'UTC') COMMENT 'Latest event',
    last_seq UInt64 COMMENT 'Number of the latest event; as many events as this have happened',
    messages UInt64 COMMENT 'Messages received',
    turns UInt64 COMMENT 'Turns started',
    turns_completed UInt64 COMMENT 'Turns that ended with an answer',
    turns_declined UInt64 COMMENT 'Answers that say that they do not know',
    turns_failed UInt64 COMMENT 'Turns that ended without one',
    turns_cancelled UInt64 COMMENT 'Turns that were stopped on purpose',
    turns_refused UInt64 COMMENT 'Messages that no turn was started for',
    turns_degraded UInt64 COMMENT 'Answers with at least one step of degradation',
    commands_rejected UInt64 COMMENT 'Commands without effect',
    ratings UInt64 COMMENT 'Ratings given',
    rating_sum Int64 COMMENT 'Sum of their scores',
    input_tokens UInt64 COMMENT 'Tokens read by models',
    output_tokens UInt64 COMMENT 'Tokens written by models',
    cost_usd Decimal(38, 9) COMMENT 'Cost of all answers in US dollars'
)
COMMENT 'One row for each conversation'
AS SELECT
    tenant_id,
    conversation_id,
    anyIf(subject, event_type = 'ConversationStarted') AS owner,
    if(countIf(event_type = 'ConversationClosed') > 0, 'closed', 'open') AS status,
    min(occurred_at) AS started_at,
    max(occurred_at) AS last_event_at,
    max(seq) AS last_seq,
    countIf(event_type = 'MessageReceived') AS messages,
    countIf(event_type = 'TurnStarted') AS turns,
    countIf(event_type = 'TurnCompleted') AS turns_completed,
    countIf(event_type = 'TurnCompleted' AND declined) AS turns_declined,
    countIf(event_type = 'TurnFailed') AS turns_failed,
    countIf(event_type = 'TurnCancelled') AS turns_cancelled,
    countIf(event_type = 'TurnRefused') AS turns_refused,
    countIf(event_type = 'TurnCompleted' AND notEmpty(degraded)) AS turns_degraded,
    countIf(event_type = 'CommandRejected') AS commands_rejected,
    countIf(event_type = 'FeedbackReceived') AS ratings,
    sumIf(score, event_type = 'FeedbackReceived') AS rating_sum,
    sum(e.input_tokens) AS input_tokens,
    sum(e.output_tokens) AS output_tokens,
    sum(e.cost_usd) AS cost_usd
FROM {database}.events AS e FINAL
{scope}
GROUP BY tenant_id, conversation_id
SETTINGS do_not_merge_across_partitions_select_final = 1;

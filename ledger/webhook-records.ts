/** What a workload's record shows of its callbacks: `$1` is the workload, `$3` the most rows. URLs are secrets and left out. */
export const CALLBACKS_OF_WORKLOAD = `
SELECT c.created_at AS at, c.callback_id, 'callback' AS kind, c.host, NULL AS message_id, NULL AS type,
  CASE WHEN c.closed_at IS NULL THEN 'waiting' ELSE 'gone' END AS state, 0 AS attempts, NULL::int AS last_status,
  NULL AS last_error, NULL::timestamptz AS next_attempt_at
FROM callbacks c
WHERE c.workload_id = $1 AND NOT EXISTS (SELECT 1 FROM webhook_messages m WHERE m.target_id = c.callback_id AND m.workload_id = $1)
UNION ALL
(SELECT created_at, target_id, kind, host, message_id, type, state, attempts, last_status, last_error,
   CASE WHEN state = 'pending' THEN next_attempt_at END
 FROM webhook_messages WHERE workload_id = $1 ORDER BY created_at DESC LIMIT $3)`;

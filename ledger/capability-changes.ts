/**
 * The part of a workload's change that its capability tokens follow by, for the statement of `applyFact`: handed over makes the
 * delivery's token `active`, `preempted` suspends it, `running` resumes it, everything else closes it. A token that was claimed
 * for the delivery to come waits while the workload is queued. Of the statement it takes $1 workload id, $2 state, $3 reason,
 * $4 now, $6 delivery, $13 deadline; `capability_step` are its audit rows.
 */
export const CAPABILITIES_FOLLOW = `
capability_before AS (
  SELECT delivery, state FROM capability_tokens WHERE workload_id = $1 AND state <> 'closed'
), capability_after AS (
  SELECT delivery, state AS was, CASE
    WHEN delivery = $6::integer AND $2 IN ('delivered', 'running') THEN 'active'
    WHEN delivery = $6::integer AND $2 = 'preempted' THEN 'suspended'
    WHEN delivery > $6::integer AND $2 = 'queued' THEN state
    ELSE 'closed' END AS state
  FROM capability_before
), capability AS (
  UPDATE capability_tokens t SET state = a.state,
    active_since = CASE WHEN a.state = 'active' THEN coalesce(t.active_since, $4::timestamptz) ELSE t.active_since END,
    deadline_at = CASE WHEN a.state IN ('active', 'suspended') THEN $13::timestamptz ELSE t.deadline_at END,
    closed_at = CASE WHEN a.state = 'closed' THEN $4::timestamptz END,
    close_reason = CASE WHEN a.state = 'closed' THEN $3 END
  FROM capability_after a WHERE t.workload_id = $1 AND t.delivery = a.delivery
  RETURNING t.delivery, t.token_id, t.uses, a.state, a.was
), capability_step AS (
  SELECT 'capability.' || CASE WHEN state = 'active' AND was = 'suspended' THEN 'resumed' ELSE state END AS type,
    jsonb_build_object('delivery', delivery, 'token_id', token_id, 'reason', $3, 'uses', to_jsonb(uses)) AS detail
  FROM capability WHERE state <> was
)`;

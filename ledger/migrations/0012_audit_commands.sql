-- What a decision says of the command to run, for auditors too. Views only grow at their end.

CREATE OR REPLACE VIEW audit_decisions AS
SELECT tenant_id, workload_id, decision, rule_id, policy_version, policy_hash, reason, rule, dedupe_key, duplicate_of, trace, decided_at, run
FROM decisions;

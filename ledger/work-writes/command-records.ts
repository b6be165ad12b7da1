/** Column `commands` of a query over `workloads w`: where each command of its session stands, as JSON. */
export const COMMANDS_COLUMN = `
  (SELECT coalesce(json_agg(c ORDER BY c.sequence, c.command_id), '[]') FROM (
     SELECT record_id AS command_id, (body ->> 'sequence')::bigint AS sequence, status, body ->> 'code' AS code, recorded_at, updated_at
     FROM work_records WHERE workload_id = w.workload_id AND kind = 'command') c) AS commands`;

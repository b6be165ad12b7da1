import { z } from 'zod';

/** An audit row's place in its tenant's hash chain. */
const seal = z
  .object({
    position: z.int().positive(),
    /** SHA-256 over the hash before it and the row, lower-case hex. */
    hash: z.string(),
  })
  .meta({ id: 'AuditSeal' });

/** One thing that happened, as the API shows it. */
export const auditEntry = z
  .object({
    seq: z.int().positive(),
    at: z.iso.datetime(),
    type: z.string(),
    /** Who or what did it: `token:<id>`, `worker:<id>`, `executor:<id>`, `policy`, `deadline`, `sweep`, `cli`. */
    actor: z.string(),
    workload_id: z.string().nullable(),
    detail: z.record(z.string(), z.unknown()),
    /** Null while it is not in the chain yet, which takes some seconds. */
    sealed: seal.nullable(),
  })
  .meta({ id: 'AuditEntry' });
export type AuditEntry = z.infer<typeof auditEntry>;

import { z } from 'zod';

/** A source event in an answer. */
export const sourceEventShape = z
  .object({
    source: z.string(),
    action: z.string(),
    event_id: z.string(),
    subject: z.string().optional(),
    occurred_at: z.string().optional(),
    data: z.record(z.string(), z.unknown()),
    attributes: z.record(z.string(), z.unknown()).optional(),
  })
  .meta({ id: 'StoredEvent' });

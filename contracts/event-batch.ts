import { z } from 'zod';
import { batchState } from './source-state';

/** `POST /api/events/batch`: at most 100 events, each answered on its own; with `state` all of them and the state, or nothing. */
export const eventBatch = z
  .strictObject({ events: z.array(z.unknown()).max(100), state: batchState.optional() })
  .refine(({ events, state }) => events.length > 0 || state !== undefined, {
    path: ['events'],
    message: 'must not be empty without a state',
  });

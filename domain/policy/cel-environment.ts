import { Environment } from '@marcbachmann/cel-js';
import type { JsonValue, SourceEvent } from '../../contracts/events';
import { glob } from './glob';

/** Fields of `event` in expressions and their types. */
export const EVENT_FIELDS = {
  source: 'string',
  action: 'string',
  event_id: 'string',
  subject: 'string',
  occurred_at: 'string',
  data: 'map<string, dyn>',
  attributes: 'map<string, dyn>',
} as const;

/** The event as expressions see it. `subject` and `occurred_at` are absent where the event has none. */
class CelEvent {
  readonly source: string;
  readonly action: string;
  readonly event_id: string;
  readonly subject: string | undefined;
  readonly occurred_at: string | undefined;
  readonly data: unknown;
  readonly attributes: unknown;

  constructor(event: SourceEvent) {
    this.source = event.source;
    this.action = event.action;
    this.event_id = event.event_id;
    this.subject = event.subject;
    this.occurred_at = event.occurred_at;
    this.data = toCel(event.data);
    this.attributes = toCel(event.attributes ?? {});
  }
}

/** JSON objects become Maps: a key such as `constructor` or `__proto__` is then only a key. */
function toCel(value: JsonValue): unknown {
  if (Array.isArray(value)) return value.map(toCel);
  if (value === null || typeof value !== 'object') return value;
  return new Map(Object.entries(value).map(([key, member]) => [key, toCel(member)]));
}

/** What an expression is evaluated against. */
export interface CelContext {
  event: CelEvent;
  tenant: string;
}

export const celContext = (event: SourceEvent, tenant: string): CelContext => ({ event: new CelEvent(event), tenant });

/** The one environment of all policy expressions. Limits are per expression. */
export const environment = new Environment({
  enableOptionalTypes: true,
  homogeneousAggregateLiterals: false,
  limits: { maxAstNodes: 1000, maxDepth: 40, maxListElements: 500, maxMapEntries: 100, maxCallArguments: 8 },
})
  .registerType('Event', { ctor: CelEvent, fields: EVENT_FIELDS })
  .registerVariable('event', 'Event')
  .registerVariable('tenant', 'string')
  .registerFunction('glob(string, string): bool', glob);

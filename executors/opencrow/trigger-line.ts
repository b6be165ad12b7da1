import type { JsonValue, SourceEvent } from '../../contracts/events';
import type { GrantedCapability } from '../control-plane-answers';
import type { AbsorbedEvents } from '../../contracts/worker-protocol';

/**
 * Longest line in bytes of UTF-8. A write of at most 4,096 bytes (PIPE_BUF on Linux) is atomic, and each line travels
 * between two newlines.
 */
export const MAX_TRIGGER_LINE_BYTES = 4094;

const PREFIX = 'workload.v1 ';
const LONE_SURROGATE = /\p{Cs}/u;
const EVERY_LONE_SURROGATE = /\p{Cs}/gu;
/** Control characters and line separators that JSON allows unescaped: some readers of logs and transcripts break lines there. */
const RAW_CONTROLS = /[\u007f-\u009f\u2028\u2029]/g;

export interface TriggerLineInput {
  /** Echoed by OpenCrow as `workload_id`. */
  deliveryId: string;
  event: SourceEvent;
  trigger: { prompt: string | null; include: string[]; response_policy: string | null };
  /** Default: nothing is granted. */
  capability?: GrantedCapability | null;
  /** Events that this work covers beside its own. */
  absorbed?: AbsorbedEvents | undefined;
}

/** A line without its newlines, or why there can be none. `code` is fit for the protocol's `fail`. */
export type TriggerLine =
  | { ok: true; line: string; bytes: number }
  | { ok: false; code: 'trigger.line_too_long' | 'trigger.unsendable_field'; detail: string };

/**
 * Builds the `workload.v1` line of one delivery. Either OpenCrow takes the line as this workload and echoes its ids
 * unchanged, or it is refused here: a line that OpenCrow cannot parse would be executed without any lifecycle.
 *
 * Included data travels in a nested object: OpenCrow matches its five field names case-insensitively and the last one
 * wins, so a top-level `Workload_ID` from an event would take the place of ours.
 */
export function buildTriggerLine({ deliveryId, event, trigger, capability, absorbed }: TriggerLineInput): TriggerLine {
  const ids = { workload_id: deliveryId, event_id: event.event_id, source: event.source, action: event.action };
  for (const [field, value] of Object.entries(ids)) {
    if (value === '') return refusal('trigger.unsendable_field', `${field} is empty`);
    if (LONE_SURROGATE.test(value)) return refusal('trigger.unsendable_field', `${field} holds a lone surrogate`);
  }
  const json = JSON.stringify({
    ...ids,
    ...(trigger.response_policy === null ? {} : { response_policy: wellFormed(trigger.response_policy) }),
    ...(capability ? { capability_token: capability.token.reveal(), capabilities: capability.offered } : {}),
    ...(trigger.prompt === null ? {} : { prompt: wellFormed(trigger.prompt) }),
    ...(trigger.include.length === 0 ? {} : { data: includedData(event.data, trigger.include) }),
  });
  const bare = PREFIX + json.replace(RAW_CONTROLS, escaped);
  const line = absorbed ? withAbsorbed(bare, absorbed) : bare;
  const bytes = Buffer.byteLength(line);
  if (bytes <= MAX_TRIGGER_LINE_BYTES) return { ok: true, line, bytes };
  return refusal(
    'trigger.line_too_long',
    `the trigger line has ${bytes} bytes, the limit is ${MAX_TRIGGER_LINE_BYTES}`,
  );
}

/** The line with what it covers as its last field: the count, and as many ids as fit. Without it where not even the count fits. */
function withAbsorbed(line: string, { count, event_ids }: AbsorbedEvents): string {
  const field = (ids: string): string => `${line.slice(0, -1)},"absorbed":{"count":${count},"event_ids":[${ids}]}}`;
  let fitting = Buffer.byteLength(field('')) <= MAX_TRIGGER_LINE_BYTES ? field('') : line;
  let ids = '';
  for (const id of event_ids) {
    ids += `${ids && ','}${JSON.stringify(wellFormed(id)).replace(RAW_CONTROLS, escaped)}`;
    const longer = field(ids);
    if (Buffer.byteLength(longer) > MAX_TRIGGER_LINE_BYTES) break;
    fitting = longer;
  }
  return fitting;
}

function refusal(code: 'trigger.line_too_long' | 'trigger.unsendable_field', detail: string): TriggerLine {
  return { ok: false, code, detail };
}

/** The named fields that the event has, in the rule's order. No prototype, so a field `__proto__` is just a field. */
function includedData(data: Record<string, JsonValue>, include: string[]): Record<string, JsonValue> {
  const picked = Object.create(null) as Record<string, JsonValue>;
  for (const name of include) {
    if (Object.hasOwn(data, name)) picked[wellFormed(name)] = wellFormedJson(data[name] as JsonValue);
  }
  return picked;
}

function wellFormedJson(value: JsonValue): JsonValue {
  if (typeof value === 'string') return wellFormed(value);
  if (Array.isArray(value)) return value.map(wellFormedJson);
  if (typeof value !== 'object' || value === null) return value;
  const copy = Object.create(null) as Record<string, JsonValue>;
  for (const [key, item] of Object.entries(value)) copy[wellFormed(key)] = wellFormedJson(item);
  return copy;
}

function wellFormed(text: string): string {
  return text.replace(EVERY_LONE_SURROGATE, '\uFFFD');
}

function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

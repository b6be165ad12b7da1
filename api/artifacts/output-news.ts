import { EventEmitter } from 'node:events';
import type { ArtifactKey, OutputKept } from '../../ledger/artifacts';

const topicOf = ({ workloadId, delivery }: Omit<ArtifactKey, 'name'>): string => `${workloadId}/${delivery}`;

/** Tells followers in this process at once what was committed here. Only a hint: the ledger has it too, also from other processes. */
export class OutputNews {
  readonly #events = new EventEmitter().setMaxListeners(0);

  tell(kept: OutputKept): void {
    this.#events.emit(topicOf(kept), kept);
  }

  /** Listens until the returned function is called. */
  listen(delivery: Omit<ArtifactKey, 'name'>, heard: (kept: OutputKept) => void): () => void {
    this.#events.on(topicOf(delivery), heard);
    return () => void this.#events.off(topicOf(delivery), heard);
  }
}

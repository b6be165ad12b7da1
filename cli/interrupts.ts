/** Ctrl-C and SIGTERM: the first one asks to stop, the second one to leave at once. */
export class Interrupts {
  private readonly first = new AbortController();
  private leave: () => void = () => undefined;
  /** Resolves at the second one. */
  readonly second = new Promise<void>((resolve) => (this.leave = resolve));
  private readonly heard = (): void => {
    if (this.first.signal.aborted) this.leave();
    else this.first.abort();
  };

  constructor() {
    process.on('SIGINT', this.heard).on('SIGTERM', this.heard);
  }

  /** Aborted by the first one. */
  get signal(): AbortSignal {
    return this.first.signal;
  }

  stop(): void {
    process.off('SIGINT', this.heard).off('SIGTERM', this.heard);
  }
}

import type { Logger } from 'pino';
import { Rounds } from '../domain/rounds';
import type { Database } from '../ledger/database';
import { sweepFleet, type FleetSettings } from '../ledger/fleet-sweep';
import { noteWatching } from '../ledger/fleet-watch';
import { sweepStep } from './sweeper';

/** Notes more often than a break of the watch would be noticed. */
const WATCH_EVERY_MS = 10_000;

interface FleetRoundsOptions {
  db: Database;
  logger: Logger;
}

/** Looks after the fleet from a timer, whether Temporal is there or not. */
export const fleetSweeper = ({
  db,
  logger,
  everyMs,
  settings,
}: FleetRoundsOptions & { everyMs: number; settings: FleetSettings }): Rounds =>
  new Rounds(async (stopping) => {
    await sweepStep('fleet', () => sweepFleet(db, settings), logger, stopping);
    return everyMs;
  });

/** An api notes that it can receive heartbeats: only then does silence say something of a worker. */
export const fleetWatcher = ({ db, logger }: FleetRoundsOptions): Rounds =>
  new Rounds(async (stopping) => {
    await sweepStep('fleet watch', () => noteWatching(db).then(() => 0), logger, stopping);
    return WATCH_EVERY_MS;
  });

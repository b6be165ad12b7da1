export { fleetSweep } from './fleet-sweep';
export { workload } from './workload';

export { workload } from './workload';

import { z } from 'zod';

/** Where a workload is found, relative to the service. */
export const workloadLinks = z.object({ self: z.string() }).meta({ id: 'WorkloadLinks' });

/** The links of a workload. */
export const linksOf = (workloadId: string): z.infer<typeof workloadLinks> => ({
  self: `/api/workloads/${workloadId}`,
});

import { defineSignal } from '@temporalio/workflow';

export const progress = defineSignal<[string]>('progress');

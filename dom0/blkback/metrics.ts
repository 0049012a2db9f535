// Counters of one virtual disk, named as Linux's blkback and xentop show them.
export interface BlkbackMetrics {
  /** Times the backend ran out of request slots. */
  oo_req: number;
  rd_req: number; wr_req: number; f_req: number; ds_req: number;
  rd_sect: number; wr_sect: number;
  errors: number; persistent_grants: number; in_flight: number;
}

export const newMetrics = (): BlkbackMetrics => ({
  oo_req: 0, rd_req: 0, wr_req: 0, f_req: 0, ds_req: 0, rd_sect: 0, wr_sect: 0, errors: 0, persistent_grants: 0, in_flight: 0,
});

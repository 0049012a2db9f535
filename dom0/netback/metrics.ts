// Counters of one virtual interface, from the guest's side: `tx` is what the guest sends.
export interface NetbackMetrics {
  tx_packets: number; tx_bytes: number;
  /** Packets refused because of what the guest wrote. */
  tx_errors: number;
  rx_packets: number; rx_bytes: number;
  /** Packets for the guest that found its buffers and its queue full, or too large for it. */
  rx_dropped: number;
  /** Bytes that wait for the guest to give buffers. */
  rx_queued: number;
  /** Times the guest had to wait for its `rate`. */
  throttled: number;
}
export const newMetrics = (): NetbackMetrics => ({ tx_packets: 0, tx_bytes: 0, tx_errors: 0, rx_packets: 0, rx_bytes: 0, rx_dropped: 0, rx_queued: 0, throttled: 0 });

// What is handed from one end of a link to the other.

/** An Ethernet frame on its way. Whoever is handed one may read it until the call returns, and copies what it keeps. */
export interface Frame {
  /** From the destination address on, without preamble and frame check sequence. Never to be written to. */
  readonly bytes: Uint8Array;
  /**
   * Of the TCP or UDP checksum: `complete`, it is there, right or wrong, as of any packet from a wire; `valid`, it is
   * there or may be taken as right; `blank`, the field holds only the pseudo-header's sum: whoever hands the packet to
   * one that cannot do so finishes it. Packets without such a checksum are `complete`.
   */
  readonly checksum: 'complete' | 'blank' | 'valid';
  /** A TCP segment larger than the wire's: to be cut into segments of `size` payload bytes. Its checksum is `blank`. */
  readonly gso?: Gso;
}
export interface Gso { readonly type: 'tcpv4' | 'tcpv6'; readonly size: number }

/** An uplink cannot be as it was asked for. The message says what to change. */
export class UplinkError extends Error {
  constructor(message: string, options?: ErrorOptions) { super(message, options); this.name = 'UplinkError'; }
}

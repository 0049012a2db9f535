/** How an action is looked at while it runs. */
export interface Watch {
  /** Its reason, a ToolstackError 'cancelled', ends the action; what it made is undone. */
  readonly signal?: AbortSignal;
  /** Something begins. @throws the signal's reason */
  step?(name: string, done: number, of: number): void;
}

// Cuts a command's output out of the console stream of a demo started with a command. The console also carries
// kernel messages and whatever else; init writes, with output processing off:
//   <<MARK stdout>> bytes <<MARK stderr>> bytes <<MARK status N>>
// MARK is random, so nothing a command prints is taken for one.

export interface ExecSink { stdout(bytes: Uint8Array): void; stderr(bytes: Uint8Array): void }

type State = 'before' | 'stdout' | 'stderr' | 'done';

export class ExecOutput {
  /** The command's exit status once it is known. */
  status: number | null = null;
  private state: State = 'before';
  private held: Buffer = Buffer.alloc(0);
  private readonly sink: ExecSink;
  private readonly marks: Record<'before' | 'stdout' | 'stderr', Buffer>;

  constructor(mark: string, sink: ExecSink) {
    this.sink = sink;
    this.marks = { before: Buffer.from(`<<${mark} stdout>>`), stdout: Buffer.from(`<<${mark} stderr>>`), stderr: Buffer.from(`<<${mark} status `) };
  }

  /** True once the command's output has begun: from then on boot messages are over. */
  get started(): boolean { return this.state !== 'before'; }

  /** Takes console bytes as they come. */
  feed(bytes: Uint8Array): void {
    this.held = Buffer.concat([this.held, bytes]);
    while (this.state !== 'done' && this.step());
  }

  /** Moves to the next state if its mark is here; else passes on what cannot be part of a mark. */
  private step(): boolean {
    if (this.state === 'done') return false;
    const mark = this.marks[this.state];
    const at = this.held.indexOf(mark);
    if (at < 0) {
      const safe = this.held.length - mark.length + 1;
      if (safe > 0) { this.pass(this.held.subarray(0, safe)); this.held = this.held.subarray(safe); }
      return false;
    }
    if (this.state === 'stderr') {
      const status = /^(\d{1,3})>>/.exec(this.held.toString('latin1', at + mark.length, at + mark.length + 8));
      if (status === null) return false;
      this.pass(this.held.subarray(0, at));
      this.status = Number(status[1]);
      this.held = Buffer.alloc(0);
      this.state = 'done';
      return false;
    }
    this.pass(this.held.subarray(0, at));
    this.held = this.held.subarray(at + mark.length);
    this.state = this.state === 'before' ? 'stdout' : 'stderr';
    return true;
  }

  private pass(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    if (this.state === 'stdout') this.sink.stdout(bytes);
    else if (this.state === 'stderr') this.sink.stderr(bytes);
  }
}

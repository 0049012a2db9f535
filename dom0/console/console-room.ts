// The viewers of one console. Each reads from the scrollback at its own pace, so that a slow one costs no more than what
// its connection has taken; who is too slow for the scrollback is told what it missed.
//
// Who may write: everybody who is not here to read only, until somebody takes the keyboard; then that one alone, until it
// gives it back, leaves, or another takes it over. The first of those who may write answers for all: its terminal replies
// to queries of the guest (two replies to one question would be typed text), and its size is the one that others show.
import type { ConsoleSource } from './console-source.ts';

export const ACCESS = ['shared', 'exclusive', 'read'] as const;
export type Access = (typeof ACCESS)[number];

export interface TerminalSize { readonly columns: number; readonly rows: number }

/** What viewers are told beside output. */
export type RoomMessage =
  /** Output follows from `position` on; `end` is what there is by now: until there it is history. */
  | { readonly type: 'attached'; readonly console: string; readonly position: number; readonly end: number }
  /** Output between the two positions is no longer kept. */
  | { readonly type: 'lost'; readonly from: number; readonly to: number }
  | { readonly type: 'role'; readonly writer: boolean; readonly answers: boolean; readonly exclusive: boolean; readonly viewers: number }
  /** Of the terminal that answers. */
  | ({ readonly type: 'size' } & TerminalSize)
  /** What was typed did not go to the guest. */
  | { readonly type: 'refused'; readonly reason: string };

export interface ViewerLink {
  output(data: Uint8Array): void;
  tell(message: RoomMessage): void;
  /** Bytes that the connection has not taken yet. */
  readonly backlogBytes: number;
  /** The console is closed. */
  end(): void;
}

/** Beyond this a viewer is given no more, until its connection has taken some. */
const HIGH_WATER_BYTES = 128 * 1024;
const CHUNK_BYTES = 32 * 1024;
const MAX_VIEWERS = 64;

export class ConsoleRoom {
  readonly #source: ConsoleSource;
  readonly #viewers = new Set<Viewer>();
  #holder: Viewer | undefined;
  #stop: (() => void) | undefined;

  constructor(source: ConsoleSource) { this.#source = source; }

  get full(): boolean { return this.#viewers.size >= MAX_VIEWERS; }
  get viewers(): number { return this.#viewers.size; }

  /** @param from where an earlier viewer of the console `id` stopped; else all that is kept comes first */
  join(link: ViewerLink, access: Access, from?: { readonly id: string; readonly position: number }): Viewer {
    const source = this.#source, wanted = from?.id === source.id ? Math.min(from.position, source.position) : source.start;
    const viewer = new Viewer(this, source, link, access !== 'read', wanted);
    this.#viewers.add(viewer);
    link.tell({ type: 'attached', console: source.id, position: wanted, end: source.position });
    if (access === 'exclusive' && !this.#holder) this.#holder = viewer;
    this.#tellRoles();
    const size = this.#answering()?.size;
    if (size) link.tell({ type: 'size', ...size });
    if (!this.#stop) {
      const reader = source.attach(() => { for (const each of this.#viewers) each.pump(); }, source.position, () => { for (const each of [...this.#viewers]) each.end(); });
      this.#stop = () => reader.detach();
    }
    viewer.pump();
    return viewer;
  }

  /** Takes the keyboard, from whoever has it. */
  take(viewer: Viewer): void {
    if (!viewer.writes) { viewer.link.tell({ type: 'refused', reason: 'this viewer is here to read only' }); return; }
    this.#holder = viewer;
    this.#tellRoles();
  }
  release(viewer: Viewer): void {
    if (this.#holder !== viewer) return;
    this.#holder = undefined;
    this.#tellRoles();
  }
  mayWrite(viewer: Viewer): boolean { return viewer.writes && (this.#holder === undefined || this.#holder === viewer); }

  resized(viewer: Viewer): void {
    if (viewer !== this.#answering() || !viewer.size) return;
    for (const each of this.#viewers) if (each !== viewer) each.link.tell({ type: 'size', ...viewer.size });
  }

  leave(viewer: Viewer): void {
    if (!this.#viewers.delete(viewer)) return;
    if (this.#holder === viewer) this.#holder = undefined;
    if (this.#viewers.size > 0) { this.#tellRoles(); return; }
    this.#stop?.();
    this.#stop = undefined;
  }

  #answering(): Viewer | undefined { return this.#holder ?? [...this.#viewers].find(each => each.writes); }
  #tellRoles(): void {
    const answering = this.#answering(), viewers = this.#viewers.size;
    for (const each of this.#viewers) each.link.tell({ type: 'role', writer: this.mayWrite(each), answers: each === answering, exclusive: this.#holder !== undefined, viewers });
  }
}

export class Viewer {
  readonly link: ViewerLink;
  /** Came to write, too. */
  readonly writes: boolean;
  size: TerminalSize | undefined;
  readonly #room: ConsoleRoom;
  readonly #source: ConsoleSource;
  #position: number;

  constructor(room: ConsoleRoom, source: ConsoleSource, link: ViewerLink, writes: boolean, position: number) { this.#room = room; this.#source = source; this.link = link; this.writes = writes; this.#position = position; }

  /** Gives what there is, as far as the connection takes it. To be called when it has taken some. */
  pump(): void {
    const { link } = this, source = this.#source;
    while (this.#position < source.position && link.backlogBytes < HIGH_WATER_BYTES) {
      if (this.#position < source.start) {
        link.tell({ type: 'lost', from: this.#position, to: source.start });
        this.#position = source.start;
      }
      const data = source.read(this.#position, CHUNK_BYTES);
      this.#position += data.length;
      link.output(data);
    }
  }

  /** @returns false: wait for the console's drained() */
  input(data: Uint8Array): boolean {
    if (!this.#room.mayWrite(this)) {
      this.link.tell({ type: 'refused', reason: this.writes ? 'another viewer has the keyboard: take it over to type' : 'this viewer is here to read only' });
      return true;
    }
    return this.#source.write(data);
  }
  drained(): Promise<void> { return this.#source.drained(); }
  take(): void { this.#room.take(this); }
  release(): void { this.#room.release(this); }
  resize(size: TerminalSize): void { this.size = size; this.#room.resized(this); }
  leave(): void { this.#room.leave(this); }
  end(): void { this.leave(); this.link.end(); }
}

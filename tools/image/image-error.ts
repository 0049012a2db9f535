/** Why the demo's files cannot be made: a whole sentence that says what to do. */
export class ImageError extends Error {
  constructor(message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'ImageError';
  }
}

/** What is being done now; `fraction` (0 to 1) where it is known. */
export interface Progress {
  readonly stage: 'lists' | 'download' | 'unpack' | 'initrd' | 'disk';
  readonly detail: string;
  readonly fraction?: number;
}
export type OnProgress = (progress: Progress) => void;

/** A refusal with a stable code, as clients see it. The message is a sentence that names the thing and the way out. */
export abstract class CodedError<Code extends string = string> extends Error {
  readonly code: Code;
  constructor(code: Code, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}

// Why a socket cannot do what it is asked to.
export type SocketFailure = 'refused' | 'reset' | 'timedOut' | 'unreachable' | 'inUse' | 'full' | 'tooLong' | 'notConnected' | 'closed' | 'noName' | 'noPort' | 'interrupted';
export class SocketError extends Error {
  readonly failure: SocketFailure;
  constructor(failure: SocketFailure) { super(SENTENCES[failure]); this.failure = failure; }
}
const SENTENCES: Readonly<Record<SocketFailure, string>> = {
  refused: 'the connection was refused', reset: 'the connection was reset', timedOut: 'nobody answered in time', unreachable: 'the host cannot be reached', inUse: 'the port is in use',
  full: 'there are too many sockets', tooLong: 'the message is too long', notConnected: 'it is not connected', closed: 'it is closed for writing', noName: 'there is no such name', noPort: 'there is no such port', interrupted: 'interrupted',
};

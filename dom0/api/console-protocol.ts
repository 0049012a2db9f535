/** The `Upgrade` token under which an HTTP connection becomes a console's byte stream. */
export const CONSOLE_PROTOCOL = 'xenolith-console';
/** The WebSocket subprotocol of a console. */
export const WEBSOCKET_PROTOCOL = 'xenolith.console';

// The terminal in the browser: xterm.js on a WebSocket (../console-socket.ts), reconnecting where it was.
(() => {
  const PROTOCOL = 'xenolith.console', RETRY_MS = 1000, TOKEN_KEY = 'xenolith-token';
  /** Replies of a terminal to queries (where the cursor is, what it is): nobody typed them. */
  const REPLY = /^\x1b(?:\[[?>]?[\d;]*[Rcnty]|[P\]].*)$/s;
  const byId = id => document.getElementById(id);
  const name = decodeURIComponent(location.pathname.split('/').pop());
  const terminal = new Terminal({ cursorBlink: true, scrollback: 10_000 }), fit = new FitAddon.FitAddon();
  terminal.loadAddon(fit);
  terminal.open(byId('terminal'));
  byId('name').textContent = document.title = name;

  let socket, consoleId, position = 0, historyEnd = 0, answers = false, othersSize;
  /** What was parsed by the terminal so far: queries in what is older than this page are not answered again. */
  let parsed = 0;

  const tell = message => { if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message)); };
  const show = text => { byId('state').textContent = text; };

  function fitNow() {
    if (!answers && othersSize) { terminal.resize(othersSize.columns, othersSize.rows); return; }
    fit.fit();
    tell({ type: 'resize', columns: terminal.cols, rows: terminal.rows });
  }

  function onMessage(message) {
    switch (message.type) {
      case 'attached':
        if (message.console !== consoleId) terminal.reset();
        consoleId = message.console;
        position = parsed = message.position;
        historyEnd = message.end;
        break;
      case 'lost': terminal.write(`\r\n[${message.to - message.from} bytes are lost]\r\n`); position = message.to; break;
      case 'role':
        answers = message.answers;
        show(`${message.viewers} here; ${message.writer ? message.exclusive ? 'you alone type' : 'you may type' : 'you look on'}`);
        fitNow();
        break;
      case 'size': othersSize = message; fitNow(); break;
      case 'refused': show(message.reason); break;
    }
  }

  function connect() {
    const query = new URLSearchParams({ access: new URLSearchParams(location.search).get('access') ?? 'shared', ...(consoleId ? { console: consoleId, from: position } : {}) });
    const token = sessionStorage.getItem(TOKEN_KEY);
    const url = `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/v1/domains/${encodeURIComponent(name)}/console?${query}`;
    let opened = false;
    socket = new WebSocket(url, token ? [PROTOCOL, `xenolith.bearer.${token}`] : [PROTOCOL]);
    socket.binaryType = 'arraybuffer';
    socket.onopen = () => { opened = true; };
    socket.onmessage = ({ data }) => {
      if (typeof data === 'string') { onMessage(JSON.parse(data)); return; }
      const bytes = new Uint8Array(data), end = position += bytes.length;
      terminal.write(bytes, () => { parsed = end; });
    };
    socket.onclose = async ({ reason }) => {
      show(reason || 'not connected');
      // A browser does not say why it was refused: over TLS a token is asked for, if the host is there at all.
      if (!opened && location.protocol === 'https:' && await fetch('/healthz').then(answer => answer.ok, () => false)) {
        const shown = prompt('Token for this host (xen_...)');
        if (shown === null) return;
        sessionStorage.setItem(TOKEN_KEY, shown.trim());
      }
      setTimeout(connect, RETRY_MS);
    };
  }

  const encoder = new TextEncoder();
  const type = bytes => { if (socket?.readyState === WebSocket.OPEN) socket.send(bytes); };
  terminal.onData(data => {
    if (REPLY.test(data) && (!answers || parsed < historyEnd)) return;
    type(encoder.encode(data));
  });
  terminal.onBinary(data => type(Uint8Array.from(data, c => c.charCodeAt(0))));
  byId('take').onclick = () => { tell({ type: 'take' }); terminal.focus(); };
  byId('release').onclick = () => { tell({ type: 'release' }); terminal.focus(); };
  // The ring of a PV console carries bytes and nothing else: the guest's shell has to be told in its own words.
  byId('size').onclick = () => { type(encoder.encode(`stty rows ${terminal.rows} cols ${terminal.cols}\r`)); terminal.focus(); };
  addEventListener('resize', fitNow);
  terminal.focus();
  connect();
  globalThis.xenolithTerminal = terminal;
})();

// Flame graphs: folded stacks (one `a;b;c count` a line, as other tools read them) and an SVG image of its own.

interface Stack { readonly path: readonly string[]; readonly count: number }
interface Node { count: number; readonly children: Map<string, Node> }

export const folded = (stacks: readonly Stack[]): string => stacks.map(s => `${s.path.map(name => name.replaceAll(';', ':')).join(';')} ${s.count}\n`).join('');

const WIDTH = 1200, ROW = 18, MARGIN = 10, TITLE = 30, CHARACTER = 7, LEAST_WIDTH = 0.3;
const escape = (text: string): string => text.replace(/[&<>"]/g, c => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[c]!);
/** A warm colour that a name keeps from picture to picture. */
const colourOf = (name: string): string => {
  let hash = 0;
  for (let i = 0; i < name.length; i++) hash = hash * 31 + name.charCodeAt(i) >>> 0;
  return `hsl(${hash % 50 + 5},${60 + hash % 30}%,${58 + hash % 14}%)`;
};

/** The image: the whole at the bottom, each name as wide as its share of samples. */
export function flameSvg(title: string, stacks: readonly Stack[]): string {
  const root: Node = { count: 0, children: new Map() };
  let depth = 0;
  for (const { path, count } of stacks) {
    root.count += count;
    depth = Math.max(depth, path.length);
    let at = root;
    for (const name of path) {
      let child = at.children.get(name);
      if (!child) at.children.set(name, child = { count: 0, children: new Map() });
      child.count += count;
      at = child;
    }
  }
  const height = TITLE + (depth + 1) * ROW + MARGIN, scale = root.count ? (WIDTH - 2 * MARGIN) / root.count : 0, boxes: string[] = [];
  const draw = (name: string, node: Node, x: number, level: number): void => {
    const width = node.count * scale;
    if (width < LEAST_WIDTH) return;
    const y = height - MARGIN - (level + 1) * ROW, shown = escape(name.slice(0, Math.floor((width - 6) / CHARACTER)));
    boxes.push(`<g><title>${escape(name)}: ${node.count} samples, ${(node.count / root.count * 100).toFixed(2)}%</title>`
      + `<rect x="${x.toFixed(1)}" y="${y}" width="${width.toFixed(1)}" height="${ROW - 1}" fill="${colourOf(name)}"/>`
      + `${width > 3 * CHARACTER ? `<text x="${(x + 3).toFixed(1)}" y="${y + 13}">${shown}</text>` : ''}</g>`);
    let left = x;
    for (const [childName, child] of [...node.children].sort((a, b) => a[0] < b[0] ? -1 : 1)) { draw(childName, child, left, level + 1); left += child.count * scale; }
  };
  draw(title, root, MARGIN, 0);
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" font-family="monospace" font-size="12">\n`
    + `<rect width="100%" height="100%" fill="#fffdf5"/>\n<text x="${WIDTH / 2}" y="20" text-anchor="middle" font-size="15">${escape(title)}: ${root.count} samples</text>\n${boxes.join('\n')}\n</svg>\n`;
}

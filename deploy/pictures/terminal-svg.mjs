/**
 * A recording of a terminal as SVG: it plays once, in the time that it took, and then stays. Programs that show no
 * animation, and people who want none, see the end of it. The window has colours of its own, for pages light and dark. Pure.
 */

const FONT_PX = 14;
/** A fixed width per character, whichever font the reader has: `textLength` stretches each span to it. */
const CHARACTER_PX = 8.4;
const LINE_PX = 20;
const MARGIN_PX = 20;
const BAR_PX = 36;
/** For the window's edge, which would be cut in half. */
const EDGE_PX = 1;

const COLOURS = {
  back: "#0f141c",
  bar: "#1a212d",
  edge: "#3a4557",
  title: "#8d9ab0",
  text: "#dfe6f0",
  dim: "#8593a8",
  red: "#ff7b72",
  green: "#56d38a",
  yellow: "#e3b341",
  cyan: "#6cc7e0",
};

/**
 * Draws looks (see screen.mjs) of a terminal with `columns` characters per line. `command` is the first line, before them;
 * `label` tells people who cannot see the picture what it shows.
 */
export function terminalSvg(looks, { columns, command, title, label, startMs }) {
  const rows = 2 + Math.max(...looks.map(({ row }) => row));
  const width = Math.ceil(columns * CHARACTER_PX + 2 * MARGIN_PX + 2 * EDGE_PX);
  const height = BAR_PX + rows * LINE_PX + 2 * MARGIN_PX + 2 * EDGE_PX;
  const prompt = [
    { column: 0, text: "$", style: { colour: "green" } },
    { column: 2, text: command, style: { weight: "bold" } },
  ];
  const lines = [
    lineSvg(0, prompt, ""),
    ...looks.map((look) => lineSvg(look.row + 1, look.spans, timing(look, startMs))),
  ];
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${escapeXml(label)}">
<style>${style()}</style>
<rect class="window" x="${EDGE_PX / 2}" y="${EDGE_PX / 2}" width="${width - EDGE_PX}" height="${height - EDGE_PX}" rx="10"/>
<path class="bar" d="M${EDGE_PX} ${BAR_PX}V${10}a9 9 0 0 1 9-9H${width - 10}a9 9 0 0 1 9 9V${BAR_PX}z"/>
${["red", "yellow", "green"].map((colour, index) => `<circle cx="${20 + 20 * index}" cy="${BAR_PX / 2}" r="6" fill="${COLOURS[colour]}"/>`).join("")}
<text class="title" x="${width / 2}" y="${BAR_PX / 2 + 5}">${escapeXml(title)}</text>
${lines.join("\n")}
</svg>
`;
}

function lineSvg(row, spans, attributes) {
  const y = BAR_PX + MARGIN_PX + row * LINE_PX + FONT_PX;
  return `<g${attributes}>${spans.map((span) => spanSvg(span, y)).join("")}</g>`;
}

function spanSvg({ column, text, style }, y) {
  const names = [style.weight, style.colour].filter((name) => name !== undefined);
  const classes = names.length === 0 ? "" : ` class="${names.join(" ")}"`;
  const x = number(MARGIN_PX + EDGE_PX + column * CHARACTER_PX);
  const length = number([...text].length * CHARACTER_PX);
  return `<text${classes} x="${x}" y="${y}" textLength="${length}">${escapeXml(text)}</text>`;
}

/** A look that remains is hidden before its time; one that does not is shown at its time only. */
function timing({ fromMs, untilMs }, startMs) {
  const from = Math.round(startMs + fromMs);
  if (untilMs === null) return ` class="late" style="animation-duration:${from}ms"`;
  const duration = Math.round(untilMs - fromMs);
  return ` class="brief" style="animation-delay:${from}ms;animation-duration:${duration}ms"`;
}

function style() {
  const font = 'ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace';
  const colours = ["red", "green", "yellow", "cyan"]
    .map((name) => `.${name}{fill:${COLOURS[name]}}`)
    .join("");
  return `
.window{fill:${COLOURS.back};stroke:${COLOURS.edge}}.bar{fill:${COLOURS.bar}}
text{font:${FONT_PX}px ${font};fill:${COLOURS.text}}
.title{font-family:system-ui,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;fill:${COLOURS.title};text-anchor:middle}
.bold{font-weight:bold}.dim{fill:${COLOURS.dim}}${colours}
.brief{opacity:0}
@keyframes hide{from,to{opacity:0}}@keyframes show{from,to{opacity:1}}
@media (prefers-reduced-motion:no-preference){.late{animation:hide}.brief{animation:show}}
`;
}

function number(value) {
  return `${Math.round(value * 10) / 10}`;
}

function escapeXml(text) {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}

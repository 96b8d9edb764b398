/** Line charts with logarithmic axes, as SVG text. No I/O. */

export interface Line {
  readonly name: string;
  /** x and y, both above 0, by ascending x. */
  readonly points: readonly (readonly [number, number])[];
}

export interface Plot {
  readonly title: string;
  /** Labels of the axes. */
  readonly x: string;
  readonly y: string;
  readonly lines: readonly Line[];
}

const WIDTH = 760;
const HEIGHT = 440;
const LEFT = 70;
const RIGHT = 20;
const TOP = 50;
const BOTTOM = 60;
const COLOURS = ["#0b6e99", "#b3541e", "#3c7a3c", "#7a4b9a"];

/** The chart; readable on white and on dark pages. */
export function plotSvg({ title, x, y, lines }: Plot): string {
  const points = lines.flatMap((line) => line.points);
  const across = axis(
    points.map(([value]) => value),
    LEFT,
    WIDTH - RIGHT,
  );
  const up = axis(
    points.map(([, value]) => value),
    HEIGHT - BOTTOM,
    TOP,
  );
  const grid = [
    ...across.ticks.map((tick) => vertical(across.at(tick), number(tick))),
    ...up.ticks.map((tick) => horizontal(up.at(tick), number(tick))),
  ];
  const drawn = lines.map((line, at) => {
    const colour = COLOURS[at % COLOURS.length] ?? "black";
    const path = line.points.map(([px, py]) => `${round(across.at(px))},${round(up.at(py))}`);
    const dots = path.map((point) => `<circle cx="${point.replace(",", '" cy="')}" r="3" fill="${colour}"/>`);
    const label = text(LEFT + 12, TOP + 18 + at * 18, line.name, `fill="${colour}"`);
    return `<polyline points="${path.join(" ")}" fill="none" stroke="${colour}" stroke-width="2"/>${dots.join("")}${label}`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="13">`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="white"/>`,
    text(LEFT, 28, title, 'font-size="15"'),
    ...grid,
    ...drawn,
    text((LEFT + WIDTH) / 2, HEIGHT - 16, x, 'text-anchor="middle"'),
    `<g transform="rotate(-90)">${text(-HEIGHT / 2, 18, y, 'text-anchor="middle"')}</g>`,
    "</svg>",
    "",
  ].join("\n");
}

interface Axis {
  readonly ticks: readonly number[];
  /** Where a value lies, in pixels. */
  at(value: number): number;
}

/** From the power of ten below all values to the one above. */
function axis(values: readonly number[], from: number, to: number): Axis {
  const first = Math.floor(Math.log10(Math.min(...values)));
  const last = Math.max(first + 1, Math.ceil(Math.log10(Math.max(...values))));
  return {
    ticks: Array.from({ length: last - first + 1 }, (_, at) => 10 ** (first + at)),
    at: (value) => from + ((Math.log10(value) - first) / (last - first)) * (to - from),
  };
}

function vertical(px: number, label: string): string {
  const at = round(px);
  return `<path d="M${at} ${TOP}V${HEIGHT - BOTTOM}" stroke="#ddd"/>${text(px, HEIGHT - BOTTOM + 18, label, 'text-anchor="middle"')}`;
}

function horizontal(py: number, label: string): string {
  return `<path d="M${LEFT} ${round(py)}H${WIDTH - RIGHT}" stroke="#ddd"/>${text(LEFT - 8, py + 4, label, 'text-anchor="end"')}`;
}

function text(px: number, py: number, content: string, attributes: string): string {
  const escaped = content.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  return `<text x="${round(px)}" y="${round(py)}" ${attributes}>${escaped}</text>`;
}

function number(value: number): string {
  return value >= 1 ? value.toLocaleString("en-GB") : String(Number(value.toPrecision(3)));
}

function round(value: number): string {
  return value.toFixed(1);
}
